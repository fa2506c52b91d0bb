"""Quota windows under random lives: no Flow lost or counted twice, caps passed by overshoot alone (I9, C06, C24)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import subscriptions.verify  # noqa: F401  # registers its checks
from billing.books import verify
from billing.books.ledger import lock_wallet
from billing.metering import holds
from billing.metering.models import UsageRecord
from subscriptions import periods
from subscriptions.models import QuotaWindow
from tests.subscriptions.driving import NOON, Driver, driver, plan_version

pytestmark = pytest.mark.django_db(transaction=True)

GAPS = st.sampled_from(
    [
        timedelta(0), timedelta(microseconds=1), timedelta(minutes=7), timedelta(hours=1), timedelta(hours=5),
        timedelta(hours=5) - timedelta(microseconds=1), timedelta(days=1), timedelta(days=7), timedelta(days=9),
    ]
)  # fmt: skip
FLOWS = st.integers(min_value=0, max_value=400).map(lambda tenths: Decimal(tenths) / 10)
STEPS = st.lists(
    st.tuples(
        GAPS,
        st.sampled_from(["use", "ask", "ask", "capture", "capture", "void", "expire", "change", "renew"]),
        FLOWS,
        FLOWS,
        st.integers(min_value=0, max_value=20),
    ),
    min_size=4,
    max_size=18,
)


def plans_of(policy: str, enforce: bool) -> list[Any]:
    """Three plans, each with more of everything, small enough to be filled."""
    caps = [(30, 60, 90), (50, 90, 150), (80, 200, 300)]
    return [
        plan_version(
            code, flows_5h=five, flows_week=week, flows_period=period, anchor_policy=policy, enforce_period_cap=enforce
        )
        for code, (five, week, period) in zip(("pro", "max", "ultra"), caps, strict=True)
    ]


class Life:
    """One account; what it holds, and what it was charged, kept apart from the windows."""

    def __init__(self, there: Driver, plans: list[Any]) -> None:
        self.there, self.plans, self.place = there, plans, 0
        self.now = NOON
        self.held: dict[Any, Any] = {}
        self.expired: dict[Any, Any] = {}
        self.charged = Decimal(0)

    def step(self, gap: timedelta, verb: str, flows: Decimal, actual: Decimal, which: int) -> None:
        self.now += gap
        self._renew_when_due()
        getattr(self, verb)(flows, actual, which)

    def _renew_when_due(self) -> None:
        subscription = self.there.subscription
        while subscription.period_end <= self.now:
            self._align(subscription.period_end)

    def _align(self, start: Any) -> None:
        held = self.there.subscription
        with transaction.atomic():
            lock_wallet(self.there.account.pk)
            held.period_start, held.period_end = start, start + timedelta(days=30)
            held.save()
            periods.follow_renewal(held, now=self.now)

    def ask(self, flows: Decimal, _actual: Decimal, _which: int) -> Any:
        found = self.there.ask(flows, self.now)
        assert found.outcome in ("created", "exhausted")
        if found.outcome == "created":
            self.held[found.id] = found
            fits = all(window.fits(found.held_flows) for window in found.windows)
            assert fits or found.held_flows == 0
        return found

    def use(self, flows: Decimal, actual: Decimal, _which: int) -> None:
        found = self.ask(flows, actual, 0)
        if found.outcome == "created":
            self._charge(self.held.pop(found.id), actual)

    def capture(self, _flows: Decimal, actual: Decimal, which: int) -> None:
        """An open hold, or one that has expired."""
        every = {**self.held, **self.expired}
        if every:
            chosen = list(every)[which % len(every)]
            self.held.pop(chosen, None), self.expired.pop(chosen, None)
            self._charge(every[chosen], actual)

    def _charge(self, found: Any, actual: Decimal) -> None:
        self.charged += self.there.capture(found, self.now, actual).flows

    def void(self, _flows: Decimal, _actual: Decimal, which: int) -> None:
        if self.held:
            self.there.void(self.held.pop(list(self.held)[which % len(self.held)]), self.now)

    def expire(self, _flows: Decimal, _actual: Decimal, _which: int) -> None:
        holds.expire_due(now=self.now)
        gone = {key: found for key, found in self.held.items() if found.expires_at <= self.now}
        self.expired |= gone
        self.held = {key: found for key, found in self.held.items() if key not in gone}

    def change(self, _flows: Decimal, _actual: Decimal, which: int) -> None:
        self.place = which % len(self.plans)
        if self.plans[self.place] != self.there.plan:
            self.there.change(self.plans[self.place], self.now)

    def renew(self, _flows: Decimal, _actual: Decimal, _which: int) -> None:
        """The provider says the same once more."""
        held = self.there.subscription
        with transaction.atomic():
            lock_wallet(self.there.account.pk)
            periods.move_end(held, now=self.now)


def broken() -> list[str]:
    """What the invariants of windows find."""
    found = [one for one in verify.run() if one.check.number in ("I9", "I10")]
    assert len(found) >= 5  # all of them are registered
    return [f"{one.check.number} {row}" for one in found for row in one.broken]


def sound(life: Life) -> None:
    """Everything that must hold whatever happened."""
    assert broken() == []
    account = life.there.account
    assert sum(found.held_flows for found in life.held.values()) == sum(w.held for w in life.there.windows("period"))
    recorded = UsageRecord.objects.filter(account=account).aggregate(flows=Sum("flows"))["flows"] or Decimal(0)
    for kind in ("5h", "week", "period"):
        windows = sorted(life.there.windows(kind), key=lambda w: (w.starts_at, w.ends_at))
        assert sum(w.used for w in windows) == recorded == life.charged, kind
        assert all(a.ends_at <= b.starts_at for a, b in pairwise(windows)), kind
        for window in windows:
            _within_cap(window)


def _within_cap(window: QuotaWindow) -> None:
    """Holds alone never pass the cap; what does is overshoot, each call by its own alone (C24)."""
    if not window.enforced:
        return
    column = {"5h": "five_hours_id", "week": "week_id", "period": "period_id"}[window.kind]
    over = _overshoot(window, column)
    assert window.spoken_for <= window.cap + over, (window, window.spoken_for, window.cap, over)


def _overshoot(window: QuotaWindow, column: str) -> Decimal:
    """What the calls of this window, and of those that it carries, used beyond their holds, and late captures whole."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH RECURSIVE chain AS (
                  SELECT id, follows_id FROM subscriptions_quotawindow WHERE id = %s
                  UNION ALL SELECT w.id, w.follows_id FROM chain c
                    JOIN subscriptions_quotawindow w ON w.id = c.follows_id)
                SELECT coalesce(sum(greatest(u.flows - CASE WHEN u.late THEN 0 ELSE a.held_flows END, 0)), 0)
                FROM chain c JOIN subscriptions_flowhold f ON f.{column} = c.id
                JOIN billing_authorization a ON a.id = f.authorization_id AND a.account_id = f.account_id
                JOIN billing_usagerecord u ON u.id = a.id AND u.account_id = a.account_id""",
            [window.pk],
        )
        found: Decimal = cursor.fetchone()[0]
    return found


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=STEPS, policy=st.sampled_from(["first_request", "grid"]), enforce=st.booleans())
def test_no_flow_is_lost_or_counted_twice_in_any_life(steps, policy, enforce):
    plans = plans_of(policy, enforce)
    life = Life(driver(plans[0]), plans)
    for one in steps:
        life.step(*one)
    sound(life)


# --- Controls --------------------------------------------------------------------------------------------------------

DOUBLE = [
    (timedelta(0), "use", Decimal(30), Decimal(30), 0),
    (timedelta(hours=1), "change", Decimal(0), Decimal(0), 1),
    (timedelta(0), "use", Decimal(50), Decimal(50), 0),
]


def test_a_change_of_plan_gives_no_flows_twice():
    life = Life(driver((made := plans_of("first_request", True))[0]), made)
    for one in DOUBLE:
        life.step(*one)
    sound(life)
    assert life.charged == 30  # 20 of 50 were left, and 50 do not fit


def test_control_without_the_carry_it_would(monkeypatch):
    begin = periods.begin
    monkeypatch.setattr(periods, "begin", lambda *a, carry=False, **more: begin(*a, carry=False, **more))
    life = Life(driver((made := plans_of("first_request", True))[0]), made)
    for one in DOUBLE:
        life.step(*one)
    assert life.charged == 80


@pytest.mark.damages_books
def test_control_a_carry_that_does_not_move_with_its_calls_is_found():
    """The new windows carry what the old ones hold; when a capture moves only the old ones, I9 says so."""
    life = Life(driver((made := plans_of("first_request", True))[0]), made)
    life.step(timedelta(0), "ask", Decimal(30), Decimal(0), 0)
    life.step(timedelta(hours=1), "change", Decimal(0), Decimal(0), 1)
    source = (Path(periods.__file__).parent / "sql" / "move_flows.sql").read_text()
    damaged = source.replace("SET carried = w.carried + m.change", "SET carried = w.carried")
    assert damaged != source
    with connection.cursor() as cursor:
        cursor.execute(damaged)
    try:
        life.step(timedelta(0), "capture", Decimal(0), Decimal(5), 0)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(source)
    assert any(text.startswith("I9") for text in broken())
