"""Transactions: every movement of money and credit, with the balance after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.db.models import Max, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from accounts.access import current_account
from accounts.models import Account
from billing.books.entries import Kind, first_seq_since, tell
from billing.books.models import CreditGrant, JournalEntry
from billing.books.statements import months
from billing.paging import batches, by_number, capped_count, page
from config import clock
from config.exports import stream

BY_SEQ: Final = by_number("seq")
BOM: Final = "\ufeff"
NOT_USAGE: Final = "credit"
GRANTS_SHOWN: Final = 50
KINDS: Final = [(NOT_USAGE, gettext_lazy("All but usage")), *Kind.choices]


@dataclass(frozen=True)
class Asked:
    """The filters in force. Days are the reader's, both ends included."""

    account: Account
    kind: str
    first: date | None
    last: date | None

    @property
    def any(self) -> bool:
        """True when something narrows the list."""
        return bool(self.kind or self.first or self.last)

    def rows(self) -> QuerySet[JournalEntry]:
        """The entries, unordered."""
        found: QuerySet[JournalEntry] = JournalEntry.objects.filter(account=self.account)
        low, high = self.numbers
        if low is not None:
            found = found.filter(seq__gte=low)
        if high is not None:
            found = found.filter(seq__lt=high)
        if self.kind and self.kind != Kind.USAGE:
            found = found.exclude(kind=Kind.USAGE)  # said in these words so that the partial index is used
        if self.kind and self.kind != NOT_USAGE:
            found = found.filter(kind=self.kind)
        return found

    @cached_property
    def numbers(self) -> tuple[int | None, int | None]:
        """The days as numbers of entries: from the first, up to and without the second."""
        low = first_seq_since(self.account.pk, _midnight(self.first)) if self.first else None
        high = first_seq_since(self.account.pk, _midnight(self.last + timedelta(days=1))) if self.last else None
        return low, high

    def count(self) -> tuple[int | None, bool]:
        """How many entries, and whether there are more: known from the numbers, or counted up to a limit."""
        if self.kind == Kind.USAGE:
            return None, False
        if self.kind:
            return capped_count(self.rows())
        low, high = self.numbers
        if high is None:
            high = (JournalEntry.objects.filter(account=self.account).aggregate(last=Max("seq"))["last"] or 0) + 1
        return max(0, high - (low or 1)), False


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


def _asked(params: Mapping[str, str], account: Account) -> Asked:
    kind = params.get("kind", "")
    first, last = _day(params.get("from")), _day(params.get("to"))
    if first and last and first > last:
        first, last = last, first
    return Asked(account, kind if kind in dict(KINDS) else "", first, last)


def _day(text: Any) -> date | None:
    try:
        found = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  # a day, not a moment
    except (TypeError, ValueError):
        return None
    return found if 2000 <= found.year < 2100 else None


def next_to_expire(account: Account, now: datetime) -> CreditGrant | None:
    """The credit that is lost first if it is not spent."""
    live = CreditGrant.objects.filter(account=account, remaining__gt=0, expires_at__gt=now)
    found: CreditGrant | None = live.order_by("expires_at", "pk").first()
    return found


def _account(request: HttpRequest) -> Account:
    account = current_account(request)
    if account is None:
        raise Http404
    return account


@require_safe
@login_required
def transactions(request: HttpRequest) -> HttpResponse:
    """The journal, newest first, beside the credit that is left and when it expires."""
    account, now = _account(request), clock.now()
    asked = _asked(request.GET, account)
    shown = page(asked.rows(), BY_SEQ, request.GET)
    grants = list(
        CreditGrant.objects.filter(account=account, remaining__gt=0).burn_order()[: GRANTS_SHOWN + 1],
    )
    found, more = asked.count()
    return render(
        request,
        "billing/transactions.html",
        {
            "asked": asked,
            "rows": tell(shown.rows),
            "page": shown,
            "found": found,
            "more": more,
            "kinds": KINDS,
            "grants": grants[:GRANTS_SHOWN],
            "more_grants": len(grants) > GRANTS_SHOWN,
            "next_expiring": next_to_expire(account, now),
            "months": months(account, now=now),
            "soon": now + timedelta(days=7),
            "now": now,
        },
    )


@require_safe
@login_required
def transactions_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The list as it is filtered, all of it."""
    account = _account(request)
    asked = _asked(request.GET, account)

    def tables() -> Iterator[list[list[Any]]]:
        for entries in batches(asked.rows(), BY_SEQ):
            yield [
                [
                    told.entry.at, told.entry.seq, told.entry.get_kind_display(), told.text, told.entry.delta,
                    told.entry.balance_after, told.entry.pk,
                ]
                for told in tell(entries)
            ]  # fmt: skip

    columns = [
        BOM + _("Time (UTC)"), _("Number"), _("Kind"), _("Description"), _("Change, USD"), _("Balance after, USD"),
        _("Entry"),
    ]  # fmt: skip
    return stream(request, columns, tables(), name=f"transactions-{account.pk}")
