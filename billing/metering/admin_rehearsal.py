"""What a rehearsal found: revenue, models, who pays more and less, who would not have been served."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import F, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.catalog.models_drafts import PriceDraft
from billing.desk import BillingDesk
from billing.metering import rehearsal
from billing.metering.models_rehearsal import Rehearsal, RehearsedAccount
from config import clock
from config.admin_base import ReasonForm, staff_action
from config.admin_cells import Panel, at, column, link, state, status, to
from config.templatetags import ui

State = Rehearsal.State
AGAIN_AFTER_SECONDS = 2
SHOWN = 20


def period(run: Rehearsal) -> str:
    """Which calls."""
    return f"{run.since:%Y-%m-%d %H:%M} – {run.until:%Y-%m-%d %H:%M} UTC"


def percent_of(change: Decimal, base: Decimal) -> str:
    """A change beside what it was."""
    if not base:
        return ""
    share = ui.percent(change / base, 1)
    return f"+{share}" if change > 0 else share


def changed(amount: Decimal) -> str:
    """A change of revenue."""
    return ui.usd_signed(amount)


def took(run: Rehearsal) -> str:
    """How long it ran."""
    if run.started_at is None:
        return ""
    seconds = ((run.finished_at or clock.now()) - run.started_at).total_seconds()
    return gettext("%(n)s s") % {"n": ui.count(round(seconds))}


period.short_description = _("calls of")  # type: ignore[attr-defined]
took.short_description = _("took")  # type: ignore[attr-defined]


def rehearsals_panel(draft: PriceDraft) -> Panel:
    """A draft's rehearsals, newest first."""
    rows: list[tuple[Any, ...]] = []
    for run in draft.rehearsals.order_by("-created_at")[:10]:
        sums = rehearsal.totals(run) if run.state == State.DONE else None
        rows.append(
            (
                link(run, ui.when(run.created_at)),
                status(run, "state"),
                str(run.revision) + ("" if run.revision == draft.revision else gettext(" (older text)")),
                period(run),
                changed(sums.change) if sums else "",
                ui.count(sums.refused_accounts) if sums else "",
            )
        )
    return Panel(
        _("Rehearsals"),
        (_("asked"), _("state"), _("revision"), _("calls of"), _("revenue change"), _("accounts newly refused")),
        rows,
        numbers=frozenset({4, 5}),
        empty=_("Not rehearsed yet: a draft is rehearsed before it can be proposed."),
    )


