"""How a subscription ends. The caller holds its lock."""

from sandbox import events, invoice_lines, invoicing, scheduling, standing, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.store import Moment


def end(subscription: StoredObject, moment: Moment, *, reason: str | None) -> None:
    """Cancel now. Open invoices stay open, and nobody tries them again by itself."""
    if subscription.data["pending_update"]:
        standing.drop_pending(subscription, moment)
    for invoice in standing.open_invoices(subscription):
        locked = store.get("invoice", invoice.object_id, lock=True)
        before = store.change(locked, auto_advance=False, next_payment_attempt=None)
        if before:
            events.record("invoice.updated", locked, moment, previous=before)
    at, data = store.seconds(moment.now), subscription.data
    details = data["cancellation_details"]
    changes: Json = {
        "status": "canceled",
        "ended_at": at,
        "canceled_at": data["canceled_at"] or at,
        "cancellation_details": {**details, "reason": details["reason"] or reason},
    }
    schedule = scheduling.of(subscription)
    store.change(subscription, **changes, schedule=None)
    events.record("customer.subscription.deleted", subscription, moment)
    standing.set_timer(subscription)
    if schedule:
        scheduling.close(schedule, moment)


def give_back_unused(subscription: StoredObject, moment: Moment) -> None:
    """Credit what is left of the period, on the next invoice."""
    at = store.seconds(moment.now)
    for item in subscription.data["items"]["data"]:
        start = max(at, item["current_period_start"])
        line = invoice_lines.unused_time(item, start, moment, invoice_lines.credited(item))
        invoicing.add_pending(subscription, [line])


def bill_now(subscription: StoredObject, moment: Moment) -> None:
    """A last invoice of what was left to bill; what it gives back goes to the customer's balance."""
    lines = invoicing.take_pending(subscription)
    if lines:
        invoice = invoicing.draft(subscription, lines, "subscription_update", moment)
        store.change(subscription, latest_invoice=invoice.object_id)
        invoicing.issue(invoice, moment)
        standing.collect(subscription, invoice, moment)
