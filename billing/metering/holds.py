"""Holds: place and release them. The one Python door to `sql/authorize.sql` and `sql/release.sql`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from django.db import DataError

from billing.errors import NotRecorded
from billing.metering.calls import bytes_array, call, in_rounds, plain_array, text_array
from billing.metering.models import Authorization


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """All that a hold needs, decided by admission. `hold` is USD after discounts."""

    id: UUID
    account_id: UUID
    api_key_id: UUID | None
    token_id: UUID | None
    request_id: str
    digest: bytes
    model_id: int
    channel_id: int
    price_version_id: int
    channel_discount: Decimal
    user_discount: Decimal
    fields: dict[str, Any]
    hold: Decimal
    trace_id: str
    kind: str = "call"
    funding: str = "payg"
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What became of it. `outcome`: created, repeated, conflict, insufficient_balance or not_found.

    For the first two the rest describes the authorization; `available` is what the wallet had (USD) before this hold.
    """

    outcome: str
    id: UUID
    status: str
    funding: str
    held: Decimal
    held_flows: Decimal
    expires_at: datetime
    trace_id: str
    available: Decimal | None


_AUTHORIZE = """SELECT outcome, id, status, funding, held, held_flows, expires_at, trace_id, available
  FROM mh_authorize(
    %s::timestamptz, %s::timestamptz, %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::bytea[],
    %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[],
    %s::text[]::jsonb[], %s::numeric[], %s::text[], %s::text[])"""


def authorize(requests: Sequence[HoldRequest], *, now: datetime, expires_at: datetime) -> list[Held | NotRecorded]:
    """Place the holds that the wallets cover, each decided alone, in the order given (I3).

    A request id that the account used before answers with what it made (`repeated`), or with `conflict` when the
    body was another. Durable when it returns, unless the caller holds a transaction.
    """

    def work(batch: list[HoldRequest]) -> list[Held]:
        rows = call(
            _AUTHORIZE,
            [
                now,
                expires_at,
                plain_array(r.id for r in batch),
                plain_array(r.account_id for r in batch),
                plain_array(r.api_key_id for r in batch),
                plain_array(r.token_id for r in batch),
                text_array(r.request_id for r in batch),
                bytes_array(r.digest for r in batch),
                text_array(r.kind for r in batch),
                text_array(r.funding for r in batch),
                plain_array(r.model_id for r in batch),
                plain_array(r.channel_id for r in batch),
                plain_array(r.price_version_id for r in batch),
                plain_array(r.channel_discount for r in batch),
                plain_array(r.user_discount for r in batch),
                text_array(orjson.dumps(r.fields).decode() for r in batch),
                plain_array(r.hold for r in batch),
                text_array(r.fingerprint for r in batch),
                text_array(r.trace_id for r in batch),
            ],
        )
        return [Held(*row) for row in rows]

    found = in_rounds(requests, lambda r: (r.account_id, r.request_id), work)
    return [NotRecorded() if isinstance(answer, DataError) else answer for answer in found]


@dataclass(frozen=True, slots=True)
class Released:
    """`outcome`: released, repeated, already_captured, not_due or not_found; `status` as it is now."""

    outcome: str
    status: str | None


_RELEASE = "SELECT outcome, status FROM mh_release(%s::timestamptz, %s::text, %s::uuid[], %s::uuid[], %s::text[])"


def void(holds: Sequence[tuple[UUID, UUID, str]], *, now: datetime) -> list[Released]:
    """Release holds, given as (authorization, account, reason). Charges nothing; repeats are harmless."""
    return _release(holds, Authorization.Status.VOIDED, now)


def _release(holds: Sequence[tuple[UUID, UUID, str]], status: str, now: datetime) -> list[Released]:
    def work(batch: list[tuple[UUID, UUID, str]]) -> list[Released]:
        ids, accounts, reasons = zip(*batch, strict=True)
        return [
            Released(*row)
            for row in call(_RELEASE, [now, str(status), plain_array(ids), plain_array(accounts), text_array(reasons)])
        ]

    found = in_rounds(holds, lambda hold: hold[0], work)
    released: list[Released] = []
    for answer in found:
        if isinstance(answer, DataError):
            raise answer
        released.append(answer)
    return released


def expire_due(*, now: datetime, limit: int = 1000) -> int:
    """Release open holds past their time; how many. A capture that comes later is still charged, marked `late`."""
    due = list(
        Authorization.objects.filter(status="open", expires_at__lte=now)
        .order_by("expires_at")
        .values_list("id", "account_id")[:limit]
    )
    released = _release([(hold, account, "") for hold, account in due], Authorization.Status.EXPIRED, now)
    return sum(row.outcome == "released" for row in released)


def expiry(now: datetime, seconds: int) -> datetime:
    """When a hold placed now ends by itself."""
    return now + timedelta(seconds=seconds)


def accounts_of(ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Whose authorizations these are; unknown ids are missing from the answer."""
    return dict(Authorization.objects.filter(id__in=ids).values_list("id", "account_id"))
