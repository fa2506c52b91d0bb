"""Requests per minute: a moving window of 60 s in Redis, many accounts in one round trip.

When Redis is away calls are admitted and the metric `rate_limit_unavailable` counts them: money limits live in
PostgreSQL (02-domain 2.6). The window is exact: one sorted-set member a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import redis
from django.conf import settings
from prometheus_client import Counter

log = logging.getLogger(__name__)

WINDOW_MICROSECONDS = 60_000_000
UNAVAILABLE = Counter(
    "meterhall_rate_limit_unavailable", "Calls admitted without asking the rate limit, because Redis was away"
)
RETRY_AFTER_FAILURE_SECONDS = 1.0

_SCRIPT = """
local key, now, window, limit, member = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
local used = redis.call('ZCARD', key)
local allowed = 0
if used < limit then
  redis.call('ZADD', key, now, member)
  redis.call('PEXPIRE', key, math.ceil(window / 1000))
  used = used + 1
  allowed = 1
end
local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
return {allowed, used, oldest or tostring(now)}
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that wants a place in its account's window. `limit` is requests a minute."""

    account: str
    limit: int
    member: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`remaining` after this request; `resets_at` is when the oldest request leaves the window."""

    allowed: bool
    limit: int
    remaining: int
    resets_at: datetime


@lru_cache(maxsize=1)
def _client(url: str) -> tuple[redis.Redis, object]:
    client = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5, health_check_interval=30)
    return client, client.register_script(_SCRIPT)


_away_until = 0.0


def take(asks: Sequence[Ask], *, now: datetime) -> list[Verdict]:
    """Count each request in its account's window, in order, and say whether it had a place."""
    global _away_until
    if not asks:
        return []
    at = int(now.timestamp() * 1_000_000)
    if time.monotonic() >= _away_until:
        try:
            return _take(asks, at)
        except redis.RedisError as error:
            _away_until = time.monotonic() + RETRY_AFTER_FAILURE_SECONDS
            log.warning("rate limits are not asked: %s", type(error).__name__)
    UNAVAILABLE.inc(len(asks))
    return [Verdict(True, ask.limit, ask.limit, now) for ask in asks]


def _take(asks: Sequence[Ask], at: int) -> list[Verdict]:
    client, script = _client(settings.REDIS_URL)
    pipe = client.pipeline(transaction=False)
    for ask in asks:
        script(keys=[f"mh:rpm:{ask.account}"], args=[at, WINDOW_MICROSECONDS, ask.limit, ask.member], client=pipe)  # type: ignore[operator]
    verdicts = []
    for ask, (allowed, used, oldest) in zip(asks, pipe.execute(), strict=True):
        leaves = datetime.fromtimestamp((int(float(oldest)) + WINDOW_MICROSECONDS) / 1_000_000, UTC)
        verdicts.append(Verdict(bool(allowed), ask.limit, max(0, ask.limit - used), leaves))
    return verdicts
