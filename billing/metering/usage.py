"""Charging: rate what was used and write it down. The one Python door to `sql/charge.sql`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import DataError

from billing.catalog.book import Book, current_book
from billing.catalog.rating import Plan, Sheet, flows, rate
from billing.catalog.reading import ToldUsage
from billing.catalog.stored import store
from billing.catalog.usage import Usage
from billing.errors import AlreadyCaptured, AlreadyVoided, BillingError, IdempotencyConflict, NotFound, NotRecorded
from billing.metering.calls import bytes_array, call, in_rounds, plain_array, text_array, time_array
from billing.metering.models import Authorization
from config.ids import uuid7

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """The actual usage of an authorised call."""

    authorization_id: UUID
    usage: Usage | ToldUsage
    upstream_status: int | None = None
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Usage that was reported without a hold; prices are those in force at `occurred_at`."""

    account_id: UUID
    api_key_id: UUID | None
    request_id: str
    model_id: int
    channel_id: int
    price_version_id: int
    channel_discount: Decimal
    user_discount: Decimal
    fields: dict[str, Any]
    usage: Usage | ToldUsage
    occurred_at: datetime
    trace_id: str
    fingerprint: str = ""
    upstream_status: int | None = None
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Charged:
    """A usage record as it stands: USD and Flows; `balance` is the account's after the entry that charged it."""

    repeated: bool
    id: UUID
    charge: Decimal
    list_price: Decimal
    flows: Decimal
    funding: str
    balance: Decimal
    late: bool


class FlowsOf(NamedTuple):
    """What a Flow was when a call was admitted (C16): the snapshot that its record keeps (I8)."""

    flow_class: str
    per_usd: Decimal
    factor: Decimal
    overhead: Decimal

    def cost(self, sheet: Sheet) -> Decimal:
        """The call's Flows, from its list price; a free model costs none, the overhead included (C21)."""
        return _ZERO if sheet.plan.spec.free else self.of_list(sheet.list_price)

    def of_list(self, list_price: Decimal) -> Decimal:
        """Flows for this much of list price (USD)."""
        return flows(
            list_price,
            flows_per_usd=self.per_usd,
            model_flow_factor=self.factor,
            call_overhead=self.overhead,
        )


@dataclass(slots=True)
class _Item:
    """One row for the function: the terms of the call and its rated usage."""

    id: UUID
    hold: UUID | None
    account_id: UUID
    api_key_id: UUID | None
    request_id: str
    digest: bytes
    kind: str
    funding: str
    model_id: int
    channel_id: int
    version_id: int
    channel_discount: Decimal
    user_discount: Decimal
    fields: dict[str, Any]
    usage: Usage
    stored: dict[str, Any]
    list_price: Decimal
    charge: Decimal
    sheet: str
    upstream_status: int | None
    latency_ms: int | None
    fingerprint: str
    trace_id: str
    authorized_at: datetime
    flows: Decimal = _ZERO
    flow_terms: FlowsOf | None = None


_TERMS = (
    "id",
    "account_id",
    "api_key_id",
    "request_id",
    "kind",
    "funding",
    "model_id",
    "channel_id",
    "price_version_id",
    "channel_discount",
    "user_discount",
    "fields",
    "fingerprint",
    "trace_id",
    "created_at",
    "flow_class",
    "flows_per_usd",
    "flow_factor",
    "flow_overhead",
)


def capture(captures: Sequence[Capture], *, now: datetime) -> list[Charged | BillingError]:
    """Charge authorised calls for what they used, in the order given; a refusal stands in its call's place.

    The terms are those of the authorization (price version, discounts, fields), whatever changed since. More than the
    hold is charged all the same and becomes overdraft. The same usage again returns the same answer. A provider's own
    object is read as the channel of the authorization counts (C17).
    """
    terms = {
        row[0]: row
        for row in Authorization.objects.filter(id__in={c.authorization_id for c in captures}).values_list(*_TERMS)
    }
    book = current_book()
    answers: list[Charged | BillingError | None] = [None] * len(captures)
    items: list[_Item] = []
    places: list[int] = []
    for place, wanted in enumerate(captures):
        row = terms.get(wanted.authorization_id)
        if row is None:
            answers[place] = NotFound()
            continue
        (
            hold,
            account,
            key,
            request,
            kind,
            funding,
            model,
            channel,
            version,
            of_channel,
            of_user,
            fields,
            print_,
            trace,
            at,
            *flow_terms,
        ) = row
        used = wanted.usage
        try:
            if type(used) is not Usage:
                used = used.read(book.convention_of(channel))  # type: ignore[union-attr]
            sheet = rate(_plan(book, version), used, channel_discount=of_channel, user_discount=of_user, fields=fields)
        except BillingError as refusal:
            answers[place] = refusal
            continue
        stored = used.as_dict()
        item = _Item(
            hold, hold, account, key, request, _digest(stored), kind, funding, model, channel, version, of_channel,
            of_user, fields, used, stored, sheet.list_price, _to_pay(sheet, funding), store(sheet),
            wanted.upstream_status, wanted.latency_ms, print_, trace, at,
        )  # fmt: skip
        if funding != "payg":
            item.flow_terms = FlowsOf(*flow_terms)
            if funding == "subscription":
                item.flows = item.flow_terms.cost(sheet)
        items.append(item)
        places.append(place)
    for place, answer in zip(places, _charge(items, now), strict=True):
        answers[place] = answer
    return answers  # type: ignore[return-value]


