"""Calling the set-based functions: typed arrays in, rows out, one statement and one commit (06-performance).

Outside a transaction the statement is its own transaction, so an answer that follows it is durable. psycopg's own
cursor is used in place of Django's, because it binds on the server and keeps the statement prepared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from django.db import DataError, IntegrityError, connection
from psycopg.rows import tuple_row

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


def call(statement: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one statement on Django's connection with binary, prepared, server-side binding."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection, row_factory=tuple_row)
        cursor.execute(statement, params, prepare=True, binary=True)
        return cursor.fetchall()


def plain_array(values: Iterable[Any]) -> str:
    """An array literal of ids, numbers or times: values whose text needs no quotes. None is NULL.

    Ten times as fast as letting the driver dump each element, which was most of a batch's time in Python.
    """
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def text_array(values: Iterable[str]) -> str:
    """An array literal of texts (JSON among them), each quoted."""
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(quoted) + '"}' if quoted else "{}"


def bytes_array(values: Iterable[bytes]) -> str:
    """An array literal of byte strings, in hexadecimal."""
    return text_array("\\x" + value.hex() for value in values)


def time_array(values: Iterable[datetime]) -> str:
    """An array literal of times."""
    return "{" + ",".join([f'"{value.isoformat()}"' for value in values]) + "}"


def in_rounds(
    items: Sequence[T], key_of: Callable[[T], Any], work: Callable[[list[T]], list[R]]
) -> list[R | DataError]:
    """Run `work` so that no call has two items with one key: the second waits for the round after the first.

    An item that the database refuses outright (a value that no column takes) must not fail its neighbours: the
    round is cut in halves until the culprit stands alone, and the refusal is its answer. Inside a transaction the
    refusal is raised, because it has ended the transaction.
    """
    answers: list[R | DataError | None] = [None] * len(items)
    waiting = list(range(len(items)))
    while waiting:
        seen: set[Any] = set()
        now: list[int] = []
        later: list[int] = []
        for position in waiting:
            key = key_of(items[position])
            (later if key in seen else now).append(position)
            seen.add(key)
        for position, answer in zip(now, _halving([items[p] for p in now], work), strict=True):
            answers[position] = answer
        waiting = later
    return answers  # type: ignore[return-value]


def _halving(items: list[T], work: Callable[[list[T]], Sequence[R]]) -> list[R | DataError]:
    try:
        return [*work(items)]
    except (DataError, IntegrityError) as refusal:
        if connection.in_atomic_block:
            raise
        if len(items) == 1:
            if not isinstance(refusal, DataError):
                raise  # rows that contradict each other are a fault of ours, not of the item's value
            log.exception("the database refused an item")
            return [refusal]
        middle = len(items) // 2
        return _halving(items[:middle], work) + _halving(items[middle:], work)
