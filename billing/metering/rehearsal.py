"""Rehearse a draft: rate the calls of the last days under it, and say who would pay more, less, or not be served.

The row is the job: a rehearsal is cut into parts, each claimed by one worker, rated on a read-only snapshot and written
down at once. A worker that dies loses its part, which is claimed again later. Books and prices are only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.catalog import drafts
from billing.catalog.book import current_book
from billing.catalog.documents import read_document
from billing.catalog.models import Channel, Model
from billing.catalog.models_drafts import PriceDraft
from billing.catalog.plans import Plan, compile_plan
from billing.errors import BillingError, Conflict, InvalidRequest, NotFound
from billing.metering.models_rehearsal import Rehearsal, RehearsalPart, RehearsedAccount, RehearsedModel
from billing.metering.replay import OfAccount, OfModel, Outcome, Place, Tariff, replay
from billing.metering.streaming import stream
from config.ids import uuid7

State = Rehearsal.State
MOST_DAYS: Final = 92
PART_CALLS: Final = 25_000  # a second or two of work, so that other tasks of the worker do not wait long
STALE_AFTER: Final = timedelta(minutes=5)  # a part that has been claimed so long has lost its worker
LOOK_AGAIN: Final = timedelta(minutes=1)
MOST_ATTEMPTS: Final = 3
TASKS_AT_ONCE: Final = 2


def request(draft_id: UUID, *, days: int, actor: User, now: datetime) -> Rehearsal:
    """Ask for a rehearsal of the draft as it is now, over the calls of the last `days` days up to now."""
    if not 1 <= days <= MOST_DAYS:
        raise InvalidRequest(_("%(field)s goes from 1 to %(most)s."), field="days", most=MOST_DAYS)
    with transaction.atomic():
        try:
            draft = PriceDraft.objects.select_for_update(no_key=True).get(pk=draft_id)
        except PriceDraft.DoesNotExist:
            raise NotFound from None
        if draft.state not in (PriceDraft.State.DRAFT, PriceDraft.State.PROPOSED):
            raise Conflict(_("That is not possible in its present state."))
        if draft.rehearsals.filter(state__in=[State.QUEUED, State.RUNNING]).exists():
            raise Conflict(_("A rehearsal of this draft is still running."))
        return Rehearsal.objects.create(
            draft=draft,
            revision=draft.revision,
            document=draft.document | {"only_prices": draft.only_prices},
            since=now - timedelta(days=days),
            until=now,
            requested_by=actor,
            created_at=now,
            due_at=now,
        )


def cancel(rehearsal_id: UUID, *, actor: User, reason: str, now: datetime) -> Rehearsal:
    """Stop it; parts that are being rated come to nothing. What has ended stays as it is."""
    with transaction.atomic():
        run = _locked(rehearsal_id)
        if run.finished_at is None:
            _end(run, State.CANCELLED, now)
            audit.record(actor=actor, action="rehearsal_cancelled", subject=run, now=now, reason=reason)
    return run


def work(rehearsal_id: UUID, *, now: datetime) -> bool:
    """Do one piece of it: cut it into parts, or rate one part. True when there is more to do for this worker.

    Safe to call at any time, from any number of workers.
    """
    run = _start(rehearsal_id, now)
    if run.state != State.RUNNING:
        return False
    part = _claim(run, now)
    if part is None:
        return False
    try:
        tariff = tariff_of(run.document)
    except BillingError as refusal:
        _fail(rehearsal_id, str(refusal), now)
        return False
    _write(run, part, _rated(run, part, tariff), now)
    return True


def claim_due(*, now: datetime, limit: int = 20) -> list[UUID]:
    """Rehearsals that somebody should work on; each is handed out once a minute."""
    found = []
    for pk in Rehearsal.objects.filter(due_at__lte=now).order_by("due_at").values_list("pk", flat=True)[:limit]:
        if Rehearsal.objects.filter(pk=pk, due_at__lte=now).update(due_at=now + LOOK_AGAIN):
            found.append(pk)
    return found


# --- What it found ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Totals:
    """What all calls under the draft's prices add up to. USD."""

    calls: int
    before: Decimal
    after: Decimal
    by_flows: int
    list_before: Decimal
    list_after: Decimal
    unpriced: int
    accounts: int
    dearer: int
    cheaper: int
    refused_accounts: int
    refused: int
    refused_charge: Decimal

    @property
    def change(self) -> Decimal:
        """Revenue under the draft less what it was, if every call were still made."""
        return self.after - self.before


