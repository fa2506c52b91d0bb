"""The journal in the customer's words: what an entry was, and where its money came from and went."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from billing.books.models import CreditGrant, JournalEntry, LedgerAccount, Posting, System

Kind = JournalEntry.Kind
ORDER: Final = re.compile(r"product_[0-9A-Za-z-]{1,40}")

# Where money is when it is not in the customer's own credit.
PLACES: Final[dict[str, Any]] = {
    System.PROCESSOR_STRIPE: _("Your payment"),
    System.REVENUE_USAGE: _("Calls"),
    System.REVENUE_SUBSCRIPTION: _("Subscription"),
    System.REVENUE_REFUND_FEE: _("Refund fee"),
    System.EXPENSE_PROMOTION: _("Gift from us"),
    System.EXPENSE_COMPENSATION: _("Compensation from us"),
    System.BREAKAGE: _("Expired credit"),
    System.CHARGEBACK: _("Disputed payment"),
    System.FROZEN: _("Frozen while a payment is checked"),
    System.MANUAL: _("Credit given by staff"),
}

# What went back or was asked back, by the order that had brought it in.
OF_ORDER: Final[dict[str, Any]] = {
    Kind.REFUND_HOLD: _("Set aside for a refund of order %(number)s"),
    Kind.REFUND_PAID: _("Refund of order %(number)s"),
    Kind.REFUND_FAILED: _("The refund of order %(number)s did not succeed or was cancelled"),
    Kind.DISPUTE_OPENED: _("The bank disputes the payment of order %(number)s"),
    Kind.DISPUTE_WON: _("The bank's dispute ended in your favour: order %(number)s"),
    Kind.DISPUTE_LOST: _("The bank took the payment of order %(number)s back"),
    Kind.CREDIT_FROZEN: _("Frozen after a fraud warning about order %(number)s"),
    Kind.CREDIT_RELEASED: _("Released again: credit of order %(number)s"),
}
REST_OF_ORDER: Final[Any] = _("Only a part of the refund of order %(number)s was approved: the rest is credit again")

# What went back of a plan's payment, and what the bank did with it.
OF_INVOICE: Final[dict[str, Any]] = {
    Kind.REFUND_HOLD: _("Set aside for a refund of invoice %(number)s"),
    Kind.SUBSCRIPTION_REFUND: _("Refund of invoice %(number)s"),
    Kind.REFUND_FAILED: _("The refund of invoice %(number)s did not succeed or was cancelled"),
    Kind.DISPUTE_OPENED: _("The bank disputes the payment of invoice %(number)s"),
    Kind.DISPUTE_WON: _("The bank's dispute ended in your favour: invoice %(number)s"),
    Kind.DISPUTE_LOST: _("The bank took the payment of invoice %(number)s back"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the list."""

    entry: JournalEntry
    text: Any
    url: str  # where it is explained, if somewhere other than the entry's own page

    @property
    def tone(self) -> str:
        """The colour of its kind: money in, money out of the ordinary, or neither."""
        if self.entry.kind in (Kind.USAGE, Kind.SUBSCRIPTION_PAID):
            return "secondary"
        return "green" if self.entry.delta > 0 else "yellow"


def tell(entries: Iterable[JournalEntry]) -> list[Told]:
    """Each entry with a sentence about it and, where there is one, the page of what it came from."""
    entries = list(entries)
    grants = CreditGrant.objects.in_bulk({entry.meta["grant"] for entry in entries if entry.meta.get("grant")})
    return [_told(entry, next((grants[pk] for pk in _grant_id(entry) if pk in grants), None)) for entry in entries]


def _grant_id(entry: JournalEntry) -> list[UUID]:
    return [UUID(entry.meta["grant"])] if entry.meta.get("grant") else []


