"""A dispute is opened while calls are being charged; the control shows what the wallet's lock is for."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from billing.books import ledger
from billing.books.models import CreditGrant, JournalEntry, Wallet
from billing.payments import disputes
from billing.payments.models_disputes import Dispute
from tests import factories
from tests.billing.payments.disputing import NOON, OUT, credited, state
from tests.concurrency.helpers import at_once, in_thread, wait_until_blocked

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_dispute_among_forty_calls_takes_its_amount_once_and_every_call_is_charged():
    order, version = credited(), factories.price()
    held = [factories.hold(order.account, version, "0.2", request_id=f"r{n}") for n in range(40)]

    def work(number: int) -> Any:
        if number >= 40:
            return disputes.record(order.pk, state(order, "needs_response", OUT), now=NOON).state
        return factories.capture(held[number].id, input_tokens=200).charge

    done = at_once(43, work)

    row, wallet = Dispute.objects.get(), Wallet.objects.get(pk=order.account_id)
    assert row.from_grant + row.from_overdraft == 20
    assert wallet.net == -sum(done[:40])
    assert JournalEntry.objects.filter(kind="dispute_opened").count() == 1
    assert CreditGrant.objects.get(pk=order.grant_id).remaining == 0
    call_command("verify_books", verbosity=0)


def a_call_and_a_dispute_meet() -> None:
    """A call is charged and not yet committed when the dispute comes."""
    order, version = credited(), factories.price()
    held = factories.hold(order.account, version, "1")
    with transaction.atomic():
        factories.capture(held.id, input_tokens=1000)
        opened = state(order, "needs_response", OUT)
        with in_thread(lambda: disputes.record(order.pk, opened, now=NOON)) as other:
            wait_until_blocked()
            connection.connection.commit()
            other()


def test_a_dispute_waits_for_the_call_before_it():
    a_call_and_a_dispute_meet()
    row = Dispute.objects.get()
    assert (row.from_grant, row.from_overdraft) == (19, 1)
    call_command("verify_books", verbosity=0)


def test_without_the_lock_the_dispute_and_the_call_trip_over_each_other(monkeypatch: pytest.MonkeyPatch):
    """The control: the dispute reads the wallet as it was before the call."""
    monkeypatch.setattr(ledger, "lock_wallet", lambda account_id: Wallet.objects.get(pk=account_id))
    with pytest.raises(IntegrityError, match="entry_seq"):
        a_call_and_a_dispute_meet()
