"""/v1/subscriptions: begin, look up, list."""

from typing import Any

from sandbox import expand, standing, store, subscribing
from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Array, Boolean, Integer, Metadata, Object, Text, TimeRange
from sandbox.resources import prices
from sandbox.routes import Call, endpoint

expand.REFERENCES["subscription"] = {
    "customer", "default_payment_method", "default_source", "latest_invoice", "pending_setup_intent", "schedule",
}  # fmt: skip
BEHAVIOURS = ("allow_incomplete", "default_incomplete", "error_if_incomplete")
STATUSES = (
    "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused", "trialing",
    "unpaid",
)  # fmt: skip
PAYMENT_SETTINGS = Object({"save_default_payment_method": Text(choices=("off", "on_subscription"))})
CREATE: dict[str, Any] = {
    "cancel_at_period_end": Boolean(),
    "collection_method": Text(choices=("charge_automatically",)),
    "customer!": Text(),
    "default_payment_method": Text(),
    "description": Text(max_length=500),
    "items!": Array(
        Object({"price!": Text(), "quantity": Integer(1, 999_999)}),
        most=20,
    ),
    "metadata": Metadata(),
    "off_session": Boolean(),
    "payment_behavior": Text(choices=BEHAVIOURS),
    "payment_settings": PAYMENT_SETTINGS,
}


@endpoint("POST", "/v1/subscriptions", CREATE)
def create(call: Call) -> Json:
    """Begin a subscription and pay its first invoice with the default card, or leave that to somebody else."""
    params = call.params
    customer = store.get("customer", params["customer"], param="customer").object_id
    chosen = [
        (prices.sellable(item["price"], f"items[{position}][price]"), item.get("quantity", 1))
        for position, item in enumerate(params["items"])
    ]
    if not chosen:
        raise ApiError("You must pass at least one item.", param="items")
    card = check_card(params.get("default_payment_method"), customer)
    behaviour = params.get("payment_behavior", "allow_incomplete")
    row, invoice = subscribing.begin(customer, chosen, params, call.moment)
    if invoice.data["status"] == "open" and behaviour != "default_incomplete":
        card = card or standing.default_card(row)
        if card is None:
            raise ApiError(
                "This customer has no attached payment source or default payment method. Please consider adding a "
                "default payment method.",
                code="resource_missing",
            )
        standing.collect(row, invoice, call.moment, method=card)
        if behaviour == "error_if_incomplete" and invoice.data["status"] == "open":
            raise standing.refusal(invoice)
    else:
        standing.after(row, invoice, call.moment)
    if params.get("cancel_at_period_end"):
        store.change(row, **standing.at_period_end(row, call.moment))
    subscribing.wait_for_payment(row, call.moment)
    return row.data


def check_card(method_id: str | None, customer: str) -> StoredObject | None:
    if not method_id:
        return None
    method = store.get("payment_method", method_id, param="default_payment_method")
    if method.data["customer"] != customer:
        raise ApiError(
            f"The customer does not have a payment method with the ID {method_id}. The payment method must be attached "
            "to the customer.",
            code="resource_missing",
            param="default_payment_method",
        )
    return method


@endpoint("GET", "/v1/subscriptions/{subscription}")
def retrieve(call: Call) -> Json:
    return store.get("subscription", call.ids["subscription"]).data


@endpoint(
    "GET",
    "/v1/subscriptions",
    {**LIST, "created": TimeRange(), "customer": Text(), "price": Text(), "status": Text(choices=STATUSES)},
)
def index(call: Call) -> Json:
    """Without a status: all that have not been canceled."""
    params, rows = call.params, StoredObject.objects.filter(kind="subscription")
    if "customer" in params:
        rows = rows.filter(customer=params["customer"])
    if "price" in params:
        rows = rows.filter(data__items__data__contains=[{"price": {"id": params["price"]}}])
    status = params.get("status")
    if status is None:
        rows = rows.exclude(data__status__in=standing.ENDED)
    elif status == "ended":
        rows = rows.filter(data__status__in=standing.ENDED)
    elif status != "all":
        rows = rows.filter(data__status=status)
    return store.listing(rows, params, url="/v1/subscriptions")