def report(reports: Sequence[Report], *, now: datetime) -> list[Charged | BillingError]:
    """Charge calls that were made without a hold, in the order given (03-http-api 3.4)."""
    book = current_book()
    answers: list[Charged | BillingError | None] = [None] * len(reports)
    items: list[_Item] = []
    places: list[int] = []
    for place, told in enumerate(reports):
        used = told.usage
        try:
            if type(used) is not Usage:
                used = used.read(book.convention_of(told.channel_id))  # type: ignore[union-attr]
            sheet = rate(
                _plan(book, told.price_version_id),
                used,
                channel_discount=told.channel_discount,
                user_discount=told.user_discount,
                fields=told.fields,
            )
        except BillingError as refusal:
            answers[place] = refusal
            continue
        stored = used.as_dict()
        item = _Item(
            uuid7(), None, told.account_id, told.api_key_id, told.request_id,
            _digest({"model": told.model_id, **stored}), "call", "payg", told.model_id, told.channel_id,
            told.price_version_id, told.channel_discount, told.user_discount, told.fields, used, stored,
            sheet.list_price, _to_pay(sheet, "payg"), store(sheet),
            told.upstream_status, told.latency_ms, told.fingerprint, told.trace_id, told.occurred_at,
        )  # fmt: skip
        items.append(item)
        places.append(place)
    for place, answer in zip(places, _charge(items, now), strict=True):
        answers[place] = answer
    return answers  # type: ignore[return-value]


def _plan(book: Book, version_id: int) -> Plan:
    try:
        return book.plan_of(version_id)
    except KeyError:
        return current_book(fresh=True).plan_of(version_id)


def _to_pay(sheet: Sheet, funding: str) -> Decimal:
    """What leaves the wallet: nothing when Flows pay (F079)."""
    return _ZERO if funding == "subscription" else sheet.charge


def _digest(stored: dict[str, Any]) -> bytes:
    """The same usage gives the same digest, whatever the order of its fields."""
    return hashlib.sha256(orjson.dumps(stored, option=orjson.OPT_SORT_KEYS)).digest()


_CHARGE = """SELECT outcome, id, charge, list_price, flows, funding, balance, late FROM mh_charge(
  %s::timestamptz, %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::bytea[], %s::text[], %s::text[],
  %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[], %s::text[]::jsonb[], %s::text[]::jsonb[],
  %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::bigint[]::smallint[], %s::bigint[]::integer[], %s::text[], %s::text[], %s::timestamptz[],
  %s::text[]::jsonb[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[])"""

_REFUSALS: dict[str, type[BillingError]] = {
    "already_captured": AlreadyCaptured,
    "already_voided": AlreadyVoided,
    "conflict": IdempotencyConflict,
    "not_found": NotFound,
}


def _charge(items: list[_Item], now: datetime) -> list[Charged | BillingError]:
    def work(batch: list[_Item]) -> list[Charged | BillingError]:
        rows = call(
            _CHARGE,
            [
                now,
                plain_array(i.id for i in batch),
                plain_array(i.hold for i in batch),
                plain_array(i.account_id for i in batch),
                plain_array(i.api_key_id for i in batch),
                text_array(i.request_id for i in batch),
                bytes_array(i.digest for i in batch),
                text_array(i.kind for i in batch),
                text_array(i.funding for i in batch),
                plain_array(i.model_id for i in batch),
                plain_array(i.channel_id for i in batch),
                plain_array(i.version_id for i in batch),
                plain_array(i.channel_discount for i in batch),
                plain_array(i.user_discount for i in batch),
                text_array(orjson.dumps(i.fields).decode() for i in batch),
                text_array(orjson.dumps(i.stored).decode() for i in batch),
                plain_array(i.usage.input_tokens for i in batch),
                plain_array(i.usage.output_tokens for i in batch),
                plain_array(i.usage.cache_tokens + i.usage.cache_read_tokens for i in batch),
                plain_array(i.usage.cache_write_5m_tokens + i.usage.cache_write_1h_tokens for i in batch),
                plain_array(i.list_price for i in batch),
                plain_array(i.charge for i in batch),
                plain_array(i.flows for i in batch),
                plain_array(i.upstream_status for i in batch),
                plain_array(i.latency_ms for i in batch),
                text_array(i.fingerprint for i in batch),
                text_array(i.trace_id for i in batch),
                time_array(i.authorized_at for i in batch),
                text_array(i.sheet for i in batch),
                text_array(i.flow_terms.flow_class if i.flow_terms else "" for i in batch),
                plain_array(i.flow_terms.per_usd if i.flow_terms else None for i in batch),
                plain_array(i.flow_terms.factor if i.flow_terms else None for i in batch),
                plain_array(i.flow_terms.overhead if i.flow_terms else None for i in batch),
            ],
        )
        return [_REFUSALS[row[0]]() if row[0] in _REFUSALS else Charged(row[0] == "repeated", *row[1:]) for row in rows]

    found = in_rounds(items, lambda i: (i.account_id, i.request_id), work)
    # What the books cannot hold is refused to its own caller; nothing of it was written.
    return [NotRecorded() if isinstance(answer, DataError) else answer for answer in found]
