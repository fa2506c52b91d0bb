"""/v1/payment_intents. Off-session creation and confirmation come with saved cards; both end in `payments.attempt`."""

import secrets

from sandbox import expand, store
from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Metadata, Text, TimeRange
from sandbox.routes import Call, endpoint

expand.REFERENCES["payment_intent"] = {"customer", "latest_charge", "payment_method"}


def build(*, amount: int, currency: str, customer: str | None, types: list[str], data: Json) -> Json:
    """A payment intent that waits for a payment method. `data` is what a session's `payment_intent_data` gave."""
    return {
        "allowed_payment_method_types": None,
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"pi_secret_{secrets.token_urlsafe(18)}",
        "confirmation_method": "automatic",
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "description": data.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "metadata": data.get("metadata", {}),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": types,
        "processing": None,
        "receipt_email": data.get("receipt_email"),
        "review": None,
        "setup_future_usage": data.get("setup_future_usage"),
        "shipping": None,
        "source": None,
        "statement_descriptor": data.get("statement_descriptor"),
        "statement_descriptor_suffix": data.get("statement_descriptor_suffix"),
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }


@endpoint("GET", "/v1/payment_intents/{intent}")
def retrieve(call: Call) -> Json:
    return store.get("payment_intent", call.ids["intent"]).data


@endpoint("GET", "/v1/payment_intents", {**LIST, "customer": Text(), "created": TimeRange()})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="payment_intent")
    if "customer" in call.params:
        rows = rows.filter(customer=call.params["customer"])
    return store.listing(rows, call.params, url="/v1/payment_intents")


@endpoint("POST", "/v1/payment_intents/{intent}", {"metadata": Metadata(), "description": Text(unset=True)})
def update(call: Call) -> Json:
    row = store.get("payment_intent", call.ids["intent"], lock=True)
    changes = dict(call.params)
    if "metadata" in changes:
        changes["metadata"] = store.with_metadata(row.data["metadata"], changes["metadata"])
    store.change(row, **changes)
    return row.data


def unexpected_state(row: StoredObject, what: str) -> ApiError:
    return ApiError(
        f"This PaymentIntent's status is {row.data['status']}; {what}.",
        code="payment_intent_unexpected_state",
        payment_intent=row.data,
    )
