"""Extra Usage in the console (F080-F083)."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel
from billing.desk import BillingDesk
from config.admin_cells import Panel, at, column, to, usd
from config.templatetags import ui
from subscriptions.models import ExtraUsage, ExtraUsageMonth

SHOWN = 20


def on_or_off(row: ExtraUsage) -> str:
    """Whether Extra Usage pays now, in one look."""
    return ui.status_badge("active", gettext("On")) if row.enabled else ui.status_badge("off", gettext("Off"))


@admin.register(ExtraUsage)
class ExtraUsageAdmin(BillingDesk):
    """Who pays from the balance when a window is full, with which key, up to how much."""

    row_title = staticmethod(lambda row: str(row.account))
    related = ("account", "api_key", "agreed_by")
    list_display = (
        to("account", _("account")),
        column(_("status"), on_or_off, name="on"),
        column(_("API key"), lambda row: row.api_key.masked if row.api_key else "", name="key"),
        usd("monthly_cap", _("monthly cap")),
        at("changed_at", _("changed")),
    )
    list_filter = ("enabled",)
    ordering = ("-changed_at",)
    finds = (("uuid", "account_id"),)
    search_help_text = _("Account UUID")
    facts = (
        (
            _("Extra Usage"),
            (
                "account",
                column(_("status"), on_or_off, name="on"),
                "api_key",
                usd("monthly_cap", _("monthly cap")),
                "changed_at",
            ),
        ),
        (_("Consent"), ("agreed_at", "agreed_by", "agreed_text")),
    )

    def panels(self, request: HttpRequest, obj: ExtraUsage) -> list[Panel]:
        """What it came to, month by month, and what people did."""
        months = ExtraUsageMonth.objects.filter(account_id=obj.pk).order_by("-month")[:SHOWN]
        return [
            Panel(
                _("Months (UTC)"),
                (_("month"), _("calls"), _("spent"), _("held"), _("told of")),
                [
                    (f"{one.month:%Y-%m}", ui.count(one.calls), ui.usd(one.spent), ui.usd(one.held), f"{one.told} %")
                    for one in months
                ],
                numbers=frozenset({1, 2, 3, 4}),
            ),
            *audit_panel(request, obj),
        ]
