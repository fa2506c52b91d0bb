"""Two people replay one refused call at once, and a gateway sends good usage meanwhile: it is charged once."""

from decimal import Decimal

import pytest
from django.db import connection, transaction

from accounts.models import AuditRecord
from billing.books.models import Wallet
from billing.catalog.reading import ToldUsage
from billing.errors import AlreadyCaptured
from billing.metering import quarantine, usage
from billing.metering.models import UsageRecord
from billing.metering.models_quarantine import QuarantinedUsage
from tests import factories
from tests.concurrency.helpers import at_once, in_thread, wait_until_blocked
from tests.factories import NOON
from tests.staff import person

pytestmark = pytest.mark.django_db(transaction=True)

APART = ToldUsage("openai.chat", {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 900}})


@pytest.fixture
def row():
    account, version = factories.funded("10"), factories.price()
    held = factories.hold(account, version, "5")
    wanted = usage.Capture(authorization_id=held.id, usage=APART)
    [answer] = usage.capture([wanted], now=NOON)
    quarantine.keep_captures([(None, wanted, answer)], now=NOON)
    return QuarantinedUsage.objects.get()


def replay(row, who, tokens):
    """Each reads it in a way of their own, so that a second charge would not pass for a repetition of the first."""
    told = {"input_tokens": tokens}
    return quarantine.replay(row.pk, actor=who, reason="seen", now=NOON, usage=told).usage_record_id


def two_replays_meet(row):
    """One person has charged it and not yet committed when another presses the same button."""
    first, second = person("finance"), person("finance")
    with transaction.atomic():
        charged = replay(row, first, 100)
        with in_thread(lambda: replay(row, second, 200)) as other:
            wait_until_blocked()
            connection.connection.commit()
            return [charged, other()]


def test_of_two_people_who_replay_it_at_once_the_second_finds_it_charged(row):
    assert two_replays_meet(row) == [row.authorization_id] * 2

    assert UsageRecord.objects.get().charge == Decimal("0.1")
    assert AuditRecord.objects.filter(action="usage_replayed").count() == 1


def test_the_control_without_the_lock_tries_to_charge_it_again(row, monkeypatch):
    """What was read before the lock is old: only the books' own rule stops the second charge."""
    monkeypatch.setattr(quarantine, "_locked", lambda pk: QuarantinedUsage.objects.get(pk=pk))

    with pytest.raises(AlreadyCaptured):
        two_replays_meet(row)

    assert UsageRecord.objects.get().charge == Decimal("0.1")


def test_a_row_that_eight_people_replay_at_once_is_charged_and_audited_once(row):
    people = [person("finance") for _ in range(8)]

    records = at_once(8, lambda number: replay(row, people[number], 100 * (number + 1)))

    record = UsageRecord.objects.get()
    assert records == [record.pk] * 8
    assert AuditRecord.objects.filter(action="usage_replayed").count() == 1
    assert Wallet.objects.get().balance == 10 - record.charge


def test_a_replay_and_the_gateways_own_good_usage_at_once_charge_once(row):
    who = person("finance")

    def one(number):
        if number:
            return quarantine.replay(row.pk, actor=who, reason="seen", now=NOON, usage={"input_tokens": 100}).state
        wanted = usage.Capture(authorization_id=row.authorization_id, usage=usage.Usage(input_tokens=200))
        [answer] = usage.capture([wanted], now=NOON)
        return getattr(answer, "code", "charged")

    gateways, staffs = at_once(2, one)

    assert staffs == "replayed"
    assert gateways in {"charged", "already_captured"}
    assert UsageRecord.objects.get().charge == Decimal("0.2" if gateways == "charged" else "0.1")
