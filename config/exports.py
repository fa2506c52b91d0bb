"""Tables as CSV, streamed row by row; a spreadsheet reads every cell as a value and never as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also in their full width
_CONTROLS = ("\t", "\r", "\n")
_END = object()


def cell(value: Any) -> str:
    """A value as a cell. What a spreadsheet might take for a formula gets an apostrophe in front (7.2)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    text = value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
    if text.lstrip()[:1] in ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20") or text[:1] in (
        "\t",
        "\r",
        "\n",
    ):
        return text if _NUMBER.fullmatch(text) else f"'{text}"
    return text


def stream(
    request: HttpRequest, columns: Sequence[str], tables: Iterable[Sequence[Sequence[Any]]], *, name: str
) -> StreamingHttpResponse:
    """The table as an attachment. Each of `tables` is a batch of rows; the database is not held between batches."""
    lines = _lines(columns, tables)
    content = _in_turns(lines) if isinstance(request, ASGIRequest) else lines
    return StreamingHttpResponse(
        content,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"},
    )


def _lines(columns: Sequence[str], tables: Iterable[Sequence[Sequence[Any]]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    for table in tables:
        writer.writerows([cell(value) for value in row] for row in table)
        if not connection.in_atomic_block:
            connection.close()  # a slow reader must not keep one of the pool's connections
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


async def _in_turns(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The same under ASGI, where Django would otherwise collect a plain iterator in memory before sending it."""
    following = sync_to_async(lambda: next(lines, _END))
    while (batch := await following()) is not _END:
        yield batch  # type: ignore[misc]
