"""Months on the calendar, and parts of a period in whole cents."""

from datetime import UTC, datetime

import pytest

from sandbox.invoice_lines import prorated
from sandbox.periods import end_of_period


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("anchor", "start", "interval", "count", "end"),
    [
        ("2026-01-31T10:00", "2026-01-31T10:00", "month", 1, "2026-02-28T10:00"),
        ("2026-01-31T10:00", "2026-02-28T10:00", "month", 1, "2026-03-31T10:00"),
        ("2027-12-31T10:00", "2028-01-31T10:00", "month", 1, "2028-02-29T10:00"),
        ("2026-11-30T23:59:59", "2027-01-30T23:59:59", "month", 1, "2027-02-28T23:59:59"),
        ("2026-12-15T00:00", "2026-12-15T00:00", "month", 1, "2027-01-15T00:00"),
        ("2026-12-15T00:00", "2026-12-20T00:00", "month", 1, "2027-01-15T00:00"),
        ("2026-12-15T00:00", "2026-12-02T00:00", "month", 1, "2026-12-15T00:00"),
        ("2026-01-31T10:00", "2026-01-31T10:00", "month", 3, "2026-04-30T10:00"),
        ("2028-02-29T10:00", "2028-02-29T10:00", "year", 1, "2029-02-28T10:00"),
        ("2028-02-29T10:00", "2031-02-28T10:00", "year", 1, "2032-02-29T10:00"),
        ("2026-01-31T10:00", "2026-01-31T10:00", "week", 2, "2026-02-14T10:00"),
        ("2026-01-31T10:00", "2026-02-01T10:00", "day", 1, "2026-02-02T10:00"),
    ],
)
def test_a_period_ends_on_the_day_of_its_anchor_or_the_last_of_a_shorter_month(anchor, start, interval, count, end):
    assert end_of_period(at(anchor), at(start), interval, count) == at(end)


@pytest.mark.parametrize(
    ("amount", "left", "whole", "share"),
    [(2000, 15, 30, 1000), (1, 1, 2, 1), (999, 1, 3, 333), (1000, 1, 3, 333), (2000, 1, 3, 667), (2000, 0, 30, 0)],
)
def test_a_part_of_a_period_is_whole_cents_half_up(amount, left, whole, share):
    assert prorated(amount, left, whole) == share
