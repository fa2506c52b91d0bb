"""A channel says how its vendor counts input, and every door that takes a provider's own object reads it so (C17)."""

from decimal import Decimal

import pytest

from accounts.models import AuditRecord
from billing.catalog import book
from billing.catalog.models import Channel
from billing.catalog.reading import ToldUsage
from billing.catalog.usage import Usage
from billing.errors import InvalidUsage
from billing.metering import usage
from billing.metering.models import Authorization, UsageRecord
from gateway import reports
from tests import factories
from tests.api import Program
from tests.factories import NOON
from tests.staff import act, action_of, desk

pytestmark = pytest.mark.django_db

# 100 plain and 900 cached, told as a vendor does that leaves cached tokens out of its prompt count.
APART = {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 900}}
CACHED_AT_A_TENTH = {"cache_read": {"multiple": "0.1"}}


@pytest.fixture
def version():
    """Direct calls count as documented; those through `apart` leave cached tokens out."""
    factories.price(components=CACHED_AT_A_TENTH)
    found = factories.price(channel="apart", components=CACHED_AT_A_TENTH)
    Channel.objects.filter(code="apart").update(usage_convention="exclusive")
    book.forget()
    return found


def test_a_capture_is_read_as_its_authorizations_channel_counts(version):
    account = factories.funded("10")
    held = factories.hold(account, version, "5")

    [charged] = usage.capture(
        [usage.Capture(authorization_id=held.id, usage=ToldUsage("openai.chat", APART))], now=NOON
    )

    record = UsageRecord.objects.get(pk=held.id)
    assert record.usage == {"input_tokens": 1000, "cache_read_tokens": 900}
    assert charged.charge == Decimal("0.19")  # 100 at $1, 900 at $0.10 per 1K


def test_the_same_object_without_a_convention_contradicts_itself_and_is_refused(version):
    account = factories.funded("10")
    direct = factories.price(slug="test/direct", components=CACHED_AT_A_TENTH)
    held = factories.hold(account, direct, "5")

    [refused] = usage.capture(
        [usage.Capture(authorization_id=held.id, usage=ToldUsage("openai.chat", APART))], now=NOON
    )

    assert isinstance(refused, InvalidUsage)
    assert refused.evidence["field"] == "input_tokens"
    assert Authorization.objects.get(pk=held.id).status == "open"
    assert not UsageRecord.objects.exists()


def test_reported_usage_is_read_as_its_channel_counts(version):
    account = factories.funded("10")
    event = {"account": str(account.pk), "model": "test/model", "format": "openai.chat", "provider_usage": APART}

    found = reports.record([event | {"request_id": "a", "channel": "apart"}, event | {"request_id": "b"}], now=NOON)

    assert [(one["status"], one["code"]) for one in found] == [("created", None), ("rejected", "invalid_usage")]
    assert found[0]["charge"] == "0.1900000000"


def test_a_quote_is_read_as_its_channel_counts(version):
    body = {"model": "test/model", "format": "openai.chat", "provider_usage": APART}

    apart = Program().call("POST", "quotes", body | {"channel": "apart"})
    direct = Program().call("POST", "quotes", body)

    assert apart.json()["charge"] == "0.1900000000"
    assert (direct.status_code, direct.json()["code"]) == (422, "invalid_usage")


def test_no_convention_changes_canonical_usage(version):
    account = factories.funded("10")
    held = factories.hold(account, version, "5")

    charged = factories.capture(held.id, input_tokens=1000, cache_read_tokens=900)

    assert charged.charge == Decimal("0.19")
    assert Usage(**UsageRecord.objects.get(pk=held.id).usage) == Usage(input_tokens=1000, cache_read_tokens=900)


def test_staff_set_a_channels_convention_with_a_reason(version):
    channel = Channel.objects.get(code="apart")

    act(
        desk("operations"), action_of(channel, "change-terms"),
        discount="1", active="on", usage_convention="inclusive", reason="they changed it",
    )  # fmt: skip
    nonsense = act(
        desk("operations"), action_of(channel, "change-terms"), discount="1", active="on", usage_convention="both"
    )

    channel.refresh_from_db()
    record = AuditRecord.objects.get(action="channel_changed")
    assert channel.usage_convention == "inclusive"
    assert (record.before["usage_convention"], record.after["usage_convention"]) == ("exclusive", "inclusive")
    assert nonsense.status_code == 422
