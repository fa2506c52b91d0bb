"""The desk of refunds: what waits for a decision, what is on its way, what a person should look at."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
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
from config.admin_cells import Panel, at, code, column, link, list_url, row_url, status, to
from config.admin_finding import Since
from config.templatetags import ui
from refunds import admin_plan, confirming, deciding, duplicates, sending
from refunds import admin_policy as admin_policy  # its desk
from refunds.admin_deciding import PartForm, what_a_part_does, what_approving_does, what_trying_again_does
from refunds.admin_evidence import evidence_panels
from refunds.admin_waiting import ENDS, Questions
from refunds.listing import AGEING
from refunds.models import Refund
from refunds.tasks import submit_refund

__all__ = ["RefundAdmin", "admin_plan", "admin_policy"]

Status, Kind = Refund.Status, Refund.Kind


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


class Waiting(Questions):
    """What somebody should do something about."""

    questions = (
        ("decision", _("For a decision")),
        ("confirmation", _("For the company's finance")),
        ("provider", _("For the provider")),
        *ENDS,
    )

    def wanted(self) -> dict[str, Q]:
        """Each through its index."""
        return {
            "decision": Q(status=Status.REQUESTED),
            "confirmation": Q(
                status=Status.REQUESTED, kind=Kind.TOP_UP, confirmed_at=None, account__kind=Account.Kind.COMPANY
            ),
            "ageing": Q(status=Status.SUBMITTED, submitted_at__lt=clock.now() - AGEING),
            "failed": Q(status=Status.FAILED),
            "provider": Q(status__in=[Status.APPROVED, Status.SUBMITTED]),
            "look": Q(flagged=True),
        }


def _decided_here(refund: Refund) -> bool:
    """A plan's payment is decided on the plan refund; what is sent back without one needs no decision."""
    return refund.kind == Kind.TOP_UP and refund.status == Status.REQUESTED


def _kind(refund: Refund) -> str:
    """Top-up or plan, and whether it was made in the dashboard."""
    kind = refund.get_kind_display()
    return format_html("{} · {}", kind, gettext("external")) if refund.external else kind


def _of_plan(refund: Refund) -> str:
    """The plan refund that this payment is a part of, or why there is none."""
    if refund.kind == Kind.TOP_UP:
        return ""
    if refund.plan_refund is not None:
        return format_html("{} · {}", link(refund.plan_refund), gettext("decided there, with all of its payments"))
    return (
        gettext("made in the provider's dashboard") if refund.external else gettext("payment of a second subscription")
    )


def _asked(refund: Refund) -> str:
    """What the customer asked for, where a part was approved."""
    if refund.asked_usd is None or refund.asked is None:
        return ""
    return both(refund.asked_usd, refund.asked, refund.currency)


def _approved(done: Refund) -> str:
    """Send it, or say who is waited for."""
    if done.status == Status.REQUESTED:
        return gettext("Your approval is noted. It is sent when a second person approves it.")
    wake(submit_refund, str(done.pk))
    return gettext("The refund is approved and on its way.")


