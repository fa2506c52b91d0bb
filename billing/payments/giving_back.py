"""Credit that was taken out of a payment's grant and comes back to it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from billing.books import ledger
from billing.books.models import CreditGrant, LedgerAccount, Wallet
from billing.money import Money
from billing.payments.models import TopUp


def lines(order: TopUp, amount: Decimal, *, source: str, now: datetime) -> list[ledger.Line]:
    """Where it goes: what is owed now is paid first (I2), then the payment's grant is filled.

    What does not fit, because calls that the grant had paid were taken back meanwhile, is a grant of its own named
    after its `source`. The caller holds the wallet's lock and posts the lines.
    """
    wallet = Wallet.objects.get(pk=order.account_id)
    grant = CreditGrant.objects.get(pk=order.grant_id)
    owed = min(wallet.overdraft, amount)
    room = min(grant.amount - grant.remaining, amount - owed)
    parts = [(wallet.overdraft_ledger_id, owed), (grant.pk, room)]
    if more := amount - owed - room:
        place = LedgerAccount.objects.create(account_id=order.account_id, kind=LedgerAccount.Kind.GRANT)
        CreditGrant.objects.create(
            ledger=place,
            account_id=order.account_id,
            kind=grant.kind,
            paid=grant.paid,
            priority=grant.priority,
            amount=more,
            remaining=0,
            expires_at=grant.expires_at,
            created_at=now,
            source=source,
        )
        parts.append((place.pk, more))
    return [ledger.credit(place, Money(part)) for place, part in parts if part]
