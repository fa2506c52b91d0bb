"""A credit grant's page: what it came from, what it paid for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from accounts.access import current_account
from billing.books.entries import ORDER, Told, tell
from billing.books.models import CreditGrant, JournalEntry, Posting
from billing.paging import Key, page
from config import clock

SIZE: Final = 25
DAYS_SOON: Final = 7


@dataclass(frozen=True, slots=True)
class Movement:
    """One entry's share that came to this grant or left it."""

    told: Told
    amount: Decimal


def _write(posting: Posting) -> str:
    return f"{posting.entry_id.hex}_{posting.line}"


def _read(text: str) -> tuple[Any, ...]:
    entry, _under, line = text.partition("_")
    number = int(line)
    if not 0 < number < 32_768:
        raise ValueError("no entry has such a line")
    return UUID(hex=entry), number


# Entry ids count up with time, and the index of postings by ledger account holds them.
BY_ENTRY: Final = Key(("entry_id", "line"), _write, _read)


@require_safe
@login_required
def grant(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    """Where this credit came from, when it expires, and each entry that took from it, newest first."""
    account, now = current_account(request), clock.now()
    if account is None:
        raise Http404
    row: CreditGrant = get_object_or_404(CreditGrant.objects.visible_to(request.user), pk=grant_id, account=account)
    shown = page(Posting.objects.filter(ledger_id=row.pk), BY_ENTRY, request.GET, size=SIZE)
    return render(
        request,
        "billing/grant.html",
        {
            "grant": row,
            "order": found[0] if (found := ORDER.fullmatch(row.source)) else "",
            "spent": row.amount - row.remaining,
            "state": _state(row, now),
            "rows": _movements(shown.rows),
            "page": shown,
            "now": now,
        },
    )


def _state(row: CreditGrant, now: datetime) -> tuple[str, Any]:
    if row.expires_at is not None and row.expires_at <= now:
        return "expired", _("Expired")
    if not row.remaining:
        return "completed", _("Used up")
    return "active", _("Usable")


def _movements(postings: list[Posting]) -> list[Movement]:
    """Each posting with its entry in words."""
    entries = JournalEntry.objects.filter(pk__in={posting.entry_id for posting in postings})
    told = {one.entry.pk: one for one in tell(entries)}
    return [
        Movement(told[posting.entry_id], -posting.side * posting.amount)
        for posting in postings
        if posting.entry_id in told
    ]
