"""The one door through which money moves, apart from the set-based functions in `metering/sql` (05-house-style 5).

Signs: a grant and `refunds_payable` are what we owe the customer (credit raises, debit lowers); `overdraft` is what
the customer owes us (debit raises, credit lowers). The wallet's caches follow from the postings and from nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from billing.books.models import CreditGrant, JournalEntry, LedgerAccount, Posting, System, Wallet
from billing.errors import IdempotencyConflict, NotFound
from billing.money import LEDGER_QUANTUM, Money


@dataclass(frozen=True, slots=True)
class Line:
    """One side of an entry."""

    ledger_id: UUID
    side: int
    amount: Decimal


def _line(ledger: LedgerAccount | CreditGrant | UUID | str, side: int, money: Money) -> Line:
    if money.currency != "USD" or money.amount <= 0:
        raise ValueError(f"A posting is an amount in USD above zero, not {money}")
    if not isinstance(ledger, UUID):
        ledger = System.id_of(ledger) if isinstance(ledger, str) else ledger.pk
    return Line(ledger, side, money.amount.quantize(LEDGER_QUANTUM))


def debit(ledger: LedgerAccount | CreditGrant | UUID | str, money: Money) -> Line:
    """A debit of a ledger account: a row, its id, or a system account's code."""
    return _line(ledger, Posting.DEBIT, money)


def credit(ledger: LedgerAccount | CreditGrant | UUID | str, money: Money) -> Line:
    """A credit of a ledger account: a row, its id, or a system account's code."""
    return _line(ledger, Posting.CREDIT, money)


def lock_wallet(account_id: UUID) -> Wallet:
    """Take the customer's lock. Read everything else of the customer's after this, inside the same transaction."""
    if not connection.in_atomic_block:
        raise RuntimeError("A lock is taken inside transaction.atomic().")
    try:
        return Wallet.objects.locked().get(pk=account_id)
    except Wallet.DoesNotExist:
        raise NotFound from None


def post(
    kind: str, *lines: Line, account_id: UUID, key: str, now: datetime, meta: dict[str, Any] | None = None
) -> JournalEntry:
    """Write one balanced entry and move the caches with it, under the wallet's lock.

    The same key and lines return the first entry; the same key with other lines raise `IdempotencyConflict`.
    """
    with transaction.atomic():
        wallet = lock_wallet(account_id)
        before = JournalEntry.objects.filter(account_id=account_id, key=key).first()
        if before is not None:
            return _same(before, kind, lines)
        if sum(line.side * line.amount for line in lines) != 0 or not lines:
            raise ValueError(f"{kind} {key} does not balance")
        delta = _move(wallet, lines)
        wallet.seq += 1
        entry = JournalEntry(
            account_id=account_id,
            seq=wallet.seq,
            kind=JournalEntry.Kind(kind),
            key=key,
            at=now,
            delta=delta,
            balance_after=wallet.net,
            meta=meta or {},
        )
        entry.save(force_insert=True)
        Posting.objects.bulk_create(
            Posting(
                account_id=account_id,
                entry_id=entry.pk,
                line=n,
                ledger_id=line.ledger_id,
                side=line.side,
                amount=line.amount,
            )
            for n, line in enumerate(lines, start=1)
        )
        wallet.save(update_fields=["balance", "overdraft", "seq"])
        return entry


def _move(wallet: Wallet, lines: tuple[Line, ...]) -> Decimal:
    """Apply the lines to the grants and to the wallet in memory; what the customer's net balance changed by."""
    net_by_ledger: dict[UUID, Decimal] = defaultdict(Decimal)
    for line in lines:
        net_by_ledger[line.ledger_id] -= line.side * line.amount
    ledgers = LedgerAccount.objects.in_bulk(net_by_ledger)
    if missing := net_by_ledger.keys() - ledgers.keys():
        raise ValueError(f"There is no ledger account {missing}")
    before = wallet.net
    for ledger_id, credited in net_by_ledger.items():
        ledger = ledgers[ledger_id]
        if ledger.account_id not in (None, wallet.pk):
            raise ValueError(f"{ledger} belongs to another customer")
        if ledger.kind == LedgerAccount.Kind.GRANT:
            grant = CreditGrant.objects.get(pk=ledger_id)
            grant.remaining += credited
            grant.save(update_fields=["remaining"])
            wallet.balance += credited
        elif ledger.kind == LedgerAccount.Kind.OVERDRAFT:
            wallet.overdraft -= credited
    gained: Decimal = wallet.net - before
    return gained


def _same(before: JournalEntry, kind: str, lines: tuple[Line, ...]) -> JournalEntry:
    written = [
        Line(*row)
        for row in Posting.objects.filter(account_id=before.account_id, entry_id=before.pk)
        .order_by("line")
        .values_list("ledger_id", "side", "amount")
    ]
    if before.kind != kind or written != list(lines):
        raise IdempotencyConflict(key=before.key)
    return before
