"""Changing prices without fear: write a draft, rehearse it, propose it, let a second person publish it.

A draft is a catalogue document. Publishing is an import of it, so drafts and files make price versions in one way, and
no version is ever edited. What depends on a draft from the right (rehearsals) joins by `before_proposal`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.catalog import importing
from billing.catalog.book import Price, current_book
from billing.catalog.documents import Document, read_document
from billing.catalog.findings import Finding, look_twice
from billing.catalog.models_drafts import PriceDraft
from billing.catalog.plans import PriceSpec
from billing.catalog.selecting import starting
from billing.catalog.writing import document_body, price_body
from billing.errors import Conflict, InvalidRequest, NotFound, SecondPersonNeeded

State = PriceDraft.State
FARTHEST: Final = timedelta(days=400)
MOST_CHANGES: Final = 5000  # lines of a diff that a draft keeps
AT_ONCE: Final = f"{'changed':<8} {'model':<8}"  # a line of the diff about what no start delays

before_proposal: list[Callable[[PriceDraft], None]] = []
"""Asked before a draft may be proposed; each refuses with a BillingError."""


@transaction.atomic
def create(document: Document, *, title: str, actor: User, reason: str, now: datetime) -> PriceDraft:
    """A draft of a whole document, from a file of any format."""
    if not (document.models or document.channels or document.flow_rates or document.flow_factors):
        raise InvalidRequest(_("The document has no prices."), field="document")
    draft = PriceDraft(
        title=_title(title),
        source=document.source,
        document=document_body(document),
        only_prices=document.only_prices,
        created_by=actor,
        created_at=now,
        edited_by=actor,
        edited_at=now,
        reason=reason.strip(),
    )
    return _keep(draft, actor=actor, reason=reason, now=now, action="draft_created")


def create_price(
    model: str, spec: PriceSpec, *, title: str, actor: User, reason: str, now: datetime, name: str = ""
) -> PriceDraft:
    """A draft of one price."""
    body = {"channels": [], "models": [{"slug": model, "name": name or model, "prices": [price_body(spec, now)]}]}
    document = replace(_read(body), only_prices=True, source="")
    return create(document, title=title, actor=actor, reason=reason, now=now)


def put_price(draft_id: UUID, model: str, spec: PriceSpec, *, actor: User, reason: str, now: datetime) -> PriceDraft:
    """Write a price into the draft, in place of the one that it has for this model and channel."""

    def edit(body: dict[str, Any]) -> None:
        entries = body.setdefault("models", [])
        entry = next((one for one in entries if one["slug"] == model), None)
        if entry is None:
            entry = {"slug": model, "prices": []}
            entries.append(entry)
        entry["prices"] = [one for one in entry.get("prices", []) if one.get("channel", "default") != spec.channel]
        entry["prices"].append(price_body(spec, now))

    return _edit(draft_id, edit, actor=actor, reason=reason, now=now, action="draft_price_put")


def drop_price(draft_id: UUID, model: str, channel: str, *, actor: User, reason: str, now: datetime) -> PriceDraft:
    """Take a price out of the draft."""

    def edit(body: dict[str, Any]) -> None:
        for entry in body.get("models", []):
            kept = [one for one in entry.get("prices", []) if (entry["slug"], one.get("channel", "default")) != wanted]
            if len(kept) != len(entry.get("prices", [])):
                entry["prices"] = kept
                return
        raise NotFound

    wanted = (model, channel)
    return _edit(draft_id, edit, actor=actor, reason=reason, now=now, action="draft_price_dropped")


@transaction.atomic
def schedule(draft_id: UUID, *, starts_at: datetime | None, actor: User, reason: str, now: datetime) -> PriceDraft:
    """Set from when the prices are to hold; None: from the moment of publishing."""
    draft = _locked(draft_id)
    _only_in(draft, State.DRAFT)
    if starts_at is not None and not now < starts_at <= now + FARTHEST:
        raise InvalidRequest(_("The start must lie in the future, at most 400 days ahead."), field="starts_at")
    draft.starts_at = starts_at
    return _keep(draft, actor=actor, reason=reason, now=now, action="draft_scheduled")


@transaction.atomic
def propose(draft_id: UUID, *, actor: User, reason: str, now: datetime) -> PriceDraft:
    """Ask a second person. The diff is made afresh, and is what that person answers for."""
    _require(reason)
    draft = _locked(draft_id)
    _only_in(draft, State.DRAFT)
    draft.changes = _changes(draft, now)
    if not draft.changes:
        raise Conflict(_("The draft changes nothing: these prices are in force."))
    if draft.starts_at and any(line[9:17].strip() == "channel" or line[:17] == AT_ONCE for line in draft.changes):
        raise Conflict(
            _("Only prices can wait for a start; channels and models change at once. Make them a draft of their own.")
        )
    for check in before_proposal:
        check(draft)
    draft.move_to(State.PROPOSED)
    draft.proposed_by, draft.proposed_at, draft.reason = actor, now, reason.strip()
    draft.save()
    _audit(draft, "draft_proposed", State.DRAFT, actor=actor, reason=reason, now=now)
    return draft


@transaction.atomic
def take_back(draft_id: UUID, *, actor: User, reason: str, now: datetime) -> PriceDraft:
    """Back to a draft that can be edited."""
    _require(reason)
    draft = _locked(draft_id)
    _only_in(draft, State.PROPOSED)
    draft.move_to(State.DRAFT)
    draft.proposed_by = draft.proposed_at = None
    draft.save()
    _audit(draft, "draft_taken_back", State.PROPOSED, actor=actor, reason=reason, now=now)
    return draft


@transaction.atomic
def publish(draft_id: UUID, *, actor: User, reason: str, now: datetime) -> PriceDraft:
    """A second person says yes: the prices become versions, now or at their start. The same person again: no change.

    What the two agreed on is what happens: if the catalogue has changed since so that the draft would do something
    else, it is refused and must be proposed again.
    """
    _require(reason)
    draft = _locked(draft_id)
    if draft.state == State.PUBLISHED and draft.decided_by_id == actor.pk:
        return draft
    _only_in(draft, State.PROPOSED)
    if actor.pk in (draft.proposed_by_id, draft.edited_by_id):
        raise SecondPersonNeeded(draft=str(draft.pk))
    if _without_times(_changes(draft, now)) != _without_times(draft.changes):
        raise Conflict(_("The catalogue has changed since this was proposed. Take it back, look at it, propose again."))
    diff = importing.import_catalog(document_of(draft, now), now=now, actor=actor)
    draft.changes = [str(one) for one in diff.changes if one.kind != "gone"][:MOST_CHANGES]
    draft.move_to(State.PUBLISHED)
    draft.decided_by, draft.decided_at, draft.answer = actor, now, reason.strip()
    draft.save()
    _audit(draft, "draft_published", State.PROPOSED, actor=actor, reason=reason, now=now)
    return draft


@transaction.atomic
def reject(draft_id: UUID, *, actor: User, reason: str, now: datetime) -> PriceDraft:
    """Another person says no; whoever proposed it takes it back or withdraws it."""
    return _end(draft_id, State.REJECTED, "draft_rejected", State.PROPOSED, actor=actor, reason=reason, now=now)


@transaction.atomic
def withdraw(draft_id: UUID, *, actor: User, reason: str, now: datetime) -> PriceDraft:
    """Nothing comes of it."""
    return _end(draft_id, State.WITHDRAWN, "draft_withdrawn", State.DRAFT, actor=actor, reason=reason, now=now)


# --- Reading ---------------------------------------------------------------------------------------------------------
def document_of(draft: PriceDraft, now: datetime) -> Document:
    """The draft as an import reads it: prices without a later start of their own begin when the draft does."""
    read = starting(_read(draft.document), draft.begins_at(now))
    return replace(read, source=f"draft:{draft.pk}", only_prices=draft.only_prices)


def findings(draft: PriceDraft, now: datetime) -> list[Finding]:
    """What to look at twice, price by price."""
    found: list[Finding] = []
    for entry in document_of(draft, now).models:
        for price in entry.prices:
            before = in_force(entry.slug, price.channel, now)
            found += look_twice(price.spec, before.plan.spec if before else None)
    return found


def price_in(draft: PriceDraft, model: str, channel: str) -> PriceSpec | None:
    """The price that the draft has for a model on a channel."""
    for entry in _read(draft.document).models:
        for price in entry.prices:
            if (entry.slug, price.channel) == (model, channel):
                return price.spec
    return None


def in_force(model: str, channel: str, now: datetime) -> Price | None:
    """The version that prices calls now."""
    return current_book().current(model, channel, now)


# --- pieces ----------------------------------------------------------------------------------------------------------
def _read(body: Any) -> Document:
    return read_document(body)


def _locked(draft_id: UUID) -> PriceDraft:
    try:
        return PriceDraft.objects.select_for_update(of=("self",), no_key=True).get(pk=draft_id)
    except PriceDraft.DoesNotExist:
        raise NotFound from None


def _only_in(draft: PriceDraft, state: str) -> None:
    if draft.state != state:
        raise Conflict(_("That is not possible in its present state."), current=str(draft.state))


@transaction.atomic
def _edit(
    draft_id: UUID, edit: Callable[[dict[str, Any]], None], *, actor: User, reason: str, now: datetime, action: str
) -> PriceDraft:
    draft = _locked(draft_id)
    _only_in(draft, State.DRAFT)
    body = deepcopy(draft.document)
    edit(body)
    read = _read(body)  # refused before anything is kept
    draft.document = document_body(read)
    draft.revision += 1
    draft.edited_by, draft.edited_at = actor, now
    return _keep(draft, actor=actor, reason=reason, now=now, action=action)


def _keep(draft: PriceDraft, *, actor: User, reason: str, now: datetime, action: str) -> PriceDraft:
    _require(reason)
    draft.changes = _changes(draft, now)
    draft.save()
    audit.record(
        actor=actor,
        action=action,
        subject=draft,
        now=now,
        reason=reason.strip(),
        after={
            "revision": draft.revision,
            "starts_at": draft.starts_at.isoformat() if draft.starts_at else None,
            "changes": draft.changes[:200],
        },
    )
    return draft


def _changes(draft: PriceDraft, now: datetime) -> list[str]:
    """What publishing would do, tried and taken back."""
    diff = importing.import_catalog(document_of(draft, now), now=now, dry_run=True)
    return [str(one) for one in diff.changes if one.kind != "gone"][:MOST_CHANGES]


def _without_times(changes: list[str]) -> list[str]:
    """A start that has come meanwhile is no other price."""
    return sorted(line.partition(" from 2")[0] for line in changes)


def _end(
    draft_id: UUID, state: PriceDraft.State, action: str, was: str, *, actor: User, reason: str, now: datetime
) -> PriceDraft:
    _require(reason)
    draft = _locked(draft_id)
    if draft.state == state and draft.decided_by_id == actor.pk:
        return draft
    _only_in(draft, was)
    draft.move_to(state)
    draft.decided_by, draft.decided_at, draft.answer = actor, now, reason.strip()
    draft.save()
    _audit(draft, action, was, actor=actor, reason=reason, now=now)
    return draft


def _audit(draft: PriceDraft, action: str, was: str, *, actor: User, reason: str, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=draft,
        now=now,
        reason=reason.strip(),
        before={"state": str(was)},
        after={"state": str(draft.state), "revision": draft.revision, "changes": draft.changes[:200]},
    )


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")


def _title(title: str) -> str:
    title = title.strip()[:120]
    if not title:
        raise InvalidRequest(_("%(field)s is missing."), field="title")
    return title