def totals(run: Rehearsal) -> Totals:
    """The sums of its parts."""
    sums: dict[str, Any] = {name: Sum(name) for name in ("calls", "before", "after", "by_flows", "unpriced")}
    of_models = run.by_model.aggregate(**sums, list_before=Sum("list_before"), list_after=Sum("list_after"))
    of_accounts = run.by_account.aggregate(
        accounts=Count("pk"),
        dearer=Count("pk", filter=Q(after__gt=F("before"))),
        cheaper=Count("pk", filter=Q(after__lt=F("before"))),
        refused_accounts=Count("pk", filter=Q(refused__gt=0)),
        refused=Sum("refused"),
        refused_charge=Sum("refused_charge"),
    )
    money = {"before", "after", "list_before", "list_after", "refused_charge"}
    told: dict[str, Any] = {
        name: value or (Decimal(0) if name in money else 0) for name, value in (of_models | of_accounts).items()
    }
    return Totals(**told)


def progress(run: Rehearsal) -> tuple[int, int]:
    """(calls rated, calls to rate)."""
    told = run.parts.aggregate(done=Sum("calls", filter=Q(done=True)), all=Sum("calls"))
    return told["done"] or 0, told["all"] or 0


def latest(draft: PriceDraft) -> Rehearsal | None:
    """The newest finished one of the draft's present text."""
    return draft.rehearsals.filter(revision=draft.revision, state=State.DONE).order_by("-created_at").first()


def require_rehearsal(draft: PriceDraft) -> None:
    """Nobody is asked to publish what was not rehearsed."""
    if latest(draft) is None:
        raise Conflict(_("Rehearse the draft as it is now first; then propose it."))


# --- pieces ----------------------------------------------------------------------------------------------------------
def _locked(rehearsal_id: UUID) -> Rehearsal:
    try:
        return Rehearsal.objects.select_for_update(of=("self",), no_key=True).get(pk=rehearsal_id)
    except Rehearsal.DoesNotExist:
        raise NotFound from None


def _end(run: Rehearsal, state: Rehearsal.State, now: datetime, *, error: str = "") -> None:
    run.move_to(state)
    run.finished_at, run.due_at, run.error = now, None, error[:500]
    run.save(update_fields=["state", "finished_at", "due_at", "error"])


_TOUCHED = """((u.model_id, u.channel_id) IN (SELECT * FROM unnest(%(models)s::bigint[], %(channels)s::bigint[]))
   OR u.channel_id = ANY(%(discounted)s::bigint[]))"""

_ACCOUNTS = f"""
  SELECT u.account_id, count(*), sum(u.charge), bool_or({_TOUCHED}) FROM billing_usagerecord u
  WHERE u.authorized_at >= %(since)s AND u.authorized_at < %(until)s GROUP BY u.account_id ORDER BY u.account_id
"""  # noqa: S608  # a constant

# What was left after a call: the balance after its entry, and what the entry's later calls cost.
_CALLS = f"""
  SELECT u.account_id, u.model_id, u.channel_id, u.price_version_id, CASE WHEN {_TOUCHED} THEN u.usage::text END, u.fields::text,
         u.channel_discount, u.user_discount, u.funding, u.list_price, u.charge, u.authorized_at::text,
         e.balance_after - e.delta - u.charge_from - u.charge + w.credit_limit
  FROM billing_usagerecord u JOIN billing_wallet w ON w.account_id = u.account_id
  LEFT JOIN billing_journalentry e ON e.id = u.entry_id AND e.account_id = u.account_id
  WHERE u.account_id = ANY(%(accounts)s) AND u.authorized_at >= %(since)s AND u.authorized_at < %(until)s
  ORDER BY u.account_id, u.created_at, e.seq, u.charge_from, u.id
"""  # noqa: E501, S608  # a constant


def _start(rehearsal_id: UUID, now: datetime) -> Rehearsal:
    """Cut a waiting rehearsal into parts; one worker does it, the others find it running."""
    with transaction.atomic():
        run = _locked(rehearsal_id)
        if run.state != State.QUEUED:
            return run
        run.started_at = now
        try:
            tariff = tariff_of(run.document)
        except BillingError as refusal:
            _end(run, State.FAILED, now, error=str(refusal))
            return run
        parts: list[RehearsalPart] = []
        group: list[UUID] = []
        size = 0
        for account, calls, charge, touched in _of_period(run, tariff):
            run.calls += calls
            run.revenue += charge
            if touched:
                group.append(account)
                size += calls
                if size >= PART_CALLS:
                    parts.append(RehearsalPart(rehearsal=run, number=len(parts) + 1, accounts=group, calls=size))
                    group, size = [], 0
        if group:
            parts.append(RehearsalPart(rehearsal=run, number=len(parts) + 1, accounts=group, calls=size))
        RehearsalPart.objects.bulk_create(parts)
        run.move_to(State.RUNNING)
        run.due_at = now + LOOK_AGAIN
        run.save()
        if not parts:
            _end(run, State.DONE, now)
    return run


