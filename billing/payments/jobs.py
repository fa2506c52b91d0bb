"""Credit jobs: rows that say what is to be done with somebody's credit, and when (02-domain 2.5).

`schedule` writes one in the transaction of the fact that asks for it; a sweep claims what is due; `run` performs it.
A kind of job is performed by the function that registered for it: `@jobs.performs(...)`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books import ledger
from billing.books.models import CreditGrant
from billing.errors import BillingError, IdempotencyConflict, InvalidRequest, InvalidTransition
from billing.payments.models import TopUp
from billing.payments.models_jobs import CreditJob
from billing.payments.processor import PaymentProcessor, ProcessorUnavailable

log = logging.getLogger(__name__)

Kind, State = CreditJob.Kind, CreditJob.State
BACKOFF: Final = tuple(timedelta(seconds=wait) for wait in (60, 120, 300, 600, 1800, 3600, 7200))
FAIL_AFTER: Final = 8
LEASE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Done:
    """A job's end: what came of it in words for staff, and the grant that it gave, if any."""

    outcome: str = ""
    grant: CreditGrant | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing failed, but the job is not at its end: it is due again then."""

    due_at: datetime
    outcome: str = ""


class Performer(Protocol):
    """Does a job's work. It may be called again at any point, and at once from several places."""

    def __call__(self, job: CreditJob, *, processor: PaymentProcessor | None, now: datetime) -> Done | Later: ...


_performers: dict[str, Performer] = {}
_under_lock: set[str] = set()


def performs(kind: str) -> Callable[[Performer], Performer]:
    """Register what performs a kind of job that only our database knows: it runs in one transaction with the job's
    end, under the wallet's lock, so that it happens once and a job that was cancelled before does nothing."""

    def register(performer: Performer) -> Performer:
        _performers[kind] = performer
        _under_lock.add(kind)
        return performer

    return register


def asks(kind: str) -> Callable[[Performer], Performer]:
    """Register what performs a kind of job that speaks to the provider: it runs outside of any transaction, and doing
    it again must change nothing."""

    def register(performer: Performer) -> Performer:
        _performers[kind] = performer
        return performer

    return register


def schedule(
    kind: str,
    *,
    account_id: UUID,
    key: str,
    due_at: datetime,
    now: datetime,
    payload: dict[str, Any] | None = None,
    top_up: TopUp | None = None,
    created_by: User | None = None,
) -> CreditJob:
    """Write a job, in the caller's transaction. The same key again answers with the same job."""
    CreditJob.objects.bulk_create(
        [
            CreditJob(
                kind=Kind(kind),
                account_id=account_id,
                key=key,
                top_up=top_up,
                payload=payload or {},
                state_at=now,
                due_at=due_at,
                created_by=created_by,
                created_at=now,
            )
        ],
        ignore_conflicts=True,
    )
    job: CreditJob = CreditJob.objects.get(key=key)
    if (job.kind, job.account_id, job.payload) != (kind, account_id, payload or {}):
        raise IdempotencyConflict(key=key)
    return job


