"""The life of an invoice: drafted, finalised, tried, paid or void. What that means to its subscription is in
`sandbox.standing`.

The caller holds the lock of the subscription's row first, then of the invoice's, and runs in a transaction.
"""

from django.conf import settings

from sandbox import events, payments, store
from sandbox.cards import Outcome
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.resources import invoice_bodies, payment_intents
from sandbox.store import Moment

DESCRIPTIONS = {"subscription_create": "Subscription creation", "subscription_cycle": "Subscription update"}


def draft(
    subscription: StoredObject,
    lines: list[Json],
    reason: str,
    moment: Moment,
    *,
    period: tuple[int, int] | None = None,
    proration_date: int | None = None,
) -> StoredObject:
    """A draft that nobody has heard of yet: `issue` tells it, after the event of its subscription."""
    customer = store.get("customer", subscription.data["customer"]).data
    body = invoice_bodies.build(
        subscription.data,
        customer,
        lines,
        reason,
        period=period or (store.seconds(moment.now),) * 2,
        proration_date=proration_date,
    )
    row = store.create("invoice", body, now=moment.now)
    invoice_bodies.name_lines(row.data)
    row.save(update_fields=["data"])
    return row


def issue(invoice: StoredObject, moment: Moment, *, setup_future_usage: str | None = None) -> None:
    """Tell of the draft and finalise it. With something to pay it is open and has an intent; otherwise it is paid."""
    events.record("invoice.created", invoice, moment)
    data, at = invoice.data, store.seconds(moment.now)
    customer = store.get("customer", data["customer"], lock=True)
    due, ending = settled_against_balance(data["total"], customer.data["balance"], data["currency"])
    starting = customer.data["balance"]
    sequence = customer.data["next_invoice_sequence"]
    store.change(customer, next_invoice_sequence=sequence + 1)
    if ending != starting:
        before = store.change(customer, balance=ending)
        events.record("customer.updated", customer, moment, previous=before)
    page = f"{settings.PUBLIC_URL}/sandbox/invoices/{invoice.object_id}"
    store.change(
        invoice,
        status="open",
        number=f"{customer.data['invoice_prefix']}-{sequence:04d}",
        amount_due=due,
        amount_remaining=due,
        starting_balance=starting,
        ending_balance=ending,
        effective_at=at,
        hosted_invoice_url=page,
        invoice_pdf=f"{page}/pdf",
        status_transitions={**data["status_transitions"], "finalized_at": at},
    )
    events.record("invoice.finalized", invoice, moment)
    if due:
        _ask_for_payment(invoice, setup_future_usage, moment)
    else:
        _paid(invoice, moment)


def add_pending(subscription: StoredObject, lines: list[Json]) -> None:
    """Keep lines for the subscription's next invoice."""
    if lines:
        subscription.private["pending_lines"] = pending(subscription) + lines
        subscription.save(update_fields=["private"])


def pending(subscription: StoredObject) -> list[Json]:
    return list(subscription.private.get("pending_lines", []))


def take_pending(subscription: StoredObject) -> list[Json]:
    lines = pending(subscription)
    if lines:
        del subscription.private["pending_lines"]
        subscription.save(update_fields=["private"])
    return lines


def settled_against_balance(total: int, balance: int, currency: str) -> tuple[int, int]:
    """What is left to pay, and the customer's balance afterwards; a negative balance is credit.

    An amount that is too small to charge is left on the balance for the next invoice.
    """
    left = total + balance
    if left <= 0:
        return 0, left
    return (0, left) if left < payments.LEAST.get(currency, 50) else (left, 0)


