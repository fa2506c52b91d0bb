"""Guessing at voucher codes, slowed down: per account and per network.

Redis turns away at the door, before anything is read: an attempt takes a point, gives it back when it succeeds, and
loses four more when it was refused; a code whose check digit is wrong costs the one point. Under the wallet's lock the
refused attempts that are kept are counted as well. That is exact for an account, however many tries come at once, and
it is all there is when Redis is away.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid4

import redis
from django.conf import settings

from billing.books.models_vouchers import Redemption
from billing.errors import VoucherThrottled

log = logging.getLogger(__name__)

WINDOW: Final = timedelta(hours=1)
WRONG, TRY = 5, 1
"""Points: a refused code, and an attempt whose outcome is not known or that was only mistyped."""
RETRY_AFTER_FAILURE_SECONDS: Final = 1.0

# Every key has room for the points, or none is taken from any: a full network does not use up an account.
_SCRIPT: Final = """
local now, window, points, member = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local wait = 0
for index, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[4 + index])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  local over = redis.call('ZCARD', key) + points - limit
  if over > 0 then
    local last = redis.call('ZRANGE', key, over - 1, over - 1, 'WITHSCORES')[2]
    wait = math.max(wait, last and (tonumber(last) + window - now) or window)
  end
end
if wait > 0 then return wait end
for _, key in ipairs(KEYS) do
  for point = 1, points do redis.call('ZADD', key, now, member .. ':' .. point) end
  redis.call('PEXPIRE', key, window)
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who tries: an account, and a network as a keyed hash, since the address itself is not needed."""

    account_id: UUID
    client: bytes

    @property
    def keys(self) -> list[str]:
        """Where each is counted."""
        return [f"mh:voucher:account:{self.account_id}", f"mh:voucher:client:{self.client.hex()}"]


@dataclass(frozen=True, slots=True)
class Permit:
    """An attempt that may go on. `counted` is False when Redis was away."""

    caller: Caller
    member: str
    counted: bool

    def give_back(self) -> None:
        """The attempt was no guess."""
        self._settle(lambda pipe, key: pipe.zrem(key, f"{self.member}:{TRY}"))

    def charge(self, *, now: datetime) -> None:
        """The attempt was refused: it costs what a wrong code costs."""
        more = {f"{self.member}:{point}": _milliseconds(now) for point in range(TRY + 1, WRONG + 1)}
        self._settle(lambda pipe, key: pipe.zadd(key, more))

    def _settle(self, change: Callable[[Any, str], Any]) -> None:
        if not self.counted:
            return
        try:
            client, _script = _client(settings.REDIS_URL)
            pipe = client.pipeline(transaction=False)
            for key in self.caller.keys:
                change(pipe, key)
                pipe.pexpire(key, WINDOW)
            pipe.execute()
        except redis.RedisError as error:
            log.warning("voucher points are not settled: %s", type(error).__name__)


def caller(account_id: UUID, ip: str) -> Caller:
    """The account and the network behind the address: of IPv6 the /64, which one household has to itself."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address):
            mapped = address.ipv4_mapped
            network = str(mapped or ipaddress.ip_network((address, 64), strict=False))
        else:
            network = str(address)
    except ValueError:
        network = str(account_id)  # nothing is known of it, so it is not shared with anybody
    hashed = hmac.digest(settings.KEY_HASH_SECRET.encode(), f"client:{network}".encode(), hashlib.sha256)
    return Caller(account_id, hashed[:16])


_away_until = 0.0


def take(who: Caller, *, now: datetime) -> Permit:
    """Take a point or raise `VoucherThrottled`, which says when to come again."""
    global _away_until
    permit = Permit(who, uuid4().hex, counted=True)
    if time.monotonic() >= _away_until:
        try:
            wait = _take(permit, now)
        except redis.RedisError as error:
            _away_until = time.monotonic() + RETRY_AFTER_FAILURE_SECONDS
            log.warning("voucher attempts are counted in the database: %s", type(error).__name__)
        else:
            if wait > 0:
                raise VoucherThrottled(retry_after=math.ceil(wait / 1000))
            return permit
    return Permit(who, permit.member, counted=False)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _limits() -> list[int]:
    return [settings.VOUCHER_WRONG_PER_ACCOUNT * WRONG, settings.VOUCHER_WRONG_PER_CLIENT * WRONG]


def _take(permit: Permit, now: datetime) -> int:
    _redis, script = _client(settings.REDIS_URL)
    span = int(WINDOW.total_seconds() * 1000)
    return int(script(keys=permit.caller.keys, args=[_milliseconds(now), span, TRY, permit.member, *_limits()]))


@lru_cache(maxsize=1)
def _client(url: str) -> tuple[Any, Any]:
    client = redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5, health_check_interval=30)
    return client, client.register_script(_SCRIPT)


def check_rows(who: Caller, *, now: datetime) -> None:
    """The limits, from the refused attempts that are kept; the caller holds the wallet's lock.

    An account's attempts follow each other under that lock. Several accounts of one network may overshoot its limit
    by one attempt each; that is little against 75 bits.
    """
    owners: list[dict[str, Any]] = [{"account_id": who.account_id}, {"client": who.client}]
    for limit, owner in zip(_limits(), owners, strict=True):
        most = limit // WRONG
        refused = Redemption.objects.exclude(result=Redemption.Result.REDEEMED).filter(at__gt=now - WINDOW, **owner)
        times = list(refused.order_by("-at").values_list("at", flat=True)[:most])
        if len(times) >= most:
            wait = times[-1] + WINDOW - now
            raise VoucherThrottled(retry_after=max(1, math.ceil(wait.total_seconds())))
