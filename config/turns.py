"""One after the other, where doing the same at once would only be work done twice.

Nothing may depend on it: a turn spares work, it protects nothing. What must not happen twice is protected by the rows
and their constraints.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import redis
from django.conf import settings
from redis.exceptions import LockError

log = logging.getLogger(__name__)
POLL_SECONDS: Final = 0.02


@contextlib.contextmanager
def turn(name: str, *, wait: float, lasts: float) -> Iterator[bool]:
    """Hold `name` during the block, for at most `lasts` seconds; says whether somebody else held it before.

    Whoever comes meanwhile waits for at most `wait` seconds and then goes on regardless. Without Redis nobody waits.
    """
    lock = _client(settings.REDIS_URL).lock(f"mh:turn:{name}", timeout=lasts, sleep=POLL_SECONDS, thread_local=False)
    held = waited = False
    try:
        held = lock.acquire(blocking=False)
        if not held:
            waited = True
            held = lock.acquire(blocking_timeout=wait)
    except redis.RedisError as away:
        log.warning("Redis is away; nobody waits for a turn: %r", away)
    try:
        yield waited
    finally:
        if held:
            with contextlib.suppress(LockError, redis.RedisError):  # it had run out, or Redis has gone
                lock.release()


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_connect_timeout=0.5, socket_timeout=2)
