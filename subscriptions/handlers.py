"""What the provider's events about subscriptions set in motion. Loaded when the app is ready."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from billing.payments.models import PaymentEvent
from billing.payments.processor import PaymentProcessor
from billing.payments.webhooks import handles
from billing.waking import wake
from subscriptions import settling, tasks_billing
from subscriptions.models import Subscription


@handles(
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "subscription_schedule.canceled",
    "subscription_schedule.released",
    "subscription_schedule.updated",
)
def subscription_changed(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """Ask what is true of the subscription that the object is about; those of others are none of our business."""
    row = _row_of(event.subject)
    if row is None:
        return False
    row = settling.settle(row.pk, processor=processor, now=now)
    if row.status == Subscription.Status.DUPLICATE and row.undone_at is None:
        wake(tasks_billing.look_after, str(row.pk))
    return True


def _row_of(subject: dict[str, Any]) -> Subscription | None:
    kind = subject.get("object")
    provider_id, marks = "", subject.get("metadata") or {}
    if kind == "subscription":
        provider_id = _id(subject.get("id"))
    elif kind in ("checkout.session", "subscription_schedule"):
        provider_id = _id(subject.get("subscription"))
    elif kind == "invoice":
        details = (subject.get("parent") or {}).get("subscription_details") or {}
        provider_id, marks = _id(details.get("subscription")), details.get("metadata") or {}
    if provider_id and (row := Subscription.objects.filter(provider_id=provider_id).first()):
        return row
    try:
        return Subscription.objects.filter(pk=UUID(str(marks.get("subscription")))).first()
    except ValueError:
        return None


def _id(reference: Any) -> str:
    """An id, whether or not the event carries the object in full."""
    return str(reference.get("id", "")) if isinstance(reference, dict) else str(reference or "")
