"""When a period of a subscription ends. Pure: whole seconds in, whole seconds out."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


def end_of_period(anchor: int, start: int, interval: str, count: int = 1) -> int:
    """The first end after `start` of the periods that are counted from the anchor.

    Months are counted on the calendar: the day is the anchor's, or the last day of a month that is shorter. After
    31 January comes 28 February, and then 31 March.
    """
    if interval in _DAYS:
        length = int(timedelta(days=_DAYS[interval] * count).total_seconds())
        return anchor + ((start - anchor) // length + 1) * length
    step, first = _MONTHS[interval] * count, datetime.fromtimestamp(anchor, UTC)
    at = datetime.fromtimestamp(start, UTC)
    periods = ((at.year - first.year) * 12 + at.month - first.month) // step
    while (end := _months_after(first, periods * step)) <= start:
        periods += 1
    return end


def _months_after(first: datetime, months: int) -> int:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    day = min(first.day, monthrange(year, month + 1)[1])
    return int(first.replace(year=year, month=month + 1, day=day).timestamp())
