"""What a customer may say about an alert."""

from __future__ import annotations

from typing import Any, ClassVar, Final
from uuid import UUID

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, ApiKey, KeyGroup
from billing.errors import InvalidRequest
from billing.metering import alerts
from billing.metering.alerts import Terms
from billing.metering.filters import uuid_of
from billing.metering.models_alerts import SpendAlert

CHECK: Final = {"class": "form-check-input"}
MOST_KEYS: Final = 500
_FIELD_OF: Final = {"group": "scope", "api_key": "scope", "threshold_usd": "threshold"}


class AlertForm(forms.Form):
    """Kind, threshold and, for spend, of what, in which period and at which steps."""

    STEPS: ClassVar[list[tuple[str, Any]]] = [("50", "50 %"), ("80", "80 %"), ("100", "100 %")]

    kind = forms.ChoiceField(label=_("Tell me when"))
    threshold = forms.CharField(
        label=_("Amount"), max_length=40, widget=forms.TextInput(attrs={"inputmode": "decimal"})
    )
    scope = forms.ChoiceField(label=_("Of"), required=False)
    period = forms.ChoiceField(
        label=_("In"), choices=SpendAlert.Period, required=False, help_text=_("Days and months are counted in UTC.")
    )
    steps = forms.MultipleChoiceField(
        label=_("Mail at"),
        choices=STEPS,
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs=CHECK),
        help_text=_("Of the amount; the highest step that is reached is mailed, each once a period."),
    )

    def __init__(self, *arguments: Any, account: Account, of_account: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.account, self.of_account = account, of_account
        kinds: list[tuple[str, Any]] = [("spend", _("a day or a month costs an amount"))]
        scopes: list[tuple[str, Any]] = []
        if of_account:
            kinds.insert(0, ("low_balance", _("the balance falls below an amount")))
            scopes.append(("account", _("the whole account")))
        groups = KeyGroup.objects.filter(account=account).order_by("name")[:MOST_KEYS]
        keys = ApiKey.objects.filter(account=account, disabled_at=None).order_by("name", "pk")[:MOST_KEYS]
        if groups:
            scopes.append((_("Key groups"), [(f"group:{one.pk}", one.name) for one in groups]))  # type: ignore[arg-type]
        if keys:
            scopes.append((_("API keys"), [(f"key:{one.pk}", f"{one.name} {one.masked}") for one in keys]))  # type: ignore[arg-type]
        kept = str(self.initial.get("scope") or "")
        if kept and not any(kept in (value, *dict(text if isinstance(text, list) else [])) for value, text in scopes):
            scopes.append((kept, self.initial.get("on") or kept))  # a key that has been disabled since
        self.fields["kind"].choices = kinds  # type: ignore[attr-defined]
        self.fields["scope"].choices = scopes  # type: ignore[attr-defined]
        if len(kinds) == 1:
            self.initial.setdefault("kind", "spend")

    def clean(self) -> dict[str, Any]:
        """The terms, checked by the same function as the API's."""
        data = super().clean() or {}
        if self.errors:
            return data
        what, _colon, row = (data.get("scope") or "account").partition(":")
        spend = data["kind"] == "spend"
        if spend and what == "account" and not self.of_account:
            self.add_error("scope", _("Choose a key or a group: your role does not allow alerts on the account."))
            return data
        chosen: UUID | None = uuid_of(row) if spend else None
        try:
            data["terms"] = alerts.terms(
                self.account,
                kind=data["kind"],
                threshold=data["threshold"].strip().removeprefix("$").replace(",", ""),
                period=data.get("period") or "day" if spend else "",
                steps=[int(step) for step in data.get("steps") or ()],
                group_id=chosen if what == "group" else None,
                key_id=chosen if what == "key" else None,
            )
        except InvalidRequest as refusal:
            field = str(refusal.evidence.get("field", ""))
            field = _FIELD_OF.get(field, field)
            self.add_error(field if field in self.fields else None, str(refusal))
        return data

    @property
    def terms(self) -> Terms:
        """The terms of a valid form."""
        found: Terms = self.cleaned_data["terms"]
        return found


def initial_of(alert: SpendAlert) -> dict[str, Any]:
    """An alert as the form shows it."""
    scope = (
        f"group:{alert.group_id}" if alert.group_id else f"key:{alert.api_key_id}" if alert.api_key_id else "account"
    )
    return {
        "kind": alert.kind,
        "threshold": f"{alert.threshold_usd:.2f}",
        "scope": scope,
        "on": alert.on,
        "period": alert.period,
        "steps": [str(step) for step in alert.steps],
    }
