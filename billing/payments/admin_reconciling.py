"""Desks of the daily comparison with the provider: the days, and the queue of what differs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminDateWidget

from accounts.admin_parts import audit_panel, person
from billing.desk import BillingDesk
from billing.money import minor_text
from billing.payments import reconcile, tasks
from billing.payments.models_reconciling import Difference, Reconciliation
from billing.waking import wake
from config import clock
from config.admin_base import ReasonForm, at_stake, staff_action
from config.admin_cells import Panel, at, column, link, list_url, state, status, to
from config.admin_finding import Since
from config.templatetags import ui


def money(minor: int | None, currency: str) -> str:
    """An amount of the provider's, in its currency."""
    return "" if minor is None else minor_text(minor, currency)


_SUBJECTS = {
    "payments": _("payments"),
    "refunds": _("refunds"),
    "disputes": _("disputes"),
    "provider's fees": _("provider's fees"),
}


def open_differences(row: Reconciliation) -> str:
    """How many differences of this day wait for somebody."""
    if row.finished_at is None:
        return ""
    count = row.differences.filter(state=Difference.State.OPEN).count()
    return ui.status_badge("attention", str(count), tone="red") if count else gettext("none")


class DayForm(ReasonForm):
    """Which day is compared."""

    day = forms.DateField(label=_("Day (UTC)"), widget=UnfoldAdminDateWidget)


@admin.register(Reconciliation)
class ReconciliationAdmin(BillingDesk):
    """Every day at the provider, held against orders and books."""

    moment = "due_at"
    list_display = (
        column(_("day (UTC)"), str, name="day"),
        state("state", _("state")),
        column(_("open differences"), open_differences, name="open"),
        column(
            _("payments"),
            lambda row: ui.count(row.compared.get("payments", 0)) if row.finished_at else "",
            number=True,
            name="payments",
        ),
        at("finished_at", _("compared")),
        column(_("last error"), lambda row: row.last_error[:60], name="error"),
    )
    list_filter = ("state",)
    ordering = ("-day",)
    facts = ((_("Comparison"), ("day", "state", "finished_at", "due_at", "attempts", "last_error")),)
    actions_list = ("compare_a_day",)
    actions_detail = ("compare_again",)

    def panels(self, request: HttpRequest, obj: Reconciliation) -> list[Panel]:
        """What was compared, by currency; and what differs."""
        sums = [
            (currency, _SUBJECTS.get(name, name), money(amount, currency))
            for currency, found in obj.totals.items()
            for name, amount in sorted(found.items())
        ]
        rows = obj.differences.order_by("state", "found_at")[:20]
        return [
            Panel(
                _("Compared"),
                (_("currency"), _("kind"), _("sum")),
                sums,
                numbers=frozenset({2}),
                note=" · ".join(
                    f"{_SUBJECTS.get(name, name)}: {ui.count(n)}" for name, n in sorted(obj.compared.items())
                ),
                empty=_("Nothing yet.") if obj.finished_at is None else _("Nothing moved on that day."),
            ),
            Panel(
                _("Differences"),
                (_("kind"), _("state"), _("what differs"), _("found")),
                [(link(one), status(one, "state"), one.detail, ui.when(one.found_at)) for one in rows],
                more=list_url(Difference, day__day__exact=obj.day),
                empty=_("Not compared yet.")
                if obj.finished_at is None
                else _("None: the provider and the books say the same."),
            ),
            *audit_panel(request, obj),
        ]

    @staff_action(
        permission="billing.run_reconciliation",
        title=_("Compare a day"),
        sentence=_("The provider's records of that day are read and compared again. Nothing in the books changes."),
        form=DayForm,
        icon="sync",
    )
    def compare_a_day(self, request: HttpRequest, obj: None, data: dict[str, Any]) -> str:
        """Any day that is over."""
        return self._ask(request, data["day"], data["reason"])

    @staff_action(
        permission="billing.run_reconciliation",
        title=_("Compare again"),
        sentence=_("The provider's records of that day are read and compared again. Nothing in the books changes."),
        icon="sync",
    )
    def compare_again(self, request: HttpRequest, obj: Reconciliation, data: dict[str, Any]) -> str:
        """This day."""
        return self._ask(request, obj.day, data["reason"])

    def _ask(self, request: HttpRequest, day: Any, reason: str) -> str:
        reconcile.ask_for(day, actor=person(request), reason=reason, now=clock.now())
        wake(tasks.sweep_reconciliations)
        return gettext("%(day)s is being compared.") % {"day": f"{day:%Y-%m-%d}"}


def is_open(row: Difference) -> bool:
    """Does somebody still have to look?"""
    return row.state == Difference.State.OPEN


def age(row: Difference) -> str:
    """How long it has been waiting, in whole hours and days."""
    if not is_open(row):
        return ""
    hours = int((clock.now() - row.found_at).total_seconds() // 3600)
    return gettext("%(days)s d %(hours)s h") % {"days": hours // 24, "hours": hours % 24}


@admin.register(Difference)
class DifferenceAdmin(BillingDesk):
    """The queue: what the provider says and the books do not, with its age and its owner."""

    related = ("top_up", "owner", "ended_by", "day")
    ids_by_time = True
    moment = "found_at"
    list_display = (
        state("kind", _("kind")),
        state("state", _("state")),
        column(_("age"), age, name="age"),
        to("owner", _("owner")),
        to("top_up", _("order")),
        column(_("provider says"), lambda row: money(row.provider_minor, row.currency), number=True, name="theirs"),
        column(_("we say"), lambda row: money(row.books_minor, row.currency), number=True, name="ours"),
        column(_("day (UTC)"), lambda row: str(row.day_id), name="day"),
    )
    list_filter = (Since, "state", "kind")
    ordering = ("-pk",)
    finds = (("text", "reference"), ("text", "top_up__number"), ("uuid", "pk"))
    search_help_text = _("Object at the provider, or order")
    facts = (
        (_("Difference"), ("kind", "state", "day", "reference", "top_up", "detail")),
        (
            _("Amounts"),
            (
                column(_("provider says"), lambda row: money(row.provider_minor, row.currency), name="theirs"),
                column(_("we say"), lambda row: money(row.books_minor, row.currency), name="ours"),
            ),
        ),
        (_("Work"), ("owner", "found_at", "seen_at", "ended_at", "ended_by", "answer")),
    )
    actions_detail = ("take", "accept")

    def panels(self, request: HttpRequest, obj: Difference) -> list[Panel]:
        """Who did what."""
        return audit_panel(request, obj)

    @staff_action(
        permission="billing.decide_difference",
        title=_("Take it"),
        sentence=_("You become its owner: from now on you are the one who is asked about it."),
        icon="person_raised_hand",
        applies=is_open,
    )
    def take(self, request: HttpRequest, obj: Difference, data: dict[str, Any]) -> str:
        """Mine."""
        reconcile.take(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("It is yours now.")

    @staff_action(
        permission="billing.decide_difference",
        title=_("Accept"),
        sentence=at_stake(
            lambda row: f"{row.detail}.",
            _(
                "The difference stays as it is and is not opened again. Nothing in the books changes. To heal one, use "
                "the order, refund or dispute that it names: the next comparison then finds it gone."
            ),
        ),
        icon="done",
        danger=True,
        applies=is_open,
    )
    def accept(self, request: HttpRequest, obj: Difference, data: dict[str, Any]) -> str:
        """With its reason."""
        reconcile.accept(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The difference is accepted.")
