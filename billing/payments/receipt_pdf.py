"""A receipt on paper. From kept rows alone, so that the same rows and language make the same bytes.

What was paid for says its own part (`Told`): a top-up order here, a plan in the subscriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import override, pgettext

from billing.books.statement_pdf import addressed, issued_by
from billing.payments.cards import brand_name
from billing.payments.models import TopUp
from billing.payments.models_documents import Receipt
from config.paper import GREY, Paper, draw
from config.templatetags.ui import money_text


@dataclass(frozen=True, slots=True)
class Told:
    """What a receipt says, in the language in force. `facts` stand in pairs under the addresses; `lines` are what was
    paid for, with amounts in `currency` that add up to `paid`; `after` are amounts that came later, as a refund."""

    number: str
    issued_at: datetime
    paid_at: datetime
    seller: Mapping[str, Any]
    buyer: Mapping[str, Any]
    currency: str
    paid: Decimal
    facts: tuple[tuple[Any, Any], ...]
    lines: tuple[tuple[str, Decimal], ...]
    note: str
    after: tuple[tuple[str, Decimal], ...] = ()


def render(receipt: Receipt, language: str) -> bytes:
    """A top-up order's receipt in this language."""
    return render_told(lambda: _of_order(receipt), language)


def render_told(tell: Callable[[], Told], language: str) -> bytes:
    """The receipt that says what `tell` answers in this language."""
    with override(language):
        told = tell()
        return draw(lambda faces: _render(told, faces))


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def paid_with(method: str, brand: str, last_four: str) -> str:
    """Brand and last four digits of a card; else the method."""
    name = str(TopUp.Method(method).label)
    if not last_four:
        return name
    return _("%(brand)s ending in %(digits)s") % {"brand": brand_name(brand) or name, "digits": last_four}


def _of_order(receipt: Receipt) -> Told:
    what = _("Prepaid credit for API calls: %(amount)s USD") % {"amount": money_text(receipt.amount_usd)}
    if receipt.fx_rate is not None:
        rate = _("Exchange rate of the order: 1 USD = %(rate)s CNY") % {"rate": f"{receipt.fx_rate.normalize():f}"}
        what = f"{what}\n{rate}"
    return Told(
        number=receipt.number,
        issued_at=receipt.issued_at,
        paid_at=receipt.paid_at,
        seller=receipt.seller,
        buyer=receipt.buyer,
        currency=receipt.currency,
        paid=receipt.paid_amount,
        facts=(
            (_("Payment method"), paid_with(receipt.method, receipt.brand, receipt.last_four)),
            (_("Order"), receipt.top_up.number),
            (_("Account ID"), receipt.buyer["account"]),
        ),
        lines=((what, receipt.paid_amount),),
        note=_(
            "Paid in full. A refund or a dispute of this payment does not change this receipt; it is on the statement."
        ),
    )


def _render(told: Told, faces: Mapping[str, Path]) -> Paper:
    paper = Paper(
        faces,
        title=pgettext("document", "Receipt %(number)s") % {"number": told.number},
        reference=told.number,
        issuer=told.seller["name"],
        at=told.issued_at,
    )
    sign = "¥" if told.currency == "CNY" else "$"

    def money(amount: Decimal) -> str:
        return f"{money_text(amount, sign=sign)} {told.currency}"

    paper.letterhead(pgettext("document", "Receipt"), told.number)
    paper.side_by_side(
        (_("Received from"), addressed(dict(told.buyer))),
        (_("Issued by"), issued_by(dict(told.seller))),
    )
    paper.side_by_side(
        (_("Issued"), [_utc(told.issued_at)]),
        (_("Paid"), [_utc(told.paid_at)]),
    )
    for place in range(0, len(told.facts), 2):
        paper.side_by_side(*((label, [value]) for label, value in told.facts[place : place + 2]))
    paper.rows(
        (_("Description"), _("Quantity"), _("Amount")),
        [
            *((what, "1", money(amount)) for what, amount in told.lines),
            (_("Total paid"), "", money(told.paid)),
            *((what, "", money(amount)) for what, amount in told.after),
        ],
        widths=(104, 26, 44),
        numbers=(1, 2),
        strong=(len(told.lines),),
    )
    paper.say(told.note, size=8.5, colour=GREY)
    return paper
