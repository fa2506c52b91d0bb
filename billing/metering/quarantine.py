"""Refused usage: kept, and charged later through the same door once a person has said what it meant (C17).

The refusal itself is unchanged: the gateway hears 422, nothing is in the books and the hold stays as it is. Keeping it
comes after and outside the charge, and never changes an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import DatabaseError, DataError, connection, transaction
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from accounts import audit
from accounts.models import User
from billing.books import ledger
from billing.catalog.book import current_book
from billing.catalog.rating import rate
from billing.catalog.reading import CANONICAL, ToldUsage, read_usage
from billing.catalog.usage import Usage, parse_usage
from billing.errors import BillingError, InvalidRequest, InvalidUsage, NotRecorded
from billing.metering import usage as door
from billing.metering.kept import kept, name_of
from billing.metering.models import Authorization, UsageRecord
from billing.metering.models_quarantine import QuarantinedUsage
from config.ids import uuid7

log = logging.getLogger(__name__)

State = QuarantinedUsage.State
Kind = QuarantinedUsage.Kind

MOST_WAITING: Final = 10_000
"""Rows of one account that may wait; more are refused all the same, and not kept."""
AT_ONCE: Final = 500
"""Rows that one "replay all like this" takes."""


# --- Keeping --------------------------------------------------------------------------------------------------------


def keep_captures(refused: Iterable[tuple[UUID | None, door.Capture, Any]], *, now: datetime) -> None:
    """Keep those captures, given as (gateway token, capture, answer), whose usage was refused."""
    found = [(token, capture, answer) for token, capture, answer in refused if isinstance(answer, InvalidUsage)]
    if not found:
        return
    names = ("account_id", "api_key_id", "request_id", "model_id", "channel_id", "price_version_id",
             "channel_discount", "user_discount", "fields", "fingerprint", "trace_id")  # fmt: skip
    holds = {
        row["id"]: row
        for row in Authorization.objects.filter(id__in={capture.authorization_id for _, capture, _ in found}).values(
            "id", "created_at", *names
        )
    }
    rows = []
    for token, capture, answer in found:
        hold = holds.get(capture.authorization_id)
        if hold is not None:
            row = {name: hold[name] for name in names}
            row |= {"kind": str(Kind.CAPTURE), "authorization_id": hold["id"], "occurred_at": hold["created_at"]}
            rows.append(row | _told(token, capture, answer))
    _keep(rows, now)


def keep_reports(refused: Iterable[tuple[UUID | None, door.Report, Any]], *, now: datetime) -> None:
    """Keep those reports, given as (gateway token, report, answer), whose usage was refused."""
    names = ("account_id", "api_key_id", "request_id", "model_id", "channel_id", "price_version_id",
             "channel_discount", "user_discount", "fields", "fingerprint", "trace_id", "occurred_at")  # fmt: skip
    rows = []
    for token, report, answer in refused:
        if isinstance(answer, InvalidUsage):
            row = {name: getattr(report, name) for name in names}
            row |= {"kind": str(Kind.REPORT), "authorization_id": None}
            rows.append(row | _told(token, report, answer))
    _keep(rows, now)


def _told(token: UUID | None, told: door.Capture | door.Report, refusal: InvalidUsage) -> dict[str, Any]:
    """What was told and why it was refused, without anything that could be a prompt."""
    if isinstance(told.usage, ToldUsage):
        format, body = told.usage.format, told.usage.body
    else:
        format, body = CANONICAL, told.usage.as_dict()
    with override("en"):
        text = str(refusal.template)
    return {
        "token_id": token,
        "format": format if format == "" or name_of(format) == format else "…",
        "body": kept(format, body),
        "problem_code": refusal.code,
        "problem_field": name_of(refusal.evidence.get("field", ""))[:64] if refusal.evidence.get("field") else "",
        "problem_text": text[:200],
        "upstream_status": told.upstream_status,
        "latency_ms": told.latency_ms,
    }


_KEEP: Final = """
INSERT INTO billing_quarantinedusage AS q (
  id, account_id, kind, request_id, authorization_id, api_key_id, token_id, trace_id, fingerprint, upstream_status,
  latency_ms, occurred_at, model_id, channel_id, price_version_id, channel_discount, user_discount, fields, format,
  body,
  problem_code, problem_field, problem_text, times, first_seen_at, last_seen_at, state, reason)
SELECT i.id, i.account_id, i.kind, i.request_id, i.authorization_id, i.api_key_id, i.token_id, i.trace_id,
  i.fingerprint,
  i.upstream_status, i.latency_ms, i.occurred_at, i.model_id, i.channel_id, i.price_version_id, i.channel_discount,
  i.user_discount, i.fields, i.format, i.body, i.problem_code, i.problem_field, i.problem_text, i.times,
  %(now)s, %(now)s, 'waiting', ''
