"""Subscriptions, their invoices and changes in the console (F075-F077)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.desk import BillingDesk
from billing.errors import NotFound
from billing.money import minor_text
from billing.payments import failures
from billing.payments.admin_disputes import entries_panel, events_panel, payment_panels
from billing.payments.admin_documents import document_links
from billing.payments.stripe_processor import get_processor
from config import clock
from config.admin_base import at_stake, staff_action
from config.admin_cells import Panel, at, column, link, list_url, state, status, to, usd
from config.admin_finding import Since
from config.templatetags import ui
from subscriptions import disputes, dunning, reviewing
from subscriptions.models import Invoice, PlanChange, Subscription
from subscriptions.views_invoices import receipt_pdf

SHOWN = 20


def due(row: PlanChange) -> str:
    """What the preview showed as due; nothing for a change whose program did not say."""
    return "" if row.due_minor is None else minor_text(row.due_minor, "USD")


def begins(row: PlanChange) -> str:
    """When the other plan begins: at once, or with the period that follows."""
    if row.status not in PlanChange.WAITING:
        return ""
    end = row.subscription.period_end
    return ui.when(end) if row.kind == PlanChange.Kind.DOWNGRADE and end else gettext("with its payment")


def _key(row: PlanChange) -> str:
    return row.idempotency_key


def receipt_links(row: Invoice) -> str:
    """Its receipt in each language, once something was paid."""
    return document_links(reverse("admin:subscriptions_invoice_receipt", args=[row.pk])) if row.paid_usd else ""


_plan = column(_("plan"), lambda row: str(row.plan_version), name="plan")


_WHY_ENDED = {
    "unpaid": _("The renewal was not paid in time"),
    "cancelled": _("The customer cancelled the renewal"),
    "ended": _("Ended at the provider, not by the customer"),
    "refunded": _("It was given back, and its money was sent"),
}
_ended = column(_("why it ended"), lambda row: _WHY_ENDED.get(row.end_reason, row.end_reason), name="ended_why")


def amount(row: Invoice) -> str:
    """What was paid, or is to be paid."""
    return minor_text(row.paid_minor if row.status == Invoice.Status.PAID else row.amount_minor, row.currency)


def disputed(row: Invoice) -> str:
    """What open and lost disputes take of it."""
    return minor_text(row.disputed_minor, row.currency) if row.disputed_minor else ""


def card(row: Invoice) -> str:
    """The card's last four digits."""
    return f"•••• {row.card_last_four}" if row.card_last_four else ""


def why(row: Invoice) -> Any:
    """Why the last try was declined."""
    return failures.reason(row.failure).title if row.failure else ""


class Wanted(admin.SimpleListFilter):
    """What a person should look at."""

    title = _("waiting")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Three questions."""
        return [
            ("review", _("To be looked at")),
            ("unpaid", _("Payment overdue")),
            ("ending", _("Ends with its period")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """The rows of the question."""
        if self.value() == "review":
            return queryset.exclude(review_reason="")
        if self.value() == "unpaid":
            return queryset.filter(status=Subscription.Status.PAST_DUE)
        if self.value() == "ending":
            return queryset.filter(status__in=Subscription.IN_FORCE, cancel_at_period_end=True)
        return queryset


def account_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """On the customer's page: subscriptions, newest first."""
    if not request.user.has_perm("subscriptions.view_subscription"):
        return []
    rows = Subscription.objects.filter(account=owner).select_related("plan_version").order_by("-created_at")[:5]
    if not rows:
        return []
    return [
        Panel(
            _("Subscriptions"),
            (_("plan"), _("status"), _("period until"), _("ends with the period"), _("to be looked at")),
            [
                (
                    link(one, str(one.plan_version)),
                    status(one),
                    ui.when(one.period_end) if one.period_end else "",
                    gettext("yes") if one.cancel_at_period_end else "",
                    one.review_reason,
                )
                for one in rows
            ],
            more=list_url(Subscription, account__id__exact=owner.pk),
        )
    ]


AccountAdmin.add_panels(account_panels, place=16)


