"""Price corrections: written, previewed, proposed, approved by somebody else, applied, unwound."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.catalog.importing import describe
from billing.catalog.models import Channel, Model
from billing.desk import BillingDesk
from billing.metering import rerating, tasks
from billing.metering.models_rerating import CorrectedAccount, Correction
from billing.metering.price_forms import PriceForm
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, column, count, link, row_url, state, to, usd
from config.templatetags import ui

State = Correction.State
WORKING = (State.PREVIEWING, State.APPROVED, State.APPLYING, State.REVERSING)
AGAIN_AFTER_SECONDS = 2
SHOWN = 20


def period(row: Correction) -> str:
    """Which calls."""
    return f"{row.since:%Y-%m-%d %H:%M} – {row.until:%Y-%m-%d %H:%M} UTC"


def right_price(row: Correction) -> str:
    """The price in words."""
    return describe(rerating.plan_of(row).spec)


period.short_description = _("calls authorised")  # type: ignore[attr-defined]
right_price.short_description = _("right price")  # type: ignore[attr-defined]


def _only(*states: str) -> Any:
    return lambda row: row.state in states


class CorrectionForm(PriceForm):
    """Which calls, and what they should have cost."""

    since = forms.DateTimeField(label=_("Calls authorised from (UTC)"))
    until = forms.DateTimeField(label=_("Until (UTC)"), help_text=_("The first moment that is no longer corrected."))
    favour = forms.ChoiceField(
        label=_("Differences"),
        choices=Correction.Favour.choices,
        help_text=_("Normally only what was charged too much is given back."),
    )
    note = forms.CharField(
        label=_("Note for customers"),
        required=False,
        max_length=500,
        help_text=_("They read it beside the entry in their transactions."),
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["title"].label = _("Title of the correction")
        channels = [(channel.code, str(channel)) for channel in Channel.objects.all()]
        self.fields["channel"].choices = self.fields["channel"].widget.choices = channels  # type: ignore[attr-defined]


@admin.register(Correction)
class CorrectionAdmin(BillingDesk):
    """Corrections of prices that were wrong for a while."""

    by_hand = True
    row_title = staticmethod(lambda row: row.title)
    related = ("model", "channel", "created_by", "proposed_by", "decided_by", "reversal_by", "reversal_decided_by")
    list_display = (
        "title",
        state("state", _("state")),
        to("model", _("model"), lambda model: model.slug),
        column(_("calls authorised"), period, name="period"),
        count("adjusted", _("calls that change")),
        usd("given", _("to give back")),
        usd("charged", _("to charge")),
        to("decided_by", _("decided by")),
        at("created_at", _("created"), "short"),
    )
    list_filter = ("state",)
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("text", "title"))
    search_help_text = _("Correction's UUID or whole title")
    facts = (
        (_("Correction"), ("title", "state", "model", "channel", period, right_price, "favour", "reason", "note")),
        (
            _("Decision"),
            ("created_by", "created_at", "proposed_by", "proposed_at", "decided_by", "decided_at", "answer"),
        ),
        (_("Done"), ("applied_at", "applied_records", "applied_given", "applied_charged")),
        (_("Reversal"), ("reversal_by", "reversal_reason", "reversal_decided_by", "reversed_at")),
    )
    actions_list = ("write",)
    actions_detail = (
        "preview",
        "propose",
        "take_back",
        "approve",
        "reject",
        "withdraw",
        "ask_reversal",
        "reverse",
        "keep",
    )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """While it is worked on, the page looks again by itself."""
        answer = super().change_view(request, object_id, form_url, extra_context)
        row = getattr(answer, "context_data", {}).get("original")
        if isinstance(row, Correction) and row.state in WORKING:
            answer["Refresh"] = str(AGAIN_AFTER_SECONDS)
        return answer

    def panels(self, request: HttpRequest, obj: Correction) -> list[Panel]:
        """How far it is, what the preview found, who gets most, who did what."""
        found: list[Panel] = []
        if obj.state in WORKING:
            done, whole = rerating.progress(obj)
            context = {"done": done, "whole": whole, "running": True, "waiting": not whole}
            found.append(Panel(_("Progress"), template="admin/progress.html", context=context))
        if obj.as_of and obj.state != State.PREVIEWING:
            found += [
                _totals_panel(obj),
                _accounts_panel(obj, _("Who gets most back"), "change", change__lt=0),
                _accounts_panel(obj, _("Who is charged more"), "-change", change__gt=0),
            ]
        return [*found, *audit_panel(request, obj)]

    @staff_action(
        permission="billing.edit_correction",
        title=_("Correct a price"),
        button=_("Keep the correction"),
        sentence=_("Nothing changes yet. It is previewed, proposed, and approved by a second person."),
        form=CorrectionForm,
        icon="price_change",
    )
    def write(self, request: HttpRequest, obj: None, data: dict[str, Any]) -> HttpResponse:
        """A new correction."""
        made = rerating.create(
            Model.objects.values_list("pk", flat=True).get(slug=data["model"]),
            Channel.objects.values_list("pk", flat=True).get(code=data["channel"]),
            data["spec"],
            since=data["since"],
            until=data["until"],
            favour=data["favour"],
            title=data["title"],
            note=data["note"],
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
        )
        return HttpResponseRedirect(row_url(made))

    @staff_action(
        permission="billing.edit_correction",
        title=_("Preview"),
        button=_("Rate the calls again"),
        sentence=_("Every call concerned is rated under the right price. Nothing is written to the books."),
        icon="science",
        applies=_only(State.DRAFT, State.PREVIEWED),
    )
    def preview(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """What it would do."""
        rerating.preview(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        tasks.start_correction(obj.pk)
        return gettext("The calls are being rated again.")

    @staff_action(
        permission="billing.edit_correction",
        title=_("Propose"),
        button=_("Ask a second person"),
        sentence=_("Another person approves or rejects what the preview says."),
        icon="send",
        applies=_only(State.PREVIEWED),
    )
    def propose(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """Ready for a second person."""
        rerating.propose(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The correction waits for a second person.")

    @staff_action(
        permission="billing.edit_correction",
        title=_("Take back"),
        sentence=_("It is no longer proposed. It can be previewed again."),
        icon="undo",
        applies=_only(State.PROPOSED),
    )
    def take_back(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """Not ready after all."""
        rerating.take_back(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The correction is no longer proposed.")

    @staff_action(
        permission="billing.decide_correction",
        title=_("Approve"),
        button=_("Approve and apply"),
        sentence=_(
            "Every account gets one entry: what was charged too much goes back to the credit that it came from. If "
            "the correction charges more, that is drawn from credit and then becomes overdraft. You answer for it "
            "together with the person who proposed it."
        ),
        icon="done_all",
        applies=_only(State.PROPOSED),
    )
    def approve(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """A second person says yes."""
        rerating.approve(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        tasks.start_correction(obj.pk)
        return gettext("The correction is being applied.")

    @staff_action(
        permission="billing.decide_correction",
        title=_("Reject"),
        sentence=_("Nothing is corrected. It stays on record with your reason."),
        icon="close",
        danger=True,
        applies=_only(State.PROPOSED),
    )
    def reject(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """A second person says no."""
        rerating.reject(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The correction is rejected.")

    @staff_action(
        permission="billing.edit_correction",
        title=_("Withdraw"),
        sentence=_("Nothing comes of it. It stays on record."),
        icon="delete",
        danger=True,
        applies=_only(State.DRAFT, State.PREVIEWING, State.PREVIEWED),
    )
    def withdraw(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """Nothing comes of it."""
        rerating.withdraw(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The correction is withdrawn.")

    @staff_action(
        permission="billing.decide_correction",
        title=_("Ask for a reversal"),
        sentence=_(
            "Another person decides. Every entry would be unwound: what was given back is drawn again from where it "
            "went; if it was spent meanwhile, from the account's other credit, and then it becomes overdraft."
        ),
        icon="history",
        danger=True,
        applies=_only(State.APPLIED),
    )
    def ask_reversal(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """It was wrong."""
        rerating.ask_reversal(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The reversal waits for a second person.")

    @staff_action(
        permission="billing.decide_correction",
        title=_("Reverse"),
        button=_("Unwind every entry"),
        sentence=_(
            "What was given back is drawn again from where it went; if it was spent meanwhile, from other "
            "credit in burn order, and then it becomes overdraft. What was charged more goes back."
        ),
        icon="settings_backup_restore",
        danger=True,
        applies=_only(State.REVERSAL_ASKED),
    )
    def reverse(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """A second person says yes."""
        rerating.reverse(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        tasks.start_correction(obj.pk)
        return gettext("The correction is being reversed.")

    @staff_action(
        permission="billing.decide_correction",
        title=_("Keep it"),
        sentence=_("It stays applied; the reversal is not made."),
        icon="close",
        applies=_only(State.REVERSAL_ASKED),
    )
    def keep(self, request: HttpRequest, obj: Correction, data: dict[str, Any]) -> str:
        """No reversal."""
        rerating.keep(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The correction stays applied.")


def _totals_panel(row: Correction) -> Panel:
    rows: list[tuple[Any, ...]] = [
        (_("As of"), ui.when(row.as_of, "full")),
        (_("Calls rated again"), ui.count(row.records)),
        (_("Calls that change"), ui.count(row.adjusted)),
        (_("Accounts that change"), ui.count(row.accounts)),
        (_("They cost"), ui.usd6(row.before)),
        (_("They will cost"), ui.usd6(row.after)),
        (_("To give back"), ui.usd6(row.given)),
        (_("To charge more"), ui.usd6(row.charged)),
    ]
    rows += [(gettext("Left out: %(why)s") % {"why": why}, ui.count(calls)) for why, calls in row.left_out.items()]
    return Panel(_("What the preview found"), (), rows, numbers=frozenset({1}))


def _accounts_panel(row: Correction, title: Any, order: str, **which: Any) -> Panel:
    found = CorrectedAccount.objects.filter(correction=row).annotate(change=F("after") - F("before")).filter(**which)
    return Panel(
        title,
        (_("account"), _("calls that change"), _("charged"), _("under the right price"), _("change")),
        [
            (link(one.account), ui.count(one.adjusted), ui.usd6(one.before), ui.usd6(one.after),
             ui.usd6_signed(one.after - one.before))
            for one in found.select_related("account").order_by(order, "pk")[:SHOWN]
        ],
        numbers=frozenset({1, 2, 3, 4}),
        empty=_("Nobody."),
    )  # fmt: skip
