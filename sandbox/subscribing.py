"""How a subscription begins: incomplete, with a first invoice, and active once that is paid."""

from sandbox import events, invoice_lines, invoicing, standing, store
from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject
from sandbox.resources import subscription_bodies
from sandbox.store import Moment


def begin(
    customer: str, chosen: list[tuple[Json, int]], given: Json, moment: Moment
) -> tuple[StoredObject, StoredObject]:
    """A subscription to these prices in these quantities, with its first invoice finalised and not yet tried."""
    at = store.seconds(moment.now)
    subscription_id = store.new_id("subscription", moment.now)
    items = new_items(subscription_id, chosen, at, moment)
    row = store.create(
        "subscription", subscription_bodies.build(subscription_id, customer, items, given, moment), now=moment.now
    )
    invoice = invoicing.draft(
        row, [invoice_lines.full_period(one, moment) for one in items], "subscription_create", moment
    )
    store.change(row, latest_invoice=invoice.object_id)
    events.record("customer.subscription.created", row, moment)
    invoicing.issue(invoice, moment, setup_future_usage="off_session")
    return row, invoice


def new_items(subscription_id: str, chosen: list[tuple[Json, int]], at: int, moment: Moment) -> list[Json]:
    check_together([price for price, _quantity in chosen])
    return [
        subscription_bodies.item(subscription_id, price, quantity, at, moment, anchor=at) for price, quantity in chosen
    ]


def check_together(prices: list[Json]) -> None:
    """What Stripe asks of the prices of one subscription."""
    if any(price["type"] != "recurring" for price in prices):
        raise ApiError(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.",
            param="items",
        )
    if len({price["currency"] for price in prices}) > 1:
        raise ApiError("All prices of a subscription must use the same currency.", param="items")
    if len({price["id"] for price in prices}) < len(prices):
        raise ApiError("Cannot add multiple subscription items with the same price.", param="items")
    if len({(price["recurring"]["interval"], price["recurring"]["interval_count"]) for price in prices}) > 1:
        raise ApiError("The sandbox serves one interval per subscription.", param="items")


def wait_for_payment(subscription: StoredObject, moment: Moment) -> None:
    """An unpaid subscription ends by itself, unless a page that can still pay it ends it."""
    if subscription.data["status"] == "incomplete":
        subscription.private["incomplete_until"] = store.seconds(moment.now + standing.INCOMPLETE_FOR)
        subscription.save(update_fields=["private"])
        standing.set_timer(subscription)
