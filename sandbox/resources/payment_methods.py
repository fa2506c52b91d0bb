"""/v1/payment_methods"""

import hashlib

from sandbox import expand, store
from sandbox.cards import TestCard
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Text
from sandbox.routes import Call, endpoint

TYPES = ("card", "alipay", "wechat_pay")
expand.REFERENCES["payment_method"] = {"customer"}


def billing_details(*, email: str | None, name: str | None, country: str | None) -> Json:
    address = {"city": None, "country": country, "line1": None, "line2": None, "postal_code": None, "state": None}
    return {"address": address, "email": email, "name": name, "phone": None, "tax_id": None}


def build(type: str, *, billing: Json, details: Json, customer: str | None = None) -> Json:
    return {
        "allow_redisplay": "unspecified",
        "billing_details": billing,
        "customer": customer,
        "customer_account": None,
        "metadata": {},
        "type": type,
        type: details,
    }


def card_details(card: TestCard, *, month: int, year: int, cvc_check: str) -> Json:
    return {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": cvc_check},
        "country": "US",
        "display_brand": card.brand,
        "exp_month": month,
        "exp_year": year,
        "fingerprint": hashlib.sha256(card.number.encode()).hexdigest()[:16],
        "funding": card.funding,
        "generated_from": None,
        "last4": card.number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


@endpoint("GET", "/v1/payment_methods/{payment_method}")
def retrieve(call: Call) -> Json:
    return store.get("payment_method", call.ids["payment_method"]).data


@endpoint("GET", "/v1/payment_methods", {**LIST, "customer": Text(), "type": Text(choices=TYPES)})
def index(call: Call) -> Json:
    return _of(call, call.params.get("customer"), "/v1/payment_methods")


@endpoint("GET", "/v1/customers/{customer}/payment_methods", {**LIST, "type": Text(choices=TYPES)})
def of_customer(call: Call) -> Json:
    customer = store.get("customer", call.ids["customer"]).object_id
    return _of(call, customer, f"/v1/customers/{customer}/payment_methods")


def _of(call: Call, customer: str | None, url: str) -> Json:
    rows = StoredObject.objects.filter(kind="payment_method")
    rows = rows.filter(customer=customer) if customer else rows.none()
    if "type" in call.params:
        rows = rows.filter(data__type=call.params["type"])
    return store.listing(rows, call.params, url=url)
