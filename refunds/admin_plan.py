"""The desk of plans that are given back: what waits for a decision, what is on its way, what a person should look at
(F090-F096, C09, C14, C15)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import person
from billing.books.models import CreditProposal
from billing.desk import BillingDesk
from billing.payments.stripe_processor import get_processor
from billing.waking import wake
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, column, link, to
from config.admin_finding import Since
from config.templatetags import ui
from refunds import admin_plan_words as words
from refunds import plan_credit, plan_lifecycle, plan_settling, shown
from refunds.admin_plan_panels import newest_panels, plan_state, row_panels
from refunds.admin_waiting import ENDS, Questions
from refunds.listing import AGEING
from refunds.models_plan import PlanRefund
from refunds.tasks import go_on_with_plan
from subscriptions.admin_subscriptions import SubscriptionAdmin

Status = PlanRefund.Status

AccountAdmin.add_panels(newest_panels, place=41)
SubscriptionAdmin.panel_makers.append(newest_panels)


class Waiting(Questions):
    """What somebody should do something about."""

    questions = (
        ("decision", _("For a decision")),
        ("calls", _("For calls that are settled")),
        ("provider", _("For the provider")),
        *ENDS,
    )

    def wanted(self) -> dict[str, Q]:
        """Each through its index."""
        return {
            "decision": Q(status=Status.REQUESTED),
            "calls": Q(status=Status.SETTLING),
            "provider": Q(status=Status.SUBMITTED),
            "ageing": Q(status=Status.SUBMITTED, submitted_at__lt=clock.now() - AGEING),
            "failed": Q(status=Status.FAILED),
            "look": Q(flagged=True),
        }


def _may_go_on(refund: PlanRefund) -> bool:
    """There is a step to take, or money on its way or gone, of which the provider may say something new."""
    return refund.status != Status.REQUESTED and (refund.submitted_at is not None or refund.check_at is not None)


def _credit(refund: PlanRefund) -> str:
    """What became of money that a bank returned."""
    given = refund.given_as_credit
    if given is not None:
        return format_html("{} · {}", link(given, ui.usd_text(given.amount)), ui.when(given.created_at, "full"))
    proposal = refund.credit_proposal
    if proposal is None:
        return ""
    return link(proposal, f"{ui.usd_text(proposal.amount)} · {proposal.get_state_display()}")


def _lasts(refund: PlanRefund) -> str:
    return ui.when(refund.settle_by, "full") if refund.settle_by else ""


@admin.register(PlanRefund)
class PlanRefundAdmin(BillingDesk):
    """Plans on their way back."""

    row_title = staticmethod(lambda refund: f"{ui.usd_text(refund.final)} · {refund.number}")
    related = (
        "account",
        "subscription__plan_version",
        "plan_version__plan",
        "policy",
        "requested_by",
        "first_approved_by",
        "decided_by",
        "credit_grant",
        "credit_proposal__grant",
    )
    ids_by_time = True
    list_display = (
        column(_("refund"), lambda one: one.number, name="number"),
        column(_("status"), plan_state, name="status"),
        to("account", _("account")),
        column(_("plan"), lambda one: str(one.plan_version), name="plan"),
        column(_("quoted amount"), lambda one: ui.usd(shown.agreed(one)), number=True, name="quoted"),
        column(_("sent"), lambda one: ui.usd(one.sent) if one.sent_minor else "", number=True, name="sent"),
        at("created_at", _("submitted"), "short"),
    )
    list_filter = (Waiting, Since, "status")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (
        ("uuid", "pk"),
        ("uuid", "account_id"),
        ("uuid", "subscription_id"),
        ("text", "number"),
        ("text", "subscription__provider_id"),
    )
    search_help_text = _("Refund's number, refund's, account's or subscription's UUID, subscription at the provider")
    facts = (
        (
            _("Refund"),
            (
                "number",
                "account",
                "subscription",
                "plan_version",
                "policy",
                "created_at",
                "requested_by",
                "reason",
                column(_("calls are waited for until"), _lasts),
            ),
        ),
        (_("Decision"), ("approval", "first_approved_by", "decided_by", "decided_at", "answer")),
        (
            _("Outcome"),
            (
                "status",
                "status_at",
                column(_("goes back"), lambda one: ui.usd(one.final)),
                column(_("sent"), lambda one: ui.usd(one.sent)),
                "submitted_at",
                "succeeded_at",
                "failure_reason",
                "flag_reason",
                column(_("given as credit"), _credit),
            ),
        ),
        (
            _("The plan"),
            (
                "renewed_before",
                "renewal_off_at",
                "renewal_on_at",
                "plan_ended_at",
                column(_("next check"), lambda one: ui.when(one.check_at, "full") if one.check_at else ""),
            ),
        ),
    )
    actions_detail = ("approve", "reject", "cancel", "go_on", "give_as_credit", "looked")

    def panels(self, request: HttpRequest, obj: PlanRefund) -> list[Panel]:
        """What to know before a decision, and who did what."""
        return row_panels(request, obj)

    @staff_action(
        permission="refunds.decide_planrefund",
        title=_("Approve"),
        button=_("Approve the refund"),
        sentence=words.what_approving_does,
        icon="check",
        applies=lambda refund: refund.status == Status.REQUESTED,
    )
    def approve(self, request: HttpRequest, obj: PlanRefund, data: dict[str, Any]) -> str:
        """Yes: calls are settled and the money goes, or a second person is waited for."""
        done = plan_lifecycle.approve(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        if done.status == Status.REQUESTED:
            return gettext("Your approval is noted. It goes on when a second person approves it.")
        wake(go_on_with_plan, str(done.pk))
        return gettext("The refund is approved. It is sent when the calls are settled.")

    @staff_action(
        permission="refunds.decide_planrefund",
        title=_("Reject"),
        button=_("Reject the request"),
        sentence=words.what_rejecting_does,
        icon="close",
        danger=True,
        applies=lambda refund: refund.status == Status.REQUESTED,
    )
    def reject(self, request: HttpRequest, obj: PlanRefund, data: dict[str, Any]) -> str:
        """No."""
        plan_lifecycle.reject(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        wake(go_on_with_plan, str(obj.pk))
        return gettext("The request is rejected, and the plan goes on.")

    @staff_action(
        permission="refunds.cancel_planrefund",
        title=_("Cancel"),
        button=_("Cancel the refund"),
        sentence=words.what_cancelling_does,
        icon="undo",
        danger=True,
        applies=lambda refund: refund.may_cancel,
    )
    def cancel(self, request: HttpRequest, obj: PlanRefund, data: dict[str, Any]) -> str:
        """Taken back for the customer."""
        plan_lifecycle.cancel(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        wake(go_on_with_plan, str(obj.pk))
        return gettext("The refund is cancelled, and the plan goes on.")

    @staff_action(
        permission="refunds.settle_planrefund",
        title=_("Go on now"),
        button=_("Go on now"),
        sentence=words.what_going_on_does,
        icon="sync",
        applies=_may_go_on,
    )
    def go_on(self, request: HttpRequest, obj: PlanRefund, data: dict[str, Any]) -> str:
        """What is next, and what is true now."""
        done = plan_settling.go_on_by_hand(
            obj.pk, actor=person(request), reason=data["reason"], processor=get_processor(), now=clock.now()
        )
        return gettext("All that can be done now is done. The refund is: %(status)s.") % {
            "status": done.get_status_display()
        }

    @staff_action(
        permission="billing.give_credit",
        title=_("Give as credit"),
        button=_("Give the credit"),
        sentence=words.what_giving_credit_does,
        icon="add_card",
        applies=lambda refund: refund.returned and plan_credit.found(refund) is None,
    )
    def give_as_credit(self, request: HttpRequest, obj: PlanRefund, data: dict[str, Any]) -> str:
        """Once for ever; above the limit it is proposed."""
        done = plan_credit.give(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        amount = {"amount": ui.usd_text(done.amount)}
        if isinstance(done, CreditProposal):
            return gettext("%(amount)s is proposed. It is given when a second person approves it.") % amount
        return gettext("%(amount)s was given.") % amount

    @staff_action(
        permission="refunds.settle_planrefund",
        title=_("Looked at"),
        button=_("Take the flag away"),
        sentence=words.why_it_is_flagged,
        icon="flag",
        applies=lambda refund: refund.flagged,
    )
    def looked(self, request: HttpRequest, obj: PlanRefund, data: dict[str, Any]) -> str:
        """Somebody has looked."""
        plan_lifecycle.dismiss_flag(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The flag is gone.")
