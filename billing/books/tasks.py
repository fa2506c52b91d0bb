"""What the worker does for the books. All the meaning lives in the operations."""

from celery import shared_task

from billing.books import credits, expiring, statements
from config import clock


@shared_task(ignore_result=True)
def expire_credit() -> None:
    """Write off credit that has expired. Calls do the same for their own account, so this only tidies up."""
    now = clock.now()
    while due := credits.due_for_expiry(now=now):
        credits.expire_due(due, now=now)


@shared_task(ignore_result=True)
def notify_expiry() -> None:
    """Write the day's mails about credit that expires; the run's row says how far they are."""
    now = clock.now()
    while expiring.write_notices(now=now):
        pass


@shared_task
def tell_statements() -> None:
    """Write the mails about monthly statements that are complete, to those who asked for them."""
    now = clock.now()
    for account_id in statements.due(now=now):
        statements.tell_ready(account_id, now=now)
