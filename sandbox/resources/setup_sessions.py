"""/v1/checkout/sessions in setup mode: a page on which a card is given and nothing is paid."""

from typing import Any

from django.conf import settings

from sandbox import setup, store
from sandbox.errors import ApiError, Json, missing
from sandbox.params import Metadata, Object, Text
from sandbox.routes import Call

SETUP_INTENT_DATA = Object({"description": Text(max_length=1000), "metadata": Metadata()})
_NOT_HERE = ("line_items", "payment_intent_data", "submit_type", "subscription_data")


def create(call: Call, build: Any, expiry: Any) -> Json:
    """Open the page, with its setup intent."""
    params = call.params
    if not params.get("success_url"):
        raise missing("success_url")
    for name in _NOT_HERE:
        if name in params:
            raise ApiError(f"You can not pass `{name}` in `setup` mode.", param=name)
    if "currency" not in params and not params.get("allowed_payment_method_types"):
        raise missing("currency")
    customer = store.get("customer", params["customer"], param="customer") if "customer" in params else None
    if "card" not in params.get("allowed_payment_method_types", ["card"]):
        raise ApiError("No payment method fits this session.", param="allowed_payment_method_types")
    expires_at = expiry(params, call)
    body = build(params, customer=customer, currency=None, total=None, types=["card"], expires_at=expires_at)
    body |= {"payment_status": "no_payment_required", "customer_creation": None, "total_details": None}
    row = store.create(
        "checkout.session",
        body,
        now=call.now,
        private={"line_items": [], "setup_intent_data": params.get("setup_intent_data", {})},
        due_at=store.from_seconds(expires_at),
    )
    setup.new_intent(row, params.get("setup_intent_data", {}), call.moment)
    store.change(row, url=f"{settings.PUBLIC_URL}/sandbox/checkout/{row.object_id}")
    return row.data
