"""What the worker does for metering. All the meaning lives in the operations."""

from uuid import UUID

from celery import shared_task

from billing.metering import alerts, holds, quarantine, rehearsal, rerating, rerating_work, rollups
from billing.waking import wake
from config import clock


@shared_task(ignore_result=True)
def roll_usage() -> None:
    """Bring usage by day up to a minute ago. A run that was missed is made up by the next."""
    rollups.roll(now=clock.now())


@shared_task(ignore_result=True)
def expire_holds() -> None:
    """Release holds whose calls were never captured or voided (03-http-api 3.3)."""
    now = clock.now()
    while holds.expire_due(now=now):
        pass


@shared_task(ignore_result=True)
def settle_quarantine() -> None:
    """Close refused usage that the gateway has meanwhile settled itself."""
    quarantine.settle(now=clock.now())


@shared_task(ignore_result=True)
def rehearse(rehearsal_id: str) -> None:
    """One piece of a rehearsal, then the next behind whatever else waits: other work is not held up for long."""
    if rehearsal.work(UUID(rehearsal_id), now=clock.now()):
        wake(rehearse, rehearsal_id)


@shared_task(ignore_result=True)
def sweep_rehearsals() -> None:
    """Rehearsals that nobody was woken for, or whose workers died."""
    for rehearsal_id in rehearsal.claim_due(now=clock.now()):
        start_rehearsal(rehearsal_id)


def start_rehearsal(rehearsal_id: UUID) -> None:
    """As many workers as may be at it at once."""
    for _ in range(rehearsal.TASKS_AT_ONCE):
        wake(rehearse, str(rehearsal_id))


@shared_task(ignore_result=True)
def correct(correction_id: str) -> None:
    """One piece of a correction, then the next behind whatever else waits."""
    if rerating_work.work(UUID(correction_id), now=clock.now()):
        wake(correct, correction_id)


@shared_task(ignore_result=True)
def sweep_corrections() -> None:
    """Corrections that nobody was woken for, or whose workers died."""
    for correction_id in rerating.claim_due(now=clock.now()):
        start_correction(correction_id)


def start_correction(correction_id: UUID) -> None:
    """One worker; more would only wait for each other."""
    wake(correct, str(correction_id))


@shared_task(ignore_result=True)
def sweep_alerts() -> None:
    """Tell customers whose balance fell or whose spend reached a threshold."""
    alerts.sweep(now=clock.now())