def _ask_for_payment(invoice: StoredObject, setup_future_usage: str | None, moment: Moment) -> None:
    data = invoice.data
    description = DESCRIPTIONS.get(data["billing_reason"], "Subscription update")
    body = payment_intents.build(
        amount=data["amount_due"],
        currency=data["currency"],
        customer=data["customer"],
        types=["card"],
        data={"description": description, "setup_future_usage": setup_future_usage},
    )
    intent = store.create("payment_intent", body, now=moment.now, private={"invoice": invoice.object_id})
    store.change(intent, client_secret=f"{intent.object_id}_secret_{intent.object_id[-12:]}")
    invoice.private["payment_intent"] = intent.object_id
    invoice.save(update_fields=["private"])
    payment = store.create(
        "invoice_payment",
        {
            "amount_paid": None,
            "amount_requested": data["amount_due"],
            "currency": data["currency"],
            "invoice": invoice.object_id,
            "is_default": True,
            "payment": {"type": "payment_intent", "payment_intent": intent.object_id},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        },
        now=moment.now,
    )
    invoice.private["invoice_payment"] = payment.object_id
    invoice.save(update_fields=["private"])
    events.record("payment_intent.created", intent, moment)


def intent_of(invoice: StoredObject) -> StoredObject:
    return store.get("payment_intent", invoice.private["payment_intent"], lock=True)


def attempt(
    invoice: StoredObject,
    method: StoredObject | None,
    outcome: Outcome,
    moment: Moment,
    *,
    later: str = "",
    retry_at: int | None = None,
) -> StoredObject | None:
    """Charge an open invoice to a card, with what the bank says; the charge, or None where there is no card.

    `retry_at` is when the next attempt is due, should this one fail.
    """
    if method is None:
        failed(invoice, moment, retry_at=retry_at)
        return None
    charge = payments.attempt(intent_of(invoice), method, outcome, moment, later=later)
    if outcome.succeeds:
        _paid(invoice, moment)
        return charge
    failed(invoice, moment, retry_at=retry_at)
    if outcome.code == "authentication_required":
        events.record("invoice.payment_action_required", invoice, moment)
    return charge


def failed(invoice: StoredObject, moment: Moment, *, retry_at: int | None = None) -> None:
    """An attempt came to nothing."""
    before = store.change(
        invoice,
        attempted=True,
        attempt_count=invoice.data["attempt_count"] + 1,
        auto_advance=retry_at is not None,
        next_payment_attempt=retry_at,
    )
    events.record("invoice.updated", invoice, moment, previous=before)
    events.record("invoice.payment_failed", invoice, moment)


def _paid(invoice: StoredObject, moment: Moment) -> None:
    data, at = invoice.data, store.seconds(moment.now)
    due = data["amount_due"]
    before = store.change(
        invoice,
        status="paid",
        amount_paid=due,
        amount_remaining=0,
        attempted=True,
        attempt_count=data["attempt_count"] + (1 if due else 0),
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions={**data["status_transitions"], "paid_at": at},
    )
    events.record("invoice.updated", invoice, moment, previous=before)
    events.record("invoice.paid", invoice, moment)
    events.record("invoice.payment_succeeded", invoice, moment)
    if due:
        payment = store.get("invoice_payment", invoice.private["invoice_payment"], lock=True)
        transitions = {**payment.data["status_transitions"], "paid_at": at}
        store.change(payment, status="paid", amount_paid=due, status_transitions=transitions)
        events.record("invoice_payment.paid", payment, moment)


def void(invoice: StoredObject, moment: Moment) -> None:
    """Take back an open invoice, with its intent."""
    at = store.seconds(moment.now)
    if "payment_intent" in invoice.private:
        intent = intent_of(invoice)
        changes = {"status": "canceled", "canceled_at": at, "cancellation_reason": "void_invoice", "next_action": None}
        store.change(intent, **changes)
        events.record("payment_intent.canceled", intent, moment)
        payment = store.get("invoice_payment", invoice.private["invoice_payment"], lock=True)
        transitions = {**payment.data["status_transitions"], "canceled_at": at}
        store.change(payment, status="canceled", status_transitions=transitions)
    before = store.change(
        invoice,
        status="void",
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions={**invoice.data["status_transitions"], "voided_at": at},
    )
    events.record("invoice.updated", invoice, moment, previous=before)
    events.record("invoice.voided", invoice, moment)
