"""What a quota counter says: how much is left, until when, and when it is full at this pace (C06, C07, C24). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from billing.money import round_flows

LEAST_TIME: Final = timedelta(minutes=5)
LEAST_SHARE: Final = 30
"""A pace is told after a thirtieth of the window: ten minutes of five hours, a day of thirty."""
LEAST_CALLS: Final = 3
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Counter:
    """One quota window as it stands, in Flows; without `starts_at` it is not open and begins with the next call.

    `carried` was used and held under `carried_from`, the plan before a change within the period (C26). What is not
    `enforced` is counted and refuses nothing (C07).
    """

    kind: str
    cap: Decimal
    used: Decimal = ZERO
    held: Decimal = ZERO
    carried: Decimal = ZERO
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    enforced: bool = True
    carried_from: str = ""
    window_id: UUID | None = None

    @property
    def open(self) -> bool:
        """A call has begun it."""
        return self.starts_at is not None

    @property
    def spent(self) -> Decimal:
        """Used in it and carried over into it."""
        return self.used + self.carried

    @property
    def spoken_for(self) -> Decimal:
        """What counts against the cap: used, held and carried over."""
        return self.used + self.held + self.carried

    @property
    def left(self) -> Decimal:
        """What calls may still take; never below zero."""
        return max(ZERO, self.cap - self.spoken_for)

    @property
    def overshoot(self) -> Decimal:
        """Used beyond the cap by calls that were admitted before it was reached (C24)."""
        return max(ZERO, self.spent - self.cap)

    @property
    def full(self) -> bool:
        """It admits nothing more."""
        return self.enforced and not self.left

    @property
    def tone(self) -> str:
        """How its bar is coloured: from four fifths on it warns."""
        if not self.enforced or self.spoken_for * 5 < self.cap * 4:
            return "primary"
        return "danger" if self.full else "warning"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where this pace leads: full at a moment before the window's end, or so many Flows at its end."""

    full_at: datetime | None
    by_end: Decimal


def forecast(counter: Counter, *, calls: int, now: datetime) -> Forecast | None:
    """The window's Flows so far, drawn on evenly. None while it is too early to tell, and for a full window.

    `calls` are those that were charged in this window; counting may stop at `LEAST_CALLS`. What other calls hold is
    not pace, and neither is what was carried over: that was used before the window began.
    """
    start, end = counter.starts_at, counter.ends_at
    if start is None or end is None or not start < now < end or counter.full:
        return None
    gone = now - start
    if calls < LEAST_CALLS or gone < max(LEAST_TIME, (end - start) / LEAST_SHARE) or not counter.used:
        return None
    left, rest = counter.left, end - now
    by_end = round_flows(counter.spoken_for + counter.used * _micros(rest) / _micros(gone))
    if by_end <= counter.cap:
        return Forecast(None, by_end)
    return Forecast(now + timedelta(microseconds=int(left * _micros(gone) / counter.used)), by_end)


def _micros(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What happens to the next call: Flows pay for it while `full` is empty.

    `limit` is the counter that has least left. When some are full, Flows pay again at `until`, when all of them have
    ended.
    """

    limit: Counter
    full: tuple[Counter, ...]
    until: datetime | None

    @property
    def free(self) -> Decimal:
        """What a call may take of the Flows now."""
        return self.limit.left

    @property
    def period_is_full(self) -> bool:
        """The billing period's cap is what stops calls (C07)."""
        return any(one.kind == "period" for one in self.full)


def outlook(counters: Iterable[Counter]) -> Outlook:
    """Which counter decides. A tie goes to the one that ends last, as it decides for longest."""
    asked = [one for one in counters if one.enforced]
    full = tuple(one for one in asked if one.full)
    ends = [one.ends_at for one in full if one.ends_at is not None]
    least = min(one.left for one in asked)
    limit = [one for one in asked if one.left == least][-1]
    return Outlook(limit, full, max(ends) if ends else limit.ends_at)
