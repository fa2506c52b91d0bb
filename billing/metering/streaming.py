"""Reading very many usage records: a server-side cursor on one snapshot, JSON as text for the fast parser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import connection, transaction


def stream(
    statement: str, params: Sequence[Any] | Mapping[str, Any] = (), *, chunk: int = 5000
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a query in chunks, never more than one chunk in memory.

    All chunks are of one moment, however long reading takes, and the transaction refuses to write. Whoever calls this
    inside a transaction of its own gets that transaction's view instead.
    """
    own = not connection.in_atomic_block
    with transaction.atomic():
        if own:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        with connection.chunked_cursor() as cursor:
            cursor.execute(statement, params)
            while rows := cursor.fetchmany(chunk):
                yield rows
