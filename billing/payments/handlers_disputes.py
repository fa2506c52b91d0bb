"""What the events of disputes and early fraud warnings set in motion. Loaded when the app is ready."""

from __future__ import annotations

from datetime import datetime

from billing.payments import disputes, tasks_disputes
from billing.payments.models import PaymentEvent
from billing.payments.processor import PaymentProcessor, UnrecognisedStatus
from billing.payments.webhooks import handles


@handles(
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
def dispute_changed(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """Fetch the dispute and apply what is true now."""
    row = disputes.fetch(str(event.subject.get("id", "")), processor=processor, now=now)
    if row is not None and row.provider_status not in disputes.STATES:
        raise UnrecognisedStatus(payment=row.of_number, statuses=f"dispute.status is {row.provider_status!r}")
    return row is not None


@handles("radar.early_fraud_warning.created", "radar.early_fraud_warning.updated")
def fraud_warned(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """Fetch the warning; freeze once."""
    state = processor.fraud_warning(str(event.subject.get("id", "")))
    return tasks_disputes.apply_warning(state, processor=processor, now=now)
