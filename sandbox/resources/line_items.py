"""Line items of a checkout session, with the prices and products that `price_data` makes on the way."""

from sandbox import store
from sandbox.errors import ApiError, Json, missing
from sandbox.models import StoredObject
from sandbox.params import Array, Currency, Integer, Metadata, Object, Text
from sandbox.resources import prices, products
from sandbox.routes import Call

PRODUCT = Object(
    {
        "description": Text(),
        "images": Array(Text(), most=8),
        "metadata": Metadata(),
        "name!": Text(),
        "unit_label": Text(),
    }
)
ITEM = Object(
    {
        "metadata": Metadata(),
        "price": Text(),
        "price_data": Object(
            {
                "currency!": Currency(),
                "product": Text(),
                "product_data": PRODUCT,
                "tax_behavior": Text(choices=("exclusive", "inclusive", "unspecified")),
                "unit_amount": Integer(0),
            }
        ),
        "quantity": Integer(1, 999_999),
    }
)


def build_all(given: list[Json], call: Call) -> list[Json]:
    """The items of a new session, all of one currency."""
    items = [_build(item, position, call) for position, item in enumerate(given)]
    if len({item["currency"] for item in items}) > 1:
        raise ApiError("All prices of a Checkout Session must use the same currency.", param="line_items")
    return items


def _build(given: Json, position: int, call: Call) -> Json:
    at = f"line_items[{position}]"
    if ("price" in given) == ("price_data" in given):
        raise missing(f"{at}[price_data]")
    if "quantity" not in given:
        raise missing(f"{at}[quantity]")
    if "price" in given:
        price = prices.sellable(given["price"], f"{at}[price]")
        product = store.get("product", price["product"]).data
    else:
        price, product = _made_on_the_way(given["price_data"], at, call)
    total = price["unit_amount"] * given["quantity"]
    return {
        "id": store.new_id("item", call.now),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": price["currency"],
        "description": product["name"],
        "metadata": given.get("metadata", {}),
        "price": price,
        "quantity": given["quantity"],
    }


def _made_on_the_way(data: Json, at: str, call: Call) -> tuple[Json, Json]:
    """The price and the product of `price_data`. They are not active: they cannot be sold again."""
    if "unit_amount" not in data:
        raise missing(f"{at}[price_data][unit_amount]")
    if ("product" in data) == ("product_data" in data):
        raise missing(f"{at}[price_data][product_data]")
    if "product" in data:
        product = store.get("product", data["product"], param=f"{at}[price_data][product]").data
    else:
        product = store.create("product", products.build(data["product_data"], call, active=False), now=call.now).data
    price = store.create("price", prices.build(data, product["id"], active=False), now=call.now).data
    return price, product


def page(session: StoredObject, params: Json) -> Json:
    """The list object of a session's items, first to last."""
    items = session.private["line_items"]
    ids = [item["id"] for item in items]
    start = ids.index(params["starting_after"]) + 1 if params.get("starting_after") in ids else 0
    limit = params.get("limit", 10)
    return {
        "object": "list",
        "url": f"/v1/checkout/sessions/{session.object_id}/line_items",
        "has_more": len(items) > start + limit,
        "data": items[start : start + limit],
    }
