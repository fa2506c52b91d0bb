"""A receipt on paper. From its row alone, so that the same row and language make the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
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


def render(receipt: Receipt, language: str) -> bytes:
    """The receipt in this language."""
    with override(language):
        return draw(lambda faces: _render(receipt, faces))


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _paid_with(receipt: Receipt) -> Any:
    """Brand and last four digits of a card; else the method."""
    method = TopUp.Method(receipt.method).label
    if not receipt.last_four:
        return method
    brand = brand_name(receipt.brand) or method
    return _("%(brand)s ending in %(digits)s") % {"brand": brand, "digits": receipt.last_four}


def _render(receipt: Receipt, faces: Mapping[str, Path]) -> Paper:
    paper = Paper(
        faces,
        title=pgettext("document", "Receipt %(number)s") % {"number": receipt.number},
        reference=receipt.number,
        issuer=receipt.seller["name"],
        at=receipt.issued_at,
    )
    sign = "¥" if receipt.currency == "CNY" else "$"
    total = f"{money_text(receipt.paid_amount, sign=sign)} {receipt.currency}"
    paper.letterhead(pgettext("document", "Receipt"), receipt.number)
    paper.side_by_side(
        (_("Received from"), addressed(receipt.buyer)),
        (_("Issued by"), issued_by(receipt.seller)),
    )
    paper.side_by_side(
        (_("Issued"), [_utc(receipt.issued_at)]),
        (_("Paid"), [_utc(receipt.paid_at)]),
    )
    paper.side_by_side(
        (_("Payment method"), [_paid_with(receipt)]),
        (_("Order"), [receipt.top_up.number]),
    )
    paper.side_by_side(
        (_("Account ID"), [receipt.buyer["account"]]),
    )
    what = _("Prepaid credit for API calls: %(amount)s USD") % {"amount": money_text(receipt.amount_usd)}
    if receipt.fx_rate is not None:
        rate = _("Exchange rate of the order: 1 USD = %(rate)s CNY") % {"rate": f"{receipt.fx_rate.normalize():f}"}
        what = f"{what}\n{rate}"
    paper.rows(
        (_("Description"), _("Quantity"), _("Amount")),
        [(what, "1", total), (_("Total paid"), "", total)],
        widths=(104, 26, 44),
        numbers=(1, 2),
        strong=(1,),
    )
    paper.say(
        _("Paid in full. A refund or a dispute of this payment does not change this receipt; it is on the statement."),
        size=8.5,
        colour=GREY,
    )
    return paper
