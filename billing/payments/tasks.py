"""Wake up and try. Each task takes ids and calls one operation; the rows say what is still to be done.

A broker that is down makes work late, never lost: the sweeps find every row that nobody was woken for.
"""

from __future__ import annotations

import logging
from datetime import date
from uuid import UUID

from celery import shared_task

from billing.payments import benefits, credit_jobs, fx, fx_feed, holds, jobs, receipts, reconcile, settling, webhooks
from billing.payments.models import TopUp
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from billing.waking import wake
from config import clock

log = logging.getLogger(__name__)


@shared_task
def process_event(event_id: int) -> None:
    """One event out of the inbox."""
    try:
        processor = get_processor()
    except ProcessorUnavailable:
        log.warning("STRIPE_SECRET_KEY is not set; event %s waits in the inbox", event_id)
        return
    webhooks.process(event_id, processor=processor, now=clock.now())


@shared_task
def sweep_events() -> None:
    """Events that were never nudged, or whose worker died, or that are to be tried again."""
    for event_id in webhooks.claim_due(now=clock.now()):
        process_event(event_id)


@shared_task
def sweep_top_ups() -> None:
    """Ask the provider about every order that has waited too long: paid ones are credited, expired ones end."""
    for order_id in settling.claim_due(now=clock.now()):
        try:
            after(settling.check(order_id, processor=get_processor(), now=clock.now()))
        except ProcessorUnavailable as silence:
            log.warning("The payment provider does not answer (%r); the sweep goes on later", silence.__cause__)
            return
        except Exception as failure:
            # One that cannot be settled must not keep the others waiting; a job goes on with it, where staff see it.
            log.warning("Top-up %s cannot be settled", order_id, exc_info=True)
            credit_jobs.take_over(TopUp.objects.get(pk=order_id), failure, now=clock.now())


@shared_task
def sweep_credit_jobs() -> None:
    """Jobs on credit whose time has come."""
    try:
        processor = get_processor()
    except ProcessorUnavailable:
        processor = None
    for job_id in jobs.claim_due(now=clock.now()):
        job = jobs.run(job_id, processor=processor, now=clock.now())
        if job.top_up_id:
            after(TopUp.objects.get(pk=job.top_up_id))


@shared_task
def sweep_reconciliations() -> None:
    """Compare the days that are over with the provider's own records."""
    reconcile.plan(now=clock.now())
    for day in reconcile.claim_due(now=clock.now()):
        compare_day(day.isoformat())


@shared_task
def compare_day(day: str) -> None:
    """One claimed day."""
    try:
        reconcile.run(date.fromisoformat(day), processor=get_processor(), now=clock.now())
    except ProcessorUnavailable as silence:
        log.warning("The payment provider does not answer (%r); %s is compared later", silence.__cause__, day)


@shared_task(autoretry_for=(OSError,), retry_backoff=10, retry_jitter=True, max_retries=5)
def send_receipt(order_id: str) -> None:
    """The mail about an order's end, once."""
    receipts.send(UUID(order_id), now=clock.now())


@shared_task
def sweep_receipts() -> None:
    """Mails that nobody was woken for."""
    for order_id in receipts.due(now=clock.now()):
        try:
            receipts.send(order_id, now=clock.now())
        except OSError:
            log.warning("The receipt of top-up %s could not be mailed", order_id, exc_info=True)


@shared_task
def refresh_rate() -> None:
    """Ask the exchange rate's feed, when it is time."""
    now = clock.now()
    if fx_feed.is_due(now=now):
        fx_feed.refresh(now=now)


@shared_task
def forget_quotes() -> None:
    """Exchange rates that were promised on a page and that no order used."""
    fx.forget_unused(now=clock.now())


@shared_task
def release_holds() -> None:
    """Payments that a risk check held and that nobody decided in time."""
    for order_id in holds.due(now=clock.now()):
        after(holds.release_in_time(order_id, now=clock.now()))


def after(order: TopUp) -> TopUp:
    """What follows a settled order: the mail about it."""
    if receipts.is_due(order):
        wake(send_receipt, str(order.pk))
    return order


@shared_task(ignore_result=True)
def raise_levels() -> None:
    """Accounts whose top-ups earn more than they have, after a threshold was lowered. A credit raises its own account
    at once, without this."""
    benefits.raise_all(now=clock.now())
