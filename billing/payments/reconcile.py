"""A day at the provider held against our orders and books; what differs becomes a queue (deliver: nothing is silent).

Subjects register with `compares`: each is given the provider's pages of the day and says what differs, object by
object, by reference and never by sums alone. Nothing is changed here: a difference is healed by the operation whose
business it is, and the next comparison finds it gone.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Final, Protocol, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.errors import InvalidRequest
from billing.payments.models import TopUp
from billing.payments.models_reconciling import Difference, Reconciliation
from billing.payments.processor import PaymentProcessor, ProcessorUnavailable
from billing.payments.processor_books import ProviderBooks

log = logging.getLogger(__name__)

T = TypeVar("T")

Kind = Difference.Kind
PAGE: Final = 200
SETTLED_AFTER: Final = timedelta(hours=2)
"""A day is compared when this much of the next one is over: what was under way at midnight has ended."""
LEASE: Final = timedelta(minutes=30)
BACKOFF: Final = timedelta(minutes=5)
LOOK_BACK: Final = 7
"""Days that were never compared (the installation was off) are made up for, this far back."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. Amounts in the smallest unit of `currency`; `detail` in English for staff."""

    kind: str
    reference: str
    detail: str
    top_up_id: UUID | None = None
    currency: str = ""
    provider_minor: int | None = None
    books_minor: int | None = None


@dataclass
class Day:
    """What is being compared, and what was seen on the way."""

    since: datetime
    until: datetime
    compared: Counter[str] = field(default_factory=Counter)
    totals: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    explained: set[str] = field(default_factory=set)
    """Balance lines whose cause was met among payments, refunds and disputes."""

    def count(self, subject: str, currency: str, amount_minor: int) -> None:
        """One more object, for the figures of the day."""
        self.compared[subject] += 1
        self.totals[currency][subject] += amount_minor


class Comparer(Protocol):
    """Compares one subject of a day; reads the provider page by page and our rows by reference."""

    def __call__(self, day: Day, *, provider: ProviderBooks) -> Iterator[Finding]: ...


BALANCE: Final = "balance"
_comparers: dict[str, Comparer] = {}


def compares(subject: str) -> Callable[[Comparer], Comparer]:
    """Register a subject; apps to the right add theirs. The balance comes last."""

    def register(comparer: Comparer) -> Comparer:
        _comparers[subject] = comparer
        return comparer

    return register


Causes = Callable[[set[str]], set[str]]
_causes: list[Causes] = []


def explains(known: Causes) -> Causes:
    """Register who knows causes of movements: given ids of the provider's objects, it answers which are in our books.

    A payment that was begun before midnight and succeeded after it moves the balance on the next day.
    """
    _causes.append(known)
    return known


Takers = Callable[[set[str]], dict[str, tuple[int, str]]]
_takers: list[Takers] = []


def takes_payments(known: Takers) -> Takers:
    """Register who else than top-up orders takes payments: given the provider's payments, it answers for its own how
    much it holds for paid, in the smallest unit, and in which currency."""
    _takers.append(known)
    return known


def paid_elsewhere(payments: set[str]) -> dict[str, tuple[int, str]]:
    """Payments that are for something else than a top-up."""
    return {payment: paid for known in _takers for payment, paid in known(payments).items()} if payments else {}


def known_causes(sources: set[str]) -> set[str]:
    """Those of the provider's objects that our books hold."""
    return set().union(*(known(sources) for known in _causes)) if sources else set()


def pages(objects: Iterable[T]) -> Iterator[list[T]]:
    """The provider's objects in handfuls, so that ours are read with one query each."""
    rest = iter(objects)
    while page := list(islice(rest, PAGE)):
        yield page


# --- When -----------------------------------------------------------------------------------------------------------


def plan(*, now: datetime) -> None:
    """Make the days due that are over and were never compared, and again those with something open."""
    yesterday = (now - SETTLED_AFTER).astimezone(UTC).date() - timedelta(days=1)
    wanted = [yesterday - timedelta(days=back) for back in range(LOOK_BACK)]
    Reconciliation.objects.bulk_create([Reconciliation(day=day, due_at=now) for day in wanted], ignore_conflicts=True)
    again = Difference.objects.filter(state=Difference.State.OPEN).values("day_id")
    Reconciliation.objects.filter(
        day__in=again, state=Reconciliation.State.DONE, finished_at__lt=now - timedelta(days=1)
    ).update(state=Reconciliation.State.DUE, due_at=now)


def ask_for(day: date, *, actor: User, reason: str, now: datetime) -> Reconciliation:
    """A person wants a day compared again, now."""
    _require(reason)
    if _end(day) > now:
        raise InvalidRequest(_("This day is not over yet; it is compared when it is."), field="day")
    with transaction.atomic():
        Reconciliation.objects.bulk_create([Reconciliation(day=day, due_at=now)], ignore_conflicts=True)
        row = Reconciliation.objects.select_for_update(no_key=True).get(pk=day)
        if row.state == Reconciliation.State.DONE:
            row.move_to(Reconciliation.State.DUE)
        row.due_at, row.attempts = now, 0
        row.save(update_fields=["state", "due_at", "attempts"])
        audit.record(actor=actor, action="reconciliation_asked", subject=row, now=now, reason=reason.strip())
    return row