def _of_period(run: Rehearsal, tariff: Tariff) -> Iterator[tuple[Any, ...]]:
    for rows in stream(_ACCOUNTS, _params(run, tariff)):
        yield from rows


def _params(run: Rehearsal, tariff: Tariff, **more: Any) -> dict[str, Any]:
    return {
        "models": [model for model, _channel in tariff.plans],
        "channels": [channel for _model, channel in tariff.plans],
        "discounted": list(tariff.discounts),
        "since": run.since,
        "until": run.until,
        **more,
    }


def tariff_of(document: dict[str, Any]) -> Tariff:
    """A draft's prices by the rows that they are of. Of several for one model and channel, the last counts."""
    body = {name: value for name, value in document.items() if name != "only_prices"}
    read = read_document(body, only_prices=bool(document.get("only_prices")))
    channels = {channel.code: channel for channel in Channel.objects.all()}
    models = dict(Model.objects.filter(slug__in=[entry.slug for entry in read.models]).values_list("slug", "pk"))
    plans: dict[Place, Plan] = {}
    for entry in read.models:
        for price in sorted(entry.prices, key=lambda one: one.effective_from):
            if entry.slug in models and price.channel in channels:
                plans[models[entry.slug], channels[price.channel].pk] = compile_plan(price.spec)
    discounts = {
        channels[entry.code].pk: entry.discount
        for entry in read.channels
        if not read.only_prices and entry.code in channels and channels[entry.code].discount != entry.discount
    }
    return Tariff(plans, discounts)


def _claim(run: Rehearsal, now: datetime) -> RehearsalPart | None:
    """The next part that nobody works on. One that has failed too often fails the whole."""
    with transaction.atomic():
        free = Q(claimed_at__isnull=True) | Q(claimed_at__lt=now - STALE_AFTER)
        part: RehearsalPart | None = (
            run.parts.select_for_update(skip_locked=True).filter(free, done=False).order_by("number").first()
        )
        if part is not None and part.attempts < MOST_ATTEMPTS:
            part.claim, part.claimed_at, part.attempts = uuid7(), now, part.attempts + 1
            part.save(update_fields=["claim", "claimed_at", "attempts"])
            return part
    if part is not None:  # outside: whoever writes a part holds the rehearsal first and the part after it
        _fail(run.pk, f"part {part.number} was begun {part.attempts} times", now)
    return None


def _fail(rehearsal_id: UUID, error: str, now: datetime) -> None:
    with transaction.atomic():
        fresh = _locked(rehearsal_id)
        if fresh.finished_at is None:
            _end(fresh, State.FAILED, now, error=error)


def _rated(run: Rehearsal, part: RehearsalPart, tariff: Tariff) -> Outcome:
    plans, outcome = current_book(fresh=True).plans, Outcome()
    for rows in stream(_CALLS, _params(run, tariff, accounts=part.accounts)):
        replay(rows, tariff, plans, outcome)
    return outcome


def _write(run: Rehearsal, part: RehearsalPart, outcome: Outcome, now: datetime) -> None:
    """Keep what a part found, once, and end the rehearsal with its last part."""
    with transaction.atomic():
        fresh = _locked(run.pk)
        mine = RehearsalPart.objects.filter(pk=part.pk, claim=part.claim, done=False).update(done=True)
        if fresh.state != State.RUNNING or not mine:
            return
        RehearsedAccount.objects.bulk_create(
            [
                RehearsedAccount(rehearsal=fresh, account_id=account, **_values(found, _OF_ACCOUNT))
                for account, found in outcome.accounts.items()
            ],
            batch_size=2000,
        )
        RehearsedModel.objects.bulk_create(
            RehearsedModel(
                rehearsal=fresh, part=part.number, model_id=model, channel_id=channel, **_values(found, _OF_MODEL)
            )
            for (model, channel), found in outcome.models.items()
        )
        if fresh.parts.filter(done=False).exists():
            fresh.due_at = now + LOOK_AGAIN
            fresh.save(update_fields=["due_at"])
        else:
            _end(fresh, State.DONE, now)


_OF_ACCOUNT: Final = ("calls", "before", "after", "refused", "refused_charge", "refused_since")
_OF_MODEL: Final = ("calls", "before", "after", "by_flows", "list_before", "list_after", "unpriced", "reason")


def _values(found: OfAccount | OfModel, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(found, name) for name in names}


drafts.before_proposal.append(require_rehearsal)
