"""Calendar months in UTC, as statements know them: the first instant counts, the next month's first does not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

_TEXT: Final = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
FINAL_AFTER: Final = timedelta(hours=1)
"""An entry carries the time at which its request began; an hour later none can still be on its way."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of UTC. `2026-11`."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """The month that holds this moment."""
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month)

    @classmethod
    def read(cls, text: str) -> Month | None:
        """`2026-11`, within the years that we keep; None for anything else."""
        found = _TEXT.fullmatch(text)
        if not found:
            return None
        year, month = int(found[1]), int(found[2])
        return cls(year, month) if 2000 <= year < 2200 and 1 <= month <= 12 else None

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant that does not belong to it."""
        return self.next.start

    @property
    def first_day(self) -> date:
        return self.start.date()

    @property
    def last_day(self) -> date:
        return (self.end - timedelta(days=1)).date()

    @property
    def next(self) -> Month:
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def before(self) -> Month:
        return Month(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    def is_final(self, now: datetime) -> bool:
        """True when nothing can come to it any more."""
        return now >= self.end + FINAL_AFTER
