"""What happens to a checkout session: somebody pays, is refused, tries again, walks away, or is too late.

Each function takes the session's row locked and runs in a transaction.
"""

from dataclasses import asdict

from django.utils.translation import gettext_noop

from sandbox import events, payments, store, subscription_page
from sandbox.cards import Outcome, TestCard
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.resources import payment_intents, payment_methods
from sandbox.settling import settles
from sandbox.store import Moment

PROVIDER_DECLINE = Outcome(
    code="payment_method_provider_decline",
    message=gettext_noop("The payment was declined by the payment method's provider."),
)
CUSTOMER_DECLINE = Outcome(
    code="payment_method_customer_decline", message=gettext_noop("The customer did not approve the payment.")
)
PROVIDER_EXPIRED = Outcome(
    code="payment_intent_payment_attempt_expired",
    message=gettext_noop("The payment was not confirmed in time."),
)
PROVIDER_AWAY = Outcome(
    code="payment_method_not_available",
    message=gettext_noop("This payment method is not available at the moment."),
)
NOT_CONFIRMED = gettext_noop("We are unable to authenticate your payment method. Please try another one.")


class SessionClosed(Exception):
    """The session is complete or has expired, so nothing more can be paid with it."""


def customer_details(*, email: str | None, name: str | None = None, country: str | None = None) -> Json:
    address = {"city": None, "country": country, "line1": None, "line2": None, "postal_code": None, "state": None}
    return {
        "address": address if country else None,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def pay_by_card(
    session: StoredObject,
    card: TestCard,
    outcome: Outcome,
    *,
    month: int,
    year: int,
    email: str,
    name: str,
    moment: Moment,
) -> StoredObject:
    """Try to pay with a card; the charge says whether it worked. After a decline the session stays open."""
    details = payment_methods.card_details(card, month=month, year=year, cvc_check=outcome.cvc_check)
    billing = payment_methods.billing_details(email=email, name=name, country="US")
    method = payment_methods.build("card", billing=billing, details=details)
    return _pay(session, method, outcome, moment, email=email, name=name, later=card.later, number=card.number)


def pay_by_wallet(
    session: StoredObject, kind: str, outcome: Outcome, *, delayed: bool, email: str, moment: Moment
) -> StoredObject:
    """Pay with Alipay or WeChat Pay. Delayed, the session completes unpaid and the outcome arrives later."""
    billing = payment_methods.billing_details(email=email, name=None, country=None)
    method = payment_methods.build(kind, billing=billing, details={})
    return _pay(session, method, outcome, moment, email=email, name=None, delayed=delayed)


def _pay(
    session: StoredObject,
    method_data: Json,
    outcome: Outcome,
    moment: Moment,
    *,
    email: str,
    name: str | None,
    later: str = "",
    delayed: bool = False,
    number: str = "",
) -> StoredObject:
    _check_open(session, moment)
    intent = _intent(session, moment, email=email, name=name)
    method = store.create("payment_method", method_data, now=moment.now, private={"card": number})
    return _try(session, intent, method, outcome, moment, email=email, name=name, later=later, delayed=delayed)


def _check_open(session: StoredObject, moment: Moment) -> None:
    if session.data["status"] != "open" or (session.due_at and session.due_at <= moment.now):
        raise SessionClosed


def _try(
    session: StoredObject,
    intent: StoredObject,
    method: StoredObject,
    outcome: Outcome,
    moment: Moment,
    *,
    email: str,
    name: str | None,
    later: str = "",
    delayed: bool = False,
) -> StoredObject:
    if delayed:
        charge = payments.begin(intent, method, moment, ends=outcome, wait=payments.settlement_wait())
    elif _subscribes(session):
        charge = subscription_page.attempt(session, method, outcome, moment, later=later)
    else:
        charge = payments.attempt(intent, method, outcome, moment, later=later)
    if charge.data["status"] == "failed":
        return charge
    if intent.data["setup_future_usage"] and intent.data["customer"] and not _subscribes(session):
        store.change(method, customer=intent.data["customer"])
        events.record("payment_method.attached", method, moment)
    details = customer_details(email=email, name=name, country=method.data["billing_details"]["address"]["country"])
    session.due_at = None
    store.change(
        session,
        status="complete",
        payment_status="unpaid" if delayed else "paid",
        customer_details=details,
        url=None,
    )
    events.record("checkout.session.completed", session, moment)
    return charge


def challenge(
    session: StoredObject,
    card: TestCard,
    outcome: Outcome,
    *,
    month: int,
    year: int,
    email: str,
    name: str,
    url: str,
    moment: Moment,
) -> None:
    """The bank wants its customer to confirm first: the intent waits for an action at `url`."""
    _check_open(session, moment)
    details = payment_methods.card_details(card, month=month, year=year, cvc_check=outcome.cvc_check)
    billing = payment_methods.billing_details(email=email, name=name, country="US")
    method = store.create(
        "payment_method",
        payment_methods.build("card", billing=billing, details=details),
        now=moment.now,
        private={"card": card.number},
    )
    intent = _intent(session, moment, email=email, name=name)
    intent.private["challenge"] = {"outcome": asdict(outcome), "email": email, "name": name, "later": card.later}
    store.change(
        intent,
        status="requires_action",
        payment_method=method.object_id,
        last_payment_error=None,
        next_action={
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": session.data["success_url"], "url": url},
        },
    )
    events.record("payment_intent.requires_action", intent, moment)
    if _subscribes(session):
        subscription_page.asked_to_confirm(session, moment)


def answer_challenge(session: StoredObject, confirmed: bool, moment: Moment) -> StoredObject | None:
    """What the holder told the bank. Confirmed, the card is tried and the charge says how that went; else None."""
    _check_open(session, moment)
    intent = intent_of(session, lock=True)
    if intent is None or intent.data["status"] != "requires_action":
        raise SessionClosed
    waiting = intent.private.pop("challenge")
    method = store.get("payment_method", intent.data["payment_method"])
    if confirmed:
        method.private["authenticated"] = True
        method.save()
        outcome = Outcome(**waiting["outcome"])
        kept = {name: waiting[name] for name in ("email", "name", "later")}
        return _try(session, intent, method, outcome, moment, **kept)
    error = {
        "type": "card_error",
        "code": "payment_intent_authentication_failure",
        "message": NOT_CONFIRMED,
        "doc_url": "https://docs.stripe.com/error-codes#payment-intent-authentication-failure",
        "payment_method": method.data,
    }
    changes = {"status": "requires_payment_method", "last_payment_error": error}
    store.change(intent, **changes, next_action=None, payment_method=None)
    events.record("payment_intent.payment_failed", intent, moment)
    if _subscribes(session):
        subscription_page.not_confirmed(session, moment)
    return None


def _subscribes(session: StoredObject) -> bool:
    return bool(session.data["mode"] == "subscription")


def intent_of(session: StoredObject, *, lock: bool = False) -> StoredObject | None:
    """The payment intent that the page pays, once there is one; in subscription mode the session does not name it."""
    intent_id = session.data["payment_intent"]
    if _subscribes(session) and "invoice" in session.private:
        intent_id = store.get("invoice", session.private["invoice"]).private["payment_intent"]
    return store.find("payment_intent", intent_id, lock=lock)


def _intent(session: StoredObject, moment: Moment, *, email: str, name: str | None) -> StoredObject:
    """The session's payment intent, made when the customer first tries to pay."""
    if _subscribes(session):
        return subscription_page.intent_of(session, moment, email=email, name=name)
    if session.data["payment_intent"]:
        return store.get("payment_intent", session.data["payment_intent"], lock=True)
    data = session.data
    body = payment_intents.build(
        amount=data["amount_total"],
        currency=data["currency"],
        customer=data["customer"],
        types=data["payment_method_types"],
        data=session.private["payment_intent_data"],
    )
    intent = store.create("payment_intent", body, now=moment.now)
    store.change(intent, client_secret=f"{intent.object_id}_secret_{intent.object_id[-12:]}")
    events.record("payment_intent.created", intent, moment)
    store.change(session, payment_intent=intent.object_id)
    return intent


@settles("payment_intent")
def _intent_due(intent: StoredObject, moment: Moment) -> None:
    if intent.data["status"] == "processing":
        settle(intent, Outcome(**intent.private["settles_as"]), moment)


def settle(intent: StoredObject, outcome: Outcome, moment: Moment) -> None:
    """End a delayed payment, and tell it of its session too."""
    payments.settle(intent, outcome, moment)
    session = StoredObject.objects.filter(kind="checkout.session", payment_intent=intent.object_id).first()
    if session is None:
        return
    session = store.get("checkout.session", session.object_id, lock=True)
    if outcome.succeeds:
        store.change(session, payment_status="paid")
    ending = "succeeded" if outcome.succeeds else "failed"
    events.record(f"checkout.session.async_payment_{ending}", session, moment)


@settles("checkout.session")
def _session_due(session: StoredObject, moment: Moment) -> None:
    if session.data["status"] == "open":
        expire(session, moment)


def expire(session: StoredObject, moment: Moment) -> None:
    """Close an open session without a payment, and cancel the intent of its failed attempts."""
    intent_id = session.data["payment_intent"]
    if intent_id:
        intent = store.get("payment_intent", intent_id, lock=True)
        if intent.data["status"] in ("requires_payment_method", "requires_action"):
            changes = {
                "next_action": None,
                "status": "canceled",
                "canceled_at": store.seconds(moment.now),
                "cancellation_reason": "expired",
            }
            store.change(intent, **changes)
            events.record("payment_intent.canceled", intent, moment)
    if _subscribes(session):
        subscription_page.expire(session, moment)
    session.due_at = None
    store.change(session, status="expired", url=None)
    events.record("checkout.session.expired", session, moment)