@admin.register(Refund)
class RefundAdmin(BillingDesk):
    """Money on its way back."""

    row_title = staticmethod(lambda refund: f"{ui.usd_text(refund.requested_usd)} · {refund.number}")
    related = (
        "account",
        "top_up",
        "invoice__subscription",
        "plan_refund",
        "requested_by",
        "first_approved_by",
        "decided_by",
        "confirmed_by",
    )
    ids_by_time = True
    list_display = (
        column(_("refund"), lambda one: one.number, name="number"),
        column(_("status"), refund_state, name="status"),
        to("account", _("account")),
        column(_("amount"), lambda one: ui.usd(one.requested_usd), number=True, name="requested_usd"),
        column(_("goes back"), to_provider, number=True, name="sent_minor"),
        column(_("kind"), _kind, name="kind"),
        column(_("of"), lambda one: link(one.payment, f"…{one.of_number[-8:]}"), name="of"),
        at("created_at", _("requested"), "short"),
    )
    list_filter = (Waiting, Since, "kind", "status", "external")
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
                column(_("plan refund"), _of_plan),
                "created_at",
                "requested_by",
                "category",
                "reason",
                "external",
            ),
        ),
        (
            _("Amounts"),
            (
                column(_("asked for"), _asked),
                column(_("amount"), lambda one: both(one.requested_usd, one.requested, one.currency)),
                column(_("fee"), lambda one: both(one.fee_usd, one.fee, one.currency)),
                column(_("fee rate"), lambda one: ui.percent(one.fee_rate, 2)),
                column(_("goes back"), lambda one: both(one.sent_usd, one.sent, one.currency)),
                "overdrawn_usd",
            ),
        ),
        (
            _("Decision"),
            (
                "confirmed_by",
                "confirmed_at",
                "first_approved_by",
                "first_approved_at",
                "decided_by",
                "decided_at",
                "answer",
                "part_reason",
            ),
        ),
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
    actions_detail = ("approve", "approve_part", "reject", "confirmed", "cancel", "ask", "try_again", "looked")

    def panels(self, request: HttpRequest, obj: Refund) -> list[Panel]:
        """What to know before a decision, and who did what."""
        return [*evidence_panels(request, obj), *audit_panel(request, obj)]

    @staff_action(
        permission="refunds.decide_refund",
        title=_("Approve"),
        button=_("Approve and send"),
        sentence=what_approving_does,
        icon="check",
        applies=_decided_here,
    )
    def approve(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """Yes: it is sent at once, or waits for the second person."""
        return _approved(deciding.approve(obj.pk, actor=person(request), reason=data["reason"], now=clock.now()))

    @staff_action(
        permission="refunds.decide_refund",
        title=_("Approve in part"),
        button=_("Approve this part and send"),
        sentence=what_a_part_does,
        form=PartForm,
        icon="percent",
        applies=_decided_here,
    )
    def approve_part(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """Yes to less than was asked for."""
        return _approved(
            deciding.approve_part(obj.pk, data["amount"], actor=person(request), reason=data["reason"], now=clock.now())
        )

    @staff_action(
        permission="refunds.decide_refund",
        title=_("Reject"),
        button=_("Reject the request"),
        sentence=_("Nothing is sent, and the credit is given back. The customer reads your reason."),
        icon="close",
        danger=True,
        applies=_decided_here,
    )
    def reject(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """No."""
        deciding.reject(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The request is rejected, and the credit is given back.")

    @staff_action(
        permission="refunds.decide_refund",
        title=_("Payment method confirmed"),
        button=_("Note the confirmation"),
        sentence=_(
            "The company's finance confirmed in another way, by letter or by telephone for instance, that the money "
            "goes back the way it was paid. Say who confirmed it and how. Then the refund can be approved."
        ),
        icon="verified_user",
        applies=lambda refund: refund.needs_confirmation,
    )
    def confirmed(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> str:
        """A confirmation that came another way."""
        confirming.note(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The confirmation is noted. The refund can be approved now.")

    @staff_action(
        permission="refunds.cancel_refund",
        title=_("Cancel"),
        button=_("Cancel the refund"),
        sentence=_("For the customer who changed their mind. Nothing is sent, and the credit is given back."),
        icon="undo",
        danger=True,
        applies=lambda refund: refund.kind == Kind.TOP_UP and refund.status in (Status.REQUESTED, Status.APPROVED),
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
        permission="refunds.decide_refund",
        title=_("Try again"),
        button=_("Send it again"),
        sentence=what_trying_again_does,
        icon="replay",
        applies=duplicates.may_try_again,
    )
    def try_again(self, request: HttpRequest, obj: Refund, data: dict[str, Any]) -> HttpResponse:
        """The payment of a second subscription goes back all the same."""
        done = duplicates.try_again(
            obj.pk, actor=person(request), reason=data["reason"], processor=get_processor(), now=clock.now()
        )
        messages.success(request, gettext("It is on its way again, as %(refund)s.") % {"refund": done.number})
        return HttpResponseRedirect(row_url(done))

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
