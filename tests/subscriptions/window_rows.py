"""The rows of the window table: a sentence, a plan, steps, and the windows afterwards (`test_window_table.py`).

Times are of UTC; `+` is the time since the period's start. One Flow is one dollar of list price. A window is its start,
its end, and the Flows used, held and carried over in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.subscriptions.driving import NOON

MICRO = timedelta(microseconds=1)
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "us": MICRO}
THIRTY_DAYS = "+30d"

# Plans whose one cap is the one that counts: the others are too high to matter.
FIVE = {"flows_5h": 50, "flows_week": 5000, "flows_period": 50_000}
WEEK = {"flows_5h": 500, "flows_week": 500, "flows_period": 50_000}
PERIOD = {"flows_5h": 2000, "flows_week": 2000, "flows_period": 2000}
GRID = FIVE | {"anchor_policy": "grid"}
LARGER = {"flows_5h": 300, "flows_week": 30_000, "flows_period": 300_000}


def moment(text: str, start: datetime) -> datetime:
    """`+1d 5h -1us` from the start, or a time of its own."""
    if not text.startswith("+"):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    found = start
    for sign, number, unit in re.findall(r"([+-]?)(\d+)(us|[dhm])", text):
        found += UNITS[unit] * int(number) * (-1 if sign == "-" else 1)
    return found


@dataclass(frozen=True)
class Row:
    """One scenario. `plan` are the terms of a Pro of its own, None the Free plan."""

    says: str
    plan: dict[str, Any] | None
    steps: list[tuple[Any, ...]]
    windows: dict[str, list[tuple[Any, ...]]]
    start: datetime = NOON
    end: str = THIRTY_DAYS
    usd: str = "0"
    extra: tuple[str, int] | None = None  # what Extra Usage spent, in how many calls


def row(says: str, plan: dict[str, Any] | None, steps: list[Any], windows: dict[str, Any], **more: Any) -> Any:
    return pytest.param(Row(says, plan, steps, windows, **more), id=says.replace(" ", "_"))


OK, FULL = "created", "exhausted"

BOUNDARIES = [
    row(
        "five hours hold the last microsecond and not the next",
        FIVE,
        [("+0h", "use", "50", OK), ("+5h -1us", "use", "1", FULL), ("+5h", "use", "1", OK)],
        {"5h": [("+0h", "+5h", 50), ("+5h", "+10h", 1)], "week": [("+0h", "+7d", 51)]},
    ),
    row(
        "a window opens with the first call and not with the end of the one before",
        FIVE,
        [
            ("+1h", "use", "50", OK),
            ("+6h 10m", "use", "1", OK),
            ("+11h 9m", "use", "49", OK),
            ("+11h 9m", "use", "1", FULL),
        ],
        {"5h": [("+1h", "+6h", 50), ("+6h 10m", "+11h 10m", 50)]},
    ),
    row(
        "a week holds the last microsecond and not the next",
        WEEK,
        [("+2h", "use", "500", OK), ("+7d 2h -1us", "use", "1", FULL), ("+7d 2h", "use", "1", OK)],
        {"week": [("+2h", "+7d 2h", 500), ("+7d 2h", "+14d 2h", 1)]},
    ),
    row(
        "a call that a full week refuses opens no window of five hours",
        WEEK,
        [("+0h", "use", "500", OK), ("+6h", "use", "1", FULL), ("+3d", "use", "1", FULL)],
        {"5h": [("+0h", "+5h", 500)], "week": [("+0h", "+7d", 500)]},
    ),
    row(
        "a period holds the last microsecond and then a paid plan waits for its renewal",
        PERIOD,
        [("+0h", "use", "2000", OK), ("+30d -1us", "use", "1", FULL), ("+30d", "use", "1", "lapsed")],
        {"period": [("+0h", "+30d", 2000)]},
    ),
    row(
        "a period of the Free plan is thirty days from its first call to the microsecond",
        None,
        [("+3h", "use", "5", OK), ("+30d 3h -1us", "use", "5", OK), ("+30d 3h", "use", "5", OK)],
        {
            "period": [("+3h", "+30d 3h", 10), ("+30d 3h", "+60d 3h", 5)],
            "5h": [("+3h", "+8h", 5), ("+30d 3h -1us", "+30d 3h", 5), ("+30d 3h", "+30d 8h", 5)],
        },
    ),
    row(
        "a window that opens a microsecond before its period ends lasts one",
        FIVE,
        [("+30d -1us", "use", "50", OK), ("+30d", "renew", "+60d", "done"), ("+30d", "use", "50", OK)],
        {
            "5h": [("+30d -1us", "+30d", 50), ("+30d", "+30d 5h", 50)],
            "week": [("+30d -1us", "+30d", 50), ("+30d", "+37d", 50)],
        },
    ),
    row(
        "what fits exactly is admitted and a millionth more is not",
        FIVE,
        [
            ("+0h", "ask", "49.999999", "a", OK),
            ("+0h", "ask", "0.000002", "b", FULL),
            ("+0h", "ask", "0.000001", "c", OK),
        ],
        {"5h": [("+0h", "+5h", 0, 50)]},
    ),
    row(
        "the shortest window is not always the one that is full",
        {"flows_5h": 50, "flows_week": 60, "flows_period": 70},
        [
            ("+0h", "use", "50", OK),
            ("+5h", "use", "11", FULL),
            ("+5h", "use", "10", OK),
            ("+10h", "use", "1", FULL),
            ("+7d", "use", "11", FULL),
            ("+7d", "use", "10", OK),
            ("+14d", "use", "1", FULL),
        ],
        {"5h": [("+0h", "+5h", 50), ("+5h", "+10h", 10), ("+7d", "+7d 5h", 10)], "period": [("+0h", "+30d", 70)]},
    ),
    row(
        "five full weeks come to the cap of the period",
        WEEK | {"flows_period": 2160, "flows_week": 504, "flows_5h": 504},
        [
            ("+0d", "use", "504", OK),
            ("+7d", "use", "504", OK),
            ("+14d", "use", "504", OK),
            ("+21d", "use", "504", OK),
            ("+28d", "use", "145", FULL),
            ("+28d", "use", "144", OK),
            ("+29d", "use", "1", FULL),
        ],
        {"period": [("+0h", "+30d", 2160)]},
    ),
    row(
        "with the cap of the period off the fifth week is a whole one",
        WEEK | {"flows_period": 2160, "flows_week": 504, "flows_5h": 504, "enforce_period_cap": False},
        [(f"+{7 * week}d", "use", "504", OK) for week in range(5)] + [("+29d", "use", "1", FULL)],
        {
            "period": [("+0h", "+30d", 2520)],
            "week": [
                ("+0d", "+7d", 504),
                ("+7d", "+14d", 504),
                ("+14d", "+21d", 504),
                ("+21d", "+28d", 504),
                ("+28d", "+30d", 504),
            ],
        },
    ),
]

LATE = [
    row(
        "a call counts in the five hours of its admission when captured in the next",
        FIVE,
        [("+4h", "ask", "40", "a", OK), ("+9h", "use", "50", OK), ("+9h", "capture", "a", "45", "done")],
        {"5h": [("+4h", "+9h", 45), ("+9h", "+14h", 50)], "week": [("+4h", "+7d 4h", 95)]},
    ),
    row(
        "a call counts in the week of its admission when captured in the next",
        WEEK,
        [
            ("+7d -1us", "ask", "400", "a", OK),
            ("+14d -1us", "use", "500", OK),
            ("+14d", "capture", "a", "500", "done"),
            ("+14d", "use", "1", FULL),
        ],
        {"week": [("+7d -1us", "+14d -1us", 500), ("+14d -1us", "+21d -1us", 500)]},
    ),
    row(
        "a call counts in the period of its admission when captured in the next",
        PERIOD,
        [
            ("+30d -1us", "ask", "1500", "a", OK),
            ("+30d", "renew", "+60d", "done"),
            ("+30d", "use", "2000", OK),
            ("+30d", "capture", "a", "1600", "done"),
            ("+30d", "use", "1", FULL),
        ],
        {
            "period": [("+0h", "+30d", 1600), ("+30d", "+60d", 2000)],
            "5h": [("+30d -1us", "+30d", 1600), ("+30d", "+30d 5h", 2000)],
            "week": [("+30d -1us", "+30d", 1600), ("+30d", "+37d", 2000)],
        },
    ),
    row(
        "a call of a Free period counts in it when captured under a paid plan",
        None,
        [
            ("+0h", "ask", "5", "a", OK),
            ("+1h", "subscribe", "+31d", "done"),
            ("+1h", "use", "50", OK),
            ("+2h", "capture", "a", "6", "done"),
            ("+2h", "use", "1", FULL),
        ],
        {
            "period": [("+0h", "+1h", 6), ("+1h", "+31d", 50)],
            "5h": [("+0h", "+1h", 6), ("+1h", "+6h", 50)],
            "week": [("+0h", "+1h", 6), ("+1h", "+7d 1h", 50)],
        },
    ),
    row(
        "a call of a paid period counts in it when captured under the Free plan",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+1h", "end", "done"),
            ("+1h", "use", "5", OK),
            ("+2h", "capture", "a", "44", "done"),
            ("+2h", "use", "1", FULL),
        ],
        {"period": [("+0h", "+1h", 44), ("+1h", "+30d 1h", 5)], "5h": [("+0h", "+1h", 44), ("+1h", "+6h", 5)]},
    ),
    row(
        "an expired hold makes room and its late capture still counts where it was admitted",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+1h", "expire", "1 expired"),
            ("+1h", "use", "50", OK),
            ("+6h", "use", "1", OK),
            ("+6h", "capture", "a", "50", "late"),
        ],
        {"5h": [("+0h", "+5h", 100), ("+6h", "+11h", 1)]},
    ),
    row(
        "a hold that no sweep has found yet still counts",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+4h", "use", "1", FULL),
            ("+4h", "capture", "a", "10", "done"),
            ("+4h", "use", "40", OK),
        ],
        {"5h": [("+0h", "+5h", 50)]},
    ),
    row(
        "a late capture after a renewal changes only the period before",
        PERIOD,
        [
            ("+29d", "ask", "100", "a", OK),
            ("+29d 1h", "expire", "1 expired"),
            ("+30d", "renew", "+60d", "done"),
            ("+31d", "capture", "a", "100", "late"),
            ("+31d", "use", "2000", OK),
        ],
        {"period": [("+0h", "+30d", 100), ("+30d", "+60d", 2000)]},
    ),
]

SIZES = [
    row(
        "a call that comes to less gives the rest back at once",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+1h", "capture", "a", "20", "done"),
            ("+1h", "use", "31", FULL),
            ("+1h", "use", "30", OK),
        ],
        {"5h": [("+0h", "+5h", 50)]},
    ),
    row(
        "a call that comes to more is an overshoot and the next window owes nothing for it",
        FIVE,
        [("+0h", "use", "50", "80", OK), ("+1h", "use", "1", FULL), ("+5h", "use", "50", OK)],
        {"5h": [("+0h", "+5h", 80), ("+5h", "+10h", 50)], "week": [("+0h", "+7d", 130)]},
    ),
    row(
        "an overshoot of five hours takes from the week and the period",
        {"flows_5h": 50, "flows_week": 100, "flows_period": 120},
        [
            ("+0h", "use", "50", "95", OK),
            ("+5h", "use", "6", FULL),
            ("+5h", "use", "5", OK),
            ("+10h", "use", "1", FULL),
            ("+7d", "use", "21", FULL),
            ("+7d", "use", "20", OK),
        ],
        {"week": [("+0h", "+7d", 100), ("+7d", "+14d", 20)], "period": [("+0h", "+30d", 120)]},
    ),
    row(
        "each of several open holds counts and each may overshoot once",
        FIVE,
        [
            ("+0h", "ask", "25", "a", OK),
            ("+0h", "ask", "25", "b", OK),
            ("+0h", "ask", "1", "c", FULL),
            ("+1h", "capture", "a", "30", "done"),
            ("+1h", "capture", "b", "30", "done"),
            ("+1h", "use", "1", FULL),
        ],
        {"5h": [("+0h", "+5h", 60)]},
    ),
    row(
        "a voided call leaves room and no trace",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+1h", "void", "a", "done"),
            ("+1h", "void", "a", "done"),
            ("+1h", "use", "50", OK),
        ],
        {"5h": [("+0h", "+5h", 50)]},
    ),
    row(
        "a window that a voided call opened stays open from its time",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+0h", "void", "a", "done"),
            ("+4h", "use", "50", OK),
            ("+5h", "use", "50", OK),
        ],
        {"5h": [("+0h", "+5h", 50), ("+5h", "+10h", 50)]},
    ),
    row(
        "a call larger than every window takes an untouched one",
        FIVE,
        [("+0h", "use", "90", OK), ("+5h", "use", "1", OK), ("+5h", "use", "90", FULL)],
        {"5h": [("+0h", "+5h", 90), ("+5h", "+10h", 1)]},
    ),
    row(
        "a free model passes a full window and is not counted",
        FIVE,
        [("+0h", "use", "50", OK), ("+1h", "use", "0", OK), ("+1h", "use", "1", FULL)],
        {"5h": [("+0h", "+5h", 50)]},
    ),
]

CHANGES = [
    row(
        "an upgrade gives full new windows less what was used",
        FIVE,
        [
            ("+1h", "use", "30", OK),
            ("+2h", "upgrade", LARGER, "done"),
            ("+2h", "use", "271", FULL),
            ("+2h", "use", "270", OK),
        ],
        {
            "5h": [("+1h", "+2h", 30), ("+2h", "+7h", 270, 0, 30)],
            "week": [("+1h", "+2h", 30), ("+2h", "+7d 2h", 270, 0, 30)],
            "period": [("+0h", "+2h", 30), ("+2h", "+30d", 270, 0, 30)],
        },
    ),
    row(
        "an upgrade with no window of five hours open opens none",
        FIVE,
        [("+1h", "use", "30", OK), ("+7h", "upgrade", LARGER, "done"), ("+8h", "use", "300", OK)],
        {
            "5h": [("+1h", "+6h", 30), ("+8h", "+13h", 300)],
            "week": [("+1h", "+7h", 30), ("+7h", "+7d 7h", 300, 0, 30)],
            "period": [("+0h", "+7h", 30), ("+7h", "+30d", 300, 0, 30)],
        },
    ),
    row(
        "an upgrade before any call has nothing to carry",
        FIVE,
        [("+1h", "upgrade", LARGER, "done"), ("+2h", "use", "300", OK)],
        {"5h": [("+2h", "+7h", 300)], "period": [("+0h", "+1h", 0), ("+1h", "+30d", 300)]},
    ),
    row(
        "an upgrade at the very start of the period leaves a period of no length",
        FIVE,
        [("+0h", "upgrade", LARGER, "done"), ("+0h", "use", "300", OK)],
        {"5h": [("+0h", "+5h", 300)], "period": [("+0h", "+0h", 0), ("+0h", "+30d", 300)]},
    ),
    row(
        "an open hold is carried over an upgrade and corrected when it is captured",
        FIVE,
        [
            ("+0h", "ask", "40", "a", OK),
            ("+1h", "upgrade", LARGER, "done"),
            ("+1h", "use", "261", FULL),
            ("+1h", "use", "260", OK),
            ("+2h", "capture", "a", "10", "done"),
            ("+2h", "use", "30", OK),
            ("+2h", "use", "1", FULL),
        ],
        {
            "5h": [("+0h", "+1h", 10), ("+1h", "+6h", 290, 0, 10)],
            "period": [("+0h", "+1h", 10), ("+1h", "+30d", 290, 0, 10)],
        },
    ),
    row(
        "an open hold that is voided after an upgrade is carried no more",
        FIVE,
        [
            ("+0h", "ask", "40", "a", OK),
            ("+1h", "upgrade", LARGER, "done"),
            ("+2h", "void", "a", "done"),
            ("+2h", "use", "300", OK),
        ],
        {
            "5h": [("+0h", "+1h", 0), ("+1h", "+6h", 300, 0, 0)],
            "week": [("+0h", "+1h", 0), ("+1h", "+7d 1h", 300, 0, 0)],
        },
    ),
    row(
        "an open hold that expires after an upgrade and is captured late is carried again",
        FIVE,
        [
            ("+0h", "ask", "40", "a", OK),
            ("+1h", "upgrade", LARGER, "done"),
            ("+2h", "expire", "1 expired"),
            ("+2h", "use", "300", OK),
            ("+3h", "capture", "a", "40", "late"),
            ("+3h", "use", "1", FULL),
        ],
        {"5h": [("+0h", "+1h", 40), ("+1h", "+6h", 300, 0, 40)]},
    ),
    row(
        "an overshoot after an upgrade counts in the new windows too",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+1h", "upgrade", LARGER, "done"),
            ("+2h", "capture", "a", "120", "done"),
            ("+2h", "use", "181", FULL),
            ("+2h", "use", "180", OK),
        ],
        {"5h": [("+0h", "+1h", 120), ("+1h", "+6h", 180, 0, 120)]},
    ),
    row(
        "two upgrades in one window carry what both plans have used and hold",
        FIVE,
        [
            ("+0h", "ask", "50", "a", OK),
            ("+1h", "upgrade", LARGER, "done"),
            ("+1h", "ask", "100", "b", OK),
            ("+2h", "upgrade", LARGER | {"flows_5h": 800}, "done"),
            ("+3h", "capture", "a", "20", "done"),
            ("+3h", "void", "b", "done"),
            ("+3h", "use", "781", FULL),
            ("+3h", "use", "780", OK),
        ],
        {
            "5h": [("+0h", "+1h", 20), ("+1h", "+2h", 0, 0, 20), ("+2h", "+7h", 780, 0, 20)],
            "period": [("+0h", "+1h", 20), ("+1h", "+2h", 0, 0, 20), ("+2h", "+30d", 780, 0, 20)],
        },
    ),
    row(
        "two upgrades at one moment carry through a window of no length",
        FIVE,
        [
            ("+0h", "use", "50", OK),
            ("+1h", "upgrade", LARGER, "done"),
            ("+1h", "upgrade", LARGER | {"flows_5h": 800}, "done"),
            ("+1h", "use", "751", FULL),
            ("+1h", "use", "750", OK),
        ],
        {"5h": [("+0h", "+1h", 50), ("+1h", "+1h", 0, 0, 50), ("+1h", "+6h", 750, 0, 50)]},
    ),
    row(
        "an upgrade at the last microsecond of five hours carries them and at the next does not",
        FIVE,
        [
            ("+0h", "use", "50", OK),
            ("+5h -1us", "upgrade", LARGER, "done"),
            ("+5h -1us", "use", "250", OK),
            ("+5h -1us", "use", "1", FULL),
        ],
        {"5h": [("+0h", "+5h -1us", 50), ("+5h -1us", "+10h -1us", 250, 0, 50)]},
    ),
    row(
        "an upgrade at the end of five hours finds none to carry",
        FIVE,
        [("+0h", "use", "50", OK), ("+5h", "upgrade", LARGER, "done"), ("+5h", "use", "300", OK)],
        {"5h": [("+0h", "+5h", 50), ("+5h", "+10h", 300)]},
    ),
    row(
        "what was carried counts in the first new window and not in the second",
        FIVE,
        [("+0h", "use", "50", OK), ("+1h", "upgrade", LARGER, "done"), ("+6h", "use", "300", OK)],
        {
            "5h": [("+0h", "+1h", 50), ("+1h", "+6h", 0, 0, 50), ("+6h", "+11h", 300)],
            "week": [("+0h", "+1h", 50), ("+1h", "+7d 1h", 300, 0, 50)],
        },
    ),
    row(
        "an upgrade near the period's end gives windows that end with it",
        FIVE,
        [("+29d 22h", "use", "50", OK), ("+29d 23h", "upgrade", LARGER, "done"), ("+29d 23h", "use", "250", OK)],
        {"5h": [("+29d 22h", "+29d 23h", 50), ("+29d 23h", "+30d", 250, 0, 50)]},
    ),
    row(
        "a renewal begins anew and carries nothing",
        FIVE,
        [("+29d 23h", "use", "50", OK), ("+30d", "renew", "+60d", "done"), ("+30d", "use", "50", OK)],
        {
            "5h": [("+29d 23h", "+30d", 50), ("+30d", "+30d 5h", 50)],
            "period": [("+0h", "+30d", 50), ("+30d", "+60d", 50)],
        },
    ),
    row(
        "a renewal after an upgrade carries nothing either",
        FIVE,
        [
            ("+0h", "use", "50", OK),
            ("+1h", "upgrade", LARGER, "done"),
            ("+30d", "renew", "+60d", "done"),
            ("+30d", "use", "300", OK),
        ],
        {"period": [("+0h", "+1h", 50), ("+1h", "+30d", 0, 0, 50), ("+30d", "+60d", 300)]},
    ),
    row(
        "a call after the period's end opens the next one before the provider has told of it and once",
        FIVE,
        [
            ("+29d", "use", "50", OK),
            ("2026-12-22T12:00:00.000001", "bridge", "done"),
            ("+30d 1us", "use", "50", OK),
            ("+30d 2h", "bridge", "done"),
            ("+30d 2h", "renew", "2027-01-22T12:00", "2026-12-22T12:00", "done"),
            ("+30d 2h", "use", "1", FULL),
        ],
        {
            "period": [("+0h", "+30d", 50), ("+30d", "2027-01-22T12:00", 50)],
            "5h": [("+29d", "+29d 5h", 50), ("+30d 1us", "+30d 5h 1us", 50)],
        },
    ),
    row(
        "the provider's longer period lengthens the one that a call has opened",
        FIVE,
        [("+30d", "bridge", "done"), ("+30d", "use", "50", OK), ("+31d", "renew", "2027-01-25T00:00", "+30d", "done")],
        {"period": [("+0h", "+30d", 0), ("+30d", "2027-01-25T00:00", 50)]},
    ),
    row(
        "the provider's shorter period shortens the windows in it",
        FIVE,
        [
            ("+27d", "use", "50", OK),
            ("+27d 1h", "renew", "+28d", "+0h", "done"),
            ("+28d", "renew", "+58d", "done"),
            ("+28d", "use", "50", OK),
        ],
        {"period": [("+0h", "+28d", 50), ("+28d", "+58d", 50)], "week": [("+27d", "+28d", 50), ("+28d", "+35d", 50)]},
    ),
    row(
        "a downgrade waits for the period's end",
        LARGER,
        [
            ("+1d", "use", "300", OK),
            ("+1d", "downgrade", FIVE, "done"),
            ("+2d", "use", "300", OK),
            ("+30d", "renew", "+60d", "done"),
            ("+30d", "use", "50", OK),
            ("+30d", "use", "1", FULL),
        ],
        {"period": [("+0h", "+30d", 600), ("+30d", "+60d", 50)]},
    ),
    row(
        "a downgrade holds from the period's end also when the provider has not told yet",
        LARGER,
        [
            ("+1d", "downgrade", FIVE, "done"),
            ("+30d", "bridge", "done"),
            ("+30d", "use", "50", OK),
            ("+30d", "use", "1", FULL),
        ],
        {"period": [("+0h", "+30d", 0), ("+30d", "+34d", 50)]},
    ),
    row(
        "the end of a subscription ends its windows and the Free plan begins with its first call",
        FIVE,
        [
            ("+1h", "use", "50", OK),
            ("+2h", "end", "done"),
            ("+4h", "use", "5", OK),
            ("+4h", "use", "1", FULL),
            ("+9h", "use", "5", OK),
        ],
        {
            "period": [("+0h", "+2h", 50), ("+4h", "+30d 4h", 10)],
            "5h": [("+1h", "+2h", 50), ("+4h", "+9h", 5), ("+9h", "+14h", 5)],
        },
    ),
    row(
        "a subscription to a plan ends the Free period that was open",
        None,
        [
            ("+0h", "use", "5", OK),
            ("+1h", "use", "1", FULL),
            ("+1h", "subscribe", "+31d", FIVE, "done"),
            ("+1h", "use", "50", OK),
        ],
        {"period": [("+0h", "+1h", 5), ("+1h", "+31d", 50)], "5h": [("+0h", "+1h", 5), ("+1h", "+6h", 50)]},
    ),
]

GRIDS = [
    row(
        "on a grid a window begins on the grid and not with its call",
        GRID,
        [("+7h", "use", "50", OK), ("+10h -1us", "use", "1", FULL), ("+10h", "use", "1", OK)],
        {"5h": [("+5h", "+10h", 50), ("+10h", "+15h", 1)], "week": [("+0h", "+7d", 51)]},
    ),
    row(
        "on a grid a call at a line belongs to the window that begins there",
        GRID,
        [("+5h", "use", "50", OK), ("+7d", "use", "50", OK)],
        {"5h": [("+5h", "+10h", 50), ("+165h", "+170h", 50)], "week": [("+0h", "+7d", 50), ("+7d", "+14d", 50)]},
    ),
    row(
        "on a grid the last week and the last five hours end with the period",
        GRID,
        [("+29d 23h", "use", "50", OK)],
        {"5h": [("+715h", "+720h", 50)], "week": [("+28d", "+30d", 50)]},
    ),
    row(
        "an upgrade to a grid lays it from the change",
        FIVE,
        [
            ("+1h", "use", "50", OK),
            ("+2h", "upgrade", LARGER | {"anchor_policy": "grid"}, "done"),
            ("+9h", "use", "300", OK),
        ],
        {
            "5h": [("+1h", "+2h", 50), ("+2h", "+7h", 0, 0, 50), ("+7h", "+12h", 300)],
            "week": [("+1h", "+2h", 50), ("+2h", "+7d 2h", 300, 0, 50)],
        },
    ),
    row(
        "the Free plan has a grid from its first call",
        {"free": {"anchor_policy": "grid"}},
        [("+1h", "use", "5", OK), ("+8h", "use", "5", OK)],
        {"period": [("+1h", "+30d 1h", 10)], "5h": [("+1h", "+6h", 5), ("+6h", "+11h", 5)]},
    ),
]

CALENDAR = [
    row(
        "the night in which Europe's clocks go forward has five hours",
        FIVE,
        [
            ("2027-03-28T00:30", "use", "50", OK),
            ("2027-03-28T05:29:59.999999", "use", "1", FULL),
            ("2027-03-28T05:30", "use", "1", OK),
        ],
        {"5h": [("2027-03-28T00:30", "2027-03-28T05:30", 50), ("2027-03-28T05:30", "2027-03-28T10:30", 1)]},
        start=datetime(2027, 3, 20, tzinfo=UTC),
    ),
    row(
        "the week in which New York's clocks go back has seven days of twenty-four hours",
        WEEK,
        [
            ("2026-10-30T03:00", "use", "500", OK),
            ("2026-11-06T02:59:59.999999", "use", "1", FULL),
            ("2026-11-06T03:00", "use", "1", OK),
        ],
        {"week": [("2026-10-30T03:00", "2026-11-06T03:00", 500), ("2026-11-06T03:00", "2026-11-13T03:00", 1)]},
        start=datetime(2026, 10, 25, tzinfo=UTC),
    ),
    row(
        "a period from the last of January ends on a leap day and the next on the last of March",
        FIVE,
        [
            ("2028-02-29T09:59:59.999999", "use", "50", OK),
            ("2028-02-29T10:00", "bridge", "done"),
            ("2028-02-29T10:00", "use", "50", OK),
            ("2028-02-29T10:00", "renew", "2028-03-31T10:00", "done"),
            ("2028-03-31T09:00", "use", "50", OK),
        ],
        {
            "period": [("+0h", "2028-02-29T10:00", 50), ("2028-02-29T10:00", "2028-03-31T10:00", 100)],
            "5h": [
                ("2028-02-29T09:59:59.999999", "2028-02-29T10:00", 50),
                ("2028-02-29T10:00", "2028-02-29T15:00", 50),
                ("2028-03-31T09:00", "2028-03-31T10:00", 50),
            ],
        },
        start=datetime(2028, 1, 31, 10, tzinfo=UTC),
        end="2028-02-29T10:00",
    ),
    row(
        "a week goes over a leap day and over the end of a year",
        WEEK,
        [
            ("2028-02-25T00:00", "use", "500", OK),
            ("2028-03-02T23:59:59.999999", "use", "1", FULL),
            ("2028-03-03T00:00", "use", "1", OK),
        ],
        {"week": [("2028-02-25T00:00", "2028-03-03T00:00", 500), ("2028-03-03T00:00", "2028-03-10T00:00", 1)]},
        start=datetime(2028, 2, 20, tzinfo=UTC),
    ),
    row(
        "a period of February alone has twenty-eight days and four weeks",
        {"flows_5h": 504, "flows_week": 504, "flows_period": 2160},
        [(f"+{7 * week}d", "use", "504", OK) for week in range(4)] + [("+28d -1us", "use", "1", FULL)],
        {"period": [("+0h", "+28d", 2016)], "week": [(f"+{7 * week}d", f"+{7 * week + 7}d", 504) for week in range(4)]},
        start=datetime(2027, 2, 1, tzinfo=UTC),
        end="2027-03-01T00:00",
    ),
]

EXTRA = [
    row(
        "Extra Usage pays while five hours are full and stops when they have room again",
        FIVE,
        [
            ("+0h", "agree", "20", "done"),
            ("+0h", "use", "50", OK),
            ("+1h", "use", "3", "extra"),
            ("+5h -1us", "use", "2", "extra"),
            ("+5h", "use", "50", OK),
        ],
        {"5h": [("+0h", "+5h", 50), ("+5h", "+10h", 50)], "week": [("+0h", "+7d", 100)]},
        usd="100",
        extra=("5", 2),
    ),
    row(
        "Extra Usage pays while the week is full",
        WEEK,
        [
            ("+0h", "agree", "20", "done"),
            ("+0h", "use", "500", OK),
            ("+7d -1us", "use", "2", "extra"),
            ("+7d", "use", "2", OK),
        ],
        {"week": [("+0h", "+7d", 500), ("+7d", "+14d", 2)]},
        usd="100",
        extra=("2", 1),
    ),
    row(
        "Extra Usage pays while the period is full",
        PERIOD,
        [
            ("+0h", "agree", "20", "done"),
            ("+0h", "use", "2000", OK),
            ("+8d", "use", "2", "extra"),
            ("+30d", "renew", "+60d", "done"),
            ("+30d", "use", "2", OK),
        ],
        {"period": [("+0h", "+30d", 2000), ("+30d", "+60d", 2)]},
        usd="100",
        extra=("2", 1),
    ),
    row(
        "a larger call goes to Extra Usage and a smaller one after it still fits",
        FIVE,
        [
            ("+0h", "agree", "20", "done"),
            ("+0h", "use", "45", OK),
            ("+1h", "use", "6", "extra"),
            ("+1h", "use", "5", OK),
            ("+1h", "use", "1", "extra"),
        ],
        {"5h": [("+0h", "+5h", 50)]},
        usd="100",
        extra=("7", 2),
    ),
    row(
        "a call that Extra Usage pays for opens no window",
        WEEK,
        [("+0h", "agree", "20", "done"), ("+0h", "use", "500", OK), ("+6h", "use", "2", "extra")],
        {"5h": [("+0h", "+5h", 500)]},
        usd="100",
        extra=("2", 1),
    ),
    row(
        "an overshoot stays on Flows and the call after it is Extra Usage",
        FIVE,
        [("+0h", "agree", "20", "done"), ("+0h", "use", "50", "60", OK), ("+0h", "use", "1", "extra")],
        {"5h": [("+0h", "+5h", 60)]},
        usd="100",
        extra=("1", 1),
    ),
    row(
        "a full month of Extra Usage refuses and Flows come back with the window",
        FIVE,
        [
            ("+0h", "agree", "4", "done"),
            ("+0h", "use", "50", OK),
            ("+1h", "use", "4", "extra"),
            ("+1h", "use", "1", "extra_usage_cap"),
            ("+5h", "use", "1", OK),
        ],
        {"5h": [("+0h", "+5h", 50), ("+5h", "+10h", 1)]},
        usd="100",
        extra=("4", 1),
    ),
    row(
        "an empty balance refuses what Extra Usage would pay",
        FIVE,
        [
            ("+0h", "agree", "20", "done"),
            ("+0h", "use", "50", OK),
            ("+1h", "use", "4", "insufficient_balance"),
            ("+5h", "use", "1", OK),
        ],
        {"5h": [("+0h", "+5h", 50), ("+5h", "+10h", 1)]},
        usd="3",
    ),
]

ROWS = [*BOUNDARIES, *LATE, *SIZES, *CHANGES, *GRIDS, *CALENDAR, *EXTRA]
