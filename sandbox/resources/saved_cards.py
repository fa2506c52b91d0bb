"""Cards that are kept: attach and detach, and payment intents that charge one while its owner is away."""

from typing import Any

from sandbox import cards, events, payments, store
from sandbox.errors import ApiError, Json, missing
from sandbox.params import Array, Boolean, Currency, Email, Integer, Metadata, Text
from sandbox.resources import payment_intents
from sandbox.routes import Call, endpoint

CREATE: dict[str, Any] = {
    "allowed_payment_method_types": Array(Text(choices=("card",))),
    "amount!": Integer(1),
    "confirm": Boolean(),
    "currency!": Currency(),
    "customer": Text(),
    "description": Text(max_length=1000),
    "metadata": Metadata(),
    "off_session": Boolean(),
    "payment_method": Text(),
    "receipt_email": Email(),
}


@endpoint("POST", "/v1/payment_methods/{payment_method}/attach", {"customer!": Text()})
def attach(call: Call) -> Json:
    row = store.get("payment_method", call.ids["payment_method"], lock=True)
    customer = store.get("customer", call.params["customer"], param="customer").object_id
    if row.private.get("detached"):
        raise ApiError(
            "This PaymentMethod was previously used with a PaymentIntent without Customer attachment, or was detached "
            "from a Customer, and may not be used again."
        )
    if row.data["customer"] not in (None, customer):
        raise ApiError("The payment method you provided has already been attached to a customer.")
    if row.data["customer"] is None:
        store.change(row, customer=customer)
        events.record("payment_method.attached", row, call.moment)
    return row.data


@endpoint("POST", "/v1/payment_methods/{payment_method}/detach")
def detach(call: Call) -> Json:
    row = store.get("payment_method", call.ids["payment_method"], lock=True)
    if not row.data["customer"]:
        raise ApiError(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            code="payment_method_unexpected_state",
        )
    row.private["detached"] = True
    store.change(row, customer=None)
    events.record("payment_method.detached", row, call.moment)
    return row.data


@endpoint("POST", "/v1/payment_intents", CREATE)
def charge(call: Call) -> Json | ApiError:
    """Create and confirm in one call. A decline is an answer of 402 and also a fact: the intent stays."""
    params = call.params
    _check(params)
    customer = store.get("customer", params["customer"], param="customer").object_id
    method = store.get("payment_method", params["payment_method"], param="payment_method")
    if method.data["customer"] != customer:
        raise ApiError(
            "The payment method does not belong to the Customer you supplied. Please attach it first.",
            param="payment_method",
        )
    body = payment_intents.build(
        amount=params["amount"], currency=params["currency"], customer=customer, types=["card"], data=params
    )
    body["allowed_payment_method_types"] = params.get("allowed_payment_method_types")
    intent = store.create("payment_intent", body, now=call.now)
    store.change(intent, client_secret=f"{intent.object_id}_secret_{intent.object_id[-12:]}")
    events.record("payment_intent.created", intent, call.moment)
    card = cards.lookup(method.private.get("card", ""))
    outcome = card.off_session_outcome()
    payments.attempt(intent, method, outcome, call.moment, later=card.later)
    if outcome.succeeds:
        return intent.data
    error = dict(intent.data["last_payment_error"])
    message, kind, code = error.pop("message"), error.pop("type"), error.pop("code")
    error.pop("doc_url", None)
    return ApiError(message, code=code, type=kind, status=402, payment_intent=intent.data, **error)


def _check(params: Json) -> None:
    if not params.get("confirm"):
        raise ApiError("The sandbox serves payment intents that are confirmed at once.", param="confirm")
    if not params.get("off_session"):
        raise ApiError(
            "The sandbox has no page for an intent of its own: off_session must be true.", param="off_session"
        )
    for name in ("customer", "payment_method"):
        if name not in params:
            raise missing(name)
    least = payments.LEAST.get(params["currency"], 50)
    if params["amount"] < least:
        raise ApiError(f"Amount must be at least {least}.", code="amount_too_small", param="amount")
    if params["amount"] > payments.MOST:
        raise ApiError(f"Amount must be no more than {payments.MOST}.", code="amount_too_large", param="amount")
