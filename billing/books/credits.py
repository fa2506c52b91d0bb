"""Credit: give it, expire it. Spending is the business of `metering` (02-domain 2.3, 2.5)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min

from accounts import audit
from accounts.models import Account, User
from accounts.onboarding import on_open
from billing.books import ledger
from billing.books.models import CreditGrant, JournalEntry, LedgerAccount, System, Wallet
from billing.errors import IdempotencyConflict, InvalidRequest
from billing.money import Money

Kind = CreditGrant.Kind


@on_open
def open_wallet(account: Account, now: datetime) -> None:
    """Every account has a wallet and the two ledger accounts that every customer needs."""
    if Wallet.objects.filter(pk=account.pk).exists():
        return
    overdraft = LedgerAccount.objects.create(account=account, kind=LedgerAccount.Kind.OVERDRAFT)
    refunds = LedgerAccount.objects.create(account=account, kind=LedgerAccount.Kind.REFUNDS_PAYABLE)
    Wallet.objects.create(account=account, overdraft_ledger=overdraft, refunds_ledger=refunds)


@transaction.atomic
def give(
    account_id: UUID,
    amount: Decimal,
    *,
    kind: str,
    entry_kind: str,
    funded_by: str,
    key: str,
    source: str,
    now: datetime,
    paid: bool = False,
    priority: int = 100,
    expires_at: datetime | None = None,
    note: str = "",
    meta: dict[str, Any] | None = None,
) -> CreditGrant:
    """Credit an account: a new grant, funded by a system ledger account (code), under the key that names the intent.

    The overdraft is paid first, out of the new grant (I2), in the same entry. The same key again returns the grant
    that it made; with another amount or kind it raises `IdempotencyConflict`.
    """
    money = Money(amount)
    if money.amount <= 0:
        raise InvalidRequest("The amount must be above zero.", field="amount")
    wallet = ledger.lock_wallet(account_id)
    before = JournalEntry.objects.filter(account_id=account_id, key=key).first()
    if before is not None:
        grant: CreditGrant = CreditGrant.objects.get(pk=before.meta["grant"])
        if grant.amount != money.amount or grant.kind != kind:
            raise IdempotencyConflict(key=key)
        return grant
    place = LedgerAccount.objects.create(account_id=account_id, kind=LedgerAccount.Kind.GRANT)
    grant = CreditGrant.objects.create(
        ledger=place,
        account_id=account_id,
        kind=Kind(kind),
        paid=paid,
        priority=priority,
        amount=money.amount,
        remaining=0,
        expires_at=expires_at,
        created_at=now,
        source=source,
        note=note,
    )
    lines = [ledger.debit(funded_by, money), ledger.credit(place, money)]
    owed = min(wallet.overdraft, money.amount)
    if owed:
        lines += [ledger.debit(place, Money(owed)), ledger.credit(wallet.overdraft_ledger_id, Money(owed))]
    ledger.post(
        entry_kind, *lines, account_id=account_id, key=key, now=now, meta={**(meta or {}), "grant": str(place.pk)}
    )
    refresh_next_expiry(account_id, now)
    grant.refresh_from_db()
    return grant


def give_manually(
    account_id: UUID,
    amount: Decimal,
    *,
    actor: User,
    reason: str,
    key: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> CreditGrant:
    """Credit given by staff, with its reason in the audit (I12). Large sums need a second person (issue of its own)."""
    if not reason.strip():
        raise InvalidRequest("Say why: the reason is kept in the audit.", field="reason")
    with transaction.atomic():
        first_time = not JournalEntry.objects.filter(account_id=account_id, key=key).exists()
        grant = give(
            account_id,
            amount,
            kind=Kind.PROMOTION,
            entry_kind=JournalEntry.Kind.MANUAL_CREDIT,
            funded_by=System.MANUAL,
            key=key,
            source=key,
            note=reason.strip()[:200],
            expires_at=expires_at,
            now=now,
        )
        if first_time:
            audit.record(
                actor=actor,
                action="manual_credit",
                subject=grant,
                now=now,
                reason=reason,
                after={"amount": str(grant.amount)},
            )
    return grant


def expire_due(account_ids: list[UUID], *, now: datetime) -> int:
    """Turn what is left of expired grants into breakage; how many grants that were. Safe to repeat."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT mh_expire_grants(%s, %s)", [now, sorted(account_ids)])
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def due_for_expiry(*, now: datetime, limit: int = 500) -> list[UUID]:
    """Accounts with a grant that has expired and is not yet written off; the sweep asks."""
    return list(
        Wallet.objects.filter(next_expiry_at__lte=now)
        .order_by("next_expiry_at")
        .values_list("account_id", flat=True)[:limit]
    )


def refresh_next_expiry(account_id: UUID, now: datetime) -> None:
    """Let the wallet know when its next credit expires; the caller holds its lock."""
    soonest = CreditGrant.objects.filter(account_id=account_id, remaining__gt=0).aggregate(at=Min("expires_at"))["at"]
    Wallet.objects.filter(pk=account_id).update(next_expiry_at=soonest)
