"""Mails when a month of Extra Usage has spent 50, 80 and 100 % of its cap, each once, and when what the cap leaves
became too small for a call (F083).

What counts is what was spent: a hold may come to nothing. A cap is hardly ever spent to the cent: calls are refused
before, and that is told when it first happens. The sweep asks one question for all accounts.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db import connection, transaction

from billing import notices
from billing.books import ledger
from subscriptions.models import ExtraUsage, ExtraUsageMonth
from subscriptions.windows import month_of, next_month

log = logging.getLogger(__name__)

STEPS: Final = (50, 80, 100)
LATE: Final = timedelta(hours=1)
"""How long after its end a month is still looked at: what was spent in its last minutes is told, too."""
LIMIT: Final = 5000

_CROSSED: Final = """
  SELECT m.account_id, m.month FROM subscriptions_extrausagemonth m
  JOIN subscriptions_extrausage e ON e.account_id = m.account_id AND e.enabled
  WHERE m.month = ANY(%s) AND m.told < 100
    AND (m.refused_at IS NOT NULL AND NOT m.refusal_told
         OR m.spent * 100 >= e.monthly_cap * CASE WHEN m.told < 50 THEN 50 WHEN m.told < 80 THEN 80 ELSE 100 END)
  ORDER BY m.id LIMIT %s"""


def reached(spent: Decimal, cap: Decimal) -> int:
    """The highest step (per cent of the cap) that this spend has come to; 0: none."""
    return max((step for step in STEPS if spent * 100 >= cap * step), default=0)


def crossed(*, now: datetime, limit: int = LIMIT) -> list[tuple[UUID, date]]:
    """Accounts and months that have passed a step, or refused their first call, since the last mail."""
    months = sorted({month_of(now), month_of(now - LATE)})
    with connection.cursor() as cursor:
        cursor.execute(_CROSSED, [months, limit])
        return [(account, month) for account, month in cursor.fetchall()]


def sweep(*, now: datetime) -> int:
    """Tell every account whose month passed a step; how many mails that made. Safe to run twice at once."""
    mails = 0
    for account_id, month in crossed(now=now):
        try:
            mails += tell(account_id, month, now=now)
        except Exception:
            # One account must not keep the others waiting; it stays due, and the log says why.
            log.exception("EXTRA USAGE the month %s of account %s could not be told", month, account_id)
    return mails


def tell(account_id: UUID, month: date, *, now: datetime) -> int:
    """One mail for the highest step that was reached and not told, or for the first call that the cap refused; steps
    below it are overtaken."""
    with transaction.atomic():
        wallet = ledger.lock_wallet(account_id)
        row = ExtraUsage.objects.select_related("api_key").filter(pk=account_id, enabled=True).first()
        spending = ExtraUsageMonth.objects.filter(account=account_id, month=month).first()
        if row is None or row.monthly_cap is None or spending is None:
            return 0
        step = reached(spending.spent, row.monthly_cap)
        refused = spending.refused_at is not None and not spending.refusal_told
        if step <= spending.told and not refused:
            return 0
        spending.told = max(step, spending.told)
        spending.refusal_told = spending.refusal_told or refused or step == 100
        spending.save(update_fields=["told", "refusal_told"])
        refused = refused and step < 100
        first = datetime(spending.month.year, spending.month.month, 1, tzinfo=UTC)
        notices.tell(
            account_id,
            "extra_usage_reached",
            # The cap is part of the fact: after a change the same step is another one.
            key=f"extra_usage:{spending.month:%Y-%m}:{row.monthly_cap:.2f}:{'refused' if refused else step}",
            context={
                "step": str(step),
                "refused": "yes" if refused else "",
                "month": f"{spending.month:%Y-%m}",
                "spent_usd": f"{spending.spent:f}",
                "cap_usd": f"{row.monthly_cap:.2f}",
                "left_usd": f"{max(Decimal(0), row.monthly_cap - spending.spent - spending.held):f}",
                "balance_usd": f"{wallet.net:f}",
                "key_name": row.api_key.name if row.api_key else "",
                "key": row.api_key.masked if row.api_key else "",
                "resets_at": next_month(first).isoformat(),
            },
            now=now,
        )
        return 1


def rearm(account_id: UUID, cap: Decimal, *, now: datetime) -> None:
    """After a higher cap, steps that are no longer reached, and calls that it refuses, will be told again. The caller
    holds the wallet's lock."""
    month = ExtraUsageMonth.objects.filter(account=account_id, month=month_of(now)).first()
    if month is not None:
        month.told = min(month.told, reached(month.spent, cap))
        month.refused_at, month.refusal_told = None, False
        month.save(update_fields=["told", "refused_at", "refusal_told"])
