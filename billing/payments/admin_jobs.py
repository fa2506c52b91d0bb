"""Desks of credit jobs and of credit that came late through our fault."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import AccountAdmin
from accounts.admin_parts import audit_panel, person
from accounts.models import Account
from billing.books.models import CreditProposal
from billing.desk import BillingDesk
from billing.payments import credit_jobs, jobs, late
from billing.payments.models_jobs import CreditJob, LateCredit
from config import clock
from config.admin_base import ReasonForm, at_stake, sentences, staff_action
from config.admin_cells import Panel, at, column, link, state, status, to, usd
from config.admin_finding import Since
from config.templatetags import ui


class ScheduleForm(ReasonForm):
    """Credit on a date."""

    amount = forms.DecimalField(
        label=_("Amount in USD"), min_value=Decimal("0.01"), max_value=Decimal(1_000_000), decimal_places=2
    )
    due = forms.DateField(label=_("On"), help_text=_("At the beginning of this day, UTC."))
    expires = forms.DateField(
        label=_("Expires"), required=False, help_text=_("At the end of this day, UTC. Empty: never.")
    )

    def clean_due(self) -> datetime:
        """The first moment of the day."""
        return datetime.combine(self.cleaned_data["due"], time.min, UTC)

    def clean_expires(self) -> datetime | None:
        """The last moment of the day."""
        day = self.cleaned_data["expires"]
        return datetime.combine(day, time.max, UTC) if day else None


def _how_much_alone(obj: Account) -> str:
    return gettext(
        "The credit is given on that day as promotional credit. If it is then above %(limit)s, together with what you "
        "gave this account within a day, it becomes a proposal that a second person approves."
    ) % {"limit": ui.usd_text(settings.SECOND_PERSON_ABOVE_USD)}


@staff_action(
    permission="billing.decide_creditjob",
    title=_("Schedule credit"),
    button=_("Schedule the credit"),
    sentence=_how_much_alone,
    form=ScheduleForm,
    icon="event",
)
def schedule_credit(self: BillingDesk, request: HttpRequest, obj: Account, data: dict[str, Any]) -> str:
    """Write the job; the form's token is the key, so that a second click schedules nothing more."""
    credit_jobs.give_on(
        obj.pk,
        data["amount"],
        due_at=data["due"],
        actor=person(request),
        reason=data["reason"],
        key=f"scheduled:{data['token']}",
        expires_at=data["expires"],
        now=clock.now(),
    )
    return gettext("%(amount)s is scheduled.") % {"amount": ui.usd_text(data["amount"])}


def amount(job: CreditJob) -> str:
    """What it is about: the credit of its order, or what was scheduled."""
    if job.top_up is not None:
        return ui.usd(job.top_up.amount_usd)
    return ui.usd(Decimal(job.payload["amount"])) if "amount" in job.payload else ""


def waiting_panels(request: HttpRequest, owner: Account) -> list[Panel]:
    """Credit that is still to come: proposed, scheduled, failing, or to be decided. On the customer's page."""
    if not request.user.has_perm("billing.view_creditjob"):
        return []
    proposed = CreditProposal.objects.filter(account=owner, state=CreditProposal.State.PROPOSED).order_by("-pk")[:5]
    jobs_open = CreditJob.objects.filter(account=owner, finished_at=None).select_related("top_up").order_by("-pk")[:5]
    undecided = LateCredit.objects.filter(account=owner, state=LateCredit.State.PROPOSED).order_by("-pk")[:5]
    rows: list[tuple[Any, ...]] = [
        (link(one, one.get_kind_display()), status(one, "state"), ui.usd(one.amount), ui.when(one.created_at))
        for one in proposed
    ]
    rows += [
        (link(one, one.get_kind_display()), status(one, "state"), amount(one), ui.when(one.due_at)) for one in jobs_open
    ]
    rows += [
        (
            link(one, gettext("Compensate late credit")),
            status(one, "state"),
            ui.usd(one.amount_usd),
            ui.when(one.created_at),
        )
        for one in undecided
    ]
    headings = (_("kind"), _("state"), _("amount"), _("proposed or due"))
    return [Panel(_("Credit still to come"), headings, rows, numbers=frozenset({2}))] if rows else []


AccountAdmin.add_panels(waiting_panels, place=45)
AccountAdmin.schedule_credit = schedule_credit
AccountAdmin.actions_detail = (*AccountAdmin.actions_detail, "schedule_credit")


def _job(job: CreditJob) -> str:
    about = gettext("It is for %(account)s, due %(due)s.") % {
        "account": job.account,
        "due": f"{job.due_at:%Y-%m-%d %H:%M} UTC",
    }
    return sentences(about, f"{job.last_error}.") if job.last_error else about


def _late(row: LateCredit) -> str:
    return gettext("%(amount)s for %(account)s, whose order was credited %(minutes)s minutes late.") % {
        "amount": ui.usd_text(row.amount_usd),
        "account": row.account,
        "minutes": ui.count(row.delay_seconds // 60),
    }


@admin.register(CreditJob)
class CreditJobAdmin(BillingDesk):
    """What is to be done with somebody's credit: due, retrying, failed."""

    related = ("account", "top_up", "created_by", "grant")
    ids_by_time = True
    list_display = (
        state("kind", _("kind")),
        state("state", _("state")),
        to("account", _("account")),
        column(_("amount"), amount, number=True, name="amount"),
        to("top_up", _("order")),
        at("due_at", _("due")),
        column(_("failed tries"), lambda one: ui.count(one.attempts), number=True, name="tries"),
        column(_("last error"), lambda one: one.last_error[:40], name="error"),
    )
    list_filter = (Since, "state", "kind")
    ordering = ("-pk",)
    account_order = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "account_id"), ("text", "key"))
    search_help_text = _("Job's or account's UUID, or the whole key")
    facts = (
        (
            _("Credit job"),
            (
                "id",
                "kind",
                "account",
                "top_up",
                column(_("amount"), amount),
                "payload",
                "grant",
                "key",
                "created_by",
                "created_at",
            ),
        ),
        (_("State"), ("state", "state_at", "due_at", "attempts", "last_error", "outcome", "finished_at")),
    )
    actions_detail = ("retry", "cancel")

    def panels(self, request: HttpRequest, obj: CreditJob) -> list[Panel]:
        """Who did what."""
        return audit_panel(request, obj)

    @staff_action(
        permission="billing.decide_creditjob",
        title=_("Retry"),
        button=_("Try again now"),
        sentence=at_stake(_job, _("The job is due at once. What was done before is not done again.")),
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
        sentence=at_stake(_job, _("The job is not done any more. It stays on record with your reason.")),
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
        column(_("cause"), lambda one: one.get_cause_display(), name="cause"),
        column(_("minutes"), lambda one: ui.count(one.delay_seconds // 60), number=True, name="minutes"),
        usd("amount_usd", _("compensation")),
        at("credited_at", _("credited"), "short"),
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
        sentence=at_stake(
            _late, _("The compensation is credited at once, and the customer is told by mail what happened.")
        ),
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
        sentence=at_stake(_late, _("Nothing is given. The row stays on record with your reason.")),
        icon="close",
        danger=True,
        applies=lambda row: row.state == LateCredit.State.PROPOSED,
    )
    def dismiss(self, request: HttpRequest, obj: LateCredit, data: dict[str, Any]) -> str:
        """Nothing."""
        late.dismiss(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("It is dismissed.")
