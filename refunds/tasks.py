"""Wake up and try. Each task takes ids and calls one operation; the rows say what is still to be done."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task

from billing.errors import BillingError
from billing.payments import holds
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import plan_settling, refused, sending

log = logging.getLogger(__name__)


@shared_task(acks_late=True)
def submit_refund(refund_id: str) -> None:
    """Send one, or go on with one that was sent. Silence of the provider leaves it to the sweep."""
    try:
        sending.submit(UUID(refund_id), processor=get_processor(), now=clock.now())
    except ProcessorUnavailable as silence:
        log.warning("The payment provider does not answer (%r); refund %s waits", silence.__cause__, refund_id)


@shared_task
def pay_back_refused(order_id: str) -> None:
    """Send back a payment that staff refused after a hold."""
    refund = refused.pay_back(UUID(order_id), now=clock.now())
    if refund is not None:
        submit_refund(str(refund.pk))


@shared_task(acks_late=True)
def go_on_with_plan(refund_id: str) -> None:
    """Do what is next for a plan that is given back. Silence of the provider leaves it to the sweep."""
    try:
        plan_settling.go_on(UUID(refund_id), processor=get_processor(), now=clock.now())
    except ProcessorUnavailable as silence:
        log.warning("The payment provider does not answer (%r); plan refund %s waits", silence.__cause__, refund_id)


@shared_task
def sweep() -> None:
    """Refunds that were never nudged, whose answer was lost, that take their time, or that a bank may return."""
    for plan_id in plan_settling.claim_due(now=clock.now()):
        try:
            go_on_with_plan(str(plan_id))
        except BillingError as refusal:
            log.error("ALERT plan refund %s cannot go on: %s %s", plan_id, refusal.code, refusal.evidence)
    for order_id in holds.waiting_for_refund():
        try:
            pay_back_refused(str(order_id))
        except BillingError as refusal:
            log.error("ALERT the payment of order %s cannot go back: %s %s", order_id, refusal.code, refusal.evidence)
    for refund_id in sending.claim_due(now=clock.now()):
        try:
            sending.check(refund_id, processor=get_processor(), now=clock.now())
        except ProcessorUnavailable as silence:
            log.warning("The payment provider does not answer (%r); the sweep goes on later", silence.__cause__)
            return
        except BillingError as refusal:
            log.error("ALERT refund %s cannot be settled: %s %s", refund_id, refusal.code, refusal.evidence)
