"""/v1/invoices"""

from typing import Any

from sandbox import expand, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Text, TimeRange
from sandbox.resources import invoice_payments
from sandbox.routes import Call, endpoint

expand.REFERENCES["invoice"] = {"customer", "default_payment_method"}
STATUSES = ("draft", "open", "paid", "uncollectible", "void")


@endpoint("GET", "/v1/invoices/{invoice}")
def retrieve(call: Call) -> Json:
    return store.get("invoice", call.ids["invoice"]).data


@endpoint(
    "GET",
    "/v1/invoices",
    {**LIST, "created": TimeRange(), "customer": Text(), "status": Text(choices=STATUSES), "subscription": Text()},
)
def index(call: Call) -> Json:
    params = call.params
    rows = store.invoices_of(params["subscription"]) if "subscription" in params else _all()
    if "customer" in params:
        rows = rows.filter(customer=params["customer"])
    if "status" in params:
        rows = rows.filter(data__status=params["status"])
    return store.listing(rows, params, url="/v1/invoices")


def _all() -> Any:
    return StoredObject.objects.filter(kind="invoice")


def _confirmation_secret(body: Json) -> Json | None:
    intent = store.find("payment_intent", store.get("invoice", body["id"]).private.get("payment_intent"))
    return {"type": "payment_intent", "client_secret": intent.data["client_secret"]} if intent else None


expand.INCLUDED["invoice", "payments"] = lambda body: invoice_payments.of_invoice(body["id"])
expand.INCLUDED["invoice", "confirmation_secret"] = _confirmation_secret
