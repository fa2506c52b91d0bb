"""Keyset pages: the newest rows first, and links that stay true while rows are added (06-performance).

A cursor is the sort key of the row at a page's edge. `before` asks for what is older than it, `after` for what is
newer. Nothing is counted and nothing is skipped over, so the millionth row costs what the first one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet

PAGE_SIZE: Final = 50
COUNT_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Key:
    """What rows are ordered by, newest first; the last field is unique."""

    fields: tuple[str, ...]
    write: Callable[[Any], str]
    read: Callable[[str], tuple[Any, ...]]

    @property
    def newest_first(self) -> tuple[str, ...]:
        return tuple(f"-{field}" for field in self.fields)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first; the cursors are empty at the ends."""

    rows: list[Any]
    newer: str
    older: str


def older_than(rows: QuerySet[Any], key: Key, edge: tuple[Any, ...]) -> QuerySet[Any]:
    """Rows that come after the edge in the list."""
    return rows.filter(_beyond(key.fields, edge, "lt"))


def newer_than(rows: QuerySet[Any], key: Key, edge: tuple[Any, ...]) -> QuerySet[Any]:
    """Rows that come before the edge in the list."""
    return rows.filter(_beyond(key.fields, edge, "gt"))


def _beyond(fields: tuple[str, ...], edge: tuple[Any, ...], way: str) -> Q:
    """(a, b) < (x, y) as `a <= x AND (a < x OR b < y)`: the first half is what an index can use."""
    first, *rest = fields
    if not rest:
        return Q(**{f"{first}__{way}": edge[0]})
    return Q(**{f"{first}__{way}e": edge[0]}) & (
        Q(**{f"{first}__{way}": edge[0]}) | _beyond(tuple(rest), edge[1:], way)
    )


def page(rows: QuerySet[Any], key: Key, params: Mapping[str, str], *, size: int = PAGE_SIZE) -> Page:
    """One page of rows for a request's parameters; a cursor that cannot be read is the first page."""
    before, after = _edge(key, params.get("before", "")), _edge(key, params.get("after", ""))
    if after is not None:
        found = list(newer_than(rows, key, after).order_by(*key.fields)[: size + 1])
        more = len(found) > size
        found = found[:size][::-1]
        return Page(found, key.write(found[0]) if found and more else "", key.write(found[-1]) if found else "")
    if before is not None:
        rows = older_than(rows, key, before)
    found = list(rows.order_by(*key.newest_first)[: size + 1])
    more = len(found) > size
    found = found[:size]
    return Page(
        found,
        key.write(found[0]) if found and before is not None else "",
        key.write(found[-1]) if found and more else "",
    )


def _edge(key: Key, text: str) -> tuple[Any, ...] | None:
    try:
        return key.read(text) if text else None
    except (ValueError, OverflowError):
        return None


def batches(rows: QuerySet[Any], key: Key, *, size: int = 2_000) -> Iterator[list[Any]]:
    """All rows, newest first, a page at a time: a million of them need neither memory nor an open transaction."""
    edge: tuple[Any, ...] | None = None
    while True:
        found = list((older_than(rows, key, edge) if edge else rows).order_by(*key.newest_first)[:size])
        if found:
            yield found
        if len(found) < size:
            return
        edge = key.read(key.write(found[-1]))


def capped_count(rows: QuerySet[Any], limit: int = COUNT_LIMIT) -> tuple[int, bool]:
    """How many rows, counting no further than the limit; True when there are more."""
    found = rows.order_by().values("pk")[: limit + 1].count()
    return min(found, limit), found > limit


def by_time_and_id(field: str) -> Key:
    """Order by a moment, then by the row's id."""

    def write(row: Any) -> str:
        return f"{getattr(row, field).isoformat()}_{row.pk.hex}"

    def read(text: str) -> tuple[datetime, UUID]:
        moment, _, ident = text.rpartition("_")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError("a cursor says its time zone")
        return at, UUID(hex=ident)

    return Key((field, "pk"), write, read)


def by_number(field: str) -> Key:
    """Order by a number that is unique within the rows."""

    def read(text: str) -> tuple[int]:
        number = int(text)
        if abs(number) > 2**62:
            raise ValueError("beyond every number there is")
        return (number,)

    return Key((field,), lambda row: str(getattr(row, field)), read)
