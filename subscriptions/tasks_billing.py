"""Wake up and look after subscriptions. Each task takes ids and calls one operation; the rows say what is due."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task

from billing.errors import BillingError
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from subscriptions import dunning, lifecycle

log = logging.getLogger(__name__)


@shared_task
def look_after(subscription_id: str) -> None:
    """One subscription."""
    dunning.look_after(UUID(subscription_id), processor=get_processor(), now=clock.now())


@shared_task
def sweep_subscriptions() -> None:
    """Everything about subscriptions that nobody told us in time."""
    try:
        processor = get_processor()
    except ProcessorUnavailable:
        return
    for change_id in dunning.changes_due(now=clock.now()):
        try:
            lifecycle.perform(change_id, processor=processor, now=clock.now())
        except BillingError as refusal:
            log.warning("Change of plan %s: %s", change_id, refusal.code)
    for subscription_id in dunning.due(now=clock.now()):
        try:
            dunning.look_after(subscription_id, processor=processor, now=clock.now())
        except ProcessorUnavailable as silence:
            log.warning("The payment provider does not answer (%r); the sweep goes on later", silence.__cause__)
            return
        except Exception:
            # One that cannot be settled must not keep the others waiting; staff see when it was last asked about.
            log.exception("Subscription %s cannot be settled", subscription_id)
