"""/v1/invoices/create_preview: what an invoice would be, of a change, of the next renewal or of a new subscription."""

from typing import Any

from sandbox import invoice_lines, invoicing, proration, renewing, scheduling, standing, store, subscribing
from sandbox.errors import ApiError, Json, missing
from sandbox.models import StoredObject
from sandbox.params import Boolean, Integer, Object, Text
from sandbox.resources import invoice_bodies, prices, subscription_bodies
from sandbox.routes import Call, endpoint

DETAILS: dict[str, Any] = {
    "billing_cycle_anchor": proration.ANCHOR,
    "cancel_at_period_end": Boolean(),
    "cancel_now": Boolean(),
    "items": proration.ITEMS,
    "proration_behavior": Text(choices=proration.PRORATIONS),
    "proration_date": Integer(0),
}


@endpoint(
    "POST",
    "/v1/invoices/create_preview",
    {"customer": Text(), "subscription": Text(), "subscription_details": Object(DETAILS)},
)
def create_preview(call: Call) -> Json:
    params = call.params
    details = params.get("subscription_details", {})
    if "subscription" not in params:
        if "customer" not in params:
            raise missing("customer")
        return _first(store.get("customer", params["customer"], param="customer"), details, call)
    row = store.get("subscription", params["subscription"], param="subscription")
    if params.get("customer", row.data["customer"]) != row.data["customer"]:
        raise ApiError("The subscription does not belong to this customer.", param="subscription")
    if row.data["status"] in standing.ENDED:
        raise ApiError("No upcoming invoices for customer", code="invoice_upcoming_none", status=404)
    lines, period, at = _of(row, details, call)
    if not lines:
        raise ApiError("No upcoming invoices for customer", code="invoice_upcoming_none", status=404)
    return _shown(row.data, lines, period, at, call)


def _of(row: StoredObject, details: Json, call: Call) -> tuple[list[Json], tuple[int, int], int | None]:
    """The lines, the period and the proration date of a subscription's next invoice, after a change if one is named."""
    start, end = standing.period_start(row), standing.period_end(row)
    pending = invoicing.pending(row)
    if details.get("cancel_now"):
        at = details.get("proration_date", max(start, store.seconds(call.now)))
        items = row.data["items"]["data"]
        credits = [invoice_lines.unused_time(item, at, call.moment, invoice_lines.credited(item)) for item in items]
        return pending + (credits if details.get("proration_behavior") != "none" else []), (start, at), at
    items, lines, at = scheduling.at_renewal(row, end, call.moment)["items"], pending, None
    if "items" in details or "billing_cycle_anchor" in details:
        change = proration.plan(row, details, call.moment, path="subscription_details")
        items, lines, at = change.items, pending + change.lines, change.at
        if details.get("proration_behavior") == "always_invoice" or change.anchor is not None:
            return lines, (at, at), at
    if details.get("cancel_at_period_end", row.data["cancel_at_period_end"]):
        return lines, (start, end), at
    anchor = row.data["billing_cycle_anchor"]
    renewed = [renewing.next_period(item, end, anchor) for item in items]
    return lines + [invoice_lines.full_period(item, call.moment) for item in renewed], (start, end), at


def _first(customer: StoredObject, details: Json, call: Call) -> Json:
    """The first invoice of a subscription that there is not yet."""
    if not details.get("items"):
        raise missing("subscription_details[items]")
    chosen = []
    for position, item in enumerate(details["items"]):
        if "price" not in item:
            raise missing(f"subscription_details[items][{position}][price]")
        price = prices.sellable(item["price"], f"subscription_details[items][{position}][price]")
        chosen.append((price, item.get("quantity", 1)))
    at = store.seconds(call.now)
    subscription_id = store.new_id("subscription", call.now)
    items = subscribing.new_items(subscription_id, chosen, at, call.moment)
    body = subscription_bodies.build(subscription_id, customer.object_id, items, {}, call.moment)
    shown = _shown(body, [invoice_lines.full_period(item, call.moment) for item in items], (at, at), None, call)
    shown["parent"] = None
    for line in shown["lines"]["data"]:
        line["subscription"] = line["parent"]["subscription_item_details"]["subscription"] = None
    return shown


def _shown(subscription: Json, lines: list[Json], period: tuple[int, int], at: int | None, call: Call) -> Json:
    customer = store.get("customer", subscription["customer"]).data
    body = invoice_bodies.build(subscription, customer, lines, "upcoming", period=period, proration_date=at)
    due, ending = invoicing.settled_against_balance(body["total"], customer["balance"], body["currency"])
    made = store.seconds(call.now)
    body |= {"amount_due": due, "amount_remaining": due, "ending_balance": ending, "auto_advance": False}
    body = {"id": f"upcoming_{store.new_id('invoice', call.now)}", "object": "invoice", "created": made, **body}
    body["livemode"] = False
    invoice_bodies.name_lines(body)
    return body