FROM (
  SELECT t.*, row_number() OVER (PARTITION BY t.account_id ORDER BY t.id) AS place
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS t(
    id uuid, account_id uuid, kind text, request_id text, authorization_id uuid, api_key_id uuid, token_id uuid,
    trace_id text, fingerprint text, upstream_status smallint, latency_ms integer, occurred_at timestamptz,
    model_id bigint, channel_id bigint, price_version_id bigint, channel_discount numeric, user_discount numeric,
    fields jsonb, format text, body jsonb, problem_code text, problem_field text, problem_text text, times integer)
) i
WHERE NOT EXISTS (SELECT 1 FROM billing_usagerecord u WHERE u.account_id = i.account_id AND u.request_id = i.request_id)
  AND NOT EXISTS (SELECT 1 FROM billing_authorization a WHERE a.id = i.authorization_id AND a.status = 'voided')
  AND (i.place + (SELECT count(*) FROM billing_quarantinedusage w WHERE w.account_id = i.account_id
                                                                    AND w.state = 'waiting') <= %(most)s
       OR EXISTS (SELECT 1 FROM billing_quarantinedusage k WHERE k.account_id = i.account_id
                                                             AND k.request_id = i.request_id))
ORDER BY i.account_id, i.request_id
ON CONFLICT (account_id, request_id) DO UPDATE SET
  times = q.times + excluded.times, last_seen_at = excluded.last_seen_at,
  format = CASE WHEN q.state = 'waiting' THEN excluded.format ELSE q.format END,
  body = CASE WHEN q.state = 'waiting' THEN excluded.body ELSE q.body END,
  problem_code = CASE WHEN q.state = 'waiting' THEN excluded.problem_code ELSE q.problem_code END,
  problem_field = CASE WHEN q.state = 'waiting' THEN excluded.problem_field ELSE q.problem_field END,
  problem_text = CASE WHEN q.state = 'waiting' THEN excluded.problem_text ELSE q.problem_text END
"""


def _keep(rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """One statement for all of them. The same call again counts, and a later telling replaces an undecided one."""
    together: dict[tuple[UUID, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["account_id"], row["request_id"])
        times = together[key]["times"] + 1 if key in together else 1
        together[key] = row | {"id": uuid7(), "times": times}
    if not together:
        return
    told = orjson.dumps([*together.values()], default=str).decode()
    try:
        with connection.cursor() as cursor:
            cursor.execute(_KEEP, {"rows": told, "now": now, "most": MOST_WAITING})
    except DatabaseError:
        if connection.in_atomic_block:
            raise
        # The charges of the same batch are durable already; their answers must not be lost to this list.
        log.exception("refused usage could not be kept")


# --- Deciding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read what was told, and what it would cost on the call's terms; or why it cannot be read so."""

    convention: str
    usage: Usage | None
    charge: Decimal | None
    problem: str
    of_channel: bool


def readings(row: QuarantinedUsage) -> list[Reading]:
    """What each convention makes of the object; canonical usage has but one reading."""
    own = current_book(fresh=True).convention_of(row.channel_id)
    ways = ("",) if row.format == CANONICAL else ("", "inclusive", "exclusive")
    return [_reading(row, way, of_channel=way == own or len(ways) == 1) for way in ways]


def _reading(row: QuarantinedUsage, convention: str, *, of_channel: bool) -> Reading:
    try:
        used = read_usage(row.format, row.body, convention)
        sheet = rate(
            current_book().plan_of(row.price_version_id),
            used,
            channel_discount=row.channel_discount,
            user_discount=row.user_discount,
            fields=row.fields,
        )
    except BillingError as refusal:
        return Reading(convention, None, None, str(refusal), of_channel)
    return Reading(convention, used, sheet.charge, "", of_channel)


def replay(
    quarantined_id: UUID,
    *,
    actor: User,
    reason: str,
    now: datetime,
    convention: str | None = None,
    format: str = "",
    usage: Mapping[str, Any] | None = None,
) -> QuarantinedUsage:
    """Read it again and charge it as the gateway's own call would have been: same request id, same terms, once.

    `convention` None is the channel's present one; `format` reads the object as another dialect; `usage` is canonical
    usage in its place. A hold that has expired meanwhile is charged late. What the gateway has got charged itself is
    closed with that record and charged no second time. What still cannot be read is refused and goes on waiting.
    """
    _require(reason)
    with transaction.atomic():
        row = _locked(quarantined_id)
        if row.state == State.REPLAYED:
            return row
        record_id = (
            UsageRecord.objects.filter(account_id=row.account_id, request_id=row.request_id)
            .values_list("pk", flat=True)
            .first()
        )
        row.move_to(State.REPLAYED, by=actor, now=now)
        repeated = record_id is not None
        if record_id is None:
            record_id = _charge(row, _usage(row, convention, format, usage), now).id
        row.reason, row.usage_record_id = reason.strip(), record_id
        row.save(update_fields=["state", "decided_by", "decided_at", "reason", "usage_record"])
        _audit(row, "usage_replayed", actor=actor, now=now, convention=convention, format=format,
               usage=dict(usage or {}), charged_before=repeated)  # fmt: skip
    return row


