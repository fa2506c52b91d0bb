"""/v1/prices: for how much a product is sold, once or again and again."""

from typing import Any

from sandbox import events, expand, store
from sandbox.errors import ApiError, Json, missing
from sandbox.models import StoredObject
from sandbox.params import LIST, Array, Boolean, Currency, Integer, Metadata, Object, Text, TimeRange
from sandbox.routes import Call, endpoint

expand.REFERENCES["price"] = {"product"}
INTERVALS = ("day", "week", "month", "year")
TAX = Text(choices=("exclusive", "inclusive", "unspecified"))
CREATE: dict[str, Any] = {
    "active": Boolean(),
    "currency!": Currency(),
    "lookup_key": Text(max_length=200),
    "metadata": Metadata(),
    "nickname": Text(),
    "product!": Text(),
    "recurring": Object({"interval!": Text(choices=INTERVALS), "interval_count": Integer(1, 1095)}),
    "tax_behavior": TAX,
    "transfer_lookup_key": Boolean(),
    "unit_amount": Integer(0, 99_999_999),
}
UPDATE: dict[str, Any] = {
    "active": Boolean(),
    "lookup_key": Text(max_length=200, unset=True),
    "metadata": Metadata(),
    "nickname": Text(unset=True),
    "transfer_lookup_key": Boolean(),
}


def build(data: Json, product: str, *, active: bool) -> Json:
    """A price of one amount for one unit."""
    recurring = data.get("recurring")
    return {
        "active": active,
        "billing_scheme": "per_unit",
        "currency": data["currency"],
        "custom_unit_amount": None,
        "lookup_key": data.get("lookup_key"),
        "metadata": data.get("metadata", {}),
        "nickname": data.get("nickname"),
        "product": product,
        "recurring": recurring and _recurring(recurring),
        "tax_behavior": data.get("tax_behavior", "unspecified"),
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": data["unit_amount"],
        "unit_amount_decimal": str(data["unit_amount"]),
    }


def _recurring(given: Json) -> Json:
    return {
        "interval": given["interval"],
        "interval_count": given.get("interval_count", 1),
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def sellable(price_id: str, param: str) -> Json:
    """A price that may be sold now, or the refusal that names the parameter."""
    price = store.get("price", price_id, param=param).data
    if not price["active"]:
        raise ApiError(
            f"The price specified is inactive. This field only accepts active prices: {price_id}.", param=param
        )
    return price


def _free_key(key: str | None, transfer: bool, call: Call) -> None:
    """One active price per lookup key: a second one takes the key over, if it says so."""
    holder = StoredObject.objects.filter(kind="price", data__lookup_key=key).first() if key else None
    if holder is None or holder.object_id == call.ids.get("price"):
        return
    if not transfer:
        raise ApiError(f"A price (`{holder.object_id}`) already uses that lookup key.", param="lookup_key")
    before = store.change(holder, lookup_key=None)
    events.record("price.updated", holder, call.moment, previous=before)


@endpoint("POST", "/v1/prices", CREATE)
def create(call: Call) -> Json:
    params = call.params
    if "unit_amount" not in params:
        raise missing("unit_amount")
    product = store.get("product", params["product"], param="product").object_id
    _free_key(params.get("lookup_key"), params.get("transfer_lookup_key", False), call)
    row = store.create("price", build(params, product, active=params.get("active", True)), now=call.now)
    events.record("price.created", row, call.moment)
    return row.data


@endpoint("GET", "/v1/prices/{price}")
def retrieve(call: Call) -> Json:
    return store.get("price", call.ids["price"]).data


@endpoint("POST", "/v1/prices/{price}", UPDATE)
def update(call: Call) -> Json:
    row = store.get("price", call.ids["price"], lock=True)
    changes = dict(call.params)
    _free_key(changes.get("lookup_key"), changes.pop("transfer_lookup_key", False), call)
    if "metadata" in changes:
        changes["metadata"] = store.with_metadata(row.data["metadata"], changes["metadata"])
    before = store.change(row, **changes)
    if before:
        events.record("price.updated", row, call.moment, previous=before)
    return row.data


@endpoint(
    "GET",
    "/v1/prices",
    {
        **LIST,
        "active": Boolean(),
        "created": TimeRange(),
        "currency": Currency(),
        "lookup_keys": Array(Text(), most=10),
        "product": Text(),
        "type": Text(choices=("one_time", "recurring")),
    },
)
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="price")
    for name in ("active", "currency", "product", "type"):
        if name in call.params:
            rows = rows.filter(**{f"data__{name}": call.params[name]})
    if "lookup_keys" in call.params:
        rows = rows.filter(data__lookup_key__in=call.params["lookup_keys"])
    return store.listing(rows, call.params, url="/v1/prices")
