"""What must not be taken, by form and by API: a clear problem, and not one row written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.test import Client

from billing.payments import fx
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop
from tests.billing.payments.test_api import Api

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/billing/top-up"
TABLES = ("TopUp", "RiskAssessment", "PaymentAttempt", "AttemptTrace", "JournalEntry", "CreditGrant", "PaymentCustomer")


def rows() -> dict[str, int]:
    """How many rows there are of everything that an order may write."""
    return {name: apps.get_model("billing", name)._default_manager.count() for name in TABLES}


AMOUNTS = [
    "0",
    "-1",
    "-0.01",
    "1e12",
    "1000000000000",
    "NaN",
    "Infinity",
    "-Infinity",
    "20.005",
    "4.99",
    "",
    " ",
]
AMOUNTS += ["10000.01", "0x14", "twenty", "2 0", "9" * 40]


@pytest.mark.parametrize("method", ["card", "alipay", "wechat_pay"])
def test_a_bad_amount_writes_nothing(shop: Shop, client: Client, method: str) -> None:
    client.force_login(shop.owner)
    api = Api(shop.account)
    before = rows()
    for amount in AMOUNTS:
        form = {"account": str(shop.account.pk), "token": uuid4().hex, "method": method, "preset": "", "other": amount}
        page = client.post(PAGE, form)
        assert (page.status_code, 'role="alert"' in page.content.decode()) == (422, True), amount
        told = api.post({"amount": amount, "method": method}, key=uuid4().hex)
        assert told.status_code == 422, amount
        assert told.headers["Content-Type"] == "application/problem+json"
        assert told.json().get("field") == "amount" or told.json()["errors"][0]["field"] == "amount", amount
    assert rows() == before


def test_an_unknown_method_or_currency_writes_nothing(shop: Shop, client: Client) -> None:
    client.force_login(shop.owner)
    api = Api(shop.account)
    before = rows()
    for method in ("cash", "", "CARD", "alipay ", "card\x00"):
        form = {"account": str(shop.account.pk), "token": uuid4().hex, "method": method, "preset": "20", "other": ""}
        if method != "alipay ":  # a form's text is stripped
            assert client.post(PAGE, form).status_code == 422, method
        assert api.post({"amount": "20", "method": method}, key=uuid4().hex).status_code == 422, method
    for currency in ("XXX", "EUR", "CNY"):  # the currency follows from the method; nobody chooses it
        assert api.post({"amount": "20", "currency": currency}, key=uuid4().hex).status_code == 422
    assert rows() == before


def test_a_bad_quote_writes_nothing_and_says_what_is_wrong(shop: Shop, client: Client) -> None:
    client.force_login(shop.owner)
    api = Api(shop.account)
    now = clock.now()
    stranger = factories.account(factories.user(), now=now + timedelta(seconds=1))
    used = fx.lock(shop.account.pk, now=now)
    shop.order(method="alipay", quote_id=used.pk)
    bad = {
        str(fx.lock(shop.account.pk, now=now - fx.LOCKED_FOR).pk): (409, "quote_expired"),
        str(used.pk): (409, "quote_used"),
        str(fx.lock(stranger.pk, now=now).pk): (422, "invalid_request"),
        str(uuid4()): (422, "invalid_request"),
        "nonsense": (422, "invalid_request"),
    }
    before = rows()
    for quote, (status, code) in bad.items():
        body = {"amount": "20", "method": "alipay", "quote": quote}
        told = api.post(body, key=uuid4().hex)
        assert (told.status_code, told.json()["code"]) == (status, code), quote
        form = {"account": str(shop.account.pk), "token": uuid4().hex, "method": "alipay", "preset": "20", "other": ""}
        page = client.post(PAGE, form | {"quote": quote})
        assert (page.status_code, 'role="alert"' in page.content.decode()) == (status, True), quote
    assert rows() == before


def test_a_card_is_paid_in_dollars_whatever_became_of_the_rate_on_the_page(shop: Shop, client: Client) -> None:
    client.force_login(shop.owner)
    over = fx.lock(shop.account.pk, now=clock.now() - timedelta(hours=1))
    form = {"account": str(shop.account.pk), "token": uuid4().hex, "method": "card", "preset": "20", "other": ""}
    assert client.post(PAGE, form | {"quote": str(over.pk)}).status_code == 302


def test_a_foreign_order_is_not_found_by_any_door(shop: Shop, client: Client) -> None:
    stranger = factories.user()
    factories.account(stranger, now=clock.now() + timedelta(seconds=1))
    order = shop.order(method="alipay")
    client.force_login(stranger)
    before = rows()
    for path in ("", "/status"):
        assert client.get(f"{PAGE}/{order.number}{path}").status_code == 404
    for path in ("/pay", "/check"):
        assert client.post(f"{PAGE}/{order.number}{path}").status_code == 404
    theirs = Api(factories.account(stranger, now=clock.now() + timedelta(seconds=2)))
    assert theirs.get(f"/api/v1/top-ups/{order.number}").status_code == 404
    assert rows() == before


@pytest.mark.parametrize("other", [{"amount": "30"}, {"method": "card"}, {"quote": "a new one"}])
def test_a_key_that_was_used_for_something_else_is_a_conflict(shop: Shop, other: dict[str, Any]) -> None:
    api = Api(shop.account)
    body = {"amount": "20", "method": "alipay"}
    first = api.post(body)
    assert first.status_code == 201
    if "quote" in other:
        other = {"quote": str(fx.lock(shop.account.pk, now=clock.now()).pk)}
    before = rows()
    told = api.post(body | other)
    assert (told.status_code, told.json()["code"]) == (409, "idempotency_conflict")
    assert api.post(body).json()["order"] == first.json()["order"]
    assert rows() == before


# --- The API of rates -------------------------------------------------------------------------------------------------


def test_a_quote_is_made_and_paid_with_by_a_program(shop: Shop) -> None:
    api = Api(shop.account)
    made = api.http.post("/api/v1/fx/quotes", {"amount": "50.00"}, content_type="application/json", headers=api.headers)
    told = made.json()
    assert (made.status_code, told["rate"], told["source"], told["pay_amount"]) == (201, "7.3", "fixed", "365.00")

    order = api.post({"amount": "50.00", "method": "wechat_pay", "quote": told["quote"]}).json()
    assert (order["pay_amount"], order["pay_currency"], order["amount"]) == ("365.00", "CNY", "50.00")
    assert (order["fx"]["quote"], order["hold"]) == (told["quote"], None)
    bad = api.http.post("/api/v1/fx/quotes", {"amount": "-1"}, content_type="application/json", headers=api.headers)
    assert bad.status_code == 422
    reader = Api(shop.account, "developer")
    assert reader.http.post("/api/v1/fx/quotes", {}, headers=reader.headers).status_code == 403


def test_the_api_says_that_the_market_rate_is_stale(shop: Shop, settings: Any) -> None:
    settings.FX_FEED_URL = "http://127.0.0.1:9/"
    told = Api(shop.account).get("/api/v1/fx/usd-cny").json()
    assert (told["source"], told["stale"], told["rate"]) == ("fixed", True, "7.3")
    assert told["age_seconds"] >= 0
