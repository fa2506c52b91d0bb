"""Receipts of what was paid for a plan: the paper of the top-ups' receipts, with a plan's own part (F077).

What a receipt says is kept with the journal entry that booked the payment, so it is as old as the payment and no later
change of the billing details, of a plan's name or of the seller changes it. Its number is the provider's invoice
number after an `R-`: unique, and counted up by the provider. Only a payment that went back is read as of now: the
receipt then says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from billing.books.details import addressee
from billing.books.models import JournalEntry
from billing.errors import NotFound
from billing.money import from_minor_units, minor_text
from billing.payments.models import TopUp
from billing.payments.processor_subscriptions import InvoiceLine
from billing.payments.receipt_pdf import Told, paid_with, render_told
from config.paper import seller
from subscriptions.models import Invoice, PlanPrice, Subscription


def paid_key(invoice: Invoice) -> str:
    """Names the entry that booked the payment."""
    return f"invoice:{invoice.provider_id}:paid"


def number(invoice: Invoice) -> str:
    """The receipt's number."""
    return f"R-{invoice.number or invoice.provider_id}"


def file_name(invoice: Invoice) -> str:
    """What the document is saved as; the provider's number may hold any sign."""
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', number(invoice))}.pdf"


# --- what is kept ----------------------------------------------------------------------------------------------------


def kept(invoice: Invoice, lines: Iterable[InvoiceLine]) -> dict[str, Any]:
    """What the receipt will say for ever: who paid whom, the plan, and the lines as the provider told them."""
    told = list(lines)
    prices = PlanPrice.objects.filter(price_id__in={one.price_id for one in told}).select_related("version__plan")
    names = {one.price_id: one.version.plan.name for one in prices}
    return {
        "seller": seller().told(),
        "buyer": addressee(invoice.account),
        "plan": invoice.plan_version.plan.name,
        "lines": [
            {
                "plan": names.get(one.price_id, ""),
                "text": one.text[:300],
                "amount_minor": one.amount_minor,
                "proration": one.proration,
                "starts_at": one.starts_at.isoformat(),
                "ends_at": one.ends_at.isoformat(),
            }
            for one in told
        ],
    }


# --- what it says ----------------------------------------------------------------------------------------------------


def render(invoice: Invoice, language: str) -> bytes:
    """The receipt in this language. `NotFound` for an invoice by which nothing was paid."""
    entry = JournalEntry.objects.filter(account_id=invoice.account_id, key=paid_key(invoice)).first()
    if entry is None or invoice.status != Invoice.Status.PAID:
        raise NotFound
    # An entry of a version that kept no document yet says what is known now.
    document = entry.meta.get("receipt") or kept(invoice, ())
    return render_told(lambda: _told(invoice, document, entry.at), language)


def _told(invoice: Invoice, document: dict[str, Any], booked_at: datetime) -> Told:
    lines = [(_text(line), from_minor_units(line["amount_minor"], invoice.currency)) for line in document["lines"]]
    if not lines:
        lines = [(_span(document["plan"], invoice.period_start, invoice.period_end), _asked(invoice))]
    lines += _rest(invoice, sum((amount for _what, amount in lines), Decimal(0)))
    after: tuple[tuple[str, Decimal], ...] = ()
    note = _("Paid in full.")
    if invoice.paid_back_at is not None and invoice.paid_back_minor:
        back = from_minor_units(invoice.paid_back_minor, invoice.currency)
        after = ((_("Paid back on %(day)s") % {"day": _day(invoice.paid_back_at)}, -back),)
        note = _("Money of this payment went back to the card that it was paid with.")
        if invoice.subscription.status == Subscription.Status.DUPLICATE:
            note = _("This payment was paid back in full: the account had a plan already when it arrived.")
    if invoice.tax_minor:
        contained = _("The total contains %(tax)s of tax.")
        note = f"{note}\n{contained % {'tax': minor_text(invoice.tax_minor, invoice.currency)}}"
    return Told(
        number=number(invoice),
        issued_at=booked_at,
        paid_at=invoice.paid_at or booked_at,
        seller=document["seller"],
        buyer=document["buyer"],
        currency=invoice.currency,
        paid=from_minor_units(invoice.paid_minor, invoice.currency),
        facts=(
            (_("Plan"), f"{document['plan']} · {invoice.get_kind_display()}"),
            (_("Billing period"), _period(invoice.period_start, invoice.period_end)),
            (_("Payment method"), paid_with(TopUp.Method.CARD, invoice.card_brand, invoice.card_last_four)),
            (_("Invoice at the payment provider"), "\n".join(filter(None, (invoice.number, invoice.provider_id)))),
            (_("Account ID"), document["buyer"]["account"]),
            (_("Payment reference"), invoice.charge_id or invoice.payment_intent_id or "–"),
        ),
        lines=tuple(lines),
        note=note,
        after=after,
    )


def _asked(invoice: Invoice) -> Decimal:
    return from_minor_units(invoice.amount_minor, invoice.currency)


def _rest(invoice: Invoice, listed: Decimal) -> list[tuple[str, Decimal]]:
    """What stands between the lines and what was paid, so that the paper adds up: tax on top, discounts, and credit
    that the customer had at the provider."""
    found = []
    asked, tax = _asked(invoice), from_minor_units(invoice.tax_minor, invoice.currency)
    paid = from_minor_units(invoice.paid_minor, invoice.currency)
    if (rest := asked - listed) != 0:
        found.append((_("Tax") if rest == tax else _("Discounts, tax and other items"), rest))
    if (settled := paid - asked) != 0:
        found.append((_("Settled with credit at the payment provider"), settled))
    return found


def _text(line: dict[str, Any]) -> str:
    """A line in the reader's language; one whose price is none of ours in the provider's words."""
    if not line["plan"]:
        return str(line["text"])
    start, end = datetime.fromisoformat(line["starts_at"]), datetime.fromisoformat(line["ends_at"])
    if line["proration"] and line["amount_minor"] < 0:
        what = _("Credit for unused time on %(plan)s")
    elif line["proration"]:
        what = _("%(plan)s for the rest of the period")
    else:
        what = _("%(plan)s subscription")
    return _span(what % {"plan": line["plan"]}, start, end)


def _span(what: str, start: datetime | None, end: datetime | None) -> str:
    return f"{what}\n{_period(start, end)}" if start else what


def _period(start: datetime | None, end: datetime | None) -> str:
    return f"{_day(start)} – {_day(end)} UTC" if start and end else "–"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
