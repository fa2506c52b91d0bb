"""What a customer says who wants a top-up back (F019-F022)."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from billing.money import parse_decimal
from refunds import tools
from refunds.models import Refund

_TOKEN: Final = re.compile(r"[0-9a-f]{32}")
LONGEST: Final = 500


class TopUpRefundForm(forms.Form):
    """How much, why, a company's confirmation, and the token that makes a second click the same request."""

    amount = forms.CharField(
        label=_("Credit to refund"),
        max_length=40,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        error_messages={"required": _("Write the amount as a number of US dollars, for instance 20.00.")},
    )
    category = forms.ChoiceField(
        label=_("Reason"),
        choices=Refund.Category.choices,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose a kind of reason.")},
    )
    reason = forms.CharField(
        label=_("What happened?"),
        max_length=LONGEST,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("Our staff read it when they decide. Leave out API keys and card numbers."),
        error_messages={"required": _("Say why you want the money back.")},
    )
    confirm = forms.BooleanField(required=False)
    token = forms.CharField(widget=forms.HiddenInput)

    def clean_token(self) -> str:
        """The page made it; anything else is not from our page."""
        token: str = self.cleaned_data["token"]
        if not _TOKEN.fullmatch(token):
            raise forms.ValidationError(_("Please load the page again."))
        return token

    def clean_amount(self) -> Decimal:
        """US dollars in whole cents, above zero. How much there is says the operation."""
        told = self.cleaned_data["amount"].strip().removeprefix("$").replace(",", "")
        try:
            amount = parse_decimal(told)
        except ValueError:
            raise forms.ValidationError(_("Write the amount as a number of US dollars, for instance 20.00.")) from None
        if amount <= 0:
            raise forms.ValidationError(_("The amount must be above zero."))
        if amount >= Decimal(10) ** 12 or amount != amount.quantize(Decimal("0.01")):
            raise forms.ValidationError(_("The amount has more than two decimal places; cents are the smallest unit."))
        return amount.quantize(Decimal("0.01"))

    @property
    def client_key(self) -> str:
        """The same page sent twice is one request; sent again with another amount it is another one."""
        return f"form:{self.cleaned_data['token']}:{self.cleaned_data['amount']}"

    @property
    def chosen(self) -> str:
        """Which kind of reason is ticked."""
        return str(self["category"].value() or "")

    @property
    def named(self) -> tuple[str, ...]:
        """The third-party tools that the text names (F021)."""
        return tools.named_in(str(self["reason"].value() or "")[:LONGEST])

    @property
    def hint(self) -> bool:
        """Whether the words of F021 are in place."""
        return self.chosen == Refund.Category.THIRD_PARTY or bool(self.named)


def fresh(unused: Decimal, **told: Any) -> TopUpRefundForm:
    """An unsent form for all that is unused, with a token of its own."""
    return TopUpRefundForm(initial={"amount": f"{unused:.2f}", "token": uuid.uuid4().hex} | told)
