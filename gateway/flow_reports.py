"""Usage of subscriptions that was reported without a hold (03-http-api 3.4, C06, C24).

The calls were made, so none is refused for want of room and none is billed to nobody: each is placed where its moment
lies, exactly as if it had been admitted then, and charged at once. The windows are asked for what it came to; where one
is full, Extra Usage pays if it may, and otherwise the call stays on the Flows, as overshoot.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings

from billing import errors
from billing.catalog.book import Priced, current_book
from billing.catalog.plans import field_name
from billing.catalog.rating import rate
from billing.catalog.usage import Usage
from billing.errors import BillingError, NotRecorded
from billing.metering import holds, quarantine, usage
from billing.metering.usage import Charged, FlowsOf
from config.ids import uuid7
from gateway import flow_gates
from gateway.callers import Caller
from gateway.parsing import Call, Used
from subscriptions import quota
from subscriptions.quota import FlowHeld, FlowRequest
from subscriptions.standing import Standing

_NO_ROOM: Final = frozenset({"exhausted", "extra_usage_cap", "insufficient_balance"})


@dataclass(frozen=True, slots=True)
class Event:
    """A call of a subscription that reports itself; it was made at `at`."""

    call: Call
    caller: Caller
    used: Used
    at: datetime
    priced: Priced


def charge(
    events: Sequence[Event], standings: Mapping[UUID, Standing], *, token_id: UUID | None, now: datetime
) -> list[Charged | BillingError]:
    """Charge each once, in the order given; a refusal stands in its event's place. Repeats answer the same."""
    held: list[FlowHeld | NotRecorded | None] = [None] * len(events)
    answers: list[Charged | BillingError] = [errors.PlanRequired()] * len(events)
    moments: defaultdict[datetime, list[int]] = defaultdict(list)
    requests: dict[int, FlowRequest] = {}
    for place, event in enumerate(events):
        try:
            requests[place] = _request(event, standings[event.caller.account_id], token_id)
        except BillingError as refusal:
            answers[place] = refusal
        else:
            moments[event.at].append(place)
    until = holds.expiry(now, settings.HOLD_SECONDS)
    for at, places in sorted(moments.items()):
        for place, placed in zip(places, _place([requests[p] for p in places], at, until), strict=True):
            held[place] = placed

    captures: list[usage.Capture] = []
    charged: list[int] = []
    for place, (event, found) in enumerate(zip(events, held, strict=True)):
        if isinstance(found, BillingError):
            answers[place] = found
        elif found is not None and found.outcome in ("created", "repeated"):
            told = event.used
            captures.append(
                usage.Capture(
                    authorization_id=found.id,
                    usage=told.usage,
                    upstream_status=told.upstream_status,
                    latency_ms=told.latency_ms,
                )
            )
            charged.append(place)
        elif found is not None and found.outcome == "conflict":
            answers[place] = errors.IdempotencyConflict(request_id=event.call.request_id)
        elif found is not None and found.outcome == "not_found":
            answers[place] = errors.NotFound()
    done = usage.capture(captures, now=now)
    quarantine.keep_captures(((token_id, *pair) for pair in zip(captures, done, strict=True)), now=now)
    for place, answer in zip(charged, done, strict=True):
        answers[place] = answer
    return answers


def _place(requests: Sequence[FlowRequest], at: datetime, until: datetime) -> list[FlowHeld | NotRecorded]:
    """In the windows of that moment. A call holds nothing where they are full, and is charged in them all the same."""
    found = flow_gates.admit(requests, at, until, made=True)
    late = [place for place, one in enumerate(found) if isinstance(one, FlowHeld) and one.outcome in _NO_ROOM]
    over = [replace(requests[place], flows=Decimal(0), extra_key=None) for place in late]
    if over:
        for place, one in zip(late, quota.admit(over, now=at, expires_at=until, made=True), strict=True):
            found[place] = one
    return found


def _request(event: Event, standing: Standing, token_id: UUID | None) -> FlowRequest:
    call, caller, priced = event.call, event.caller, event.priced
    terms = flow_gates.terms_of(standing, priced.model.slug, event.at)
    fields = {name: value for name, value in call.fields.items() if field_name(name) in priced.plan.multipliers}
    flows, money = _cost(event, terms, fields)
    hold = holds.HoldRequest(
        id=uuid7(),
        account_id=caller.account_id,
        api_key_id=caller.key_id,
        token_id=token_id,
        request_id=call.request_id,
        # Another one than that of a call which asks to be authorised: one id is not both.
        digest=hashlib.sha256(b"reported" + call.digest).digest(),
        model_id=priced.model.id,
        channel_id=priced.channel.id,
        price_version_id=priced.price.version_id,
        channel_discount=priced.channel.discount,
        user_discount=caller.user_discount,
        fields=fields,
        hold=money,
        fingerprint=call.fingerprint,
        trace_id=call.trace_id,
        kind=call.kind,
    )
    return FlowRequest(
        hold=hold, flows=flows, plan_version_id=standing.plan.id, flow_terms=terms, extra_key=standing.extra_key
    )


def _cost(event: Event, terms: FlowsOf, fields: dict[str, object]) -> tuple[Decimal, Decimal]:
    """What the call came to, in Flows and, should Extra Usage pay, in USD. Usage that cannot be read holds nothing: the
    charge refuses it, and it is kept for staff."""
    used, priced = event.used.usage, event.priced
    try:
        if type(used) is not Usage:
            used = used.read(current_book().convention_of(priced.channel.id))  # type: ignore[union-attr]
        sheet = rate(
            priced.plan,
            used,
            channel_discount=priced.channel.discount,
            user_discount=event.caller.user_discount,
            fields=fields,
        )
    except BillingError:
        return Decimal(0), Decimal(0)
    return terms.cost(sheet), sheet.charge
