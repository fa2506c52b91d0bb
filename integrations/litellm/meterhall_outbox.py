"""Deliver captures and voids to Meterhall at least once, also when Meterhall or this proxy dies in between.

Every message is appended to a spool file before anything else happens; a thread of its own sends it and
marks it done. Meterhall's captures and voids are idempotent, so sending twice is harmless and losing is the
only fault worth preventing. The spool holds authorization ids and token counts, never keys or prompts.

One file belongs to one process, which holds an advisory lock on it as long as it lives. At start, and once
a minute after that, a process adopts the files whose owner is gone.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import functools
import json
import logging
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx

logger = logging.getLogger("meterhall")

MAX_IN_MEMORY = 10_000
SENDERS = 8
ADOPT_EVERY_S = 60.0
LONGEST_PAUSE_S = 30.0
LARGEST_FILE = 64 * 1024 * 1024
# A wrong or revoked gateway token is a fault of the set-up, not of the message: keep it until someone mends it.
RETRIED = frozenset({401, 403, 408, 425, 429})


class Outbox:
    """Messages on their way to Meterhall. `put` is safe from any thread and never waits for the network."""

    def __init__(self, *, base_url: str, token: str, spool_dir: Path, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._spool_dir = spool_dir
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pid = 0
        self._complained_at = 0.0
        self._reset()

    def start(self) -> None:
        """Open the spool and begin to send, taking over what earlier processes left behind."""
        with self._lock:
            self._start_once_per_process()

    def put(self, path: str, body: dict[str, Any]) -> None:
        """Promise that `body` will be posted to `path`; once this returns, `kill -9` no longer loses it."""
        message = {"id": uuid.uuid4().hex, "path": path, "body": body}
        with self._lock:
            self._start_once_per_process()
            on_disk = self._append(message)
            if len(self._waiting) >= MAX_IN_MEMORY and on_disk:
                self._only_on_disk += 1
                return
            self._accept(message)

    def waiting(self) -> int:
        """How many messages are not delivered yet."""
        with self._lock:
            return len(self._waiting) + self._only_on_disk

    def close(self, timeout_s: float = 3.0) -> None:
        """Give the last messages a moment; what stays is in the spool for the next start."""
        deadline = time.monotonic() + timeout_s
        while self._pid == os.getpid() and self.waiting() and time.monotonic() < deadline:
            time.sleep(0.05)

    # -- one process, one file, one thread ------------------------------------------------------------

    def _reset(self) -> None:
        self._file: IO[str] | None = None
        self._path = self._spool_dir / "unopened"
        self._waiting: dict[str, dict[str, Any]] = {}
        self._only_on_disk = 0
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop

    def _start_once_per_process(self) -> None:
        if self._pid == os.getpid():
            return
        self._reset()  # after a fork the parent still owns its file, its messages and its thread
        self._pid = os.getpid()
        self._open_own_file()
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._run(ready)), name="meterhall-outbox", daemon=True).start()
        ready.wait(10)

    def _open_own_file(self) -> None:
        self._spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            self._path = self._spool_dir / f"spool-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
            descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_RDWR, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._path.exists():  # another process may have adopted the empty file before it was locked
                self._file = os.fdopen(descriptor, "a+", encoding="utf-8")
                return
            os.close(descriptor)

    def _append(self, line: dict[str, Any]) -> bool:
        """Write one line through to the operating system; a full disk costs durability, not the call."""
        try:
            if self._file is None:
                raise OSError("the spool is not open")
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._file.flush()
        except OSError as error:
            self._complain("The Meterhall spool cannot be written (%s): captures are kept in memory only.", error)
            return False
        return True

    def _accept(self, message: dict[str, Any]) -> None:
        self._waiting[message["id"]] = message
        self._loop.call_soon_threadsafe(self._queue.put_nowait, message["id"])

    # -- the thread -------------------------------------------------------------------------------------

    async def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        ready.set()
        async with httpx.AsyncClient(headers=self._headers, timeout=self._timeout_s) as client:
            await asyncio.gather(self._adopt(), *(self._send(client) for _ in range(SENDERS)))

    async def _send(self, client: httpx.AsyncClient) -> None:
        while True:
            message = self._waiting.get(await self._queue.get())
            if message is not None:
                await self._deliver(client, message)
                self._finish(message["id"])

    async def _deliver(self, client: httpx.AsyncClient, message: dict[str, Any]) -> None:
        pause = 0.2
        while True:
            try:
                response = await client.post(self._base_url + message["path"], json=message["body"])
            except httpx.HTTPError as error:
                reason = type(error).__name__
            else:
                if response.is_success:
                    return
                if response.status_code < 500 and response.status_code not in RETRIED:
                    self._reject(message, response)
                    return
                reason = f"status {response.status_code}"
            self._complain("Meterhall did not take %s (%s); %s wait and are sent again.",
                           message["path"], reason, len(self._waiting) + self._only_on_disk)  # fmt: skip
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311  # jitter, not a secret
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _reject(self, message: dict[str, Any], response: httpx.Response) -> None:
        """Meterhall will never take this one: keep it where a person finds it."""
        try:
            code = str(response.json().get("code", ""))
        except ValueError:
            code = ""
        if code in {"already_voided", "already_captured"} and message["path"].endswith("/void"):
            return  # the call has ended already, which is all that a void wants
        logger.error("Meterhall refused %s with %s %s", message["path"], response.status_code, code)
        line = {"status": response.status_code, "code": code, "path": message["path"], "body": message["body"]}
        try:
            with open(self._spool_dir / "rejected.jsonl", "a", encoding="utf-8") as rejected:
                rejected.write(json.dumps(line) + "\n")
        except OSError:
            logger.exception("rejected.jsonl cannot be written; the message was %s", json.dumps(line))

    def _finish(self, message_id: str) -> None:
        with self._lock:
            del self._waiting[message_id]
            self._append({"done": message_id})
            if self._only_on_disk:
                if len(self._waiting) < MAX_IN_MEMORY // 2:
                    self._load_from_disk()
            elif not self._waiting:
                self._forget_delivered()
            elif self._file is not None and self._file.tell() > LARGEST_FILE:
                self._rewrite()

    def _load_from_disk(self) -> None:
        for message in undelivered(self._path):
            if len(self._waiting) >= MAX_IN_MEMORY:
                return
            if message["id"] not in self._waiting:
                self._only_on_disk = max(0, self._only_on_disk - 1)
                self._accept(message)
        self._only_on_disk = 0

    def _forget_delivered(self) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.truncate(0)

    def _rewrite(self) -> None:
        """Under load there is always something waiting, so carry that over instead of growing for ever."""
        old_file, old_path = self._file, self._path
        try:
            self._open_own_file()
        except OSError as error:
            self._complain("The Meterhall spool cannot be renewed (%s).", error)
            return
        if all(self._append(message) for message in self._waiting.values()):
            old_path.unlink(missing_ok=True)
        if old_file is not None:
            old_file.close()

    async def _adopt(self) -> None:
        while True:
            await asyncio.to_thread(self._adopt_orphans)
            await asyncio.sleep(ADOPT_EVERY_S)

    def _adopt_orphans(self) -> None:
        for path in sorted(self._spool_dir.glob("spool-*.jsonl")):
            if path == self._path:
                continue
            try:
                with open(path, encoding="utf-8") as orphan:
                    fcntl.flock(orphan, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    found = list(undelivered(path))
                    for message in found:
                        self.put(message["path"], message["body"])  # in our own spool before the old one goes
                    path.unlink(missing_ok=True)
            except OSError:
                continue  # its owner lives, or another process was faster, or it is not ours to read
            if found:
                logger.warning("%s messages for Meterhall of an earlier process are sent now.", len(found))

    def _complain(self, text: str, *values: object) -> None:
        if time.monotonic() - self._complained_at > 10 or not self._complained_at:
            self._complained_at = time.monotonic()
            logger.warning(text, *values)


def undelivered(path: Path) -> Iterator[dict[str, Any]]:
    """The messages of a spool file that are not marked done; a line cut short by a crash is skipped."""
    messages: dict[str, dict[str, Any]] = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if "done" in entry:
                messages.pop(entry["done"], None)
            elif {"id", "path", "body"} <= entry.keys():
                messages[entry["id"]] = entry
    yield from messages.values()


@functools.cache
def outbox(base_url: str, token: str, spool_dir: str, timeout_s: float) -> Outbox:
    """The one outbox of this process: LiteLLM may load the module that asks for it more than once."""
    box = Outbox(base_url=base_url, token=token, spool_dir=Path(spool_dir), timeout_s=timeout_s)
    box.start()
    atexit.register(box.close)
    return box
