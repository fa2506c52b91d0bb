"""/v1/products: what is sold."""

from typing import Any

from sandbox import events, expand, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Array, Boolean, Metadata, Text, TimeRange
from sandbox.routes import Call, endpoint

expand.REFERENCES["product"] = {"default_price"}
FIELDS: dict[str, Any] = {
    "active": Boolean(),
    "description": Text(unset=True),
    "images": Array(Text(), most=8),
    "metadata": Metadata(),
    "name": Text(),
    "unit_label": Text(unset=True),
}


def build(data: Json, call: Call, *, active: bool) -> Json:
    return {
        "active": active,
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
    }


@endpoint("POST", "/v1/products", {**{name: kind for name, kind in FIELDS.items() if name != "name"}, "name!": Text()})
def create(call: Call) -> Json:
    row = store.create("product", build(call.params, call, active=call.params.get("active", True)), now=call.now)
    events.record("product.created", row, call.moment)
    return row.data


@endpoint("GET", "/v1/products/{product}")
def retrieve(call: Call) -> Json:
    return store.get("product", call.ids["product"]).data


@endpoint("POST", "/v1/products/{product}", FIELDS)
def update(call: Call) -> Json:
    row = store.get("product", call.ids["product"], lock=True)
    changes = dict(call.params)
    if "metadata" in changes:
        changes["metadata"] = store.with_metadata(row.data["metadata"], changes["metadata"])
    before = store.change(row, **changes)
    if before:
        before |= store.change(row, updated=store.seconds(call.now))
        events.record("product.updated", row, call.moment, previous=before)
    return row.data


@endpoint("GET", "/v1/products", {**LIST, "active": Boolean(), "created": TimeRange(), "ids": Array(Text())})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="product")
    if "active" in call.params:
        rows = rows.filter(data__active=call.params["active"])
    if "ids" in call.params:
        rows = rows.filter(object_id__in=call.params["ids"])
    return store.listing(rows, call.params, url="/v1/products")
