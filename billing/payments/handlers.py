"""What the events of a checkout set in motion. Loaded when the app is ready."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from billing.payments import settling, tasks
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.processor import PaymentProcessor, SecondCheckout, UnrecognisedStatus
from billing.payments.webhooks import handles

_STATUSES: Final[dict[str, dict[str, frozenset[str]]]] = {
    "checkout.session": {
        "status": frozenset({"open", "complete", "expired"}),
        "payment_status": frozenset({"paid", "unpaid"}),
    },
    "payment_intent": {
        "status": frozenset(
            {
                "canceled",
                "processing",
                "requires_action",
                "requires_capture",
                "requires_confirmation",
                "requires_payment_method",
                "succeeded",
            }
        ),
    },
}


@handles(
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.canceled",
)
def top_up_changed(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """Settle the order that the object names; objects without one of our numbers are somebody else's business."""
    subject = event.subject
    number = (subject.get("metadata") or {}).get("order") or subject.get("client_reference_id") or ""
    order = TopUp.objects.filter(number=number).first() if isinstance(number, str) else None
    if order is None:
        return False
    kind = str(subject.get("object", ""))
    session_id = str(subject.get("id", "")) if kind == "checkout.session" else ""
    if session_id and order.checkout_session_id not in (None, session_id):
        raise SecondCheckout(order=order.number, statuses=f"a second checkout, {session_id}, names this order")
    order = settling.settle(order.pk, processor=processor, now=now, session_id=session_id)
    tasks.after(order)
    for field, known in _STATUSES.get(kind, {}).items():
        if subject.get(field) not in known:
            raise UnrecognisedStatus(order=order.number, statuses=f"{kind}.{field} is {subject.get(field)!r}")
    return True
