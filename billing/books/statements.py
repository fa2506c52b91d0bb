"""Monthly statements: what an account had, every movement, what it had then. Equal to the ledger to the last digit.

A month is a stretch of the account's entries, which are numbered without a gap. Opening and closing balance are those
that the entries beside the stretch's ends carry, and the sums are made by the database: a month of a million calls is
one pass over an index range. A statement that does not add up is never shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from accounts.models import Account
from billing import notices
from billing.books.entries import Kind, Told, first_seq_since, tell
from billing.books.models import JournalEntry
from billing.books.models_details import BillingDetails
from billing.books.months import Month
from billing.paging import by_number

MOVES_SHOWN: Final = 1_000
MOST_MONTHS: Final = 240
_DISORDER: Final = 500
"""Two calls at once may be numbered in another order than their clocks read; never by more than this many."""
_BOUNDARY: Final = """
SELECT max(seq) FROM billing_journalentry
WHERE account_id = %(account)s AND seq >= %(low)s AND seq < %(high)s AND at < %(at)s
"""
_SUMS: Final = """
SELECT kind, (at AT TIME ZONE 'UTC')::date, count(*), coalesce(sum((meta->>'calls')::bigint), 0), sum(delta)
FROM billing_journalentry WHERE account_id = %(account)s AND seq >= %(low)s AND seq < %(high)s
GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class KindSum:
    """All entries of one kind in the month."""

    kind: str
    label: Any
    entries: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Day:
    """What the calls of a day cost."""

    day: date
    calls: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """USD. `opening` + the sum of `kinds` = `closing`; days are those of UTC."""

    account: Account
    month: Month
    low: int
    high: int
    opening: Decimal
    closing: Decimal
    kinds: list[KindSum]
    days: list[Day]
    as_of: datetime
    final: bool

    @property
    def credits(self) -> Decimal:
        """What came in, by kind."""
        return sum((one.amount for one in self.kinds if one.amount > 0), Decimal(0))

    @property
    def debits(self) -> Decimal:
        """What went out, by kind; not above zero."""
        return sum((one.amount for one in self.kinds if one.amount < 0), Decimal(0))

    @property
    def entries(self) -> int:
        return self.high - self.low

    @property
    def move_rows(self) -> QuerySet[JournalEntry]:
        """Its entries that are not usage."""
        rows: QuerySet[JournalEntry] = JournalEntry.objects.filter(account=self.account)
        return rows.exclude(kind=Kind.USAGE).filter(seq__gte=self.low, seq__lt=self.high)

    def moves(self) -> tuple[list[Told], bool]:
        """What moved beside usage, oldest first; True when there is more than a document shows."""
        found = list(self.move_rows.order_by("seq")[: MOVES_SHOWN + 1])
        return tell(found[:MOVES_SHOWN]), len(found) > MOVES_SHOWN


def boundary(account_id: UUID, at: datetime) -> int:
    """The number of the first entry that follows every entry before this moment.

    Never changes once the moment is past, also where entries of the same instant are numbered out of their order.
    """
    near = first_seq_since(account_id, at)
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDARY, {"account": account_id, "low": near - _DISORDER, "high": near + _DISORDER, "at": at})
        [last] = cursor.fetchone()
    return int(last) + 1 if last is not None else near


def statement(account: Account, month: Month, *, now: datetime) -> Statement:
    """The month as the ledger has it; while it lasts, up to now."""
    low, high = boundary(account.pk, month.start), boundary(account.pk, month.end)
    opening, closing = _balance_before(account.pk, low), _balance_before(account.pk, high)
    kinds: dict[str, KindSum] = {}
    days: list[Day] = []
    labels = dict(Kind.choices)
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, {"account": account.pk, "low": low, "high": high})
        for kind, day, entries, calls, amount in cursor.fetchall():
            before = kinds.get(kind)
            kinds[kind] = KindSum(
                kind,
                labels.get(kind, kind),
                entries + (before.entries if before else 0),
                amount + (before.amount if before else Decimal(0)),
            )
            if kind == Kind.USAGE:
                days.append(Day(day, int(calls), amount))
    if opening + sum(one.amount for one in kinds.values()) != closing:
        raise RuntimeError(f"the statement {month} of {account.pk} does not add up")
    order = [value for value, _label in Kind.choices]
    ordered = sorted(kinds.values(), key=lambda one: order.index(one.kind) if one.kind in order else len(order))
    return Statement(
        account, month, low, high, opening, closing, ordered, days, min(now, month.end), month.is_final(now)
    )