@admin.register(Rehearsal)
class RehearsalAdmin(BillingDesk):
    """Rehearsals of drafts. They read the calls and write only here."""

    by_hand = True
    row_title = staticmethod(lambda run: f"{run.draft.title} · {period(run)}")
    related = ("draft", "requested_by")
    list_display = (
        at("created_at", _("asked")),
        state("state", _("state")),
        to("draft", _("price draft")),
        column(_("calls of"), period, name="period"),
        to("requested_by", _("requested by")),
        column(_("took"), took, number=True, name="took"),
    )
    list_filter = ("state",)
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("uuid", "draft_id"))
    search_help_text = _("Rehearsal's or draft's UUID")
    facts = (
        (_("Rehearsal"), ("draft", "revision", period, "state", "requested_by", took, "error")),
        (_("All calls of the period"), ("calls", "revenue")),
    )
    actions_detail = ("cancel",)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """While it runs, the page looks again by itself."""
        answer = super().change_view(request, object_id, form_url, extra_context)
        run = getattr(answer, "context_data", {}).get("original")
        if isinstance(run, Rehearsal) and run.finished_at is None:
            answer["Refresh"] = str(AGAIN_AFTER_SECONDS)
        return answer

    def panels(self, request: HttpRequest, obj: Rehearsal) -> list[Panel]:
        """How far it is, then what it found."""
        if obj.state != State.DONE:
            return [_progress_panel(obj), *audit_panel(request, obj)]
        return [
            _totals_panel(obj),
            _models_panel(obj),
            _accounts_panel(obj, _("Who would have paid more"), "-change", change__gt=0),
            _accounts_panel(obj, _("Who would have paid less"), "change", change__lt=0),
            _refused_panel(obj),
        ]

    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Stop"),
        button=_("Stop the rehearsal"),
        sentence=_("What it has found so far is not shown. It can be asked for again."),
        form=ReasonForm,
        icon="stop",
        danger=True,
        applies=lambda run: run.finished_at is None,
    )
    def cancel(self, request: HttpRequest, obj: Rehearsal, data: dict[str, Any]) -> str:
        """No more of it."""
        rehearsal.cancel(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The rehearsal is stopped.")


def _progress_panel(run: Rehearsal) -> Panel:
    done, whole = rehearsal.progress(run)
    context = {"done": done, "whole": whole, "running": run.finished_at is None, "waiting": run.state == State.QUEUED}
    return Panel(_("Progress"), template="admin/progress.html", context=context)


def _totals_panel(run: Rehearsal) -> Panel:
    sums = rehearsal.totals(run)
    rows: list[tuple[Any, ...]] = [
        (_("Calls rated again"), ui.count(sums.calls), ""),
        (_("Revenue as it was"), ui.usd(sums.before), ""),
        (_("Revenue under the draft, if every call were made"), ui.usd(sums.after), ""),
        (_("Change"), changed(sums.change), percent_of(sums.change, sums.before)),
        (_("Of all revenue in the period"), ui.usd(run.revenue), percent_of(sums.change, run.revenue)),
        (_("Accounts that pay more / less"), f"{ui.count(sums.dearer)} / {ui.count(sums.cheaper)}", ""),
        (_("Calls newly refused"), ui.count(sums.refused), ui.usd(sums.refused_charge)),
        (_("Accounts with a newly refused call"), ui.count(sums.refused_accounts), ""),
    ]
    if sums.by_flows:
        worth = changed(sums.list_after - sums.list_before)
        rows.append((_("Paid with Flows (list price changes)"), ui.count(sums.by_flows), worth))
    if sums.unpriced:
        rows.append((_("Calls that the draft cannot price"), ui.count(sums.unpriced), _("see the models")))
    return Panel(_("What it found"), ("", "", ""), rows, numbers=frozenset({1, 2}))


def _models_panel(run: Rehearsal) -> Panel:
    found = (
        run.by_model.values("model__slug", "channel__code")
        .annotate(
            rated=Sum("calls"),
            was=Sum("before"),
            would=Sum("after"),
            lost=Sum("unpriced"),
            change=Sum(F("after") - F("before")),
        )
        .order_by("-change", "model__slug")
    )
    reasons = dict(run.by_model.exclude(reason="").values_list("model__slug", "reason"))
    rows = []
    for one in found[:200]:
        before, change = one["was"], one["change"]
        note = reasons.get(one["model__slug"], "") if one["lost"] else ""
        name = f"{one['model__slug']} · {one['channel__code']}"
        rows.append(
            (
                name,
                ui.count(one["rated"]),
                ui.usd(before),
                ui.usd(one["would"]),
                changed(change),
                percent_of(change, before),
                f"{ui.count(one['lost'])}: {note}" if note else "",
            )
        )
    headings = (_("model"), _("calls"), _("charged"), _("under the draft"), _("change"), "%", _("cannot be priced"))
    return Panel(_("By model"), headings, rows, numbers=frozenset({1, 2, 3, 4, 5}), empty=_("No call is touched."))


def _accounts_panel(run: Rehearsal, title: Any, order: str, **which: Any) -> Panel:
    found = RehearsedAccount.objects.filter(rehearsal=run).annotate(change=F("after") - F("before")).filter(**which)
    rows = [
        (
            link(one.account, one.account.name),
            ui.count(one.calls),
            ui.usd(one.before),
            ui.usd(one.after),
            changed(one.after - one.before),
            percent_of(one.after - one.before, one.before),
        )
        for one in found.select_related("account").order_by(order)[:SHOWN]
    ]
    headings = (_("account"), _("calls"), _("charged"), _("under the draft"), _("change"), "%")
    return Panel(title, headings, rows, numbers=frozenset({1, 2, 3, 4, 5}), empty=_("Nobody."))


def _refused_panel(run: Rehearsal) -> Panel:
    found = RehearsedAccount.objects.filter(rehearsal=run, refused__gt=0).select_related("account")
    rows = [
        (
            link(one.account, one.account.name),
            ui.count(one.refused),
            ui.usd(one.refused_charge),
            ui.when(one.refused_since, "seconds"),
        )
        for one in found.order_by("-refused_charge")[:SHOWN]
    ]
    headings = (_("account"), _("calls newly refused"), _("their charge under the draft"), _("the first at"))
    note = _(
        "Calls that the balance covered as it was and would not have covered under the draft, without another top-up."
    )
    return Panel(
        _("Who would newly have been refused"),
        headings,
        rows,
        numbers=frozenset({1, 2}),
        empty=_("Nobody."),
        note=note,
    )