def dismiss(quarantined_id: UUID, *, actor: User, reason: str, now: datetime) -> QuarantinedUsage:
    """It is not charged; the row stays on record with the reason. A hold that is still open ends as it would have."""
    _require(reason)
    with transaction.atomic():
        row = _locked(quarantined_id)
        if row.state == State.DISMISSED:
            return row
        row.move_to(State.DISMISSED, by=actor, now=now)
        row.reason = reason.strip()
        row.save(update_fields=["state", "decided_by", "decided_at", "reason"])
        _audit(row, "usage_dismissed", actor=actor, now=now)
    return row


@dataclass(frozen=True, slots=True)
class Together:
    """What became of many: charged, refused again, and how many like them are still to be tried."""

    charged: int
    refused: int
    left: int


def replay_alike(
    quarantined_id: UUID,
    *,
    actor: User,
    reason: str,
    now: datetime,
    convention: str | None = None,
    format: str = "",
) -> Together:
    """Replay all that wait with the same format and problem on the same channel, each in a transaction of its own."""
    _require(reason)
    waiting = alike(QuarantinedUsage.objects.get(pk=quarantined_id))
    charged = refused = 0
    ids = list(waiting.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
    for pk in ids:
        try:
            replay(pk, actor=actor, reason=reason, now=now, convention=convention, format=format)
        except BillingError:
            refused += 1
        else:
            charged += 1
    return Together(charged, refused, max(0, waiting.count() - refused))


def alike(row: QuarantinedUsage) -> Any:
    """What waits for the same reason: one format, one problem, one channel."""
    return QuarantinedUsage.objects.filter(
        state=State.WAITING,
        format=row.format,
        problem_field=row.problem_field,
        problem_text=row.problem_text,
        channel_id=row.channel_id,
    )


_SETTLE: Final = """
WITH done AS (
  SELECT q.id, u.id AS record FROM billing_quarantinedusage q
  LEFT JOIN billing_usagerecord u ON u.account_id = q.account_id AND u.request_id = q.request_id
  LEFT JOIN billing_authorization a ON a.id = q.authorization_id
  WHERE q.state = 'waiting' AND (u.id IS NOT NULL OR a.status = 'voided')
  ORDER BY q.id FOR UPDATE OF q SKIP LOCKED
)
UPDATE billing_quarantinedusage q SET
  state = CASE WHEN done.record IS NULL THEN 'dismissed' ELSE 'replayed' END,
  usage_record_id = done.record, decided_at = %s
FROM done WHERE q.id = done.id
"""


def settle(*, now: datetime) -> int:
    """Close what the gateway has settled itself, by good usage or a void; how many. Looking for it in every capture
    would make all of them slower for the sake of the few, so a worker looks once a minute, and a replay before it
    charges."""
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, [now])
        return int(cursor.rowcount)


# --- Pieces ---------------------------------------------------------------------------------------------------------


def _locked(quarantined_id: UUID) -> QuarantinedUsage:
    """The wallet first, then the row: of two replays the second finds it decided."""
    ledger.lock_wallet(QuarantinedUsage.objects.values_list("account_id", flat=True).get(pk=quarantined_id))
    return QuarantinedUsage.objects.select_for_update(no_key=True).get(pk=quarantined_id)


def _usage(row: QuarantinedUsage, convention: str | None, format: str, usage: Mapping[str, Any] | None) -> Usage:
    if usage is not None:
        return parse_usage(usage)
    if convention is None:
        convention = current_book(fresh=True).convention_of(row.channel_id)
    return read_usage(format or row.format, row.body, convention)


def _charge(row: QuarantinedUsage, used: Usage, now: datetime) -> door.Charged:
    """Through the door that every call goes through. Raises what refused it."""
    outcome = {"upstream_status": row.upstream_status, "latency_ms": row.latency_ms}
    try:
        if row.authorization_id is not None:
            capture = door.Capture(authorization_id=row.authorization_id, usage=used, **outcome)
            [answer] = door.capture([capture], now=now)
        else:
            report = door.Report(
                account_id=row.account_id,
                api_key_id=row.api_key_id,
                request_id=row.request_id,
                model_id=row.model_id,
                channel_id=row.channel_id,
                price_version_id=row.price_version_id,
                channel_discount=row.channel_discount,
                user_discount=row.user_discount,
                fields=row.fields,
                usage=used,
                occurred_at=row.occurred_at,
                trace_id=row.trace_id,
                fingerprint=row.fingerprint,
                **outcome,
            )
            [answer] = door.report([report], now=now)
    except DataError as error:
        raise NotRecorded from error  # inside a transaction the door raises what it answers outside of one
    if isinstance(answer, BillingError):
        raise answer
    return answer


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")


def _audit(row: QuarantinedUsage, action: str, *, actor: User, now: datetime, **how: Any) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=row,
        now=now,
        reason=row.reason,
        before={"state": str(State.WAITING)},
        after={
            "state": str(row.state),
            "usage_record": str(row.usage_record_id or ""),
            **{name: value for name, value in how.items() if value not in (None, "", {}, False)},
        },
    )
