"""Holds and charges: the set-based functions through their Python door."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing.books.models import CreditGrant, JournalEntry, Posting, Wallet
from billing.errors import AlreadyCaptured, AlreadyVoided, NotFound, NotRecorded
from billing.metering import holds
from billing.metering.models import Authorization, UsageRecord
from config.ids import uuid7
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def test_a_hold_is_placed_and_a_capture_charges_what_was_used():
    account, version = factories.funded("10"), factories.price()
    held = factories.hold(account, version, "5")
    assert (held.outcome, held.held) == ("created", Decimal(5))
    assert Wallet.objects.get(pk=account.pk).available == Decimal(5)

    charged = factories.capture(held.id, input_tokens=1000, output_tokens=500)
    assert (charged.charge, charged.balance, charged.late) == (Decimal(2), Decimal(8), False)
    wallet = Wallet.objects.get(pk=account.pk)
    assert (wallet.balance, wallet.held, wallet.overdraft) == (Decimal(8), Decimal(0), Decimal(0))
    record = UsageRecord.objects.get(pk=held.id)
    entry = JournalEntry.objects.get(pk=record.entry_id)
    assert (entry.kind, entry.delta, entry.balance_after, entry.seq) == ("usage", Decimal(-2), Decimal(8), 2)
    assert sum(p.side * p.amount for p in Posting.objects.filter(entry_id=entry.pk)) == 0


def test_capturing_again_with_the_same_usage_gives_the_same_answer_and_with_other_usage_is_refused():
    account, version = factories.funded("10"), factories.price()
    held = factories.hold(account, version, "5")
    first = factories.capture(held.id, input_tokens=1000)
    factories.credit(account, "1")
    again = factories.capture(held.id, input_tokens=1000)
    assert again.repeated
    assert (again.id, again.charge, again.balance) == (first.id, first.charge, first.balance)
    with pytest.raises(AlreadyCaptured):
        factories.capture(held.id, input_tokens=1001)
    assert UsageRecord.objects.count() == 1


def test_the_same_request_id_answers_with_the_first_authorization_or_a_conflict():
    account, version = factories.funded("10"), factories.price()
    first = factories.hold(account, version, "5", request_id="r")
    again = factories.hold(account, version, "5", request_id="r")
    other = factories.hold(account, version, "5", request_id="r", digest=b"\1" * 32)
    assert (again.outcome, again.id) == ("repeated", first.id)
    assert other.outcome == "conflict"
    assert Wallet.objects.get(pk=account.pk).held == Decimal(5)


def test_a_hold_that_the_wallet_does_not_cover_is_refused_and_writes_nothing():
    account, version = factories.funded("1"), factories.price()
    refused = factories.hold(account, version, "1.0000000001")
    assert (refused.outcome, refused.available) == ("insufficient_balance", Decimal(1))
    assert not Authorization.objects.exists()


def test_one_batch_decides_each_hold_of_an_account_in_turn():
    account, version = factories.funded("10"), factories.price()
    wanted = [factories.hold_request(account, version, usd) for usd in ("6", "5", "4", "0.5")]
    outcomes = [h.outcome for h in holds.authorize(wanted, now=NOON, expires_at=NOON)]
    assert outcomes == ["created", "insufficient_balance", "created", "insufficient_balance"]
    assert Wallet.objects.get(pk=account.pk).held == Decimal(10)


def test_usage_beyond_the_hold_and_the_balance_becomes_overdraft_and_the_next_call_is_refused():
    account, version = factories.funded("1"), factories.price()
    held = factories.hold(account, version, "1")
    charged = factories.capture(held.id, input_tokens=3000)
    assert (charged.charge, charged.balance) == (Decimal(3), Decimal(-2))
    wallet = Wallet.objects.get(pk=account.pk)
    assert (wallet.balance, wallet.overdraft) == (Decimal(0), Decimal(2))
    assert factories.hold(account, version, "0").outcome == "insufficient_balance"
    factories.credit(account, "5")
    wallet.refresh_from_db()
    assert (wallet.balance, wallet.overdraft) == (Decimal(3), Decimal(0))


def test_grants_burn_in_the_order_of_j21():
    """J21, C18: voucher with an expiry, then the gift, then cash."""
    account, version = factories.account(), factories.price()
    factories.credit(account, "10", kind="cash", paid=True)
    factories.credit(account, "2")
    factories.credit(account, "3", kind="voucher", expires_at=NOON + timedelta(days=3))
    factories.capture(factories.hold(account, version, "6").id, input_tokens=6000)
    left = {g.kind: g.remaining for g in CreditGrant.objects.all()}
    assert left == {"cash": Decimal(9), "promotion": Decimal(0), "voucher": Decimal(0)}


def test_expired_credit_is_written_off_before_a_hold_is_decided():
    account, version = factories.account(), factories.price()
    factories.credit(account, "3", expires_at=NOON + timedelta(hours=1))
    assert factories.hold(account, version, "3", now=NOON + timedelta(hours=1)).outcome == "insufficient_balance"
    assert JournalEntry.objects.filter(kind="grant_expired", delta=Decimal(-3)).count() == 1
    assert Wallet.objects.get(pk=account.pk).next_expiry_at is None


def test_a_void_releases_the_hold_and_repeats_are_harmless():
    account, version = factories.funded("10"), factories.price()
    held = factories.hold(account, version, "5")
    outcomes = [holds.void([(held.id, account.pk, "upstream_error")], now=NOON)[0].outcome for _ in range(2)]
    assert outcomes == ["released", "repeated"]
    assert Wallet.objects.get(pk=account.pk).held == Decimal(0)
    with pytest.raises(AlreadyVoided):
        factories.capture(held.id, input_tokens=1)
    [unknown] = holds.void([(uuid7(), account.pk, "")], now=NOON)
    assert unknown.outcome == "not_found"
    with pytest.raises(NotFound):
        factories.capture(uuid7(), input_tokens=1)


def test_a_capture_after_the_hold_expired_is_charged_and_marked_late():
    account, version = factories.funded("10"), factories.price()
    held = factories.hold(account, version, "5")
    assert holds.expire_due(now=NOON + timedelta(minutes=14)) == 0
    assert holds.expire_due(now=NOON + timedelta(minutes=15)) == 1
    assert Wallet.objects.get(pk=account.pk).held == Decimal(0)
    charged = factories.capture(held.id, input_tokens=1000, now=NOON + timedelta(minutes=20))
    assert charged.late
    wallet = Wallet.objects.get(pk=account.pk)
    assert (wallet.balance, wallet.held) == (Decimal(9), Decimal(0))


@pytest.mark.parametrize("table", ["billing_journalentry", "billing_posting", "billing_usagerecord"])
def test_the_books_are_append_only(table):
    account, version = factories.funded("10"), factories.price()
    factories.capture(factories.hold(account, version, "5").id, input_tokens=10)
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET account_id = account_id"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_postings_that_do_not_balance_are_refused_by_the_database():
    account = factories.funded("10")
    entry = JournalEntry.objects.get()
    for sides in ([1, 1], [1], [1, -1]):
        with pytest.raises(DatabaseError, match="balance"), transaction.atomic():
            Posting.objects.bulk_create(
                Posting(
                    account=account,
                    entry=entry,
                    line=n + 10,
                    ledger_id=account.wallet.overdraft_ledger_id,
                    side=side,
                    amount=1,
                )
                for n, side in enumerate(sides)
            )


def test_one_impossible_item_does_not_fail_its_neighbours(transactional_db):
    account, version = factories.funded("10"), factories.price()
    good = factories.hold_request(account, version, "1")
    bad = factories.hold_request(account, version, "1", request_id="nul\0byte")
    refused, held = holds.authorize([bad, good], now=NOON, expires_at=NOON)
    assert isinstance(refused, NotRecorded)
    assert held.outcome == "created"
