"""The form that publishes refund terms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.catalog.plans import plain
from config import clock
from config.admin_base import ReasonForm
from refunds import models_policy, publishing
from refunds.models_policy import RefundPolicy
from refunds.publishing import Terms, terms_of
from subscriptions.forms_plans import Unrepeated

METHODS: Final = ("card", "alipay", "wechat_pay")
AGE: Final[dict[str, Any]] = {"min_value": 1, "max_value": publishing.OLDEST, "required": False}


class PolicyForm(ReasonForm):
    """Every term, prefilled from those in force. `seen` comes back with the confirmation of a preview."""

    seen = forms.CharField(widget=Unrepeated, max_length=64, required=False)
    window_hours = forms.IntegerField(
        label=_("Hours to ask in"),
        min_value=1,
        max_value=publishing.LONGEST_WINDOW,
        help_text=_("From the first payment of a plan, or of an upgrade; the last moment is included (C12)."),
    )
    fee_percent = forms.DecimalField(
        label=_("Fee in percent"),
        max_digits=6,
        decimal_places=4,
        min_value=0,
        help_text=_("5 is 5 %. Of plans and of top-ups; 0 for none."),
    )
    fee_base = forms.ChoiceField(
        label=_("Fee of"),
        choices=RefundPolicy.FeeBase.choices,
        help_text=_("Of plans (C10); a top-up's fee is taken of what goes back."),
    )
    on_renewal = forms.BooleanField(
        label=_("Renewals can be given back"), required=False, help_text=_("Whether a renewal opens the hours again.")
    )
    refund_tax = forms.BooleanField(
        label=_("Tax goes back"), required=False, help_text=_("In proportion to what goes back of the price (C13).")
    )
    settle_minutes = forms.IntegerField(
        label=_("Minutes to wait for open calls"),
        min_value=1,
        max_value=publishing.LONGEST_WAIT,
        help_text=_("After that a call counts with what it holds (C14)."),
    )
    quote_minutes = forms.IntegerField(
        label=_("Minutes for which a preview holds"), min_value=1, max_value=publishing.LONGEST_WAIT
    )
    days_card = forms.IntegerField(
        label=_("Days for which cards can be refunded"),
        help_text=_("The provider's word, as are the next two. Empty: no end."),
        **AGE,
    )
    days_alipay = forms.IntegerField(label=_("Days for which Alipay can be refunded"), **AGE)
    days_wechat_pay = forms.IntegerField(label=_("Days for which WeChat Pay can be refunded"), **AGE)
    effective_from = forms.DateTimeField(
        label=_("Start (UTC)"),
        required=False,
        help_text=_("Empty: from the moment of publishing. Payments from the start on have these terms."),
    )

    @staticmethod
    def prefill(_obj: object, _params: Mapping[str, str]) -> dict[str, Any]:
        """The terms in force."""
        terms = terms_of(models_policy.in_force(clock.now()))
        names = ("window_hours", "fee_base", "on_renewal", "refund_tax", "settle_minutes", "quote_minutes")
        told = {name: getattr(terms, name) for name in names}
        told |= {f"days_{method}": terms.days_by_method.get(method) for method in METHODS}
        return told | {"fee_percent": plain(terms.fee_rate * 100)}

    def clean_effective_from(self) -> datetime | None:
        """The time on the clock is one of UTC, whatever the reader's zone."""
        given = self.cleaned_data["effective_from"]
        return timezone.make_naive(given).replace(tzinfo=UTC) if given else None


def terms_in(data: dict[str, Any]) -> Terms:
    """What the form says."""
    names = ("window_hours", "fee_base", "on_renewal", "refund_tax", "settle_minutes", "quote_minutes")
    return Terms(
        **{name: data[name] for name in names},
        fee_rate=data["fee_percent"] / 100,
        days_by_method={method: data[f"days_{method}"] for method in METHODS if data[f"days_{method}"]},
        effective_from=data["effective_from"],
    )
