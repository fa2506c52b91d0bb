"""What happens to a checkout session in setup mode: somebody gives a card to be kept, is refused, or goes away.

Each function takes the session's row locked and runs in a transaction.
"""

from sandbox import events, store
from sandbox.cards import Outcome, TestCard
from sandbox.checkout import customer_details
from sandbox.errors import Json, SessionClosed
from sandbox.models import StoredObject
from sandbox.resources import payment_methods, setup_intents
from sandbox.store import Moment


def save_card(
    session: StoredObject,
    card: TestCard,
    *,
    confirmed: bool,
    month: int,
    year: int,
    email: str,
    name: str,
    moment: Moment,
) -> Outcome:
    """Keep the card for the session's customer, unless it is refused or its owner does not confirm."""
    if session.data["status"] != "open" or (session.due_at and session.due_at <= moment.now):
        raise SessionClosed
    intent = store.get("setup_intent", session.data["setup_intent"], lock=True)
    outcome = card.setup_outcome(confirmed=confirmed)
    details = payment_methods.card_details(card, month=month, year=year, cvc_check=outcome.cvc_check)
    billing = payment_methods.billing_details(email=email, name=name, country="US")
    body = payment_methods.build("card", billing=billing, details=details)
    method = store.create("payment_method", body, now=moment.now, private={"card": card.number})
    if not outcome.succeeds:
        store.change(intent, status="requires_payment_method", last_setup_error=_error(outcome, method))
        events.record("setup_intent.setup_failed", intent, moment)
        return outcome
    customer = session.data["customer"]
    if customer:
        store.change(method, customer=customer)
    store.change(intent, status="succeeded", payment_method=method.object_id, last_setup_error=None)
    session.due_at = None
    store.change(
        session,
        status="complete",
        customer_details=customer_details(email=email, name=name, country="US"),
        url=None,
    )
    if customer:
        events.record("payment_method.attached", method, moment)
    events.record("setup_intent.succeeded", intent, moment)
    events.record("checkout.session.completed", session, moment)
    return outcome


def _error(outcome: Outcome, method: StoredObject) -> Json:
    error: Json = {
        "type": "card_error",
        "code": outcome.code,
        "message": outcome.message,
        "doc_url": f"https://docs.stripe.com/error-codes#{outcome.code.replace('_', '-')}",
        "payment_method": method.data,
    }
    if outcome.decline_code:
        error["decline_code"] = outcome.decline_code
    return error


def new_intent(session: StoredObject, data: Json, moment: Moment) -> StoredObject:
    """The setup intent of a new session."""
    body = setup_intents.build(customer=session.data["customer"], types=session.data["payment_method_types"], data=data)
    intent = store.create("setup_intent", body, now=moment.now)
    store.change(intent, client_secret=f"{intent.object_id}_secret_{intent.object_id[-12:]}")
    events.record("setup_intent.created", intent, moment)
    store.change(session, setup_intent=intent.object_id)
    return intent
