"""The form that publishes a plan's next version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.catalog.plans import plain
from config import clock
from config.admin_base import ReasonForm
from subscriptions.models import Plan, PlanVersion
from subscriptions.plans import current_plans
from subscriptions.publishing import Terms, terms_of

FLOWS: dict[str, Any] = {"max_digits": 20, "decimal_places": 6, "min_value": 0}


class Unrepeated(forms.HiddenInput):
    """Never filled in again: what was refused is previewed anew before it can be confirmed."""

    def format_value(self, value: Any) -> str:
        """Nothing."""
        return ""


class VersionForm(ReasonForm):
    """Every term, prefilled from the present version. `seen` comes back with the confirmation of a preview."""

    seen = forms.CharField(widget=Unrepeated, max_length=64, required=False)
    price_usd = forms.DecimalField(label=_("Price, USD a month"), max_digits=12, decimal_places=2, min_value=0)
    flows_5h = forms.DecimalField(label=_("Flows in five hours"), **FLOWS)
    flows_week = forms.DecimalField(
        label=_("Flows in a week"), help_text=_("Usually five hours × 10.08 (C07)."), **FLOWS
    )
    flows_period = forms.DecimalField(
        label=_("Flows in a billing period"), help_text=_("Usually a week × 30/7 (C07)."), **FLOWS
    )
    rpm = forms.IntegerField(label=_("Requests a minute"), min_value=1)
    model_slugs = forms.CharField(
        label=_("Models"),
        max_length=60_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14, "spellcheck": "false", "class": "font-mono"}),
        help_text=_("One slug a line. The preview shows what comes and what goes."),
    )
    anchor_policy = forms.ChoiceField(
        label=_("Windows begin"),
        choices=PlanVersion.AnchorPolicy.choices,
        help_text=_("At the first request (C06), or on a fixed grid from the start of the billing period."),
    )
    enforce_period_cap = forms.BooleanField(
        label=_("Enforce the period's cap"),
        required=False,
        help_text=_("Off: the period is counted and refuses nothing (C07)."),
    )
    effective_from = forms.DateTimeField(
        label=_("Start (UTC)"), required=False, help_text=_("Empty: from the moment of publishing.")
    )
    note = forms.CharField(
        label=_("Note"), required=False, max_length=200, help_text=_("Stands beside the version, for staff.")
    )

    @staticmethod
    def prefill(obj: Plan, _params: Mapping[str, str]) -> dict[str, Any]:
        """The version in force."""
        present = current_plans(fresh=True).current(obj.pk, clock.now())
        terms = terms_of(PlanVersion.objects.get(pk=present.id))
        told = {name: plain(getattr(terms, name)) for name in ("flows_5h", "flows_week", "flows_period")}
        return told | {
            "price_usd": terms.price_usd,
            "rpm": terms.rpm,
            "model_slugs": "\n".join(terms.model_slugs),
            "anchor_policy": terms.anchor_policy,
            "enforce_period_cap": terms.enforce_period_cap,
        }

    def clean_effective_from(self) -> datetime | None:
        """The time on the clock is one of UTC, whatever the reader's zone."""
        given = self.cleaned_data["effective_from"]
        return timezone.make_naive(given).replace(tzinfo=UTC) if given else None


def terms_in(data: dict[str, Any]) -> Terms:
    """What the form says."""
    names = ("price_usd", "flows_5h", "flows_week", "flows_period", "rpm", "anchor_policy", "enforce_period_cap")
    return Terms(
        **{name: data[name] for name in names},
        model_slugs=tuple(data["model_slugs"].split()),
        effective_from=data["effective_from"],
        note=data["note"],
    )
