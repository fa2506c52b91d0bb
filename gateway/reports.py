"""Usage without a hold: calls that were made before Meterhall heard of them (03-http-api 3.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from billing import errors
from billing.catalog.book import current_book
from billing.catalog.plans import field_name
from billing.errors import BillingError
from billing.metering import quarantine, usage
from config.problems import plain
from gateway import flow_gates, flow_reports, parsing
from gateway.callers import callers_of, in_conversations, wants_flows


def record(events: list[Any], *, now: datetime, token_id: UUID | None = None) -> list[dict[str, Any]]:
    """Charge each event once; one bad event rejects only itself. The answers stand in the events' order.

    Calls of subscriptions are charged to their windows (`flow_reports`), all others to the balance. Usage that is
    refused is kept for staff, with the gateway token that it came with.
    """
    found: list[dict[str, Any]] = [{} for _ in events]
    parsed: list[tuple[int, parsing.Call, parsing.Used, datetime]] = []
    for place, event in enumerate(events):
        name = event.get("request_id") if isinstance(event, dict) else None
        try:
            call = parsing.call_of(event)
            parsed.append((place, call, parsing.used_of(event), parsing.moment_of(event, "occurred_at", now=now)))
        except BillingError as refusal:
            found[place] = _rejected(name if isinstance(name, str) else None, refusal)

    calls = in_conversations([call for _, call, _, _ in parsed])
    parsed = [(place, call, used, at) for (place, _, used, at), call in zip(parsed, calls, strict=True)]
    callers = callers_of(calls)
    book = current_book()
    told: list[usage.Report] = []
    places: list[int] = []
    of_plans: list[tuple[int, flow_reports.Event]] = []
    for place, call, used, at in parsed:
        try:
            caller = callers.get(call.key_hash or call.account_id)  # type: ignore[arg-type]
            if caller is None:
                raise errors.InvalidCredential if call.key_hash else errors.NotFound
            priced = book.priced(call.model, call.channel, at)
        except BillingError as refusal:
            found[place] = _rejected(call.request_id, refusal)
            continue
        if wants_flows(call, caller):
            of_plans.append((place, flow_reports.Event(call, caller, used, at, priced)))
            continue
        places.append(place)
        told.append(
            usage.Report(
                account_id=caller.account_id,
                api_key_id=caller.key_id,
                request_id=call.request_id,
                model_id=priced.model.id,
                channel_id=priced.channel.id,
                price_version_id=priced.price.version_id,
                channel_discount=priced.channel.discount,
                user_discount=caller.user_discount,
                fields={n: v for n, v in call.fields.items() if field_name(n) in priced.plan.multipliers},
                usage=used.usage,
                occurred_at=at,
                trace_id=call.trace_id,
                fingerprint=call.fingerprint,
                upstream_status=used.upstream_status,
                latency_ms=used.latency_ms,
            )
        )
    charged = usage.report(told, now=now)
    quarantine.keep_reports(((token_id, *pair) for pair in zip(told, charged, strict=True)), now=now)
    for place, report, answer in zip(places, told, charged, strict=True):
        found[place] = _told(report.request_id, answer)
    if of_plans:
        standings = flow_gates.standings_of(calls, callers, now)
        events = [event for _, event in of_plans]
        by_flows = flow_reports.charge(events, standings, token_id=token_id, now=now)
        for (place, event), answer in zip(of_plans, by_flows, strict=True):
            found[place] = _told(event.call.request_id, answer)
    return found


def _told(request_id: str, answer: usage.Charged | BillingError) -> dict[str, Any]:
    if isinstance(answer, BillingError):
        return _rejected(request_id, answer)
    return {
        "request_id": request_id,
        "status": "duplicate" if answer.repeated else "created",
        "charge": plain(answer.charge),
        "flows": plain(answer.flows),
        "funding": answer.funding,
        "code": None,
    }


def _rejected(request_id: str | None, refusal: BillingError) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "status": "rejected",
        "charge": None,
        "code": refusal.code,
        "detail": refusal.detail,
    }
