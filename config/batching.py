"""Parts of the small ASGI apps beside Django: what arrives at the same time is worked off together.

Concurrent requests are gathered into batches; each batch is one call on a thread with a database connection, and every
caller waits for its own answer after the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from billing import errors
from config import pool

T = TypeVar("T")
R = TypeVar("R")
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Batcher(Generic[T, R]):
    """Gathers what arrives while the workers are busy, or within `seconds`, into one call of `work`."""

    def __init__(self, work: Callable[[list[T]], Sequence[R | BaseException]], executor: ThreadPoolExecutor) -> None:
        self.work, self.executor = work, executor
        self.waiting: list[tuple[T, asyncio.Future[R]]] = []
        self.busy = 0
        self.timer: asyncio.TimerHandle | None = None

    async def submit(self, item: T) -> R:
        """The answer to this item; raises what refused it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self.waiting.append((item, future))
        if len(self.waiting) >= settings.LANE_BATCH_SIZE or self.busy == 0:
            self._start(loop)
        elif self.timer is None and self.busy < settings.LANE_WORKERS:
            self.timer = loop.call_later(settings.LANE_BATCH_SECONDS, self._start, loop)
        return await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if not self.waiting or self.busy >= settings.LANE_WORKERS:
            return
        batch, self.waiting = self.waiting[: settings.LANE_BATCH_SIZE], self.waiting[settings.LANE_BATCH_SIZE :]
        self.busy += 1
        loop.create_task(self._run(batch, loop))  # the futures keep what matters

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]], loop: asyncio.AbstractEventLoop) -> None:
        try:
            found = await loop.run_in_executor(self.executor, with_connection, self.work, [item for item, _ in batch])
            for (_item, future), answer in zip(batch, found, strict=True):
                if future.done():  # the caller has gone; the work is done and the repeat will find it
                    continue
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        except BaseException as error:  # every caller of this batch must hear of it
            for _item, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self.busy -= 1
            self._start(loop)


def with_connection(work: Callable[[list[T]], R], items: list[T]) -> R:
    """Run on a connection of this thread's; one that broke is thrown away, so that the next batch gets a new one."""
    try:
        return work(items)
    except (OperationalError, InterfaceError) as error:
        with contextlib.suppress(DatabaseError):
            connection.close()
        pool.heal()
        raise errors.ServiceUnavailable(retry_after=1) from error
    finally:
        if connection.in_atomic_block or connection.settings_dict["OPTIONS"].get("pool"):
            connection.close()  # with a pool: given back, open and with its statements prepared


async def read_body(receive: Receive, headers: dict[str, str]) -> bytes:
    """The body, as long as it stays below the limit. Raises `BodyTooLarge`, and `BadRequest` when the caller leaves."""
    told = headers.get("content-length", "")
    if told.isdigit() and int(told) > settings.LANE_BODY_LIMIT:
        raise errors.BodyTooLarge(limit=settings.LANE_BODY_LIMIT)
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise errors.BadRequest
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > settings.LANE_BODY_LIMIT:
            raise errors.BodyTooLarge(limit=settings.LANE_BODY_LIMIT)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


async def reply(send: Send, status: int, body: bytes, kind: str, extra: dict[str, str]) -> None:
    """Send one whole answer; `kind` is its content type."""
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in extra.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