def claim_due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Jobs whose time has come; each is claimed for this sweep by moving its next try."""
    found = []
    due = CreditJob.objects.filter(state__in=CreditJob.WAITING, due_at__lte=now).order_by("due_at")
    for job_id, due_at in due.values_list("pk", "due_at")[:limit]:
        if CreditJob.objects.filter(pk=job_id, state__in=CreditJob.WAITING, due_at=due_at).update(due_at=now + LEASE):
            found.append(job_id)
    return found


def run(job_id: UUID, *, processor: PaymentProcessor | None, now: datetime) -> CreditJob:
    """Perform a waiting job. Safe to call again, and at once from several places.

    What goes wrong is tried again later, with longer and longer waits; what keeps going wrong waits for a person.
    Silence of the provider only delays.
    """
    job = CreditJob.objects.select_related("account", "top_up", "created_by").get(pk=job_id)
    if job.state not in CreditJob.WAITING:
        return job
    try:
        perform = _performers[job.kind]
        if job.kind in _under_lock:
            return _perform_under_lock(job, perform, processor=processor, now=now)
        return _close(job_id, perform(job, processor=processor, now=now), now=now)
    except ProcessorUnavailable as silence:
        return _again(job_id, f"{silence.title} {silence.__cause__ or ''}".strip(), now=now, may_fail=False)
    except BillingError as refusal:
        return _again(job_id, f"{refusal.code}: {refusal} {refusal.evidence or ''}".strip(), now=now, may_fail=True)
    except Exception as failure:
        # Whatever it is, the job stays visible and can be tried again: no job may end in a dead task.
        log.exception("Credit job %s (%s) failed", job_id, job.kind)
        return _again(job_id, f"{type(failure).__name__}: {failure}", now=now, may_fail=True)


def locked(job_id: UUID) -> CreditJob:
    """The wallet first, then the job."""
    ledger.lock_wallet(CreditJob.objects.values_list("account_id", flat=True).get(pk=job_id))
    return CreditJob.objects.select_related("account", "top_up").get(pk=job_id)


def _perform_under_lock(
    job: CreditJob, perform: Performer, *, processor: PaymentProcessor | None, now: datetime
) -> CreditJob:
    with transaction.atomic():
        job = locked(job.pk)
        if job.state not in CreditJob.WAITING:
            return job
        return _close(job.pk, perform(job, processor=processor, now=now), now=now)


def _close(job_id: UUID, end: Done | Later, *, now: datetime) -> CreditJob:
    with transaction.atomic():
        job = locked(job_id)
        if job.state not in CreditJob.WAITING:
            return job
        job.outcome = end.outcome[:300]
        if isinstance(end, Later):
            job.due_at = end.due_at
        else:
            job.move_to(State.DONE, now=now)
            job.grant, job.last_error = end.grant, ""
        job.save(update_fields=["state", "state_at", "finished_at", "due_at", "outcome", "grant", "last_error"])
        return job


def _again(job_id: UUID, error: str, *, now: datetime, may_fail: bool) -> CreditJob:
    with transaction.atomic():
        job = locked(job_id)
        if job.state not in CreditJob.WAITING:
            return job
        job.due_at = now + BACKOFF[min(job.attempts, len(BACKOFF) - 1)]
        job.last_error = error[:500] or "failed"
        if may_fail:  # silence does not count: it says nothing about the job
            job.attempts += 1
        if may_fail and job.attempts >= FAIL_AFTER:
            job.move_to(State.FAILED, now=now)
            log.error("ALERT credit job %s (%s) failed %s times: %s", job.pk, job.kind, job.attempts, error)
        elif job.state != State.RETRYING:
            job.move_to(State.RETRYING, now=now)
        job.save(update_fields=["state", "state_at", "finished_at", "due_at", "attempts", "last_error"])
        return job


def retry(job_id: UUID, *, actor: User, reason: str, now: datetime) -> CreditJob:
    """Staff: try again, now, with the reason in the audit (I12)."""
    return _by_hand(job_id, State.DUE, "credit_job_retry", actor=actor, reason=reason, now=now)


def cancel(job_id: UUID, *, actor: User, reason: str, now: datetime) -> CreditJob:
    """Staff: it is not to be done, with the reason in the audit (I12). What is done already stays done."""
    return _by_hand(job_id, State.CANCELLED, "credit_job_cancel", actor=actor, reason=reason, now=now)


def _by_hand(job_id: UUID, state: str, action: str, *, actor: User, reason: str, now: datetime) -> CreditJob:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        job = locked(job_id)
        before = {"state": str(job.state), "attempts": job.attempts}
        if state == State.DUE:
            if job.state not in (State.RETRYING, State.FAILED):
                raise InvalidTransition(job=str(job.pk), current=str(job.state), wanted=state)
            job.attempts, job.due_at = 0, now
        job.move_to(state, now=now)
        job.save(update_fields=["state", "state_at", "finished_at", "due_at", "attempts"])
        audit.record(
            actor=actor,
            action=action,
            subject=job,
            now=now,
            reason=reason.strip(),
            before=before,
            after={"state": str(job.state)},
        )
        return job
