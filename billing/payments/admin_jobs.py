"""Desks of credit jobs and of credit that came late through our fault."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.desk import BillingDesk
from billing.payments import jobs, late
from billing.payments.models_jobs import CreditJob, LateCredit
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, column, state, to, usd
from config.admin_finding import Since
from config.templatetags import ui


@admin.register(CreditJob)
class CreditJobAdmin(BillingDesk):
    """What is to be done with somebody's credit: due, retrying, failed."""

    related = ("account", "top_up", "created_by", "grant")
    ids_by_time = True
    list_display = (
        state("kind", _("kind")),
        state("state", _("state")),
        to("account", _("account")),
        to("top_up", _("order")),
        at("due_at", _("due")),
        column(_("failed tries"), lambda one: ui.count(one.attempts), number=True, name="tries"),
        column(_("last error"), lambda one: one.last_error[:60], name="error"),
        at("created_at", _("created")),
    )
    list_filter = (Since, "state", "kind")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "key"))
    search_help_text = _("Job's or account's UUID, or the whole key")
    actions_detail = ("retry", "cancel")

    def panels(self, request: HttpRequest, obj: CreditJob) -> list[Panel]:
        """Who did what."""
        return audit_panel(request, obj)

    @staff_action(
        permission="billing.decide_creditjob",
        title=_("Retry"),
        button=_("Try again now"),
        sentence=_("The job is due at once. What was done before is not done again."),
        icon="replay",
        applies=lambda job: job.state in (CreditJob.State.RETRYING, CreditJob.State.FAILED),
    )
    def retry(self, request: HttpRequest, obj: CreditJob, data: dict[str, Any]) -> str:
        """Once more."""
        jobs.retry(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The job is due now.")

    @staff_action(
        permission="billing.decide_creditjob",
        title=_("Cancel"),
        button=_("Cancel the job"),
        sentence=_("The job is not done any more. It stays on record with your reason."),
        icon="close",
        danger=True,
        applies=lambda job: CreditJob.State.CANCELLED in CreditJob.NEXT[job.state],
    )
    def cancel(self, request: HttpRequest, obj: CreditJob, data: dict[str, Any]) -> str:
        """Not at all."""
        jobs.cancel(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The job is cancelled.")


@admin.register(LateCredit)
class LateCreditAdmin(BillingDesk):
    """Orders credited late through our fault, and what the customer got (F009, F010)."""

    related = ("account", "top_up", "decided_by", "grant")
    ids_by_time = True
    list_display = (
        state("state", _("state")),
        to("top_up", _("order")),
        to("account", _("account")),
        state("cause", _("cause")),
        column(_("minutes"), lambda one: ui.count(one.delay_seconds // 60), number=True, name="minutes"),
        usd("amount_usd", _("compensation")),
        at("credited_at", _("credited")),
    )
    list_filter = (Since, "state", "cause")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "top_up__number"))
    search_help_text = _("Order, or account UUID")
    actions_detail = ("issue", "dismiss")

    def panels(self, request: HttpRequest, obj: LateCredit) -> list[Panel]:
        """Who did what."""
        return audit_panel(request, obj)

    @staff_action(
        permission="billing.decide_latecredit",
        title=_("Compensate"),
        button=_("Give the compensation"),
        sentence=_("The compensation is credited at once, and the customer is told by mail what happened."),
        icon="redeem",
        applies=lambda row: row.state == LateCredit.State.PROPOSED,
    )
    def issue(self, request: HttpRequest, obj: LateCredit, data: dict[str, Any]) -> str:
        """Give it."""
        row = late.issue(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(amount)s was given.") % {"amount": ui.usd_text(row.amount_usd)}

    @staff_action(
        permission="billing.decide_latecredit",
        title=_("Dismiss"),
        button=_("Give nothing"),
        sentence=_("Nothing is given. The row stays on record with your reason."),
        icon="close",
        danger=True,
        applies=lambda row: row.state == LateCredit.State.PROPOSED,
    )
    def dismiss(self, request: HttpRequest, obj: LateCredit, data: dict[str, Any]) -> str:
        """Nothing."""
        late.dismiss(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("It is dismissed.")
