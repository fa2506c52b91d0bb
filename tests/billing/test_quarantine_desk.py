"""The desk of refused usage: what is shown, what is decided, and by whom."""

from decimal import Decimal

import pytest
from django.core.cache import cache
from django.urls import reverse

from billing.metering.models import UsageRecord
from billing.metering.models_quarantine import QuarantinedUsage
from config import clock
from gateway import reports
from tests import factories
from tests.staff import act, action_of, desk, page_of

pytestmark = pytest.mark.django_db

APART = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 900}}


@pytest.fixture
def rows():
    """Three calls of one account, refused for the same reason."""
    factories.price(components={"cache_read": {"multiple": "0.1"}})
    account = factories.funded("10")
    events = [
        {"account": str(account.pk), "model": "test/model", "request_id": f"u-{n}", "format": "openai.chat"}
        | {"provider_usage": APART}
        for n in range(3)
    ]
    reports.record(events, now=clock.now())
    return list(QuarantinedUsage.objects.order_by("request_id"))


def test_the_list_and_the_page_say_what_was_told_and_what_each_reading_costs(rows):
    client = desk("support")

    listed = client.get(reverse("admin:billing_quarantinedusage_changelist")).content.decode()
    page = client.get(page_of(rows[0])).content.decode()

    assert "input_tokens must include its cache, audio and image tokens." in listed
    for said in ("cached_tokens", "$0.21", "As the format documents (as the channel says)", "3 calls wait"):
        assert said in page, said
    assert "/replay/" not in page  # support only looks


@pytest.mark.parametrize("role", ["operations", "finance", "admin"])
def test_a_call_is_replayed_with_the_convention_that_was_chosen(rows, role):
    done = act(desk(role), action_of(rows[0], "replay"), convention="exclusive", reason="they count apart")

    rows[0].refresh_from_db()
    assert done.status_code == 302
    assert (rows[0].state, rows[0].reason) == ("replayed", "they count apart")
    assert UsageRecord.objects.get().charge == Decimal("0.21")


def test_usage_may_be_written_anew(rows):
    client = desk("finance")

    wrong = act(client, action_of(rows[0], "replay"), convention="channel", usage="[1]")
    act(client, action_of(rows[0], "replay"), convention="channel", usage='{"input_tokens": 40}')

    assert wrong.status_code == 422
    assert UsageRecord.objects.get().usage == {"input_tokens": 40}


def test_a_reading_that_is_refused_again_is_said_on_the_form(rows):
    answer = act(desk("finance"), action_of(rows[0], "replay"), convention="inclusive")

    assert answer.status_code == 422
    assert "input_tokens must include" in answer.content.decode()
    assert not UsageRecord.objects.exists()


def test_all_like_one_are_replayed_with_their_numbers_in_the_answer(rows):
    client = desk("finance")

    answer = act(client, action_of(rows[0], "replay-alike"), convention="exclusive")
    page = client.get(answer["Location"]).content.decode()

    assert "3 charged, 0 refused again, 0 not tried yet." in page
    assert UsageRecord.objects.count() == 3


def test_a_call_is_dismissed_with_a_reason(rows):
    act(desk("operations"), action_of(rows[0], "dismiss"), reason="a test of theirs")

    rows[0].refresh_from_db()
    assert (rows[0].state, rows[0].reason) == ("dismissed", "a test of theirs")


@pytest.mark.parametrize("action", ["replay", "replay-alike", "dismiss"])
def test_support_decides_nothing(rows, action):
    answer = desk("support").post(action_of(rows[0], action), {"convention": "exclusive", "reason": "please"})

    assert answer.status_code == 403
    assert set(QuarantinedUsage.objects.values_list("state", flat=True)) == {"waiting"}


def test_the_dashboard_says_so_only_while_something_waits(rows):
    client = desk("support")
    cache.clear()
    before = client.get(reverse("admin:index")).content.decode()
    QuarantinedUsage.objects.all().delete()
    cache.clear()
    after = client.get(reverse("admin:index")).content.decode()

    assert "Refused usage" in before
    assert "of 1 account, not charged" in before
    assert "Refused usage" not in after
