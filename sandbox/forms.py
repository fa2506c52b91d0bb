"""The hosted page's card form, and the moves of the control page."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from sandbox import cards


class CardForm(forms.Form):
    email = forms.EmailField(label=_("E-mail"), max_length=200)
    number = forms.CharField(label=_("Card number"), max_length=30)
    expiry = forms.CharField(label=_("Expires (MM/YY)"), max_length=9)
    cvc = forms.CharField(label=_("Security code"), max_length=4)
    name = forms.CharField(label=_("Name on card"), max_length=100)
    outcome = forms.ChoiceField(
        label=_("Outcome (sandbox only)"),
        required=False,
        choices=[
            ("", _("As the card number says")),
            (_("Declined by the bank"), [(code, code) for code in cards.DECLINE_CODES]),
            (_("Blocked by a risk rule"), [(rule, rule) for rule in cards.RULES]),
        ],
    )

    def __init__(self, *args: Any, year_now: int, month_now: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.year_now, self.month_now = year_now, month_now
        hints = {"number": "cc-number", "expiry": "cc-exp", "cvc": "cc-csc", "name": "cc-name", "email": "email"}
        for name, field in self.fields.items():
            select = isinstance(field.widget, forms.Select)
            classes = "form-select" if select else "form-control"
            if name in self.errors:
                classes += " is-invalid"
            field.widget.attrs.update({"class": classes, "autocomplete": hints.get(name, "off")})
            if name in ("number", "expiry", "cvc"):
                field.widget.attrs["inputmode"] = "numeric"

    def clean_number(self) -> str:
        number = re.sub(r"[\s-]", "", self.cleaned_data["number"])
        if not re.fullmatch(r"[0-9]{12,19}", number):
            raise forms.ValidationError(_("Your card number is incomplete."))
        return number

    def clean_expiry(self) -> tuple[int, int]:
        match = re.fullmatch(r"\s*([0-9]{1,2})\s*/\s*([0-9]{2}|[0-9]{4})\s*", self.cleaned_data["expiry"])
        if not match or not 1 <= int(match[1]) <= 12:
            raise forms.ValidationError(_("Your card's expiration date is incomplete."))
        month, year = int(match[1]), int(match[2]) + (2000 if len(match[2]) == 2 else 0)
        if (year, month) < (self.year_now, self.month_now):
            raise forms.ValidationError(_("Your card's expiration date is in the past."))
        return month, year

    def clean_cvc(self) -> str:
        cvc: str = self.cleaned_data["cvc"]
        if not re.fullmatch(r"[0-9]{3,4}", cvc):
            raise forms.ValidationError(_("Your card's security code is incomplete."))
        return cvc