def claim_due(*, now: datetime, limit: int = 3) -> list[date]:
    """Days to compare now; each is claimed by moving its next try."""
    due = Reconciliation.objects.filter(state=Reconciliation.State.DUE, due_at__lte=now).order_by("day")
    return [
        day
        for day, due_at in due.values_list("day", "due_at")[:limit]
        if Reconciliation.objects.filter(day=day, state=Reconciliation.State.DUE, due_at=due_at).update(
            due_at=now + LEASE, attempts=F("attempts") + 1
        )
    ]


# --- Compare --------------------------------------------------------------------------------------------------------


def run(day: date, *, processor: PaymentProcessor, now: datetime) -> Reconciliation:
    """Compare a claimed day, whole. Silence of the provider leaves it due; a repeat finds the same."""
    found = Day(since=_start(day), until=_end(day))
    seen: set[tuple[str, str]] = set()
    try:
        for subject in sorted(_comparers, key=lambda name: name == BALANCE):
            for batch in pages(_comparers[subject](found, provider=processor)):
                _keep(day, batch, now=now)
                seen |= {(finding.kind, finding.reference) for finding in batch}
    except ProcessorUnavailable as silence:
        Reconciliation.objects.filter(pk=day).update(due_at=now + BACKOFF, last_error=repr(silence.__cause__)[:300])
        raise
    with transaction.atomic():
        _end_those_gone(day, seen, now=now)
        row = Reconciliation.objects.select_for_update(no_key=True).get(pk=day)
        if row.state == Reconciliation.State.DUE:
            row.move_to(Reconciliation.State.DONE)
        row.finished_at, row.last_error = now, ""
        row.compared = dict(found.compared)
        row.totals = {currency: dict(sums) for currency, sums in sorted(found.totals.items())}
        row.save(update_fields=["state", "finished_at", "last_error", "compared", "totals"])
    return row


def _keep(day: date, findings: Iterable[Finding], *, now: datetime) -> None:
    """New differences are opened, known ones seen again; one that was thought resolved is open again."""
    for finding in findings:
        values = {
            "detail": finding.detail[:300],
            "provider_minor": finding.provider_minor,
            "books_minor": finding.books_minor,
            "seen_at": now,
        }
        with transaction.atomic():
            row, made = Difference.objects.select_for_update(no_key=True).get_or_create(
                kind=finding.kind,
                reference=finding.reference[:160],
                defaults=values
                | {
                    "day_id": day,
                    "top_up_id": finding.top_up_id,
                    "currency": finding.currency,
                    "found_at": now,
                },
            )
            if made:
                log.error("ALERT reconciliation of %s: %s: %s", day, finding.kind, finding.detail)
                continue
            for name, value in values.items():
                setattr(row, name, value)
            if row.state == Difference.State.RESOLVED:
                row.move_to(Difference.State.OPEN, now=now)
                row.answer = ""
            row.save()


def _end_those_gone(day: date, seen: set[tuple[str, str]], *, now: datetime) -> None:
    still_open = Difference.objects.select_for_update(no_key=True).filter(day_id=day, state=Difference.State.OPEN)
    for row in still_open.order_by("pk"):
        if (str(row.kind), row.reference) not in seen:
            row.move_to(Difference.State.RESOLVED, now=now)
            row.answer = "The next comparison found no difference."
            row.save(update_fields=["state", "ended_at", "ended_by", "answer"])


# --- What people do with differences --------------------------------------------------------------------------------


@transaction.atomic
def take(difference_id: UUID, *, actor: User, reason: str, now: datetime) -> Difference:
    """Make it one's own: from now on a person is asked about its age."""
    _require(reason)
    row = _locked_open(difference_id)
    before = {"owner": row.owner.email if row.owner else ""}
    row.owner = actor
    row.save(update_fields=["owner"])
    audit.record(
        actor=actor,
        action="difference_taken",
        subject=row,
        now=now,
        reason=reason.strip(),
        before=before,
        after={"owner": actor.email},
    )
    return row


@transaction.atomic
def accept(difference_id: UUID, *, actor: User, reason: str, now: datetime) -> Difference:
    """It stays as it is, and why. It is not opened again; what the books say does not change (I12)."""
    _require(reason)
    row = _locked_open(difference_id)
    row.move_to(Difference.State.ACCEPTED, now=now, by=actor)
    row.answer = reason.strip()[:500]
    row.save(update_fields=["state", "ended_at", "ended_by", "answer"])
    audit.record(actor=actor, action="difference_accepted", subject=row, now=now, reason=reason.strip())
    return row


def _locked_open(difference_id: UUID) -> Difference:
    return Difference.objects.select_related("owner").select_for_update(no_key=True, of=("self",)).get(pk=difference_id)


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _end(day: date) -> datetime:
    return _start(day) + timedelta(days=1)


def orders_of(references: Iterable[tuple[str, str]]) -> dict[str, TopUp]:
    """Our orders by payment and by number, for `(payment intent, order number)` pairs."""
    pairs = list(references)
    rows = TopUp.objects.filter(
        Q(payment_intent_id__in=[p for p, _n in pairs if p]) | Q(number__in=[n for _p, n in pairs if n])
    ).select_related("grant")
    found: dict[str, TopUp] = {}
    for row in rows:
        found[row.number] = row
        if row.payment_intent_id:
            found[row.payment_intent_id] = row
    return found
