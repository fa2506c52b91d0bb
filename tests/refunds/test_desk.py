"""The desk of refunds: what is shown, who decides, and with which words."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import AuditRecord
from refunds.models import Refund
from tests.refunds.orders import credited
from tests.refunds.test_lifecycle import approve, ask, said, sent
from tests.staff import act, action_of, desk, page_of

pytestmark = pytest.mark.django_db


def test_the_list_and_the_page_say_what_goes_where() -> None:
    refund = ask(credited("20"), reason="bought twice")
    client = desk("support")
    listed = client.get(reverse("admin:refunds_refund_changelist")).content.decode()
    page = client.get(page_of(refund)).content.decode()

    assert refund.number in listed
    for words in ("bought twice", "$19.00", "$1.00", refund.top_up.number):
        assert words in page, words
    assert "/approve/" not in page


def test_money_that_goes_back_is_found_from_its_customer_its_order_and_the_dashboard() -> None:
    refund = ask(credited("20"))
    client = desk("support")
    for page in (page_of(refund.account), page_of(refund.top_up)):
        assert refund.number in client.get(page).content.decode()

    [stat] = [one for one in client.get("/admin/").context["board"].stats if one.label == "Refunds waiting"]
    assert (stat.value, stat.alarm) == ("1", True)
    assert refund.number in client.get(stat.url).content.decode()


@pytest.mark.parametrize("waiting", ["decision", "provider", "look"])
def test_the_desk_is_opened_with_a_question(waiting: str) -> None:
    refund = ask(credited("20"))
    url = f"{reverse('admin:refunds_refund_changelist')}?waiting={waiting}"
    assert (refund.number in desk("finance").get(url).content.decode()) == (waiting == "decision")


def test_finance_approves_and_the_words_say_what_happens() -> None:
    refund = ask(credited("20"))
    client = desk("finance")
    form = client.get(action_of(refund, "approve")).content.decode()
    assert "$19.00 are sent" in form
    assert act(client, action_of(refund, "approve"), reason="unused").status_code == 302
    refund.refresh_from_db()
    assert refund.status == "approved"
    assert AuditRecord.objects.get(action="refund_approve").reason == "unused"


def test_a_large_one_waits_for_the_second_person() -> None:
    refund = ask(credited("600"))
    act(desk("finance"), action_of(refund, "approve"), reason="one")
    assert Refund.objects.get().status == "requested"
    act(desk("admin"), action_of(refund, "approve"), reason="two")
    assert Refund.objects.get().status == "approved"


@pytest.mark.parametrize(("role", "action"), [("finance", "reject"), ("admin", "cancel")])
def test_a_request_is_stopped_with_a_reason(role: str, action: str) -> None:
    refund = ask(credited("20"))
    act(desk(role), action_of(refund, action), reason="not now")
    refund.refresh_from_db()
    assert (refund.status, refund.answer) == ("cancelled", "not now")


@pytest.mark.parametrize("action", ["approve", "reject", "ask"])
def test_support_does_not_decide(action: str) -> None:
    refund = ask(credited("20"))
    assert desk("support").get(action_of(refund, action)).status_code == 403


def test_a_flag_is_taken_away_and_stays_in_the_audit() -> None:
    refund = sent(approve(ask(credited())))
    refund = type(refund).objects.get(pk=refund.pk)
    from refunds import outcomes
    from tests.factories import NOON

    outcomes.record_outcome(refund.pk, said(refund, amount_minor=1), now=NOON)
    act(desk("finance"), action_of(refund, "looked"), reason="a test")
    refund.refresh_from_db()
    assert not refund.flagged
    assert "we asked for 19.00 USD" in AuditRecord.objects.get(action="refund_looked").reason
