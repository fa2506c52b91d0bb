"""/v1/charges"""

from django.conf import settings

from sandbox import expand, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Metadata, Text, TimeRange
from sandbox.routes import Call, endpoint

expand.REFERENCES["charge"] = {"balance_transaction", "customer", "failure_balance_transaction", "payment_intent"}


def build(
    intent: Json, method: Json, *, outcome: Json, details: Json, status: str, failure: tuple[str, str] | None
) -> Json:
    """A charge for all of an intent's amount, made with this payment method."""
    failed = status == "failed"
    code, message = failure or (None, None)
    return {
        "amount": intent["amount"],
        "amount_captured": 0 if failed or status == "pending" else intent["amount"],
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": settings.SITE_NAME.upper()[:22],
        "captured": status == "succeeded",
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": code,
        "failure_message": message,
        "fraud_details": {},
        "metadata": intent["metadata"],
        "on_behalf_of": None,
        "outcome": outcome,
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"type": method["type"], method["type"]: details},
        "presentment_details": None,
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
    }


AUTHENTICATED = {
    "authentication_flow": "challenge",
    "electronic_commerce_indicator": "05",
    "exemption_indicator": None,
    "result": "authenticated",
    "result_reason": None,
    "transaction_id": "3d5a2c84-0000-4000-8000-000000000000",
    "version": "2.2.0",
}


def details_of(method: Json, *, authenticated: bool = False) -> Json:
    """A charge's `payment_method_details` for a payment method."""
    if method["type"] != "card":
        return {"fingerprint": None, "transaction_id": None}
    card = method["card"]
    return {
        "amount_authorized": None,
        "brand": card["brand"],
        "checks": card["checks"],
        "country": card["country"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "network": card["brand"],
        "network_token": {"used": False},
        "regulated_status": card["regulated_status"],
        "three_d_secure": AUTHENTICATED if authenticated else None,
        "wallet": None,
    }


@endpoint("GET", "/v1/charges/{charge}")
def retrieve(call: Call) -> Json:
    return store.get("charge", call.ids["charge"]).data


@endpoint("GET", "/v1/charges", {**LIST, "customer": Text(), "payment_intent": Text(), "created": TimeRange()})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="charge")
    for name in ("customer", "payment_intent"):
        if name in call.params:
            rows = rows.filter(**{name: call.params[name]})
    return store.listing(rows, call.params, url="/v1/charges")


@endpoint("POST", "/v1/charges/{charge}", {"metadata": Metadata(), "description": Text(unset=True)})
def update(call: Call) -> Json:
    row = store.get("charge", call.ids["charge"], lock=True)
    changes = dict(call.params)
    if "metadata" in changes:
        changes["metadata"] = store.with_metadata(row.data["metadata"], changes["metadata"])
    store.change(row, **changes)
    return row.data
