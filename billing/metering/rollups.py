"""Usage by day, kept up to a watermark; what is newer is read from the calls themselves (06-performance).

A call belongs to the day of its `authorized_at` in UTC; the watermark goes by `created_at`, when the row was written.
Reading is one statement of one moment, and repeated when the worker moved the watermark meanwhile: no call is missed
or counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from billing.metering.models import RollupState, UsageRollup

SETTLED_AFTER: Final = timedelta(seconds=60)
"""A row younger than this may still be uncommitted: `created_at` is read before the transaction begins."""

BACKDATED: Final = timedelta(hours=1)
"""A call written this much later than it was made is found by an index of its own (`usage_backdated`)."""

_SUMS: Final = (
    "calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "list_price",
    "charge",
    "flows",
)
_DIMENSIONS: Final = ("day", "model_id", "api_key_id", "funding")
_SUMMED: Final = ", ".join("count(*)" if name == "calls" else f"sum({name})" for name in _SUMS)

_ROLL: Final = f"""
INSERT INTO billing_usagerollup AS kept (account_id, {", ".join(_DIMENSIONS)}, {", ".join(_SUMS)})
SELECT account_id, (authorized_at AT TIME ZONE 'UTC')::date, model_id, api_key_id, funding, {_SUMMED}
FROM billing_usagerecord WHERE created_at >= %s AND created_at < %s
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT ON CONSTRAINT usage_rollup_once
DO UPDATE SET {", ".join(f"{name} = kept.{name} + EXCLUDED.{name}" for name in _SUMS)}
"""  # noqa: S608  # names from the lists above

# How long the oldest writing transaction of anybody else has been running, by the database's own clock.
_OLDEST_WRITER: Final = """
SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_seen: dict[str, datetime | None] = {}


@dataclass(frozen=True, slots=True)
class Rolled:
    """What one run did: the stretch of `created_at` that is now in the rollups, and how many rows it touched."""

    since: datetime | None
    until: datetime
    rows: int


def roll(*, now: datetime) -> Rolled:
    """Add what was written since the watermark, up to a minute ago, and move the watermark; all of it or nothing.

    Safe to repeat and to run twice at once: the watermark's row is the lock.
    """
    with transaction.atomic():
        return _roll(_locked_state(), now)


def rebuild(*, now: datetime) -> Rolled:
    """Forget every rollup and make them again from the calls. Readers see the old ones until it is done."""
    with transaction.atomic():
        state = _locked_state()
        UsageRollup.objects.all()._raw_delete(using="default")
        state.watermark = None
        return _roll(state, now)


def _locked_state() -> RollupState:
    RollupState.objects.get_or_create(pk=1)
    return RollupState.objects.select_for_update().get(pk=1)


def _roll(state: RollupState, now: datetime) -> Rolled:
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_WRITER)
        [running] = cursor.fetchone()
        since = state.watermark
        until = now - max(SETTLED_AFTER, timedelta(seconds=float(running) + 5) if running else SETTLED_AFTER)
        if since is not None and until <= since:
            return Rolled(since, since, 0)
        cursor.execute(_ROLL, [since or _BEGINNING, until])
        rows = cursor.rowcount
    state.watermark = until
    state.save(update_fields=["watermark"])
    return Rolled(since, until, rows)


# --- Reading ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls of an account to add up: whole days in UTC, both ends included; None is no limit."""

    account_id: UUID
    first: date | None = None
    last: date | None = None
    model_id: int | None = None
    api_key_id: UUID | None = None
    funding: str | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """What a group of calls adds up to; the dimensions that were not asked for are None. USD, Flows, tokens."""

    day: date | None
    model_id: int | None
    api_key_id: UUID | None
    funding: str | None
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    list_price: Decimal
    charge: Decimal
    flows: Decimal


def start_of(day: date) -> datetime:
    """Midnight in UTC."""
    return datetime.combine(day, time(), UTC)


def sums(scope: Scope, *, by: Sequence[str] = ()) -> list[Sums]:
    """The account's usage in groups of `by` (of day, model_id, api_key_id, funding): the rollups and the tail."""
    if unknown := set(by) - set(_DIMENSIONS):
        raise ValueError(f"no dimension {unknown}")
    rolled = ["account_id = %(account)s"]
    params: dict[str, Any] = {"account": scope.account_id}
    raw: list[str] = ["account_id = %(account)s"]
    for name in ("model_id", "api_key_id", "funding"):
        value = getattr(scope, name)
        if value is not None:
            rolled.append(f"{name} = %({name})s")
            raw.append(f"{name} = %({name})s")
            params[name] = value
    if scope.first is not None:
        rolled.append("day >= %(first)s")
        raw.append("authorized_at >= %(since)s")
        params |= {"first": scope.first, "since": start_of(scope.first)}
    if scope.last is not None:
        rolled.append("day <= %(last)s")
        raw.append("authorized_at < %(until)s")
        params |= {"last": scope.last, "until": start_of(scope.last + timedelta(days=1))}
    groups = list(by)
    mark = _seen.get("mark")
    while True:
        params["mark"] = mark or _BEGINNING
        params["backdated"] = params["mark"] - BACKDATED
        with connection.cursor() as cursor:
            cursor.execute(_reading(groups, rolled, raw), params)
            rows = cursor.fetchall()
        # The planner should know the watermark as a value, so this process's last one is tried and the answer says
        # which was true. An empty answer says nothing, so then we ask.
        true_mark = rows[0][-1] if rows else watermark()
        if true_mark == mark:
            return [_sums(groups, row[:-1]) for row in rows]
        mark = _seen["mark"] = true_mark


def _reading(groups: list[str], rolled: list[str], raw: list[str]) -> str:
    chosen = ", ".join([*groups, *_SUMS])
    of_calls = ", ".join(
        [
            *("(authorized_at AT TIME ZONE 'UTC')::date AS day" if name == "day" else name for name in groups),
            *("1 AS calls" if name == "calls" else name for name in _SUMS),
        ]
    )
    added = ", ".join([*groups, *(f"coalesce(sum({name}), 0)" for name in _SUMS)])
    return f"""
      SELECT {added}, (SELECT watermark FROM billing_rollupstate WHERE id = 1) FROM (
        SELECT {chosen} FROM billing_usagerollup WHERE {" AND ".join(rolled)}
        UNION ALL
        SELECT {of_calls} FROM billing_usagerecord
        WHERE {" AND ".join(raw)} AND created_at >= %(mark)s AND authorized_at >= %(backdated)s
        UNION ALL
        SELECT {of_calls} FROM billing_usagerecord
        WHERE {" AND ".join(raw)} AND created_at >= %(mark)s AND authorized_at < %(backdated)s
          AND (created_at - authorized_at) > interval '1 hour'
      ) AS part {"GROUP BY " + ", ".join(groups) if groups else ""}
    """  # noqa: S608  # column names from the lists above, values bound


def _sums(groups: list[str], row: tuple[Any, ...]) -> Sums:
    dimensions = dict.fromkeys(_DIMENSIONS) | dict(zip(groups, row, strict=False))
    calls, i, o, read, write, listed, charge, flows = row[len(groups) :]
    return Sums(
        **dimensions,
        calls=int(calls),
        input_tokens=int(i),
        output_tokens=int(o),
        cache_read_tokens=int(read),
        cache_write_tokens=int(write),
        list_price=listed,
        charge=charge,
        flows=flows,
    )


def total(scope: Scope) -> Sums:
    """All of the scope in one sum."""
    return sums(scope)[0]


def watermark() -> datetime | None:
    """Rows written before this are in the rollups."""
    return RollupState.objects.values_list("watermark", flat=True).first()