def _told(entry: JournalEntry, grant: CreditGrant | None) -> Told:
    order = ORDER.search(entry.key) or ORDER.search(str(entry.meta.get("order", "")))
    if entry.kind == Kind.USAGE:
        calls = int(entry.meta.get("calls", 1))
        return Told(entry, ngettext("%(calls)s call", "%(calls)s calls", calls) % {"calls": f"{calls:,}"}, "")
    if entry.kind == Kind.USAGE_ADJUSTMENT:
        calls = int(entry.meta.get("calls", 1))
        if entry.meta.get("reversal"):
            text = ngettext(
                "Taken back: %(calls)s call of %(model)s", "Taken back: %(calls)s calls of %(model)s", calls
            )
        else:
            text = ngettext(
                "Price correction: %(calls)s call of %(model)s", "Price correction: %(calls)s calls of %(model)s", calls
            )
        return Told(entry, text % {"calls": f"{calls:,}", "model": entry.meta.get("model", "")}, "")
    if order:
        part = entry.kind == Kind.REFUND_HOLD and entry.delta > 0
        text = REST_OF_ORDER if part else OF_ORDER.get(entry.kind, _("Order %(number)s"))
        return Told(entry, text % {"number": order[0]}, f"/billing/top-up/{order[0]}")
    if entry.meta.get("invoice"):
        text = OF_INVOICE.get(entry.kind, _("Invoice %(number)s, paid by card"))
        return Told(
            entry,
            text % {"number": entry.meta.get("number", "")},
            f"/platform/subscription/history/{entry.meta['invoice']}",
        )
    if entry.meta.get("voucher"):
        return Told(entry, (grant and grant.note) or _("Voucher redeemed"), "/billing/vouchers")
    if grant is not None and grant.note and entry.kind != Kind.MANUAL_CREDIT:
        return Told(entry, grant.note, "")
    if grant is not None and grant.expires_at:
        return Told(entry, _("Credit with an expiry date"), "")
    return Told(entry, "", "")


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One posting in words. `into` is True where the amount arrived, False where it left."""

    label: Any
    note: Any
    grant: CreditGrant | None
    own: bool
    into: bool
    amount: Decimal


def lines_of(entry: JournalEntry) -> list[EntryLine]:
    """What left where, and what arrived where; the customer's own places and ours."""
    postings = Posting.objects.filter(account_id=entry.account_id, entry_id=entry.pk).select_related("ledger__grant")
    return [_line(posting) for posting in postings.order_by("line")]


def _line(posting: Posting) -> EntryLine:
    ledger, credited = posting.ledger, posting.side == Posting.CREDIT
    if ledger.kind == LedgerAccount.Kind.GRANT:
        return EntryLine(ledger.grant.get_kind_display(), "", ledger.grant, True, credited, posting.amount)
    if ledger.kind == LedgerAccount.Kind.OVERDRAFT:
        note = _("what you owe became less") if credited else _("charged beyond your credit; the next credit pays it")
        return EntryLine(_("Overdraft"), note, None, True, credited, posting.amount)
    if ledger.kind == LedgerAccount.Kind.REFUNDS_PAYABLE:
        return EntryLine(_("Set aside for a refund"), "", None, True, credited, posting.amount)
    return EntryLine(PLACES.get(ledger.code, ledger.code), "", None, False, credited, posting.amount)


# --- Finding a day among the numbers ----------------------------------------------------------------------------------
# An account's entries are numbered without a gap and follow time, so the first one of a day is found by halving: some
# twenty look-ups in an index that exists anyway, where an index by time would be one more to keep up with every call.
_FIRST_SINCE: Final = """
WITH RECURSIVE halving(low, high) AS (
  SELECT 1::bigint, coalesce((SELECT max(seq) FROM billing_journalentry WHERE account_id = %(account)s), 0) + 1
  UNION ALL
  SELECT CASE WHEN e.at < %(at)s THEN e.seq + 1 ELSE low END, CASE WHEN e.at < %(at)s THEN high ELSE e.seq END
  FROM halving JOIN billing_journalentry e ON e.account_id = %(account)s AND e.seq = (low + high) / 2
  WHERE low < high
)
SELECT low FROM halving WHERE low >= high
"""


def first_seq_since(account_id: UUID, at: datetime) -> int:
    """The number of the account's first entry at or after this moment; one past the last when there is none."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_SINCE, {"account": account_id, "at": at})
        [seq] = cursor.fetchone()
    return int(seq)
