"""End an open quota window early, so that the next call opens a new one: a gesture of staff, with its reason (I12)."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books.ledger import lock_wallet
from billing.errors import InvalidRequest
from subscriptions import periods
from subscriptions.errors import WindowNotResettable
from subscriptions.models import QuotaWindow

RESETTABLE: Final = frozenset({QuotaWindow.Kind.FIVE_HOURS.value, QuotaWindow.Kind.WEEK.value})


def reset(window_id: UUID, *, reason: str, actor: User | None, now: datetime) -> QuotaWindow:
    """End this open five-hour or weekly window now. What was admitted in it still counts in it.

    Refused for a billing period, which is what was paid for, and for a window that is not open. On a grid the next one
    begins now, too, and ends where this one would have ended. Raises WindowNotResettable.
    """
    if not reason.strip():
        raise InvalidRequest(field="reason")
    account_id = QuotaWindow.objects.values_list("account_id", flat=True).get(pk=window_id)
    with transaction.atomic():
        lock_wallet(account_id)
        row: QuotaWindow = QuotaWindow.objects.select_related("plan_version", "account").get(pk=window_id)
        if row.kind not in RESETTABLE:
            raise WindowNotResettable(_("A billing period ends with its subscription's period alone."))
        if not row.is_open(now):
            raise WindowNotResettable(_("It is not open any more; the next call opens a new window anyway."))
        before = row.ends_at
        row = periods.end_open(account_id, at=now, by="reset", kinds=(row.kind,))[row.kind]
        audit.record(
            actor=actor,
            action="quota_window_reset",
            subject=row,
            reason=reason,
            before={"ends_at": before.isoformat(), "used": f"{row.used:f}", "held": f"{row.held:f}"},
            after={"ends_at": now.isoformat()},
            now=now,
        )
    return row
