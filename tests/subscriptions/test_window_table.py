"""Quota windows as a table: what happens when, and which windows there must be (C06, C07, C24, C26, J15, J20).

The rows are in `window_rows.py`. After every one of them the books are verified (I9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from billing.books.ledger import lock_wallet
from billing.metering import holds
from billing.metering.models import UsageRecord
from subscriptions import periods
from subscriptions.models import ExtraUsageMonth, QuotaWindow
from tests.subscriptions.driving import Driver, driver, plan_version
from tests.subscriptions.window_rows import CHANGES, ROWS, Row, moment

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Play:
    """A row as it is played."""

    row: Row
    there: Driver
    held: dict[str, Any] = field(default_factory=dict)
    key: Any = None

    def do(self, at: datetime, verb: str, *what: Any) -> str:
        """One step; what came of it in a word."""
        return str(getattr(self, verb)(at, *what) or "done")

    def ask(self, at: datetime, flows: str, name: str = "", usd: str = "0") -> str:
        found = self.there.ask(flows, at, usd=usd, key=self.key)
        self.held[name] = found
        return "extra" if found.outcome == "created" and found.funding == "extra_usage" else found.outcome

    def use(self, at: datetime, flows: str, actual: str | None = None) -> str:
        told = self.ask(at, flows, usd=flows if self.key else "0")
        if told in ("created", "extra"):
            self.there.capture(self.held[""], at, actual or flows)
        return told

    def capture(self, at: datetime, name: str, flows: str) -> str:
        return "late" if self.there.capture(self.held[name], at, flows).late else ""

    def void(self, at: datetime, name: str) -> None:
        self.there.void(self.held[name], at)

    def expire(self, at: datetime) -> str:
        return f"{holds.expire_due(now=at)} expired"

    def upgrade(self, at: datetime, **terms: Any) -> None:
        self.there.change(plan_version("max", **terms), at)

    def subscribe(self, at: datetime, end: str, **terms: Any) -> None:
        self.there.subscribe(plan_version("pro", **terms), at, moment(end, self.row.start))

    def downgrade(self, _at: datetime, **terms: Any) -> None:
        """Chosen now, for the next period."""
        self.subscription.next_version = plan_version("pro", **terms)
        self.subscription.save()

    def bridge(self, at: datetime) -> None:
        """A call after the period's end, before the provider has told of the renewal."""
        periods.bridge(self.there.account.pk, now=at)
        self.there.plan = self.subscription.next_version or self.subscription.plan_version

    def renew(self, at: datetime, end: str, start: str = "") -> None:
        """The provider's word of the next period."""
        held, until = self.subscription, moment(end, self.row.start)
        begins = moment(start, self.row.start) if start else at
        with transaction.atomic():
            lock_wallet(self.there.account.pk)
            held.plan_version, held.next_version = held.next_version or held.plan_version, None
            held.period_start, held.period_end = begins, until
            held.save()
            periods.follow_renewal(held, now=at)
        self.there.plan = held.plan_version

    def end(self, at: datetime) -> None:
        """The subscription ends; what is left is the Free plan."""
        with transaction.atomic():
            lock_wallet(self.there.account.pk)
            self.subscription.move_to("ended", now=at)
            self.subscription.save()
            periods.end_open(self.there.account.pk, at=at, by="end")
        self.there.plan = plan_version("free")

    def agree(self, at: datetime, cap: str) -> None:
        self.key = self.there.agree(cap, at).pk

    @property
    def subscription(self) -> Any:
        assert self.there.subscription is not None
        return self.there.subscription


def play(row: Row) -> Play:
    """Every step of the row, each with its outcome."""
    if row.plan is None or "free" in row.plan:
        there = driver(usd=row.usd)
        if row.plan:
            there.plan = plan_version("free", **row.plan["free"])
    else:
        there = driver(usd=row.usd)
        there.subscribe(plan_version("pro", **row.plan), row.start, moment(row.end, row.start))
    there.plan.refresh_from_db()
    played = Play(row, there)
    for number, (when, verb, *what, expected) in enumerate(row.steps):
        terms: dict[str, Any] = what.pop() if what and isinstance(what[-1], dict) else {}
        act: Callable[..., Any] = getattr(played, verb)
        told = str(act(moment(when, row.start), *what, **terms) or "done")
        assert told == expected, f"step {number + 1}, {when} {verb} {what}: {told} and not {expected}"
    return played


def seen(play: Play, kind: str) -> list[tuple[Any, ...]]:
    return [(w.starts_at, w.ends_at, w.used, w.held, w.carried) for w in in_order(play.there, kind)]


def in_order(there: Driver, kind: str) -> list[QuotaWindow]:
    return sorted(there.windows(kind), key=lambda w: (w.starts_at, w.ends_at))


@pytest.mark.parametrize("row", ROWS)
def test_windows(row):
    played = play(row)
    for kind, expected in row.windows.items():
        wanted = [
            (moment(start, row.start), moment(end, row.start), Decimal(used), *(Decimal(n) for n in (*rest, 0, 0)[:2]))
            for start, end, used, *rest in expected
        ]
        assert seen(played, kind) == wanted, kind
    if row.extra is not None:
        [month] = ExtraUsageMonth.objects.all()
        assert (month.spent, month.calls, month.held) == (Decimal(row.extra[0]), row.extra[1], 0)
    else:
        assert not ExtraUsageMonth.objects.exists()
    assert UsageRecord.objects.filter(funding="subscription").exclude(charge=0).count() == 0


def test_there_are_enough_rows_and_no_two_say_the_same():
    says = [one.values[0].says for one in ROWS]
    assert len(set(says)) == len(says) >= 40


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_windows_are_of_utc_whatever_the_time_zone_of_the_session(zone):
    """A day is twenty-four hours: neither a week nor a Free period is longer over the change of the clocks."""
    there = driver()
    start = datetime(2026, 10, 24, 3, tzinfo=UTC)  # both change their clocks within thirty days
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, false)", [zone])
    try:
        for days in range(0, 30, 3):
            assert there.use("1", start + timedelta(days=days)).outcome == "created"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
    [period] = there.windows("period")
    assert period.ends_at - period.starts_at == timedelta(days=30)
    whole = [w for w in there.windows("week") if w.ends_at != period.ends_at]
    assert {w.ends_at - w.starts_at for w in whole} == {timedelta(days=7)}


# --- Controls: without the rule the rows above come out otherwise ---------------------------------------------------


def test_control_without_the_carry_an_upgrade_would_give_the_flows_twice(monkeypatch):
    begin = periods.begin
    monkeypatch.setattr(periods, "begin", lambda *a, carry=False, **more: begin(*a, carry=False, **more))
    [row] = [one.values[0] for one in CHANGES if one.values[0].says.startswith("an upgrade gives full")]
    with pytest.raises(AssertionError, match="created and not exhausted"):
        play(row)
