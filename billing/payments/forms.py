"""What a customer chooses on the top-up page."""

import re
import uuid
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from billing.errors import InvalidRequest
from billing.money import CNY
from billing.payments import topups
from billing.payments.models import TopUp

PRESETS: Final = ("10", "20", "50")
_TOKEN: Final = re.compile(r"[0-9a-f]{32}")


class TopUpForm(forms.Form):
    """An amount (one of ours, or another), how to pay, and the token that makes a second click the same order."""

    preset = forms.ChoiceField(choices=[(p, f"${p}") for p in (*PRESETS, "")], required=False)
    other = forms.CharField(label=_("Another amount"), required=False, max_length=40)
    method = forms.ChoiceField(label=_("Pay with"), choices=[(m.value, m.label) for m in topups.METHODS])
    token = forms.CharField(widget=forms.HiddenInput)
    quote = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def clean_token(self) -> str:
        """The page made it; anything else is not from our page."""
        token: str = self.cleaned_data["token"]
        if not _TOKEN.fullmatch(token):
            raise forms.ValidationError(_("Please load the page again."))
        return token

    def clean(self) -> dict[str, Any]:
        """What is written in the field for another amount wins over a preset."""
        data = super().clean() or {}
        wanted = data.get("other", "").strip().removeprefix("$").replace(",", "") or data.get("preset") or ""
        field = "other" if data.get("other") or not data.get("preset") else "preset"
        try:
            data["amount"] = topups.parse_amount(wanted)
        except InvalidRequest as refusal:
            self.add_error(field, str(refusal))
        return data

    @property
    def client_key(self) -> str:
        """The same page sent twice is one order; sent again with another choice it is another one."""
        data = self.cleaned_data
        return f"form:{data['token']}:{self.amount}:{data['method']}"

    @property
    def quote_id(self) -> uuid.UUID | None:
        """The promised rate; who pays in dollars does not need one."""
        data = self.cleaned_data
        in_yuan = topups.PAID_IN[data["method"]] == CNY
        return data.get("quote") if in_yuan else None

    @property
    def amount(self) -> Decimal:
        """The chosen amount of a valid form."""
        return self.cleaned_data["amount"]  # type: ignore[no-any-return]


def fresh(amount: str = "20", method: str = TopUp.Method.CARD) -> TopUpForm:
    """An unsent form with a token of its own. The page adds the quote that it shows."""
    preset = amount if amount in PRESETS else ""
    other = "" if preset else amount
    return TopUpForm(initial={"preset": preset, "other": other, "method": method, "token": uuid.uuid4().hex})
