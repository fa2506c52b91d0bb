"""Spend alerts in the console: what a customer watches and what was told."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.models import Account
from billing.desk import BillingDesk
from billing.metering.models_alerts import AlertFiring, SpendAlert
from config.admin_cells import Panel, at, column, link, list_url, state, to, usd
from config.templatetags import ui


def standing(alert: SpendAlert) -> str:
    """Watching, paused or deleted."""
    if alert.deleted_at:
        return ui.status_badge("deleted", gettext("Deleted"))
    if alert.paused_at:
        return ui.status_badge("paused", gettext("Paused"), tone="yellow")
    return ui.status_badge("enabled", gettext("Watching"))


def watches(alert: SpendAlert) -> str:
    """What it watches, in words."""
    on = alert.on or gettext("the whole account")
    if alert.kind == SpendAlert.Kind.LOW_BALANCE:
        return gettext("balance")
    return f"{on} · {alert.get_period_display()} · " + ", ".join(f"{step} %" for step in alert.steps)


def alert_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """The account's alerts, on the customer's page."""
    if not request.user.has_perm("billing.view_spendalert"):
        return []
    rows = SpendAlert.objects.filter(account=owner, deleted_at=None).select_related("group", "api_key")
    return [
        Panel(
            _("Spend alerts"),
            (_("alert"), _("watches"), _("threshold"), _("state"), _("last told")),
            [
                (
                    link(one, one.get_kind_display()),
                    watches(one),
                    ui.usd(one.threshold_usd),
                    standing(one),
                    ui.when(one.last_fired_at),
                )
                for one in rows.order_by("-pk")[:10]
            ],
            numbers=frozenset({2}),
            more=list_url(SpendAlert, account__id__exact=owner.pk),
        )
    ]


AccountAdmin.add_panels(alert_panels, place=120)


@admin.register(SpendAlert)
class SpendAlertAdmin(BillingDesk):
    """What customers wish to be told of."""

    related = ("account", "group", "api_key", "created_by")
    ids_by_time = True
    list_display = (
        state("kind", _("kind")),
        to("account", _("account")),
        column(_("watches"), watches, name="watches"),
        usd("threshold_usd", _("threshold")),
        column(_("state"), standing, name="standing"),
        at("last_fired_at", _("last told")),
    )
    list_filter = ("kind",)
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"))
    search_help_text = _("Account UUID")
    facts = (
        (_("Alert"), ("kind", "account", column(_("watches"), watches, name="watches"), "threshold_usd")),
        (
            _("State"),
            (column(_("state"), standing, name="standing"), "created_by", "created_at", "last_fired_at", "revision"),
        ),
    )

    def panels(self, request: HttpRequest, obj: SpendAlert) -> list[Panel]:
        """What it told."""
        rows = AlertFiring.objects.filter(alert=obj).order_by("-pk")[:50]
        return [
            Panel(
                _("Told"),
                (_("time"), _("period"), _("step"), _("amount"), _("threshold"), _("mailed")),
                [
                    (
                        ui.when(one.at, "seconds"),
                        one.period,
                        f"{one.step} %",
                        ui.usd6(one.amount_usd),
                        ui.usd(one.threshold_usd),
                        _("yes") if one.mailed else _("overtaken by a higher step"),
                    )
                    for one in rows
                ],
                numbers=frozenset({2, 3, 4}),
            )
        ]
