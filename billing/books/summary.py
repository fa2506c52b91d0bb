"""What an account has: the numbers that stand beside every balance (F011, F012)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, Sum

from billing.books.models import CreditGrant, Wallet


@dataclass(frozen=True, slots=True)
class Summary:
    """USD throughout. `balance` = cash + credits − overdraft; `available` is what a new call may hold."""

    balance: Decimal
    cash: Decimal
    credits: Decimal
    held: Decimal
    overdraft: Decimal
    credit_limit: Decimal
    available: Decimal
    as_of: datetime


def summary(account_id: UUID, *, now: datetime) -> Summary:
    """The wallet as of now. Credit that has expired but is not yet written off does not count."""
    wallet = Wallet.objects.get(pk=account_id)
    live = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    sums = CreditGrant.objects.filter(live, account_id=account_id, remaining__gt=0).aggregate(
        cash=Sum("remaining", filter=Q(paid=True)), credits=Sum("remaining", filter=Q(paid=False))
    )
    cash, credits = sums["cash"] or Decimal(0), sums["credits"] or Decimal(0)
    balance = cash + credits - wallet.overdraft
    return Summary(
        balance=balance,
        cash=cash,
        credits=credits,
        held=wallet.held,
        overdraft=wallet.overdraft,
        credit_limit=wallet.credit_limit,
        available=balance - wallet.held + wallet.credit_limit,
        as_of=now,
    )