@admin.register(Subscription)
class SubscriptionAdmin(BillingDesk):
    """Every subscription, from its checkout to its end; apps to the right add their tables to its page."""

    panel_makers: ClassVar[list[Callable[[HttpRequest, Subscription], list[Panel]]]] = []

    row_title = staticmethod(lambda row: f"{row.plan_version} · {row.account}")
    related = ("account", "plan_version", "next_version", "created_by")
    ids_by_time = True
    moment = "created_at"
    list_display = (
        at("created_at", _("created")),
        state("status", _("status")),
        to("account", _("account")),
        _plan,
        at("period_end", _("period until"), "short"),
        column(_("ends"), lambda row: gettext("with its period") if row.cancel_at_period_end else "", name="ends"),
        "review_reason",
    )
    list_filter = (Since, Wanted, "status")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("text", "provider_id"), ("uuid", "account_id"), ("uuid", "pk"))
    search_help_text = _("Subscription at the provider, or account UUID")
    facts = (
        (_("Subscription"), ("account", _plan, "next_version", "status", "status_at", "provider_id", "session_id")),
        (
            _("Dates"),
            ("created_at", "created_by", "activated_at", "period_start", "period_end", "grace_until", "ended_at"),
        ),
        (_("End and review"), ("cancel_at_period_end", _ended, "review_reason", "undone_at", "checked_at")),
    )
    actions_detail = ("ask_now", "looked")

    def panels(self, request: HttpRequest, obj: Subscription) -> list[Panel]:
        """Invoices, changes, windows of its periods, entries, events, and what people did."""
        invoices = Invoice.objects.filter(subscription=obj).order_by("-at")[:SHOWN]
        changes = PlanChange.objects.filter(subscription=obj).select_related("from_version", "to_version")
        return [
            Panel(
                _("Invoices"),
                (_("date"), _("kind"), _("status"), _("amount"), _("card"), _("reason")),
                [
                    (
                        link(one, ui.when(one.at)),
                        one.get_kind_display(),
                        status(one),
                        amount(one),
                        card(one),
                        why(one),
                    )
                    for one in invoices
                ],
                numbers=frozenset({3}),
            ),
            Panel(
                _("Changes of plan"),
                (_("asked"), _("change"), _("kind"), _("status"), _("shown as due")),
                [
                    (
                        link(one, ui.when(one.created_at, "seconds")),
                        str(one),
                        one.get_kind_display(),
                        status(one),
                        due(one),
                    )
                    for one in changes.order_by("-pk")[:SHOWN]
                ],
                numbers=frozenset({4}),
            ),
            *(panel for make in self.panel_makers for panel in make(request, obj)),
            entries_panel(obj.account_id, "invoice:"),
            events_panel(obj.provider_id),
            *audit_panel(request, obj),
        ]

    @staff_action(
        permission="subscriptions.check_subscription",
        title=_("Ask the provider now"),
        sentence=_("What the provider says now is applied: the answer decides, not you."),
        icon="sync",
    )
    def ask_now(self, request: HttpRequest, obj: Subscription, data: dict[str, Any]) -> str:
        """The door that events use, and what follows."""
        dunning.check_by_hand(
            obj.pk, actor=person(request), reason=data["reason"], processor=get_processor(), now=clock.now()
        )
        return gettext("The provider was asked.")

    @staff_action(
        permission="subscriptions.check_subscription",
        title=_("It was looked at"),
        sentence=at_stake(
            lambda row: gettext("To be looked at: %(why)s.") % {"why": row.review_reason},
            _("The plan and its payments stay as they are. What you say is kept in the audit."),
        ),
        icon="done_all",
        applies=lambda row: bool(row.review_reason),
    )
    def looked(self, request: HttpRequest, obj: Subscription, data: dict[str, Any]) -> str:
        """The mark goes, with a reason."""
        reviewing.looked(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("It is no longer marked.")


@admin.register(Invoice)
class InvoiceAdmin(BillingDesk):
    """What was asked for plans, and whether it was paid."""

    row_title = staticmethod(lambda row: f"{row} · {row.account}")
    related = ("account", "subscription", "plan_version")
    ids_by_time = True
    moment = "at"
    list_display = (
        at("at", _("date")),
        state("status", _("status")),
        "kind",
        to("account", _("account")),
        _plan,
        column(_("amount"), amount, number=True, name="amount"),
        column(_("card"), card, name="card"),
        column(_("reason"), why, name="reason"),
    )
    list_filter = (Since, "status", "kind")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        *(("text", "number"), ("text", "provider_id"), ("text", "payment_intent_id")),
        *(("uuid", "account_id"), ("uuid", "pk")),
    )
    search_help_text = _("Invoice number, invoice or payment at the provider, or account UUID")
    facts = (
        (
            _("Invoice"),
            ("number", "kind", "status", "status_at", "account", to("subscription", _("subscription")), _plan),
        ),
        (
            _("Money"),
            (
                column(_("amount"), lambda row: minor_text(row.amount_minor, row.currency), name="asked"),
                column(_("tax"), lambda row: minor_text(row.tax_minor, row.currency), name="tax"),
                usd("paid_usd", _("amount paid")),
                "paid_at",
                column(_("disputed"), disputed, name="disputed"),
                column(_("card"), card, name="card"),
                column(_("receipt"), receipt_links, name="receipt"),
            ),
        ),
        (
            _("At the provider"),
            (
                "provider_id",
                "payment_intent_id",
                "charge_id",
                "attempts",
                "next_attempt_at",
                "period_start",
                "period_end",
            ),
        ),
    )

    def panels(self, request: HttpRequest, obj: Invoice) -> list[Panel]:
        """What its bank asks back, the entries that booked it, and what the provider told."""
        return [
            *payment_panels(disputes.of_invoice(obj), disputes.warnings_of(obj)),
            entries_panel(obj.account_id, f"invoice:{obj.provider_id}:"),
            events_panel(obj.provider_id),
        ]

    def get_urls(self) -> list[Any]:
        """Its own page and the receipt."""
        own = path(
            "<uuid:invoice_id>/receipt.pdf",
            self.admin_site.admin_view(self.receipt),
            name="subscriptions_invoice_receipt",
        )
        return [own, *super().get_urls()]

    def receipt(self, request: HttpRequest, invoice_id: Any) -> HttpResponse:
        """The document as the customer has it."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        rows = Invoice.objects.select_related("account", "plan_version__plan")
        try:
            return receipt_pdf(get_object_or_404(rows, pk=invoice_id), request.GET.get("lang"))
        except NotFound:
            raise Http404 from None


@admin.register(PlanChange)
class PlanChangeAdmin(BillingDesk):
    """Wishes for another plan, and what became of each: asked of the provider, from the next period, done, or not."""

    row_title = staticmethod(lambda row: f"{row} · {row.account}")
    related = ("account", "subscription", "from_version", "to_version", "created_by")
    ids_by_time = True
    moment = "created_at"
    list_display = (
        at("created_at", _("asked")),
        state("status", _("status")),
        "kind",
        to("account", _("account")),
        column(_("change"), str, name="change"),
        column(_("shown as due"), due, number=True, name="due"),
        column(_("begins"), begins, name="begins"),
    )
    list_filter = (Since, "status", "kind")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        *(("text", "subscription__provider_id"), ("text", "schedule_id")),
        *(("uuid", "account_id"), ("uuid", "subscription_id"), ("uuid", "pk")),
    )
    search_help_text = _("Subscription or schedule at the provider, subscription or account UUID")
    facts = (
        (
            _("Change of plan"),
            ("account", to("subscription", _("subscription")), "from_version", "to_version", "kind", "status",
             "status_at"),
        ),
        (
            _("As it was confirmed"),
            ("created_at", "created_by", "at", column(_("shown as due"), due, name="due_shown"),
             column(_("begins"), begins, name="begins_at")),
        ),
        (
            _("At the provider"),
            (column(_("schedule"), lambda row: row.schedule_id, name="schedule"),
             column(_("names the change there"), _key, name="key")),
        ),
    )  # fmt: skip

    def panels(self, request: HttpRequest, obj: PlanChange) -> list[Panel]:
        """What the provider told of the subscription, and what people did to it."""
        return [events_panel(obj.subscription.provider_id), *audit_panel(request, obj.subscription)]
