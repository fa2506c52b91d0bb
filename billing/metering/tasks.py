"""What the worker does for metering. All the meaning lives in the operations."""

from celery import shared_task

from billing.metering import holds, rollups
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
