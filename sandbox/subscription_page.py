"""What a checkout session in subscription mode adds to the hosted page: the first try makes the subscription, and a
payment makes it active. After a decline it stays incomplete, and the page can try its invoice again.
"""

from sandbox import events, invoicing, standing, store, subscribing
from sandbox.cards import Outcome
from sandbox.models import StoredObject
from sandbox.resources import customers
from sandbox.store import Moment


def intent_of(session: StoredObject, moment: Moment, *, email: str, name: str | None) -> StoredObject:
    """The intent of the subscription's first invoice; all three are made when the customer first tries to pay."""
    if "invoice" in session.private:
        return invoicing.intent_of(_invoice(session))
    customer = session.data["customer"]
    if customer is None:
        made = store.create("customer", customers.build({"email": email, "name": name}), now=moment.now)
        store.change(made, invoice_prefix=made.object_id[-8:].upper())
        events.record("customer.created", made, moment)
        customer = made.object_id
    chosen = [(item["price"], item["quantity"]) for item in session.private["line_items"]]
    subscription, invoice = subscribing.begin(customer, chosen, session.private["subscription_data"], moment)
    session.private |= {"subscription": subscription.object_id, "invoice": invoice.object_id}
    session.save(update_fields=["private"])
    return invoicing.intent_of(invoice)


def _invoice(session: StoredObject) -> StoredObject:
    return store.get("invoice", session.private["invoice"], lock=True)


def attempt(
    session: StoredObject, method: StoredObject, outcome: Outcome, moment: Moment, *, later: str
) -> StoredObject:
    """Try the card. A success attaches it, makes the subscription active and names both on the session."""
    subscription = store.get("subscription", session.private["subscription"], lock=True)
    invoice = _invoice(session)
    charge = invoicing.attempt(invoice, method, outcome, moment, later=later)
    assert charge is not None  # noqa: S101 - there is a card, so there is a charge
    if outcome.succeeds:
        store.change(method, customer=subscription.data["customer"])
        events.record("payment_method.attached", method, moment)
        # The card comes first, so that one event tells of both.
        before = store.change(subscription, default_payment_method=method.object_id, status="active")
        events.record("customer.subscription.updated", subscription, moment, previous=before)
        standing.set_timer(subscription)
        store.change(
            session,
            customer=subscription.data["customer"],
            subscription=subscription.object_id,
            invoice=invoice.object_id,
        )
    return charge


def asked_to_confirm(session: StoredObject, moment: Moment) -> None:
    """The bank wants its customer to confirm the first payment."""
    events.record("invoice.payment_action_required", _invoice(session), moment)


def not_confirmed(session: StoredObject, moment: Moment) -> None:
    invoicing.failed(_invoice(session), moment)


def expire(session: StoredObject, moment: Moment) -> None:
    """The page closed unpaid: what it began ends too."""
    if "subscription" in session.private:
        subscription = store.get("subscription", session.private["subscription"], lock=True)
        standing.expire_incomplete(subscription, moment)
