"""What a customer chooses for auto top-up."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from billing.errors import InvalidRequest
from billing.payments import auto_setting
from billing.payments.auto_rules import Terms
from billing.payments.models_saved import AutoTopUp, PaymentMethod

AMOUNTS: Final = ("threshold", "amount", "daily_amount", "monthly_amount")
FIRST: Final = {
    "threshold": "5.00",
    "amount": "20.00",
    "daily_count": 3,
    "daily_amount": "60.00",
    "monthly_amount": "300.00",
}


class AutoTopUpForm(forms.Form):
    """Threshold, amount, limits and the card."""

    threshold = forms.CharField(label=_("When the balance falls below"), max_length=40)
    amount = forms.CharField(
        label=_("Amount to charge"),
        max_length=40,
        help_text=_("Or a multiple of it, when one charge must close a larger gap."),
    )
    daily_count = forms.CharField(label=_("Charges a day, at most"), max_length=4)
    daily_amount = forms.CharField(label=_("A day, at most"), max_length=40)
    monthly_amount = forms.CharField(label=_("A month, at most"), max_length=40)
    payment_method = forms.ChoiceField(
        label=_("Card"), error_messages={"required": _("Choose one of the saved cards.")}
    )

    def __init__(self, *arguments: Any, cards: list[PaymentMethod], **options: Any) -> None:
        super().__init__(*arguments, **options)
        usable = [card for card in cards if card.state == PaymentMethod.State.ACTIVE]
        choices = [(str(card.pk), f"{card.name} · {card.expiry}") for card in usable]
        self.fields["payment_method"].choices = choices  # type: ignore[attr-defined]
        for name in (*AMOUNTS, "daily_count"):
            self.fields[name].widget.attrs.update(
                {"inputmode": "decimal" if name in AMOUNTS else "numeric", "autocomplete": "off"}
            )

    def clean(self) -> dict[str, Any]:
        """The terms as a whole; the field that does not fit is named."""
        data = super().clean() or {}
        if self.errors:
            return data
        told = {name: str(data[name]).strip().removeprefix("$").replace(",", "") for name in AMOUNTS}
        try:
            data["terms"] = auto_setting.parse_terms(told | {"daily_count": data["daily_count"]})
        except InvalidRequest as refusal:
            field = str(refusal.evidence.get("field", ""))
            self.add_error(field if field in self.fields else None, str(refusal))
        return data

    @property
    def terms(self) -> Terms:
        """Of a valid form."""
        return self.cleaned_data["terms"]  # type: ignore[no-any-return]


def fresh(row: AutoTopUp | None, cards: list[PaymentMethod]) -> AutoTopUpForm:
    """As it stands, or what we propose."""
    first: dict[str, Any] = dict(FIRST)
    if row is not None:
        first = {
            "threshold": f"{row.threshold_usd:.2f}",
            "amount": f"{row.amount_usd:.2f}",
            "daily_count": row.daily_count,
            "daily_amount": f"{row.daily_usd:.2f}",
            "monthly_amount": f"{row.monthly_usd:.2f}",
        }
    kept = {card.pk for card in cards if card.state == PaymentMethod.State.ACTIVE}
    chosen = row.payment_method_id if row is not None and row.payment_method_id in kept else None
    default = next((card.pk for card in cards if card.is_default and card.pk in kept), None)
    first["payment_method"] = str(chosen or default or "")
    return AutoTopUpForm(initial=first, cards=cards)
