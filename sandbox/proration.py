"""What a change of a subscription's items comes to: the items afterwards, and the lines that pay for the difference.

It changes nothing: an update applies what is found here, a preview only shows it.
"""

from dataclasses import dataclass
from typing import Any

from sandbox import invoice_lines, standing, store, subscribing
from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject
from sandbox.params import Array, Boolean, Integer, Object, Text
from sandbox.periods import end_of_period
from sandbox.resources import prices, subscription_bodies
from sandbox.store import Moment

PRORATIONS = ("always_invoice", "create_prorations", "none")
ITEMS = Array(
    Object({"deleted": Boolean(), "id": Text(), "price": Text(), "quantity": Integer(1, 999_999)}),
    most=20,
)
ANCHOR = Object({"type!": Text(choices=("now", "unchanged"))})


@dataclass(frozen=True)
class Change:
    at: int
    items: list[Json]
    lines: list[Json]
    anchor: int | None  # a new billing cycle begins at this time

    def apply(self, subscription: StoredObject) -> Json:
        """The changes of the subscription's fields."""
        changes: Json = {"items": subscription_bodies.item_list(subscription.object_id, self.items)}
        if self.anchor is not None:
            changes["billing_cycle_anchor"] = self.anchor
            if subscription.data["cancel_at_period_end"]:
                changes["cancel_at"] = min(item["current_period_end"] for item in self.items)
        return changes


def plan(subscription: StoredObject, given: Json, moment: Moment, *, path: str = "") -> Change:
    """The change that `items`, `proration_behavior`, `proration_date` and `billing_cycle_anchor` ask for.

    Prices of another interval begin a new cycle now, as does the anchor; otherwise the period stays, and what is left
    of it is credited at the old price and charged at the new one.
    """
    data = subscription.data
    old: list[Json] = data["items"]["data"]
    new = _items_after(subscription, given.get("items", []), moment, path)
    at = _date(subscription, given.get("proration_date"), moment)
    behaviour = given.get("proration_behavior", "create_prorations")
    resets = given.get("billing_cycle_anchor", {}).get("type") == "now" or _rhythm(new) != _rhythm(old)
    lines: list[Json] = []
    if resets:
        new = [_from_now(item, at) for item in new]
        if behaviour != "none":
            lines = [_credit(item, at, moment) for item in old]
        lines += [invoice_lines.full_period(item, moment) for item in new]
    elif behaviour != "none":
        before, after = {item["id"]: item for item in old}, {item["id"]: item for item in new}
        changed = [item for item in old if _sold(after.get(item["id"])) != _sold(item)]
        lines = [_credit(item, at, moment) for item in changed]
        lines += [
            invoice_lines.remaining_time(item, at, moment)
            for item in new
            if _sold(before.get(item["id"])) != _sold(item)
        ]
    return Change(at, new, lines, at if resets else None)


def _credit(item: Json, at: int, moment: Moment) -> Json:
    return invoice_lines.unused_time(item, at, moment, invoice_lines.credited(item))


def _sold(item: Json | None) -> Any:
    return (item["price"]["id"], item["quantity"]) if item else None


def _rhythm(items: list[Json]) -> tuple[str, int]:
    recurring = items[0]["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _from_now(item: Json, at: int) -> Json:
    end = end_of_period(at, at, *_rhythm([item]))
    return {**item, "current_period_start": at, "current_period_end": end}


def _date(subscription: StoredObject, asked: int | None, moment: Moment) -> int:
    start, end = standing.period_start(subscription), standing.period_end(subscription)
    if asked is None:
        return max(start, min(store.seconds(moment.now), end))
    if not start <= asked <= end:
        raise ApiError(
            "Cannot specify a `proration_date` outside of the current billing period.", param="proration_date"
        )
    return asked


def _items_after(subscription: StoredObject, given: list[Json], moment: Moment, path: str) -> list[Json]:
    items: dict[str, Json] = {item["id"]: item for item in subscription.data["items"]["data"]}
    start, end = standing.period_start(subscription), standing.period_end(subscription)
    for position, wish in enumerate(given):
        param = f"{path}[items][{position}]" if path else f"items[{position}]"
        if "id" in wish and wish["id"] not in items:
            raise ApiError(f"No such subscription item: '{wish['id']}'", code="resource_missing", param=f"{param}[id]")
        old = items.get(wish.get("id", ""))
        if wish.get("deleted"):
            if old is None:
                raise ApiError("Name the item to delete by its id.", param=f"{param}[id]")
            del items[old["id"]]
            continue
        if "price" in wish and not (old and old["price"]["id"] == wish["price"]):
            price = prices.sellable(wish["price"], f"{param}[price]")
        elif old:
            price = old["price"]
        else:
            raise ApiError("An item needs a price.", param=f"{param}[price]")
        quantity = int(wish.get("quantity") or (old["quantity"] if old else 1))
        if old:
            items[old["id"]] = subscription_bodies.with_price(old, price, quantity)
        else:
            anchor = subscription.data["billing_cycle_anchor"]
            item = subscription_bodies.item(
                subscription.object_id, price, quantity, start, moment, anchor=anchor, end=end
            )
            items[item["id"]] = item
    if not items:
        raise ApiError("A subscription must have at least one active price.", param="items")
    subscribing.check_together([item["price"] for item in items.values()])
    return list(items.values())
