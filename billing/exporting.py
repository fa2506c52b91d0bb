"""CSV that streams: rows are fetched a keyset page at a time, so that a million of them need no memory and no lock.

Text that a spreadsheet would run as a formula is defused with an apostrophe; numbers that we wrote ourselves are not.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from billing.paging import Key, older_than

CHUNK: Final = 2_000
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
BOM: Final = "\ufeff"  # without it spreadsheets read UTF-8 as something else


def neutral(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, Decimal):
        return format(value.normalize() if value else Decimal(0), "f")
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return "" if value is None else value


class _Line:
    """What csv.writer writes to: the line itself."""

    def write(self, text: str) -> str:
        return text


def csv_response(
    request: HttpRequest,
    *,
    name: str,
    header: list[Any],
    rows: QuerySet[Any],
    key: Key,
    cells: Callable[[list[Any]], Iterable[list[Any]]],
) -> StreamingHttpResponse:
    """All rows, newest first. `cells` turns a chunk of rows into lines, so that it may look names up once a chunk."""
    writer = csv.writer(_Line())

    def text_of(lines: Iterable[list[Any]]) -> str:
        return "".join(writer.writerow([neutral(cell) for cell in line]) for line in lines)

    def chunk(edge: tuple[Any, ...] | None) -> tuple[str, tuple[Any, ...] | None]:
        found = list((older_than(rows, key, edge) if edge else rows).order_by(*key.newest_first)[:CHUNK])
        if not found:
            return "", None
        return text_of(cells(found)), key.read(key.write(found[-1])) if len(found) == CHUNK else None

    def chunks() -> Iterator[str]:
        yield BOM + text_of([header])
        edge: tuple[Any, ...] | None = None
        while True:
            text, edge = chunk(edge)
            yield text
            if edge is None:
                return

    def chunk_and_let_go(edge: tuple[Any, ...] | None) -> tuple[str, tuple[Any, ...] | None]:
        try:
            return chunk(edge)
        finally:
            connections.close_all()  # back to the pool: a slow reader must not keep a connection

    async def chunks_later() -> AsyncIterator[str]:
        yield BOM + text_of([header])
        edge: tuple[Any, ...] | None = None
        while True:
            text, edge = await sync_to_async(chunk_and_let_go)(edge)
            yield text
            if edge is None:
                return

    body = chunks_later() if isinstance(request, ASGIRequest) else chunks()
    response = StreamingHttpResponse(body, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response["Cache-Control"] = "no-store"
    return response
