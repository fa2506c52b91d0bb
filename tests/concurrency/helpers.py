"""Threads that each have a database connection of their own, and functions without their lock, for controls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection

T = TypeVar("T")
LOCK = "FOR NO KEY UPDATE"


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """Run `work(0) … work(count-1)`, each in a thread that waits until all have started."""
    gate = threading.Barrier(count)

    def run(number: int) -> T:
        try:
            gate.wait(60)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


@contextmanager
def in_thread(work: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """Start `work` in a thread; the yielded function waits for its result."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(run)
        yield lambda: future.result(60)


def wait_until_blocked(count: int = 1) -> None:
    """Return when this many of our database's sessions wait for a lock."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0] >= count:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


@contextmanager
def without_lock(name: str, folder: str = "billing/metering/sql") -> Iterator[None]:
    """The control: a set-based function as it would be without the wallet's lock."""
    path = Path(settings.BASE_DIR) / folder / f"{name}.sql"
    whole = path.read_text()
    assert LOCK in whole
    with connection.cursor() as cursor:
        cursor.execute(whole.replace(LOCK, ""))
        try:
            yield
        finally:
            cursor.execute(whole)
