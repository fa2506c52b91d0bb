"""/v1/customers"""

from typing import Any

from sandbox import ending, events, expand, standing, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import ADDRESS, LIST, Array, Email, Metadata, Object, Text, TimeRange
from sandbox.routes import Call, endpoint

FIELDS: dict[str, Any] = {
    "address": ADDRESS,
    "description": Text(unset=True),
    "email": Email(),
    "invoice_settings": Object({"default_payment_method": Text(unset=True)}),
    "metadata": Metadata(),
    "name": Text(unset=True, max_length=256),
    "phone": Text(unset=True, max_length=20),
    "preferred_locales": Array(Text()),
}
expand.REFERENCES["customer"] = {"default_source"}


def build(params: Json) -> Json:
    return {
        "address": None,
        "balance": 0,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": None,
        "invoice_prefix": None,
        "invoice_settings": _invoice_settings(None),
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        **_shown(params, {}),
    }


def _invoice_settings(default_payment_method: str | None) -> Json:
    return {
        "custom_fields": None,
        "default_payment_method": default_payment_method,
        "footer": None,
        "rendering_options": None,
    }


def _shown(params: Json, metadata: dict[str, str]) -> Json:
    shown = dict(params)
    if "metadata" in shown:
        shown["metadata"] = store.with_metadata(metadata, shown["metadata"])
    if "address" in shown:
        shown["address"] = {**dict.fromkeys(ADDRESS.fields), **shown["address"]}
    if "invoice_settings" in shown:
        method = shown["invoice_settings"].get("default_payment_method")
        if method:
            store.get("payment_method", method, param="invoice_settings[default_payment_method]")
        shown["invoice_settings"] = _invoice_settings(method)
    return shown


@endpoint("POST", "/v1/customers", FIELDS)
def create(call: Call) -> Json:
    row = store.create("customer", build(call.params), now=call.now)
    store.change(row, invoice_prefix=row.object_id[-8:].upper())
    events.record("customer.created", row, call.moment)
    return row.data


@endpoint("GET", "/v1/customers", {**LIST, "email": Text(), "created": TimeRange()})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="customer").exclude(data__has_key="deleted")
    if "email" in call.params:
        rows = rows.filter(data__email=call.params["email"])
    return store.listing(rows, call.params, url="/v1/customers")


@endpoint("GET", "/v1/customers/{customer}")
def retrieve(call: Call) -> Json:
    return store.get("customer", call.ids["customer"]).data


@endpoint("POST", "/v1/customers/{customer}", FIELDS)
def update(call: Call) -> Json:
    row = store.get("customer", call.ids["customer"], lock=True)
    before = store.change(row, **_shown(call.params, row.data["metadata"]))
    if before:
        events.record("customer.updated", row, call.moment, previous=before)
    return row.data


@endpoint("DELETE", "/v1/customers/{customer}")
def delete(call: Call) -> Json:
    """Forget a customer; the subscriptions that run end with it."""
    running = StoredObject.objects.filter(
        kind="subscription", customer=call.ids["customer"], data__status__in=standing.RUNNING
    )
    for subscription in running.order_by("pk").values_list("object_id", flat=True):
        locked = store.get("subscription", subscription, lock=True)
        ending.end(locked, call.moment, reason="cancellation_requested")
    row = store.get("customer", call.ids["customer"], lock=True)
    events.record("customer.deleted", row, call.moment)
    row.data = {"id": row.object_id, "object": "customer", "deleted": True}
    row.save()
    return row.data
