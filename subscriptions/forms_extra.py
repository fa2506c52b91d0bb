"""What the "Select a Key" dialog asks (F081)."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey
from billing.errors import InvalidRequest
from subscriptions import extra

FIRST_CAP: Final = "20.00"
_MONEY: Final = {"inputmode": "decimal", "autocomplete": "off"}


def cap_field() -> forms.CharField:
    """US dollars, as a person writes them."""
    return forms.CharField(
        label=_("Monthly cap"),
        max_length=40,
        widget=forms.TextInput(attrs=_MONEY),
        error_messages={"required": _("Write the amount as a number of US dollars, for instance 20.00.")},
    )


class CapForm(forms.Form):
    """The monthly cap."""

    monthly_cap = cap_field()

    def clean_monthly_cap(self) -> Any:
        """As an amount; the operation's own words when it is none."""
        told = self.cleaned_data["monthly_cap"].strip().removeprefix("$").replace(",", "")
        try:
            return extra.parse_cap(told)
        except InvalidRequest as refusal:
            raise forms.ValidationError(str(refusal)) from None


class ReselectForm(forms.Form):
    """One of the keys that may be chosen."""

    api_key = forms.ChoiceField(
        label=_("Pay-as-you-go key"),
        error_messages={"required": _("Choose a key, or create one."), "invalid_choice": _("Choose another key.")},
    )

    def __init__(self, *arguments: Any, keys: list[ApiKey], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["api_key"].choices = [(str(key.pk), key.name) for key in keys]  # type: ignore[attr-defined]

    @property
    def chosen(self) -> str:
        """Which row is ticked."""
        return str(self["api_key"].value() or "")


class TurnOnForm(ReselectForm, CapForm):
    """The key, the cap and the consent."""

    agree = forms.BooleanField(
        error_messages={"required": _("Tick the box: without your consent nothing may be paid from the balance.")}
    )
    field_order = ("api_key", "monthly_cap", "agree")


class NewKeyForm(forms.Form):
    """A pay-as-you-go key made inside the dialog: a name is enough. Limits are set on the keys' page."""

    name = forms.CharField(label=_("Name"), max_length=80, error_messages={"required": _("Give the key a name.")})
