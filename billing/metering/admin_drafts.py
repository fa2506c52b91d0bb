"""The price desk: draft, rehearse, propose, publish with a second person; and what became of every draft."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin_parts import audit_panel, person
from billing.catalog import drafts
from billing.catalog.admin import PriceVersionAdmin
from billing.catalog.documents import PriceEntry
from billing.catalog.importing import describe
from billing.catalog.models import PriceVersion
from billing.catalog.models_drafts import PriceDraft
from billing.desk import BillingDesk
from billing.errors import BillingError
from billing.metering import rehearsal, tasks
from billing.metering.admin_rehearsal import rehearsals_panel
from billing.metering.price_forms import DropForm, FileForm, PriceForm, RehearsalForm, ScheduleForm
from config import clock
from config.admin_base import staff_action
from config.admin_cells import Panel, at, column, link, links, list_url, row_url, state, to
from config.templatetags import ui

State = PriceDraft.State
SHOWN = 100
WORDS = {
    "new": _("new"),
    "changed": _("changed"),
    "price": _("price"),
    "model": _("model"),
    "channel": _("channel"),
}


def editable(draft: PriceDraft) -> bool:
    """Whether its text may change."""
    return draft.state == State.DRAFT


def proposed(draft: PriceDraft) -> bool:
    """Whether a second person is asked."""
    return draft.state == State.PROPOSED


def open_to_rehearse(draft: PriceDraft) -> bool:
    """Whether its prices may still come into force."""
    return draft.state in (State.DRAFT, State.PROPOSED)


def moment_in_words(draft: PriceDraft) -> Any:
    """From when its prices hold."""
    if draft.starts_at is None:
        return gettext("when it is published")
    return ui.when(draft.starts_at, "full")


moment_in_words.short_description = _("starts")  # type: ignore[attr-defined]


@admin.register(PriceDraft)
class PriceDraftAdmin(BillingDesk):
    """Prices that are being prepared, and the history of those that were."""

    by_hand = True
    row_title = staticmethod(lambda draft: draft.title)
    related = ("created_by", "edited_by", "proposed_by", "decided_by")
    list_display = (
        "title",
        state("state", _("state")),
        column(_("prices"), lambda draft: ui.count(draft.prices), number=True, name="prices"),
        column(_("starts"), moment_in_words, name="starts"),
        to("edited_by", _("last edited by")),
        at("edited_at", _("last edited"), "short"),
        to("decided_by", _("decided by")),
        at("decided_at", _("decided"), "short"),
    )
    list_filter = ("state", "source")
    ordering = ("-pk",)
    finds = (("uuid", "pk"), ("text", "title"))
    search_help_text = _("Draft's UUID or whole title")
    facts = (
        (_("Draft"), ("title", "state", "revision", moment_in_words, "source")),
        (_("Who wrote it"), ("created_by", "created_at", "edited_by", "edited_at")),
        (_("Decision"), ("proposed_by", "proposed_at", "reason", "decided_by", "decided_at", "answer")),
    )
    actions_list = ("draft_price", "draft_file")
    actions_detail = (
        "put_price",
        "drop_price",
        "schedule",
        "rehearse",
        "propose",
        "take_back",
        "publish",
        "reject",
        "withdraw",
    )

    def panels(self, request: HttpRequest, obj: PriceDraft) -> list[Panel]:
        """What it would do, what to look at twice, what it did to the calls of the past, who did what."""
        found = [_changes_panel(obj)]
        if open_to_rehearse(obj):
            found.append(_findings_panel(obj))
        found += [_prices_panel(obj), rehearsals_panel(obj), *_versions_panel(obj), *audit_panel(request, obj)]
        return found

    # --- Writing
    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Draft a price"),
        button=_("Keep the draft"),
        sentence=_("A draft changes nothing yet. It is rehearsed, proposed, and published by a second person."),
        form=PriceForm,
        icon="edit_note",
    )
    def draft_price(self, request: HttpRequest, obj: None, data: dict[str, Any]) -> HttpResponse:
        """A new draft with one price."""
        made = drafts.create_price(
            data["model"],
            data["spec"],
            title=data["title"],
            actor=person(request),
            reason=data["reason"],
            now=clock.now(),
        )
        return HttpResponseRedirect(row_url(made))

    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Draft from a file"),
        button=_("Read the file"),
        sentence=_("The file is read and compared with the catalogue. Nothing changes before the draft is published."),
        form=FileForm,
        icon="upload_file",
    )
    def draft_file(self, request: HttpRequest, obj: None, data: dict[str, Any]) -> HttpResponse:
        """A new draft with a file's prices."""
        made = drafts.create(
            data["document"], title=data["title"], actor=person(request), reason=data["reason"], now=clock.now()
        )
        return HttpResponseRedirect(row_url(made))

    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Write a price"),
        button=_("Keep the price"),
        sentence=_("It takes the place of the price that the draft has for this model and channel."),
        form=PriceForm,
        icon="edit",
        applies=editable,
    )
    def put_price(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """Another price in the draft."""
        drafts.put_price(
            obj.pk, data["model"], data["spec"], actor=person(request), reason=data["reason"], now=clock.now()
        )
        return gettext("The draft has the price. Rehearse it again.")

    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Take a price out"),
        sentence=_("The draft no longer changes this price."),
        form=DropForm,
        icon="remove",
        applies=lambda draft: editable(draft) and draft.prices > 1,
    )
    def drop_price(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """One price fewer."""
        model, _space, channel = data["which"].partition(" ")
        drafts.drop_price(obj.pk, model, channel, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The price is out of the draft.")

    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Set the start"),
        sentence=_("Calls that are authorised before the start keep the old price, whenever they end."),
        form=ScheduleForm,
        icon="schedule",
        applies=editable,
    )
    def schedule(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """From when it holds."""
        drafts.schedule(
            obj.pk, starts_at=data["starts_at"], actor=person(request), reason=data["reason"], now=clock.now()
        )
        return gettext("The start is set.")

    # --- Trying
    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Rehearse"),
        button=_("Start the rehearsal"),
        sentence=_(
            "The calls of these days are rated under the draft: what revenue would have been, who would have paid more "
            "or less, whose balance would not have been enough. Nothing is written to the books."
        ),
        form=RehearsalForm,
        icon="science",
        applies=open_to_rehearse,
    )
    def rehearse(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> HttpResponse:
        """Rate the past under it."""
        run = rehearsal.request(obj.pk, days=data["days"], actor=person(request), now=clock.now())
        tasks.start_rehearsal(run.pk)
        return HttpResponseRedirect(row_url(run))

    # --- Deciding
    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Propose"),
        button=_("Ask a second person"),
        sentence=_("The draft can no longer be edited. Another person publishes or rejects it."),
        icon="send",
        applies=editable,
    )
    def propose(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """Ready for a second person."""
        drafts.propose(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The draft waits for a second person.")

    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Take back"),
        sentence=_("The draft can be edited again."),
        icon="undo",
        applies=proposed,
    )
    def take_back(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """Not ready after all."""
        drafts.take_back(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The draft can be edited again.")

    @staff_action(
        permission="billing.publish_pricedraft",
        title=_("Publish"),
        button=_("Publish the prices"),
        sentence=_(
            "New price versions begin at the start that is set, at once if none is. Versions that have rated calls are "
            "never edited; a published price is corrected by another draft. You answer for it together with the person "
            "who proposed it."
        ),
        icon="publish",
        applies=proposed,
    )
    def publish(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """A second person says yes."""
        done = drafts.publish(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("%(n)s changes are published.") % {"n": ui.count(len(done.changes))}

    @staff_action(
        permission="billing.publish_pricedraft",
        title=_("Reject"),
        button=_("Reject the draft"),
        sentence=_("The prices stay as they are. The draft stays on record with your reason."),
        icon="close",
        danger=True,
        applies=proposed,
    )
    def reject(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """A second person says no."""
        drafts.reject(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The draft is rejected.")

    @staff_action(
        permission="billing.edit_pricedraft",
        title=_("Withdraw"),
        button=_("Withdraw the draft"),
        sentence=_("Nothing comes of it. It stays on record."),
        icon="delete",
        danger=True,
        applies=editable,
    )
    def withdraw(self, request: HttpRequest, obj: PriceDraft, data: dict[str, Any]) -> str:
        """Nothing comes of it."""
        drafts.withdraw(obj.pk, actor=person(request), reason=data["reason"], now=clock.now())
        return gettext("The draft is withdrawn.")


# --- Panels -------------------------------------------------------------------------------------------------------
def _changes_panel(draft: PriceDraft) -> Panel:
    title = _("What was published") if draft.state == State.PUBLISHED else _("What it would change")
    rows: list[tuple[Any, ...]] = [_columns(line) for line in draft.changes[:SHOWN]]
    return Panel(
        title,
        (_("change"), _("kind"), _("what"), _("from what to what")),
        rows,
        note=gettext("%(n)s changes; the first %(shown)s are shown.")
        % {"n": ui.count(len(draft.changes)), "shown": SHOWN}
        if len(draft.changes) > SHOWN
        else "",
        empty=_("Nothing: these prices are in force."),
    )


def _columns(line: str) -> tuple[str, str, str, str]:
    """A line of the diff in its columns (`importing.Change`)."""
    kind, what, rest = line[:8].strip(), line[9:17].strip(), line[18:]
    key, _gap, detail = rest.partition("  ")
    return str(WORDS.get(kind, kind)), str(WORDS.get(what, what)), key, detail


def _findings_panel(draft: PriceDraft) -> Panel:
    try:
        found = drafts.findings(draft, clock.now())
    except BillingError as refusal:
        return Panel(_("Look twice"), note=str(refusal), empty="")
    return Panel(
        _("Look twice"),
        (_("model"), _("channel"), _("what")),
        [(one.model, one.channel, one.text) for one in found[:SHOWN]],
        empty=_("Nothing stands out."),
    )


def _prices_panel(draft: PriceDraft) -> Panel:
    try:
        entries = [price for model in drafts.document_of(draft, clock.now()).models for price in model.prices]
    except BillingError as refusal:
        return Panel(_("Its prices"), note=str(refusal), empty="")
    return Panel(
        _("Its prices"),
        (_("model"), _("channel"), _("price"), ""),
        [
            (one.spec.model, one.channel, describe(one.spec), _edit_link(draft, one) if editable(draft) else "")
            for one in entries[:SHOWN]
        ],
        note=gettext("USD per 1K tokens, or per unit as written.")
        + (gettext(" The first %(shown)s are shown.") % {"shown": SHOWN} if len(entries) > SHOWN else ""),
    )


def _edit_link(draft: PriceDraft, one: PriceEntry) -> Any:
    query = urlencode({"model": one.spec.model, "channel": one.channel})
    return links((_("Edit"), f"{row_url(draft).removesuffix('change/')}put-price/?{query}"))


def _versions_panel(draft: PriceDraft) -> list[Panel]:
    if draft.state != State.PUBLISHED:
        return []
    versions = PriceVersion.objects.filter(source=f"draft:{draft.pk}").select_related("model", "channel")
    return [
        Panel(
            _("Versions that it made"),
            (_("version"), _("model"), _("channel"), _("from"), _("until")),
            [
                (
                    link(one, f"v{one.number}"),
                    link(one.model, one.model.slug),
                    one.channel.code,
                    ui.when(one.effective_from),
                    ui.when(one.effective_to),
                )
                for one in versions.order_by("pk")[:SHOWN]
            ],
        )
    ]


def origin_panel(request: HttpRequest, version: PriceVersion) -> list[Panel]:
    """On a version's page: the draft that made it, and the way to the next price."""
    rows: list[tuple[Any, ...]] = []
    if version.source.startswith("draft:"):
        draft = PriceDraft.objects.filter(pk=version.source.removeprefix("draft:")).first()
        if draft is not None:
            rows.append((_("Published by the draft"), link(draft, draft.title)))
    if request.user.has_perm("billing.edit_pricedraft"):
        query = urlencode({"model": version.model.slug, "channel": version.channel.code})
        rows.append((_("To change it"), links((_("Draft a new price"), f"{list_url(PriceDraft)}draft-price/?{query}"))))
    return [Panel(_("History"), (), rows)] if rows else []


PriceVersionAdmin.panel_makers.append(origin_panel)
