"""/v1/invoices"""

from typing import Any

from sandbox import expand, invoicing, standing, store
from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Boolean, Text, TimeRange
from sandbox.resources import invoice_payments
from sandbox.resources.subscriptions import check_card
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


def _locked(call: Call) -> tuple[StoredObject, StoredObject]:
    """The subscription and its invoice, locked in that order."""
    named = store.get("invoice", call.ids["invoice"]).data["parent"]["subscription_details"]["subscription"]
    subscription = store.get("subscription", named, lock=True)
    return subscription, store.get("invoice", call.ids["invoice"], lock=True)


@endpoint(
    "POST",
    "/v1/invoices/{invoice}/pay",
    {"off_session": Boolean(), "payment_method": Text()},
)
def pay(call: Call) -> Json | ApiError:
    """Try an open invoice now, with this card or the default one. A decline is an answer of 402 and also a fact."""
    subscription, invoice = _locked(call)
    if invoice.data["status"] == "paid":
        raise ApiError("Invoice is already paid", param="invoice")
    if invoice.data["status"] != "open":
        raise ApiError(f"This invoice is {invoice.data['status']} and cannot be paid.", param="invoice")
    method = check_card(call.params.get("payment_method"), subscription.data["customer"])
    if method is None and standing.default_card(subscription) is None:
        raise ApiError("There is no default payment method to pay this invoice with.", code="resource_missing")
    retry_at = invoice.data["next_payment_attempt"]
    standing.collect(subscription, invoice, call.moment, method=method, retry_at=retry_at)
    if invoice.data["status"] == "paid":
        return invoice.data
    return standing.refusal(invoice)


@endpoint("POST", "/v1/invoices/{invoice}/void")
def void(call: Call) -> Json:
    """Take an open invoice back, and with it what its subscription waited for."""
    subscription, invoice = _locked(call)
    if invoice.data["status"] != "open":
        raise ApiError(f"You can only void an open invoice. This one is {invoice.data['status']}.", param="invoice")
    invoicing.void(invoice, call.moment)
    standing.after(subscription, invoice, call.moment)
    return invoice.data


@endpoint("GET", "/v1/invoices/{invoice}/lines", LIST)
def lines_of(call: Call) -> Json:
    return dict(store.get("invoice", call.ids["invoice"]).data["lines"])


def _confirmation_secret(body: Json) -> Json | None:
    intent = store.find("payment_intent", store.get("invoice", body["id"]).private.get("payment_intent"))
    return {"type": "payment_intent", "client_secret": intent.data["client_secret"]} if intent else None


expand.INCLUDED["invoice", "payments"] = lambda body: invoice_payments.of_invoice(body["id"])
expand.INCLUDED["invoice", "confirmation_secret"] = _confirmation_secret
