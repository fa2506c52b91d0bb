"""The words and the form of a decision at the desk of refunds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.payments.models import TopUp
from config.admin_base import ReasonForm
from config.templatetags import ui
from refunds.models import Refund


class PartForm(ReasonForm):
    """How much of it is sent; the reason is the customer's, too."""

    amount = forms.DecimalField(
        label=_("Credit to refund"),
        max_digits=12,
        decimal_places=2,
        min_value=Decimal("0.01"),
        help_text=_("US dollars, less than was asked for. The fee is taken of it."),
    )
    field_order = ("token", "amount", "reason")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["reason"].help_text = _("The customer reads it. Kept in the audit, with your name.")


def _words(refund: Refund) -> dict[str, Any]:
    return {
        "sent": ui.money_text(refund.sent) if refund.currency == "USD" else f"{refund.sent:.2f} {refund.currency}",
        "asked": f"{refund.requested:.2f} {refund.currency}",
        "credit": ui.usd_text(refund.requested_usd),
        "rate": ui.percent(refund.fee_rate, 2),
        "method": TopUp.Method(refund.method).label,
        "limit": ui.usd_text(settings.SECOND_PERSON_ABOVE_USD),
    }


def what_a_part_does(refund: Refund) -> str:
    """What the approval of a part leads to."""
    return gettext(
        "%(credit)s of credit were asked for (%(asked)s). The part that you approve is sent, less the fee of "
        "%(rate)s, to the payment method that was paid with (%(method)s); the rest is the customer's credit again at "
        "once. Above %(limit)s within a day, by one person for one account, a second person must approve as well."
    ) % _words(refund)


def what_approving_does(refund: Refund) -> str:
    """What the approval leads to."""
    return gettext(
        "%(sent)s are sent to the payment method that was paid with (%(method)s), and cannot be called back. Above "
        "%(limit)s within a day, by one person for one account, a second person must approve as well."
    ) % _words(refund)


def what_trying_again_does(refund: Refund) -> str:
    """What the new try leads to."""
    return gettext(
        "It failed because: %(why)s. What the provider knows of by now is booked first; then all that is left of the "
        "payment of the second subscription is sent back in a new refund, without a fee, to %(method)s."
    ) % {"why": refund.failure_reason or refund.provider_status, "method": TopUp.Method(refund.method).label}
