"""What the worker does for subscriptions. All the meaning lives in the operations."""

from celery import shared_task

from config import clock
from subscriptions import extra_told


@shared_task(ignore_result=True)
def tell_extra_usage() -> None:
    """Mail accounts whose Extra Usage passed 50, 80 or 100 % of the month's cap."""
    extra_told.sweep(now=clock.now())
