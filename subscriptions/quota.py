"""Reserve Flows: the one Python door to `sql/admit_flows.sql`.

What they come to, and their release, is told to the windows by the functions that end an authorization
(billing/metering).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import orjson
from django.db import DataError

from billing.errors import NotRecorded
from billing.metering.calls import bytes_array, call, in_rounds, plain_array, text_array
from billing.metering.holds import HoldRequest
from billing.metering.usage import FlowsOf


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRequest:
    """A call that wants Flows. `hold.hold` is what Extra Usage would hold (USD); `flows` what its estimate costs."""

    hold: HoldRequest
    flows: Decimal
    plan_version_id: int
    flow_terms: FlowsOf
    extra_key: UUID | None = None


@dataclass(frozen=True, slots=True)
class WindowSeen:
    """One window as the decision saw it: Flows spoken for before this call; `cap` None: it refuses nothing."""

    taken: Decimal
    cap: Decimal | None
    ends_at: datetime

    def fits(self, flows: Decimal) -> bool:
        """There is room for this many more."""
        return self.cap is None or self.taken + flows <= self.cap

    @property
    def left(self) -> Decimal | None:
        """Flows that are free; None: any."""
        return None if self.cap is None else max(Decimal(0), self.cap - self.taken)


@dataclass(frozen=True, slots=True)
class FlowHeld:
    """What became of it. `outcome`: created, repeated, conflict, exhausted, extra_usage_cap, insufficient_balance,
    lapsed, refund_pending or not_found. `windows` are five hours, week and period; empty where they were not asked."""

    outcome: str
    id: UUID
    status: str
    funding: str
    held: Decimal
    held_flows: Decimal
    expires_at: datetime
    trace_id: str
    needed: Decimal | None
    windows: tuple[WindowSeen, ...]
    extra_left: Decimal | None
    extra_cap: Decimal | None
    available: Decimal | None


_ADMIT = """SELECT outcome, id, status, funding, held, held_flows, expires_at, trace_id, needed, taken, caps, ends,
    extra_left, extra_cap, available
  FROM mh_admit_flows(
    %s::timestamptz, %s::timestamptz, %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::bytea[],
    %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[], %s::text[]::jsonb[],
    %s::numeric[], %s::numeric[], %s::text[], %s::text[], %s::bigint[], %s::text[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::uuid[], %s::boolean)"""


def admit(
    requests: Sequence[FlowRequest], *, now: datetime, expires_at: datetime, made: bool = False
) -> list[FlowHeld | NotRecorded]:
    """Admit the calls that the windows have room for, or that Extra Usage pays, each decided alone, in the order given.

    Durable when it returns, unless the caller holds a transaction. A request id that the account used before answers
    with what it made (`repeated`), or with `conflict` when the body was another. `made`: the calls were made already,
    and a plan that is being refunded counts them all the same.
    """

    def work(batch: list[FlowRequest]) -> list[FlowHeld]:
        asked = [one.hold for one in batch]
        rows = call(
            _ADMIT,
            [
                now,
                expires_at,
                plain_array(r.id for r in asked),
                plain_array(r.account_id for r in asked),
                plain_array(r.api_key_id for r in asked),
                plain_array(r.token_id for r in asked),
                text_array(r.request_id for r in asked),
                bytes_array(r.digest for r in asked),
                text_array(r.kind for r in asked),
                plain_array(r.model_id for r in asked),
                plain_array(r.channel_id for r in asked),
                plain_array(r.price_version_id for r in asked),
                plain_array(r.channel_discount for r in asked),
                plain_array(r.user_discount for r in asked),
                text_array(orjson.dumps(r.fields).decode() for r in asked),
                plain_array(one.flows for one in batch),
                plain_array(r.hold for r in asked),
                text_array(r.fingerprint for r in asked),
                text_array(r.trace_id for r in asked),
                plain_array(one.plan_version_id for one in batch),
                text_array(one.flow_terms.flow_class for one in batch),
                plain_array(one.flow_terms.per_usd for one in batch),
                plain_array(one.flow_terms.factor for one in batch),
                plain_array(one.flow_terms.overhead for one in batch),
                plain_array(one.extra_key for one in batch),
                made,
            ],
        )
        return [_held(row) for row in rows]

    found = in_rounds(requests, lambda one: (one.hold.account_id, one.hold.request_id), work)
    return [NotRecorded() if isinstance(answer, DataError) else answer for answer in found]


def _held(row: tuple[object, ...]) -> FlowHeld:
    *head, needed, taken, caps, ends, extra_left, extra_cap, available = row
    windows = tuple(
        WindowSeen(used, cap, end)
        for used, cap, end in zip(taken, caps, ends, strict=True)  # type: ignore[call-overload]
        if end is not None
    )
    return FlowHeld(*head, needed, windows, extra_left, extra_cap, available)  # type: ignore[call-arg, arg-type]
