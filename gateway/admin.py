"""The desk of refusals: which gate said no, and what it saw."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.models import Account
from billing.desk import BillingDesk
from config.admin_cells import Panel, at, code, column, link, list_url, to
from config.admin_finding import Since
from config.templatetags import ui
from gateway.models import DecisionReceipt


def refusals_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """The newest refusals, on the customer's page."""
    if not request.user.has_perm("gateway.view_decisionreceipt"):
        return []
    receipts = DecisionReceipt.objects.filter(account=owner).order_by("-at")[:5]
    return [
        Panel(
            _("Newest refusals"),
            (_("time"), _("code"), _("model"), _("needed"), _("available"), _("trace ID")),
            [
                (
                    link(one, ui.when(one.at, "seconds")),
                    one.code,
                    one.model,
                    one.needed,
                    one.available,
                    code(one.trace_id),
                )
                for one in receipts
            ],
            numbers=frozenset({3, 4}),
            more=list_url(DecisionReceipt, account__id__exact=owner.pk),
        )
    ]


AccountAdmin.add_panels(refusals_panels, place=110)


@admin.register(DecisionReceipt)
class DecisionReceiptAdmin(BillingDesk):
    """Refused calls and the gates that were asked (03-http-api 3.2)."""

    related = ("account", "api_key")
    moment = "at"
    ids_by_time = True
    list_display = (
        at("at", _("time")),
        column(_("code"), lambda one: code(one.code), name="code"),
        to("account", _("account")),
        "model",
        column(_("what refused"), lambda one: one.limit_source, name="source"),
        column(_("needed"), lambda one: one.needed, number=True, name="needed"),
        column(_("available"), lambda one: one.available, number=True, name="available"),
        column(_("API key"), lambda one: link(one.api_key, one.api_key.masked) if one.api_key else "", name="key"),
    )
    list_filter = (Since,)
    ordering = ("-pk",)
    account_order = ("-at",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "trace_id"), ("recent", "request_id"))
    search_help_text = _("Receipt's or account's UUID, trace ID, request ID of the last 7 days")
    facts = (
        (_("Refusal"), ("code", "limit_source", "needed", "available", "resets_at", "at")),
        (_("Call"), ("account", "api_key", "model", "request_id", "trace_id")),
    )

    def panels(self, request: HttpRequest, obj: DecisionReceipt) -> list[Panel]:
        """The gates in the order in which they were asked."""
        rows: list[tuple[Any, ...]] = [
            (
                gate.get("gate", ""),
                ui.status_badge("ok", gettext("passed"))
                if gate.get("verdict") == "pass"
                else ui.status_badge("denied", gettext("refused")),
                gate.get("value") or "",
                gate.get("limit") or "",
            )
            for gate in obj.gates
        ]
        return [Panel(_("Gates"), (_("gate"), _("verdict"), _("value"), _("limit")), rows, numbers=frozenset({2, 3}))]