def _balance_before(account_id: UUID, seq: int) -> Decimal:
    """The balance that the entry before this number left."""
    found = JournalEntry.objects.filter(account_id=account_id, seq=seq - 1).values_list("balance_after", flat=True)
    return found.first() or Decimal(0)


def months(account: Account, *, now: datetime) -> list[Month]:
    """The months that have a statement, newest first; the first is the present one, so far."""
    first = JournalEntry.objects.filter(account=account, seq=1).values_list("at", flat=True).first()
    month, oldest = Month.of(now), Month.of(min(first or now, now))
    found = [month]
    while month > oldest and len(found) < MOST_MONTHS:
        month = month.before
        found.append(month)
    return found


def balances(account: Account, found: list[Month]) -> list[tuple[Month, Decimal, Decimal]]:
    """Each month with its opening and closing balance, without its sums."""
    told = []
    for month in found:
        low, high = boundary(account.pk, month.start), boundary(account.pk, month.end)
        told.append((month, _balance_before(account.pk, low), _balance_before(account.pk, high)))
    return told


# --- As a table -------------------------------------------------------------------------------------------------------


def table(told: Statement, *, size: int = 1_000) -> Iterator[list[list[Any]]]:
    """Rows of (day, kind, description, entries or calls, USD): opening, movements, usage by day, closing."""
    yield [[told.month.first_day, "opening_balance", "", None, told.opening]]
    edge, key = told.low - 1, by_number("seq")
    while True:
        found = list(told.move_rows.filter(seq__gt=edge).order_by(*key.fields)[:size])
        if found:
            yield [[one.entry.at, one.entry.kind, one.text, 1, one.entry.delta] for one in tell(found)]
        if len(found) < size:
            break
        edge = found[-1].seq
    yield [[one.day, Kind.USAGE.value, "", one.calls, one.amount] for one in told.days]
    yield [[told.month.last_day, "closing_balance", "", None, told.closing]]


COLUMNS: Final = ("date_utc", "kind", "description", "count", "amount_usd")


# --- Telling ----------------------------------------------------------------------------------------------------------


def due(*, now: datetime, limit: int = 200) -> list[UUID]:
    """Accounts that want a mail about the last complete month and did not get it."""
    month = last_complete(now)
    wanted = BillingDetails.objects.filter(statement_mail=True, told_month__lt=str(month))
    return list(wanted.order_by("told_month", "pk").values_list("pk", flat=True)[:limit])


def last_complete(now: datetime) -> Month:
    """The newest month to which nothing can come any more."""
    month = Month.of(now).before
    return month if month.is_final(now) else month.before


def tell_ready(account_id: UUID, *, now: datetime) -> bool:
    """Write the notice of the last complete month, once; a month in which nothing moved is not worth a mail."""
    month = last_complete(now)
    with transaction.atomic():
        claimed = BillingDetails.objects.filter(pk=account_id, statement_mail=True, told_month__lt=str(month))
        if not claimed.update(told_month=str(month)):
            return False
        account = Account.objects.get(pk=account_id)
        low, high = boundary(account_id, month.start), boundary(account_id, month.end)
        if low == high:
            return False
        notices.tell(
            account_id,
            "statement_ready",
            key=f"statement:{month}",
            context={
                "month": str(month),
                "opening_usd": str(_balance_before(account.pk, low)),
                "closing_usd": str(_balance_before(account.pk, high)),
            },
            now=now,
        )
        return True
