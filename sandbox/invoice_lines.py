"""The lines of a subscription's invoices: a period at its price, and what a change in the middle of it costs.

Amounts are whole cents. A part of a period is counted by the second and rounded half up.
"""

from datetime import UTC, datetime

from sandbox import store
from sandbox.errors import Json
from sandbox.store import Moment


def prorated(amount: int, left: int, whole: int) -> int:
    """The share of `amount` that belongs to `left` of `whole` seconds, half up."""
    return (2 * amount * left + whole) // (2 * whole) if whole else 0


def amount_of(item: Json) -> int:
    return int(item["price"]["unit_amount"]) * int(item["quantity"])


def full_period(item: Json, moment: Moment) -> Json:
    """The whole period that the item is in."""
    price = item["price"]
    recurring, dollars = price["recurring"], f"{price['unit_amount'] // 100}.{price['unit_amount'] % 100:02d}"
    every = f"{recurring['interval_count']} {recurring['interval']}s"
    each = recurring["interval"] if recurring["interval_count"] == 1 else every
    text = f"{item['quantity']} × {_name(item)} (at {dollars} {price['currency'].upper()} / {each})"
    period = (item["current_period_start"], item["current_period_end"])
    return _line(item, amount_of(item), text, period, moment, proration=None)


def unused_time(item: Json, at: int, moment: Moment, credited: Json | None) -> Json:
    """What is given back of an item that ends or changes at `at`."""
    start, end = item["current_period_start"], item["current_period_end"]
    amount = -prorated(amount_of(item), end - at, end - start)
    text = f"Unused time on {_name(item)} after {_day(at)}"
    return _line(item, amount, text, (at, end), moment, proration={"credited_items": credited})


def remaining_time(item: Json, at: int, moment: Moment) -> Json:
    """What an item costs from `at` to the end of the period."""
    start, end = item["current_period_start"], item["current_period_end"]
    amount = prorated(amount_of(item), end - at, end - start)
    text = f"Remaining time on {_name(item)} after {_day(at)}"
    return _line(item, amount, text, (at, end), moment, proration={"credited_items": None})


def _name(item: Json) -> str:
    product = store.find("product", item["price"]["product"])
    return str(product.data["name"]) if product else str(item["price"]["product"])


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%d %b %Y}"


def _line(
    item: Json, amount: int, text: str, period: tuple[int, int], moment: Moment, *, proration: Json | None
) -> Json:
    price = item["price"]
    return {
        "id": store.new_id("line_item", moment.now),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": text,
        "discount_amounts": [],
        "discountable": proration is None,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": store.new_id("invoiceitem", moment.now) if proration else None,
                "proration": proration is not None,
                "proration_details": proration or {"credited_items": None},
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
        },
        "period": {"start": period[0], "end": period[1]},
        "pretax_credit_amounts": [],
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subscription": item["subscription"],
        "subtotal": amount,
        "taxes": [],
    }


def credited(item: Json) -> Json | None:
    """Which line of which paid invoice the item's unused time gives back: the newest one that charged for it."""
    rows = store.invoices_of(item["subscription"]).filter(data__status="paid").order_by("-pk")
    for row in rows:
        for line in row.data["lines"]["data"]:
            details = line["parent"]["subscription_item_details"]
            if details["subscription_item"] == item["id"] and line["amount"] > 0:
                return {"invoice": row.object_id, "invoice_line_items": [line["id"]]}
    return None
