"""Where a quota window begins and ends (C06, C07, J15). Pure; `sql/admit.sql` does the same under the wallet's lock."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Final

FIVE_HOURS: Final = timedelta(hours=5)
WEEK: Final = timedelta(days=7)
FREE_PERIOD: Final = timedelta(days=30)
"""The billing period of a plan that nobody is billed for: the thirty days that the published monthly cap is made of."""
LENGTHS: Final = {"5h": FIVE_HOURS, "week": WEEK}


def span(
    kind: str, now: datetime, *, period_start: datetime, period_end: datetime, grid: bool = False
) -> tuple[datetime, datetime]:
    """The window that a call admitted at `now` opens: `[start, end)`, within its period.

    Anchored at the call, or on a grid from the period's start; at the end of a window the next one begins.
    """
    length = LENGTHS[kind]
    start = now
    if grid:
        start = period_start + (now - period_start) // length * length
    return start, min(start + length, period_end)


def month_after(anchor: datetime, start: datetime) -> datetime:
    """The end of the billing period that begins at `start`, for a subscription anchored at `anchor`.

    The anchor's day and time of the next month; where that month is too short, its last day (31 January, 28 February,
    31 March).
    """
    year, month = divmod(start.year * 12 + start.month, 12)
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def month_of(now: datetime) -> date:
    """The first day of the calendar month (UTC) in which Extra Usage counts what is admitted at `now`."""
    return now.astimezone(UTC).date().replace(day=1)


def next_month(now: datetime) -> datetime:
    """The first moment of the next calendar month of UTC, when the cap of Extra Usage begins anew."""
    here = now.astimezone(UTC)
    year, month = divmod(here.year * 12 + here.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
