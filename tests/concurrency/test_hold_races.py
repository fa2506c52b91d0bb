"""Two people decide about one held payment at once: one does. The control shows what the wallet's lock is for."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from accounts.models import User
from billing.books.models import JournalEntry
from billing.errors import InvalidTransition
from billing.payments import holds
from billing.payments.models import TopUp
from billing.payments.models_risk import RiskAssessment
from tests import factories
from tests.concurrency.helpers import at_once
from tests.factories import NOON
from tests.refunds import orders

pytestmark = pytest.mark.django_db(transaction=True)


def held() -> TopUp:
    """A payment that arrived and that our rules hold."""
    order = orders.placed()
    RiskAssessment.objects.filter(pk=order.pk).update(state="held", held_until=NOON)
    TopUp.objects.filter(pk=order.pk).update(status="paid", paid_at=NOON, payment_intent_id=f"pi_{order.number}")
    return order


def decide(order: TopUp, people: list[User]) -> list[str]:
    """One releases and one refuses, at once; what each was told."""

    def work(number: int) -> str:
        decision = (holds.release, holds.refuse)[number]
        try:
            decision(order.pk, actor=people[number], reason="Looked at it.", now=NOON)
        except InvalidTransition:
            return "too late"
        return decision.__name__

    return at_once(2, work)


def test_a_release_and_a_refusal_at_once_end_in_one_of_them() -> None:
    people = [factories.user(), factories.user()]
    for _ in range(5):
        order = held()
        told = decide(order, people)
        order.refresh_from_db()
        assert told.count("too late") == 1
        done = (set(told) - {"too late"}).pop()
        credited = JournalEntry.objects.filter(account_id=order.account_id, kind="topup").count()
        assert (done, credited, order.status, str(order.risk.state)) in (
            ("release", 1, "credited", "released"),
            ("refuse", 0, "paid", "refund_wanted"),
        )


@pytest.mark.damages_books
def test_without_the_lock_both_are_told_that_they_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: both read the hold before either has written, so the money is credited and paid back."""
    both, really = threading.Barrier(2), holds._held

    def read(order_id: Any) -> RiskAssessment:
        row = really(order_id)
        both.wait(30)
        return row

    monkeypatch.setattr(holds, "_held", read)
    monkeypatch.setattr(holds.topups, "locked", lambda order_id: TopUp.objects.get(pk=order_id))
    order = held()
    assert sorted(decide(order, [factories.user(), factories.user()])) == ["refuse", "release"]
