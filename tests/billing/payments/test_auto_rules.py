"""How much and when: pure, and then over days of calls, charges and failures at random."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.payments import auto_rules, auto_setting, auto_topup, settling
from billing.payments.auto_rules import Decision, Spent, Terms
from billing.payments.models import TopUp
from billing.payments.models_saved import AutoTopUp, AutoTopUpRun, ends_on
from billing.payments.processor import Attempt, PaymentState, Progress
from tests import factories
from tests.billing.payments.saving import kept_card

MOST = Decimal(10000)
NONE = Spent(0, Decimal(0), Decimal(0))
TERMS = Terms(Decimal(5), Decimal(10), 3, Decimal(60), Decimal(100))


@pytest.mark.parametrize(
    ("balance", "amount"),
    [("5", 0), ("4.9999999999", 10), ("-3.20", 10), ("-5", 10), ("-5.0000000001", 20), ("-23.20", 30), ("-999", 60)],
)
def test_the_smallest_multiple_that_reaches_the_threshold_is_charged_within_the_day(balance: str, amount: int) -> None:
    assert auto_rules.decide(TERMS, balance=Decimal(balance), spent=NONE, most=MOST).amount == amount


@pytest.mark.parametrize(
    ("spent", "decision"),
    [
        (Spent(3, Decimal(10), Decimal(10)), Decision(capped_by="daily_count")),
        (Spent(1, Decimal(50), Decimal(50)), Decision(Decimal(10))),
        (Spent(1, Decimal("50.01"), Decimal("50.01")), Decision(capped_by="daily_amount")),
        (Spent(0, Decimal(0), Decimal(90)), Decision(Decimal(10))),
        (Spent(0, Decimal(0), Decimal("90.01")), Decision(capped_by="monthly_amount")),
    ],
)
def test_a_limit_without_room_for_one_amount_charges_nothing(spent: Spent, decision: Decision) -> None:
    assert auto_rules.decide(TERMS, balance=Decimal(0), spent=spent, most=MOST) == decision


@pytest.mark.parametrize(
    ("by", "now", "free"),
    [
        ("daily_count", "2028-02-28T23:59:59.999999", "2028-02-29T00:00:00"),
        ("daily_amount", "2028-02-29T00:00:00", "2028-03-01T00:00:00"),
        ("monthly_amount", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("monthly_amount", "2028-12-31T23:00:00", "2029-01-01T00:00:00"),
    ],
)
def test_a_limit_is_free_again_at_midnight_or_on_the_first_in_utc(by: str, now: str, free: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert auto_rules.free_again(by, moment) == datetime.fromisoformat(free).replace(tzinfo=UTC)


def test_a_card_ends_with_its_month() -> None:
    assert [ends_on(12, 2034).isoformat(), ends_on(1, 2034).isoformat()] == ["2035-01-01", "2034-02-01"]


def told(order: TopUp, progress: Progress, now: datetime) -> PaymentState:
    """What the provider might say."""
    paid = progress == Progress.PAID
    outcome = {Progress.PAID: "succeeded", Progress.FAILED: "failed"}.get(progress, "pending")
    return PaymentState(
        session_id="",
        order=order.number,
        progress=progress,
        amount_minor=order.amount_minor,
        received_minor=order.amount_minor if paid else 0,
        currency="USD",
        livemode=False,
        payment_intent_id=f"pi_{order.pk.hex}",
        attempts=(Attempt(f"ch_{order.pk.hex}", now, outcome, code="card_declined" if outcome == "failed" else ""),),
    )


STEP = st.tuples(
    st.integers(0, 1500),  # minutes that pass
    st.decimals("0", "90", places=4),  # what calls cost meanwhile
    st.sampled_from([Progress.PAID, Progress.PAID, Progress.PROCESSING, Progress.FAILED, None]),
)


@pytest.mark.django_db
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEP, min_size=1, max_size=30),
    amount=st.sampled_from([5, 7, 10, 25]),
    count=st.integers(1, 4),
    daily=st.integers(25, 90),
    monthly=st.integers(25, 200),
)
def test_no_day_and_no_month_takes_more_than_was_agreed(
    steps: list[Any], amount: int, count: int, daily: int, monthly: int
) -> None:
    now = datetime(2031, 1, 30, 20, 17, tzinfo=UTC)
    owner = factories.user()
    account = factories.account(owner, now=now)
    factories.credit(account, "3", now=now)
    card = kept_card(account, owner, now)
    terms = Terms(Decimal(5), Decimal(amount), count, Decimal(daily), Decimal(monthly))
    auto_setting.configure(
        account.pk, terms, card_id=card.pk, text="-", version="t", locale="en", actor=owner, label="-", now=now
    )
    open_orders: list[TopUp] = []
    for minutes, cost, outcome in steps:
        now += timedelta(minutes=minutes)
        _spend(account, cost, now)
        order = auto_topup.decide(account.pk, now=now)
        if order is not None and order not in open_orders:
            assert AutoTopUpRun.objects.get(pk=order.pk).balance_usd < terms.threshold
            assert not open_orders, "two under way"
            open_orders.append(order)
        if outcome is not None and open_orders:
            order = settling.record_outcome(open_orders[0].pk, told(open_orders[0], outcome, now), now=now)
            if order.status not in TopUp.OPEN:
                open_orders.clear()
        if AutoTopUp.objects.get(pk=account.pk).stopped_reason:
            auto_setting.resume(account.pk, actor=owner, label="-", now=now)
    by_day: dict[Any, list[AutoTopUpRun]] = defaultdict(list)
    for run in AutoTopUpRun.objects.filter(account=account).select_related("order"):
        by_day[run.day].append(run)
    by_month: dict[str, Decimal] = defaultdict(Decimal)
    for day, runs in by_day.items():
        taken = sum((run.amount_usd for run in runs if run.order.status != "failed"), Decimal(0))
        assert len(runs) <= count
        assert taken <= daily
        by_month[f"{day:%Y-%m}"] += taken
    assert all(total <= monthly for total in by_month.values())


def _spend(account: Any, cost: Decimal, now: datetime) -> None:
    """As a capture would: credit goes down, and what is missing becomes overdraft."""
    from billing.books import ledger
    from billing.books.models import CreditGrant, JournalEntry, System
    from billing.money import Money

    if not cost:
        return
    wallet = ledger.lock_wallet(account.pk)
    left, lines = cost, [ledger.credit(System.REVENUE_USAGE, Money(cost))]
    for grant in CreditGrant.objects.filter(account=account, remaining__gt=0).burn_order():
        part = min(left, grant.remaining)
        if part:
            lines.append(ledger.debit(grant, Money(part)))
            left -= part
    if left:
        lines.append(ledger.debit(wallet.overdraft_ledger_id, Money(left)))
    ledger.post(JournalEntry.Kind.MANUAL_CREDIT, *lines, account_id=account.pk, key=uuid4().hex, now=now)
