"""Corrections of a wrong price: written, previewed, proposed, approved by a second person, applied, reversible.

Who asks and who decides is here; the work on the calls is in `rerating_work.py`. Nothing that was charged is edited.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Sum
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.catalog.documents import read_document
from billing.catalog.models import Channel, Model
from billing.catalog.plans import Plan, PriceSpec, compile_plan
from billing.catalog.writing import price_body
from billing.errors import Conflict, InvalidRequest, NotFound, SecondPersonNeeded
from billing.metering.models_rerating import ChargeAdjustment, Correction

State = Correction.State
LOOK_AGAIN: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(days=366)
IN_WORK: Final = (State.APPROVED, State.APPLYING, State.REVERSAL_ASKED, State.REVERSING)


@transaction.atomic
def create(
    model_id: int,
    channel_id: int,
    spec: PriceSpec,
    *,
    since: datetime,
    until: datetime,
    favour: str,
    title: str,
    actor: User,
    reason: str,
    now: datetime,
    note: str = "",
) -> Correction:
    """A correction that changes nothing yet: the right price for the calls authorised in `[since, until)`."""
    _require(reason)
    if not title.strip():
        raise InvalidRequest(_("%(field)s is missing."), field="title")
    if favour not in Correction.Favour.values:
        raise InvalidRequest(_("%(field)s is not one of the choices."), field="favour")
    if since >= until:
        raise InvalidRequest(_("The period ends before it begins."), field="until")
    if until > now:
        raise InvalidRequest(_("The period must lie in the past."), field="until")
    if until - since > LONGEST:
        raise InvalidRequest(_("The period is longer than a year."), field="since")
    model = Model.objects.filter(pk=model_id).first()
    channel = Channel.objects.filter(pk=channel_id).first()
    if model is None or channel is None:
        raise NotFound
    body = price_body(spec, since) | {"channel": channel.code}
    _plan(model.slug, body)  # refused before anything is kept
    row = Correction.objects.create(
        title=title.strip()[:120],
        model=model,
        channel=channel,
        since=since,
        until=until,
        price=body,
        favour=favour,
        reason=reason.strip()[:500],
        note=note.strip()[:500],
        created_by=actor,
        created_at=now,
    )
    _audit(row, "correction_drafted", "", actor=actor, reason=reason, now=now)
    return row


def plan_of(correction: Correction) -> Plan:
    """The right price, compiled."""
    return _plan(correction.model.slug, correction.price)


@transaction.atomic
def preview(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Rate its calls as they are now; the books are only read. Asking again begins anew."""
    _require(reason)
    row = _locked(correction_id)
    row.move_to(State.PREVIEWING)
    row.by_account.all().delete()
    row.as_of, row.counted, row.left_out, row.due_at = now, False, {}, now
    row.save()
    _audit(row, "correction_previewed", "", actor=actor, reason=reason, now=now)
    return row


