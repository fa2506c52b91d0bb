"""The desk of refunds: what waits for a decision, what is on its way, what a person should look at."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.desk import BillingDesk
from billing.payments.admin import TopUpAdmin
from billing.payments.models import TopUp
from billing.payments.stripe_processor import get_processor
from billing.waking import wake
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, code, column, link, list_url, status, to
from config.admin_finding import Since
from config.templatetags import ui
from refunds import deciding, sending
from refunds.models import Refund
from refunds.tasks import submit_refund

Status = Refund.Status


def in_currency(amount: Decimal, currency: str) -> str:
    """An amount in the currency of the payment."""
    return ui.cny(amount) if currency == "CNY" else ui.usd(amount)


def refund_state(refund: Refund) -> str:
    """The status, or that a person must look."""
    return ui.status_badge("attention", gettext("Flagged")) if refund.flagged else status(refund)


def to_provider(refund: Refund) -> str:
    """What is sent."""
    return in_currency(refund.sent, refund.currency)


def both(amount_usd: Decimal, amount: Decimal, currency: str) -> str:
    """An amount in US dollars, and in the currency of the payment where that is another."""
    dollars = ui.usd(amount_usd)
    return dollars if currency == "USD" else format_html("{} · {}", dollars, in_currency(amount, currency))


def refund_panels(request: HttpRequest, of: Account | TopUp) -> list[Panel]:
    """What went back or is on its way, on the customer's page and on an order's."""
    if not request.user.has_perm("refunds.view_refund"):
        return []
    on_account = isinstance(of, Account)
    rows = Refund.objects.filter(**({"account": of} if on_account else {"top_up": of})).select_related(
        "top_up", "invoice"
    )
    found: list[tuple[Any, ...]] = [
        (
            link(one, one.number),
            refund_state(one),
            to_provider(one),
            link(one.payment, one.of_number),
            ui.when(one.created_at),
        )
        for one in rows.order_by("-pk")[:5]
    ]
    if not found:
        return []
    headings = (_("refund"), _("status"), _("goes back"), _("order"), _("requested"))
    more = list_url(Refund, account__id__exact=of.pk) if on_account else ""
    return [
        Panel(_("Newest refunds") if on_account else _("Refunds"), headings, found, numbers=frozenset({2}), more=more)
    ]


AccountAdmin.add_panels(refund_panels, place=40)
TopUpAdmin.panel_makers.append(refund_panels)


class Waiting(admin.SimpleListFilter):
    """What somebody should do something about."""

    title = _("waiting")
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Three questions that a desk is opened with."""
        return [("decision", _("For a decision")), ("provider", _("For the provider")), ("look", _("Flagged"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Refund]) -> QuerySet[Refund]:
        """Each through its index."""
        wanted = {
            "decision": Q(status=Status.REQUESTED),
            "provider": Q(status__in=[Status.APPROVED, Status.SUBMITTED]),
            "look": Q(flagged=True),
        }
        chosen = wanted.get(self.value() or "")
        return queryset.filter(chosen) if chosen is not None else queryset


def _what_approving_does(refund: Refund) -> str:
    words = {
        "sent": ui.money_text(refund.sent) if refund.currency == "USD" else f"{refund.sent:.2f} {refund.currency}",
        "method": TopUp.Method(refund.method).label,
        "limit": ui.usd_text(settings.SECOND_PERSON_ABOVE_USD),
    }
    return (
        gettext(
            "%(sent)s are sent to the payment method that was paid with (%(method)s), and cannot be called back. Above "
            "%(limit)s within a day, by one person for one account, a second person must approve as well."
        )
        % words
    )


@admin.register(Refund)
class RefundAdmin(BillingDesk):
    """Money on its way back."""

    row_title = staticmethod(lambda refund: f"{ui.usd_text(refund.requested_usd)} · {refund.number}")
    related = ("account", "top_up", "invoice", "plan_refund", "requested_by", "first_approved_by", "decided_by")
    ids_by_time = True
    list_display = (
        column(_("refund"), lambda one: one.number, name="number"),
        column(_("status"), refund_state, name="status"),
        to("account", _("account")),
        column(_("amount"), lambda one: ui.usd(one.requested_usd), number=True, name="requested_usd"),
        column(_("goes back"), to_provider, number=True, name="sent_minor"),
        column(_("of"), lambda one: link(one.payment, one.of_number), name="kind"),
        column(_("external"), lambda one: gettext("yes") if one.external else gettext("no"), name="external"),
        at("created_at", _("requested"), "short"),
    )
    list_filter = (Waiting, Since, "status", "external")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        ("uuid", "pk"),
        ("uuid", "account_id"),
        ("text", "number"),
        ("text", "provider_refund_id"),
        ("text", "top_up__number"),
    )
    search_help_text = _("Refund's or account's UUID, the refund's or order's number, the provider's refund")
    facts = (
        (
            _("Refund"),
            (
                "number",
                "account",
                "kind",
                "top_up",
                "invoice",
                "plan_refund",
                "created_at",
                "requested_by",
                "reason",
                "external",
            ),
        ),
        (
            _("Amounts"),
            (
                column(_("amount"), lambda one: both(one.requested_usd, one.requested, one.currency)),
                column(_("fee"), lambda one: both(one.fee_usd, one.fee, one.currency)),
                column(_("fee rate"), lambda one: ui.percent(one.fee_rate, 2)),
                column(_("goes back"), lambda one: both(one.sent_usd, one.sent, one.currency)),
                "overdrawn_usd",
            ),
        ),
        (_("Decision"), ("first_approved_by", "first_approved_at", "decided_by", "decided_at", "answer")),
        (
            _("Outcome"),
            (
                "status",
                "status_at",
                "submitted_at",
                "succeeded_at",
                "failure_reason",
                column(_("refund at the provider"), lambda one: code(one.provider_refund_id or "")),
                "provider_status",
                column(_("last check"), lambda one: ui.when(one.checked_at, "full")),
                "flag_reason",
            ),
        ),
    )
    actions_detail = ("approve", "reject", "cancel", "ask", "looked")

    def panels(self, request: HttpRequest, obj: Refund) -> list[Panel]:
        """Who did what."""
        return audit_panel(request, obj)

    @staff_action(
        permission="refunds.decide_refund",
        title=_("Approve"),
        button=_("Approve and send"),
        sentence=_what_approving_does,
        icon="check",
        applies=lambda refund: refund.status == Status.REQUESTED,
    )
    def approve(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """Yes: it is sent at once, or waits for the second person."""
        done = deciding.approve(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        if done.status == Status.REQUESTED:
            return gettext("Your approval is noted. It is sent when a second person approves it.")
        wake(submit_refund, str(done.pk))
        return gettext("The refund is approved and on its way.")

    @staff_action(
        permission="refunds.decide_refund",
        title=_("Reject"),
        button=_("Reject the request"),
        sentence=_("Nothing is sent, and the credit is given back. The customer reads your reason."),
        icon="close",
        danger=True,
        applies=lambda refund: refund.status == Status.REQUESTED,
    )
    def reject(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """No."""
        deciding.reject(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The request is rejected, and the credit is given back.")

    @staff_action(
        permission="refunds.cancel_refund",
        title=_("Cancel"),
        button=_("Cancel the refund"),
        sentence=_("For the customer who changed their mind. Nothing is sent, and the credit is given back."),
        icon="undo",
        danger=True,
        applies=lambda refund: refund.status in (Status.REQUESTED, Status.APPROVED),
    )
    def cancel(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """Taken back."""
        deciding.cancel(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The refund is cancelled, and the credit is given back.")

    @staff_action(
        permission="refunds.settle_refund",
        title=_("Ask the provider"),
        button=_("Ask now"),
        sentence=_(
            "The provider is asked what became of this refund, and its answer is recorded. Nothing is sent twice."
        ),
        icon="sync",
        applies=lambda refund: refund.status in (Status.APPROVED, Status.SUBMITTED) or refund.provider_refund_id,
    )
    def ask(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """What is true now."""
        done = sending.ask_by_hand(
            obj.pk, actor=person(request), reason=data["reason"], processor=get_processor(), now=clock.now()
        )
        return gettext("The provider answered. The refund is: %(status)s.") % {"status": done.get_status_display()}

    @staff_action(
        permission="refunds.settle_refund",
        title=_("Looked at"),
        button=_("Take the flag away"),
        sentence=lambda refund: (
            gettext("It is flagged because: %(why)s. This stays in the audit with your reason.")
            % {"why": refund.flag_reason}
        ),
        icon="flag",
        applies=lambda refund: refund.flagged,
    )
    def looked(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """Somebody has looked."""
        deciding.dismiss_flag(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The flag is gone.")
