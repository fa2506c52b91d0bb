"""Desks of saved cards and of auto top-up; staff may stop it, with a reason."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.desk import BillingDesk
from billing.payments import auto_setting
from billing.payments.models_saved import AutoTopUp, AutoTopUpRun, PaymentMethod
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, column, link, list_url, state, status, to, usd
from config.templatetags import ui

SHOWN = 10


def standing(row: AutoTopUp) -> str:
    """On, stopped and why, waiting for a limit, or off."""
    if row.status == "stopped":
        return ui.status_badge("failed", gettext("Stopped: %(why)s") % {"why": row.get_stopped_reason_display()})
    if row.status == "on" and row.capped_by:
        return ui.status_badge("attention", gettext("Waits: %(what)s") % {"what": row.get_capped_by_display()})
    return ui.status_badge("active", gettext("On")) if row.status == "on" else ui.status_badge("off", gettext("Off"))


def consent(row: AutoTopUp | PaymentMethod) -> str:
    """Who agreed, when, and to which words."""
    found = row.consent
    return f"{found.label} · {found.at:%Y-%m-%d %H:%M} UTC · {found.version}\n{found.text}" if found else ""


standing.short_description = _("state")  # type: ignore[attr-defined]
consent.short_description = _("consent")  # type: ignore[attr-defined]


def runs_panel(account_id: Any) -> Panel:
    """The newest automatic charges of an account."""
    runs = AutoTopUpRun.objects.filter(account_id=account_id).select_related("order", "payment_method")
    rows: list[tuple[Any, ...]] = [
        (
            ui.when(one.at, "seconds"),
            link(one.order),
            status(one.order),
            link(one.payment_method),
            ui.usd(one.balance_usd),
            ui.usd(one.amount_usd),
        )
        for one in runs.order_by("-order")[:SHOWN]
    ]
    return Panel(
        _("Automatic charges"),
        (_("time"), _("order"), _("status"), _("card"), _("balance then"), _("charged")),
        rows,
        numbers=frozenset({4, 5}),
        empty=_("None yet."),
    )


def account_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """Auto top-up and cards, on the customer's page."""
    found: list[Panel] = []
    if request.user.has_perm("billing.view_autotopup"):
        row = AutoTopUp.objects.select_related("payment_method").filter(pk=owner.pk).first()
        if row is not None:
            found.append(
                Panel(
                    _("Auto top-up"),
                    (_("state"), _("below"), _("charge"), _("card"), _("last charge")),
                    [
                        (
                            link(row, standing(row)),
                            ui.usd(row.threshold_usd),
                            ui.usd(row.amount_usd),
                            link(row.payment_method) if row.payment_method else "",
                            ui.when(row.last_run_at),
                        )
                    ],
                    numbers=frozenset({1, 2}),
                )
            )
    if request.user.has_perm("billing.view_paymentmethod"):
        cards = PaymentMethod.objects.filter(account=owner).order_by("-id")[:5]
        rows: list[tuple[Any, ...]] = [
            (link(one), one.expiry, status(one, "state"), ui.when(one.created_at)) for one in cards
        ]
        if rows:
            headings = (_("card"), _("expires"), _("state"), _("saved"))
            more = list_url(PaymentMethod, account__id__exact=owner.pk)
            found.append(Panel(_("Saved cards"), headings, rows, more=more))
    return found


AccountAdmin.add_panels(account_panels, place=60)


class Standing(admin.SimpleListFilter):
    """On, stopped or off."""

    title = _("state")
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The three."""
        return [("on", _("On")), ("stopped", _("Stopped")), ("off", _("Off"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The rows of the choice."""
        if self.value() == "on":
            return queryset.filter(enabled=True, stopped_reason="")
        if self.value() == "stopped":
            return queryset.filter(enabled=True).exclude(stopped_reason="")
        return queryset.filter(enabled=False) if self.value() == "off" else queryset


@admin.register(AutoTopUp)
class AutoTopUpAdmin(BillingDesk):
    """Who is topped up by itself, and whose has stopped."""

    row_title = staticmethod(lambda row: row.account.name)
    related = ("account", "payment_method", "consent", "changed_by", "stopped_order", "pending_order")
    moment = "changed_at"
    list_display = (
        column(_("account"), lambda row: row.account.name, name="name"),
        column(_("state"), standing, name="state"),
        usd("threshold_usd", _("below")),
        usd("amount_usd", _("charge")),
        to("payment_method", _("card")),
        at("last_run_at", _("last charge")),
        at("changed_at", _("changed")),
    )
    list_filter = (Standing, "stopped_reason")
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("email", "account__memberships__user__email"))
    search_help_text = _("Account UUID, or member's e-mail address")
    facts = (
        (
            _("Terms"),
            (
                "account",
                standing,
                "threshold_usd",
                "amount_usd",
                "daily_count",
                "daily_usd",
                "monthly_usd",
                "payment_method",
            ),
        ),
        (_("Consent"), (consent, "changed_by", "changed_at")),
        (
            _("State"),
            ("stopped_at", "stopped_order", "pending_order", "last_run_at", "capped_by", "look_at"),
        ),
    )
    actions_detail = ("stop",)

    def panels(self, request: HttpRequest, obj: AutoTopUp) -> list[Panel]:
        """What it charged, and who changed it."""
        return [runs_panel(obj.pk), *audit_panel(request, obj)]

    @staff_action(
        permission="billing.stop_autotopup",
        title=_("Stop auto top-up"),
        button=_("Stop it"),
        sentence=_(
            "No card of this account is charged by itself until the customer turns it on again. Everybody who may pay "
            "for the account gets a mail. A charge that is under way may still arrive."
        ),
        icon="block",
        applies=lambda row: row.running,
    )
    def stop(self, request: HttpRequest, obj: AutoTopUp, data: dict[str, Any]) -> str:
        """With the reason in the audit."""
        auto_setting.stop_by_hand(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("Auto top-up is stopped.")


@admin.register(PaymentMethod)
class PaymentMethodAdmin(BillingDesk):
    """Saved cards: brand, last digits and date; the number is with the provider."""

    row_title = staticmethod(lambda one: one.name)
    related = ("account", "consent", "created_by")
    ids_by_time = True
    hidden = (*BillingDesk.hidden, "fingerprint_hash")
    list_display = (
        column(_("card"), lambda one: one.name, name="card"),
        state("state", _("state")),
        column(_("expires"), lambda one: one.expiry, name="expires"),
        to("account", _("account")),
        at("created_at", _("saved")),
    )
    list_filter = ("state",)
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        ("uuid", "pk"),
        ("uuid", "account_id"),
        ("text", "provider_id"),
        ("email", "account__memberships__user__email"),
    )
    search_help_text = _("Account UUID, the card's id at the provider, or a member's e-mail address")
    facts = (
        (
            _("Card"),
            ("account", column(_("card"), lambda one: one.name), column(_("expires"), lambda one: one.expiry), "state"),
        ),
        (_("Consent"), (consent, "created_by", "created_at")),
        (_("At the provider"), ("provider_id", "customer_id", "is_default", "state_at", "detached_at")),
    )

    def panels(self, request: HttpRequest, obj: PaymentMethod) -> list[Panel]:
        """Who saved and removed it."""
        return audit_panel(request, obj)
