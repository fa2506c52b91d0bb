"""What the provider's events about refunds set in motion. Loaded when the app is ready.

An event is a doorbell: the refunds that it is about are fetched, and what is true of them now goes through the door.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from billing.payments import settling
from billing.payments import tasks as payment_tasks
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.processor import PaymentProcessor, UnknownAtProcessor, UnrecognisedStatus
from billing.payments.webhooks import handles
from refunds import external
from subscriptions import settling as plan_settling
from subscriptions.models import Subscription

KNOWN: Final = frozenset({"pending", "requires_action", "succeeded", "failed", "canceled"})
PLANS_ASKED: Final = 3
"""The newest of a customer: a payment of which we have not heard is of one of these."""


@handles("refund.created", "refund.updated", "refund.failed", "charge.refund.updated")
def refund_changed(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """One refund: ours, one made in the dashboard of one of our payments, or nobody's here."""
    subject = event.subject
    intent = _id_of(subject.get("payment_intent"))
    payment = external.payment_of(intent)
    if payment is None:
        return False
    if isinstance(payment, TopUp):
        _credit_first(payment, processor=processor, now=now)
    external.apply(processor.refund(str(subject.get("id", ""))), now=now)
    if subject.get("status") not in KNOWN:
        raise UnrecognisedStatus(refund=str(subject.get("id", "")), statuses=f"refund.status {subject.get('status')!r}")
    return True


@handles("charge.refunded")
def charge_refunded(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """Every refund of the charge's payment. The charge's `refunded` says nothing: with a fee it never becomes true."""
    subject = event.subject
    intent = _id_of(subject.get("payment_intent"))
    order = _order_of(subject, intent)
    if intent and order is None and external.payment_of(intent) is None:
        _hear_of_plans(_id_of(subject.get("customer")), processor=processor, now=now)
    if not intent or (order is None and external.payment_of(intent) is None):
        return False
    if order is not None:
        _credit_first(order, processor=processor, now=now)
    try:
        states = processor.refunds_of(intent)
    except UnknownAtProcessor:
        states = ()
    for state in states:
        external.apply(state, now=now)
    return True


def _credit_first(order: TopUp, *, processor: PaymentProcessor, now: datetime) -> None:
    """It was paid, and the event that says so is still to come: else there is no grant to take from."""
    if order.status not in TopUp.SETTLED and not order.in_review and order.checkout_session_id:
        payment_tasks.after(settling.settle(order.pk, processor=processor, now=now))


def _hear_of_plans(customer_id: str, *, processor: PaymentProcessor, now: datetime) -> None:
    """A plan's payment, perhaps, and the event that says so is still to come: a charge does not name its invoice, but
    its customer."""
    if not customer_id:
        return
    rows = Subscription.objects.filter(account__payment_customer__customer_id=customer_id)
    known = rows.exclude(provider_id="", session_id="").exclude(status=Subscription.Status.EXPIRED)
    for subscription_id in known.order_by("-pk").values_list("pk", flat=True)[:PLANS_ASKED]:
        plan_settling.settle(subscription_id, processor=processor, now=now)


def _order_of(charge: dict[str, Any], intent: str) -> TopUp | None:
    order: TopUp | None = TopUp.objects.filter(payment_intent_id=intent).first() if intent else None
    number = (charge.get("metadata") or {}).get("order")
    if order is None and isinstance(number, str):
        order = TopUp.objects.filter(number=number).first()
    return order


def _id_of(reference: Any) -> str:
    """An id, whether or not the event carries the object in full."""
    return str(reference.get("id", "")) if isinstance(reference, dict) else str(reference or "")
