"""What the events of saved cards set in motion. Loaded when the app is ready, with the tasks of auto top-up."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from billing.payments import saved, tasks_saved  # noqa: F401  # Celery finds the tasks by this import
from billing.payments.models import PaymentEvent
from billing.payments.models_saved import CardSetup
from billing.payments.processor import PaymentProcessor
from billing.payments.webhooks import handles


@handles("checkout.session.completed", "checkout.session.expired", "setup_intent.succeeded")
def card_given(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """Keep the card of the setup page that the object names; everything else is somebody else's business."""
    subject = event.subject
    named = (subject.get("metadata") or {}).get("card_setup")
    try:
        setup_id = UUID(str(named))
    except ValueError:
        return False
    row = CardSetup.objects.filter(pk=setup_id).first()
    if row is None:
        return False
    session_id = str(subject.get("id", "")) if subject.get("object") == "checkout.session" else ""
    saved.finish(row.pk, processor=processor, now=now, session_id=session_id)
    return True


@handles("payment_method.automatically_updated", "payment_method.detached", "payment_method.updated")
def card_changed(event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool:
    """A card network renewed a date, or somebody detached the card in the provider's dashboard."""
    return saved.refresh(str(event.subject.get("id", "")), processor=processor, now=now)
