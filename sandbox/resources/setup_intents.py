"""/v1/setup_intents. They come from checkout sessions in setup mode."""

from sandbox import expand, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Text, TimeRange
from sandbox.routes import Call, endpoint

expand.REFERENCES["setup_intent"] = {"customer", "payment_method"}


def build(*, customer: str | None, types: list[str], data: Json) -> Json:
    """A setup intent that waits for a card. `data` is what a session's `setup_intent_data` gave."""
    return {
        "allowed_payment_method_types": None,
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": None,
        "customer": customer,
        "customer_account": None,
        "description": data.get("description"),
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "mandate": None,
        "metadata": data.get("metadata", {}),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"mandate_options": None, "network": None, "request_three_d_secure": None}},
        "payment_method_types": types,
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": "off_session",
    }


@endpoint("GET", "/v1/setup_intents/{intent}")
def retrieve(call: Call) -> Json:
    return store.get("setup_intent", call.ids["intent"]).data


@endpoint("GET", "/v1/setup_intents", {**LIST, "customer": Text(), "created": TimeRange()})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="setup_intent")
    if "customer" in call.params:
        rows = rows.filter(customer=call.params["customer"])
    return store.listing(rows, call.params, url="/v1/setup_intents")
