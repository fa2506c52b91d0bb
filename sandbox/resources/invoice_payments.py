"""/v1/invoice_payments: which payment intent pays which invoice."""

from sandbox import expand, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Object, Text, TimeRange
from sandbox.routes import Call, endpoint

expand.REFERENCES["invoice_payment"] = {"invoice"}


def of_invoice(invoice_id: str) -> Json:
    rows = StoredObject.objects.filter(kind="invoice_payment", data__invoice=invoice_id)
    return store.listing(rows, {}, url=f"/v1/invoice_payments?invoice={invoice_id}")


@endpoint("GET", "/v1/invoice_payments/{invoice_payment}")
def retrieve(call: Call) -> Json:
    return store.get("invoice_payment", call.ids["invoice_payment"]).data


@endpoint(
    "GET",
    "/v1/invoice_payments",
    {
        **LIST,
        "created": TimeRange(),
        "invoice": Text(),
        "payment": Object({"type!": Text(choices=("payment_intent",)), "payment_intent": Text()}),
        "status": Text(choices=("canceled", "open", "paid")),
    },
)
def index(call: Call) -> Json:
    params, rows = call.params, StoredObject.objects.filter(kind="invoice_payment")
    for name in ("invoice", "status"):
        if name in params:
            rows = rows.filter(**{f"data__{name}": params[name]})
    if "payment_intent" in params.get("payment", {}):
        rows = rows.filter(data__payment__payment_intent=params["payment"]["payment_intent"])
    return store.listing(rows, params, url="/v1/invoice_payments")
