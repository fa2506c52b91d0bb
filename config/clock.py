"""The one place that reads the wall clock. Edges call `now()` once and pass the time down.

In development the clock can be moved for every process: `CLOCK_OFFSET` (for instance `+25h` or `-90m`) at start,
and a file in the data folder that the sandbox's control page writes, so that windows, the 24 hours and expiry can
be tried by hand. With `DEBUG` off a set `CLOCK_OFFSET` refuses to start (`config/settings.py`), and the
file is not read.
"""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RECHECK_SECONDS = 1.0
_moved: tuple[float, timedelta] = (-_RECHECK_SECONDS, timedelta())


def parse_offset(text: str) -> timedelta:
    """`+25h`, `-90m`, `+1d12h` as a timedelta; the empty string is no offset. Raises ValueError."""
    text = text.strip()
    if not text:
        return timedelta()
    found = re.fullmatch(r"([+-]?)((?:\d+[smhd])+)", text)
    if not found:
        raise ValueError(f"CLOCK_OFFSET {text!r} is not of the form +25h or -90m")
    seconds = sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhd])", found[2]))
    return timedelta(seconds=-seconds if found[1] == "-" else seconds)


def offset_file() -> Path:
    """Where the control page keeps an offset that all processes of this installation share."""
    return Path(settings.DATA_DIR) / "clock-offset"


def offset() -> timedelta:
    """The offset in force; always zero with `DEBUG` off."""
    global _moved
    if not settings.DEBUG:
        return timedelta()
    read_at, moved = _moved
    if time.monotonic() - read_at >= _RECHECK_SECONDS:
        try:
            moved = parse_offset(offset_file().read_text())
        except (OSError, ValueError):
            moved = timedelta()
        _moved = (time.monotonic(), moved)
    return parse_offset(settings.CLOCK_OFFSET) + moved


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC) + offset()
