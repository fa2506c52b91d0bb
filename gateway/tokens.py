"""Which gateway is calling. A token is looked up once in a while and kept in the process for two seconds."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from accounts import api_keys, secrets
from accounts.models import GatewayToken
from billing.errors import InvalidCredential, IpNotAllowed, ServiceUnavailable
from config import pool

KEPT_SECONDS = 2.0
_kept: dict[bytes, tuple[float, Known | None]] = {}


@dataclass(frozen=True, slots=True)
class Known:
    """What the lane needs to know of a token."""

    id: UUID
    allowed_ips: tuple[str, ...]
    expires_at: datetime | None


async def identify(
    header: str, client: str, loop: asyncio.AbstractEventLoop, executor: ThreadPoolExecutor, *, now: datetime
) -> UUID:
    """The gateway behind the header. 401 gives no hint which part was wrong; 403 when its address is not allowed."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.startswith("gw-") or not secrets.is_well_formed(text):
        raise InvalidCredential
    digest = secrets.digest(text)
    read_at, known = _kept.get(digest, (0.0, None))
    if time.monotonic() - read_at > KEPT_SECONDS:
        known = await loop.run_in_executor(executor, _look_up, digest, now)
        if len(_kept) > 1000:
            _kept.clear()
        _kept[digest] = (time.monotonic(), known)
    if known is None or (known.expires_at is not None and known.expires_at <= now):
        raise InvalidCredential
    if not api_keys.is_allowed_from(client, known.allowed_ips):
        raise IpNotAllowed(limit_source="ip")
    return known.id


def forget() -> None:
    """Drop what is kept; the next call looks its token up."""
    _kept.clear()


def _look_up(digest: bytes, now: datetime) -> Known | None:
    try:
        token = GatewayToken.objects.filter(hash=digest, disabled_at=None).first()
        if token is None:
            return None
        api_keys.touch(token, now=now)
        return Known(token.pk, tuple(token.allowed_ips), token.expires_at)
    except (OperationalError, InterfaceError) as error:
        connection.close()
        pool.heal()
        raise ServiceUnavailable(retry_after=1) from error
    finally:
        connection.close()
