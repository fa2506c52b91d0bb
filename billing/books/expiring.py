"""Credit that expires: what an account lost and when, and the mails that warn of it, one per account and day (F014).

A day's mails are written from one hour of the day on (UTC), by a run whose row says how far it is. The run walks the
grants by their expiry, through an index, and writes one notice for each account that it meets, so that it may be
stopped and repeated at any point. A day that was missed is caught up with by the next one, up to a week.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from billing import notices
from billing.books.entries import first_seq_since
from billing.books.models import CreditGrant, JournalEntry
from billing.books.models_vouchers import ExpiryNoticeRun
from billing.models_notices import Notice

NOTICE: Final = "credit_expiry"
BATCH: Final = 500
CAUGHT_UP: Final = timedelta(days=7)
WRITTEN_OFF_WITHIN: Final = timedelta(days=1)
"""How long after its expiry a grant's loss may be written to the books and still be told in the right mail."""
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Expired:
    """Credit that went unused: which grant, when it was written off, how much of it was left."""

    grant_id: UUID
    at: datetime
    amount: Decimal


def expired_since(account_id: UUID, since: datetime, *, until: datetime | None = None) -> list[Expired]:
    """What the account lost to expiry from `since` on (and before `until`), oldest first.

    Read from the account's entries other than usage, from the number that its first entry since then has: as fast with
    a million calls as with none.
    """
    entries = JournalEntry.objects.filter(account_id=account_id, seq__gte=first_seq_since(account_id, since))
    lost = entries.exclude(kind=JournalEntry.Kind.USAGE).filter(kind=JournalEntry.Kind.GRANT_EXPIRED)
    if until is not None:
        lost = lost.filter(at__lt=until)
    rows = lost.order_by("seq").values_list("meta__grant", "at", "delta")
    return [Expired(UUID(grant), at, -delta) for grant, at, delta in rows]


# --- The day's mails --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Span:
    """Expiries from `low` on and before `high`; `near` for the shortest warning, `far` for the longer ones."""

    name: str
    low: datetime
    high: datetime

    @property
    def grants(self) -> Q:
        """Those that expire, or expired, within."""
        within = Q(expires_at__gte=self.low, expires_at__lt=self.high)
        return within if self.name == "lost" else within & Q(remaining__gt=0)


def write_notices(*, now: datetime, limit: int = 40) -> bool:
    """Write the next notices of today's run; whether something is left to do. Safe to repeat and to run twice."""
    day = (now.astimezone(UTC) - timedelta(hours=settings.CREDIT_NOTICE_HOUR)).date()
    _open(day)
    for _turn in range(limit):
        with transaction.atomic():
            runs = ExpiryNoticeRun.objects.select_for_update(skip_locked=True).filter(day=day, done_at=None)
            run = runs.first()
            if run is None:
                return False
            _step(run, now)
    return ExpiryNoticeRun.objects.filter(day=day, done_at=None).exists()


def _open(day: date) -> None:
    """Today's run takes up where the last one ended."""
    if ExpiryNoticeRun.objects.filter(day=day).exists():
        return
    last = ExpiryNoticeRun.objects.filter(day__lt=day).order_by("-day").values_list("day", flat=True).first()
    since = max(last or day - DAY, day - CAUGHT_UP)
    ExpiryNoticeRun.objects.bulk_create([ExpiryNoticeRun(day=day, since=since)], ignore_conflicts=True)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _spans(run: ExpiryNoticeRun, now: datetime) -> list[Span]:
    """What is told today: losses since the last run, and each warning that has become due since then."""
    found = [Span("lost", _midnight(run.since), _midnight(run.day))]
    for days in settings.CREDIT_NOTICE_DAYS:
        name = "near" if days == min(settings.CREDIT_NOTICE_DAYS) else "far"
        ahead = timedelta(days=days + 1)
        found.append(Span(name, max(now, _midnight(run.since + ahead)), _midnight(run.day + ahead)))
    return found


def _step(run: ExpiryNoticeRun, now: datetime) -> None:
    """One batch of grants; the caller holds the run's lock."""
    spans = _spans(run, now)
    index, *edge = run.edge or [0]
    span = spans[index]
    if span.name == "lost":  # an expiry just before midnight is written off after it
        span = Span("lost", span.low - WRITTEN_OFF_WITHIN, span.high)
    rows = CreditGrant.objects.filter(span.grants)
    if edge:
        at, pk = datetime.fromisoformat(edge[0]), UUID(edge[1])
        rows = rows.filter(expires_at__gte=at).filter(Q(expires_at__gt=at) | Q(pk__gt=pk))
    found = list(rows.order_by("expires_at", "pk").values_list("account_id", "expires_at", "pk")[:BATCH])
    _tell({account_id for account_id, _at, _pk in found}, run, spans, now)
    if len(found) == BATCH:
        _account_id, last_at, last_pk = found[-1]
        run.edge = [index, last_at.isoformat() if last_at else "", str(last_pk)]
    elif index + 1 < len(spans):
        run.edge = [index + 1]
    else:
        run.done_at = now
    run.save(update_fields=["edge", "done_at"])


def _tell(account_ids: Iterable[UUID], run: ExpiryNoticeRun, spans: list[Span], now: datetime) -> None:
    key = f"{NOTICE}:{run.day.isoformat()}"
    wanted = set(account_ids)
    wanted -= set(Notice.objects.filter(account_id__in=wanted, key=key).values_list("account_id", flat=True))
    for account_id in sorted(wanted):
        context = _content(account_id, spans)
        if context:
            notices.tell(account_id, NOTICE, key=key, context=context, now=now)


def _content(account_id: UUID, spans: list[Span]) -> dict[str, str]:
    """The account's own sums; empty when there is nothing to tell."""
    told: dict[str, str] = {}
    lost_in = spans[0]
    lost = expired_since(account_id, lost_in.low, until=lost_in.high)
    if lost:
        told |= {"lost_usd": str(sum(one.amount for one in lost)), "lost_at": lost[-1].at.isoformat()}
    for name in ("near", "far"):
        within = Q()
        for span in spans:
            within |= span.grants if span.name == name else Q()
        if not within:
            continue
        grants = CreditGrant.objects.filter(within, account_id=account_id).order_by("expires_at")
        rows = list(grants)
        if rows and rows[0].expires_at:
            told |= {
                f"{name}_usd": str(sum(grant.remaining for grant in rows)),
                f"{name}_at": rows[0].expires_at.isoformat(),
            }
    return told