def propose(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Ask a second person."""

    def change(row: Correction) -> None:
        if not row.adjusted:
            raise Conflict(_("Nothing would change: there is nothing to propose."))
        row.proposed_by, row.proposed_at = actor, now

    return _step(correction_id, State.PROPOSED, "correction_proposed", change, actor=actor, reason=reason, now=now)


def take_back(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Not yet, after all."""

    def change(row: Correction) -> None:
        row.proposed_by = row.proposed_at = None

    return _step(correction_id, State.PREVIEWED, "correction_taken_back", change, actor=actor, reason=reason, now=now,
                 only_from=State.PROPOSED)  # fmt: skip


def approve(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Another person says yes: it is applied, account by account. The same yes again changes nothing."""

    def change(row: Correction) -> None:
        if actor.pk == row.proposed_by_id:
            raise SecondPersonNeeded(correction=str(row.pk))
        _require_present(row)
        row.decided_by, row.decided_at, row.answer, row.due_at = actor, now, reason.strip()[:500], now

    return _step(correction_id, State.APPROVED, "correction_approved", change, actor=actor, reason=reason, now=now,
                 done_by="decided_by_id", later=(State.APPLYING, State.APPLIED))  # fmt: skip


def reject(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Nothing is corrected."""

    def change(row: Correction) -> None:
        row.decided_by, row.decided_at, row.answer = actor, now, reason.strip()[:500]

    return _step(correction_id, State.REJECTED, "correction_rejected", change, actor=actor, reason=reason, now=now,
                 done_by="decided_by_id")  # fmt: skip


def withdraw(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Nothing comes of it."""

    def change(row: Correction) -> None:
        row.due_at = None

    return _step(correction_id, State.WITHDRAWN, "correction_withdrawn", change, actor=actor, reason=reason, now=now)


def ask_reversal(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Ask a second person to unwind it."""

    def change(row: Correction) -> None:
        _require_last(row)
        row.reversal_by, row.reversal_reason = actor, reason.strip()[:500]

    return _step(
        correction_id, State.REVERSAL_ASKED, "correction_reversal_asked", change, actor=actor, reason=reason, now=now
    )


def keep(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """It stays applied: the reversal is refused, or taken back by whoever asked."""

    def change(row: Correction) -> None:
        row.reversal_by, row.reversal_reason = None, ""

    return _step(correction_id, State.APPLIED, "correction_kept", change, actor=actor, reason=reason, now=now,
                 only_from=State.REVERSAL_ASKED)  # fmt: skip


def reverse(correction_id: UUID, *, actor: User, reason: str, now: datetime) -> Correction:
    """Another person says yes: every entry is unwound, account by account."""

    def change(row: Correction) -> None:
        if actor.pk == row.reversal_by_id:
            raise SecondPersonNeeded(correction=str(row.pk))
        _require_last(row)
        row.reversal_decided_by, row.due_at = actor, now

    return _step(correction_id, State.REVERSING, "correction_reversed", change, actor=actor, reason=reason, now=now,
                 done_by="reversal_decided_by_id", later=(State.REVERSED,))  # fmt: skip


def claim_due(*, now: datetime, limit: int = 20) -> list[UUID]:
    """Corrections that somebody should work on; each is handed out once a minute."""
    found = []
    for pk in Correction.objects.filter(due_at__lte=now).order_by("due_at").values_list("pk", flat=True)[:limit]:
        if Correction.objects.filter(pk=pk, due_at__lte=now).update(due_at=now + LOOK_AGAIN):
            found.append(pk)
    return found


def progress(correction: Correction) -> tuple[int, int]:
    """(calls done, calls to do) of the work that is under way."""
    done = {State.PREVIEWING: "previewed", State.REVERSING: "reversed"}.get(State(correction.state), "applied")
    told = correction.by_account.aggregate(done=Sum("calls", filter=Q(**{done: True})), all=Sum("calls"))
    return told["done"] or 0, told["all"] or 0


# --- pieces ----------------------------------------------------------------------------------------------------------
def _plan(slug: str, body: dict[str, Any]) -> Plan:
    return compile_plan(read_document({"models": [{"slug": slug, "prices": [body]}]}).models[0].prices[0].spec)


def _locked(correction_id: UUID) -> Correction:
    """The row, under the lock of all corrections of its model and channel, so that no two are begun at once."""
    try:
        place = Correction.objects.values("model_id", "channel_id").get(pk=correction_id)
    except Correction.DoesNotExist:
        raise NotFound from None
    rows = Correction.objects.filter(**place).order_by("pk").select_for_update(of=("self",), no_key=True)
    return next(row for row in rows if row.pk == correction_id)


@transaction.atomic
def _step(
    correction_id: UUID,
    state: Correction.State,
    action: str,
    change: Callable[[Correction], None],
    *,
    actor: User,
    reason: str,
    now: datetime,
    only_from: Correction.State | None = None,
    done_by: str = "",
    later: tuple[Correction.State, ...] = (),
) -> Correction:
    _require(reason)
    row = _locked(correction_id)
    if done_by and row.state in (state, *later) and getattr(row, done_by) == actor.pk:
        return row
    was = row.state
    if only_from is not None and was != only_from:
        raise Conflict(_("That is not possible in its present state."), current=str(was))
    row.move_to(state)
    change(row)
    row.save()
    _audit(row, action, was, actor=actor, reason=reason, now=now)
    return row


def _overlapping(row: Correction) -> Any:
    return Correction.objects.filter(
        model_id=row.model_id, channel_id=row.channel_id, since__lt=row.until, until__gt=row.since
    ).exclude(pk=row.pk)


def _require_present(row: Correction) -> None:
    """What the second person reads must be what will be done."""
    others = _overlapping(row)
    if others.filter(state__in=IN_WORK).exists():
        raise Conflict(_("Another correction of these calls is under way: wait for it, then preview this one again."))
    if others.filter(Q(applied_at__gt=row.as_of) | Q(reversed_at__gt=row.as_of)).exists():
        raise Conflict(_("Another correction has changed these calls since the preview: preview this one again."))


def _require_last(row: Correction) -> None:
    """Corrections of the same calls are unwound in reverse order, so that no charge falls below zero on the way."""
    if _overlapping(row).filter(state__in=IN_WORK).exists():
        raise Conflict(_("Another correction of these calls is under way: wait for it first."))
    later = ChargeAdjustment.objects.filter(
        account_id=OuterRef("account_id"),
        record_id=OuterRef("record_id"),
        reversal=False,
        entry__seq__gt=OuterRef("entry__seq"),
        correction__state=State.APPLIED,
    )
    others = _overlapping(row).filter(state=State.APPLIED)
    mine = ChargeAdjustment.objects.filter(correction_id=row.pk, reversal=False)
    if others.exists() and mine.filter(Exists(later)).exists():
        raise Conflict(_("A later correction has changed the same calls: reverse that one first."))


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")


def _audit(row: Correction, action: str, was: str, *, actor: User, reason: str, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=row,
        now=now,
        reason=reason.strip(),
        before={"state": str(was)} if was else {},
        after={"state": str(row.state), "given": str(row.given), "charged": str(row.charged), "calls": row.adjusted},
    )
