"""Line items of a checkout session, with the prices and products that `price_data` makes on the way."""

from sandbox import expand, store
from sandbox.errors import ApiError, Json, missing
from sandbox.models import StoredObject
from sandbox.params import Array, Currency, Integer, Metadata, Object, Text
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
expand.REFERENCES["price"] = {"product"}


def build_all(given: list[Json], call: Call) -> list[Json]:
    """The items of a new session, all of one currency."""
    items = [_build(item, position, call) for position, item in enumerate(given)]
    if len({item["currency"] for item in items}) > 1:
        raise ApiError("All prices of a Checkout Session must use the same currency.", param="line_items")
    return items


def _build(given: Json, position: int, call: Call) -> Json:
    data, at = given.get("price_data"), f"line_items[{position}]"
    if data is None:
        raise missing(f"{at}[price_data]")
    if "unit_amount" not in data:
        raise missing(f"{at}[price_data][unit_amount]")
    if ("product" in data) == ("product_data" in data):
        raise missing(f"{at}[price_data][product_data]")
    if "quantity" not in given:
        raise missing(f"{at}[quantity]")
    if "product" in data:
        product = store.get("product", data["product"], param=f"{at}[price_data][product]").data
    else:
        product = _product(data["product_data"], call).data
    total = data["unit_amount"] * given["quantity"]
    return {
        "id": store.new_id("item", call.now),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": data["currency"],
        "description": product["name"],
        "metadata": given.get("metadata", {}),
        "price": _price(data, product["id"], call).data,
        "quantity": given["quantity"],
    }


def _product(data: Json, call: Call) -> StoredObject:
    """A product made on the way is not active: it cannot be sold again."""
    return store.create(
        "product",
        {
            "active": False,
            "default_price": None,
            "description": data.get("description"),
            "images": data.get("images", []),
            "marketing_features": [],
            "metadata": data.get("metadata", {}),
            "name": data["name"],
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "type": "service",
            "unit_label": data.get("unit_label"),
            "updated": store.seconds(call.now),
            "url": None,
        },
        now=call.now,
    )


def _price(data: Json, product: str, call: Call) -> StoredObject:
    return store.create(
        "price",
        {
            "active": False,
            "billing_scheme": "per_unit",
            "currency": data["currency"],
            "custom_unit_amount": None,
            "lookup_key": None,
            "metadata": {},
            "nickname": None,
            "product": product,
            "recurring": None,
            "tax_behavior": data.get("tax_behavior", "unspecified"),
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "one_time",
            "unit_amount": data["unit_amount"],
            "unit_amount_decimal": str(data["unit_amount"]),
        },
        now=call.now,
    )


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
