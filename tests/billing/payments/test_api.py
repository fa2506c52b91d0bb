"""`/api/v1/top-ups`: idempotent, scoped, and exact about what is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys
from accounts.models import Account
from billing.payments.models import TopUp
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/top-ups"


class Api:
    """A customer's program with a management key."""

    def __init__(self, account: Account, role: str = "admin") -> None:
        _, secret = api_keys.issue_management_key(account, name="test", role=role, now=clock.now(), actor=None)
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.http = Client()

    def post(self, body: Any, key: str | None = "k1", **headers: str) -> Any:
        sent = self.headers | ({"Idempotency-Key": key} if key is not None else {}) | headers
        return self.http.post(URL, body, content_type="application/json", headers=sent)

    def get(self, path: str = URL, **headers: str) -> Any:
        return self.http.get(path, headers=self.headers | headers)


@pytest.fixture
def api(shop: Shop) -> Api:
    return Api(shop.account)


def test_an_order_is_placed_once_and_the_same_request_gets_the_same_answer(shop: Shop, api: Api) -> None:
    first = api.post({"amount": "20.00"})
    again = api.post({"amount": "20"})

    order = TopUp.objects.get()
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    told = first.json()
    assert (told["order"], told["status"], told["amount"], told["checkout_url"]) == (
        order.number,
        "awaiting_payment",
        "20.00",
        order.checkout_url,
    )
    assert told["fx"]["rate"] == "7.3"
    assert told["account"] == str(shop.account.pk)
    assert order.created_by is None


def test_without_a_key_nothing_is_written(api: Api) -> None:
    answer = api.post({"amount": "20"}, key=None)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")
    assert api.post({"amount": "20"}, key="x" * 101).status_code == 422
    assert not TopUp.objects.exists()


def test_the_key_with_another_body_is_a_conflict(api: Api) -> None:
    api.post({"amount": "20"})
    answer = api.post({"amount": "30"})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
    assert TopUp.objects.count() == 1


BAD_AMOUNTS = ["0", "-20", "4.99", "1e12", "20.005", "NaN", "Infinity", "", "twenty", "9" * 41]
NOT_TEXT = [20.5, 20, None, True, [], {"x": 1}]


def test_a_bad_amount_is_a_problem_that_names_the_field(api: Api) -> None:
    for amount in BAD_AMOUNTS + NOT_TEXT:
        answer = api.post({"amount": amount})
        assert answer.status_code == 422, amount
        assert answer.headers["Content-Type"] == "application/problem+json"
        told = answer.json()
        assert told.get("field") == "amount" or told["errors"][0]["field"] == "amount", amount
    assert not TopUp.objects.exists()


def test_a_bad_body_is_a_problem(api: Api) -> None:
    for body in ({"amount": "20", "method": "cash"}, {}, [], "x", {"amount": "20", "currency": "XXX"}):
        assert api.post(body).status_code in (400, 422), body
    assert not TopUp.objects.exists()


def test_a_silent_provider_is_503_and_the_same_key_goes_on(shop: Shop, api: Api) -> None:
    shop.sandbox.fail_next("/v1/checkout/sessions", times=3)
    answer = api.post({"amount": "20"})
    assert (answer.status_code, answer.json()["code"]) == (503, "processor_unavailable")
    assert api.post({"amount": "20"}).json()["status"] == "awaiting_payment"
    assert TopUp.objects.count() == 1


def test_a_declined_order_tells_the_reason_in_the_language_asked_for(shop: Shop, api: Api) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id, "4000000000009995")
    shop.settle(order)
    told = api.get(f"{URL}/{order.number}").json()
    assert told["failure"]["code"] == "insufficient_funds"
    assert told["failure"]["failure_class"] == "issuer"
    assert "insufficient funds" in told["failure"]["title"]


def test_lists_are_paged_by_cursor_newest_first_and_hold_only_ones_own(shop: Shop, api: Api) -> None:
    numbers = [shop.order().number for _ in range(3)]
    stranger = factories.account(factories.user(), now=clock.now() + timedelta(seconds=1))
    theirs = shop.order(account=stranger).number

    first = api.get(f"{URL}?page_size=2").json()
    second = api.get(first["next"].removeprefix("http://testserver")).json()
    assert [row["order"] for row in first["results"] + second["results"]] == numbers[::-1]
    assert second["next_cursor"] is None
    assert api.get(f"{URL}?status=credited").json()["results"] == []
    assert api.get(f"{URL}?status=nonsense").status_code == 422
    foreign = api.get(f"{URL}/{theirs}")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")


def test_a_role_that_may_not_pay_reads_only(shop: Shop) -> None:
    api = Api(shop.account, "developer")
    assert api.get().status_code == 200
    assert api.post({"amount": "20"}).status_code == 403
    assert Client().get(URL).status_code == 401
    assert not TopUp.objects.exists()


def test_any_member_asks_the_provider_now_and_paid_is_credited_once(shop: Shop) -> None:
    api, order = Api(shop.account, "developer"), shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    path = f"{URL}/{order.number}/check"
    for _ in range(2):
        answer = api.http.post(path, headers=api.headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "credited")
    assert (shop.balance(), len(shop.credits())) == (20, 1)


def test_asking_again_at_once_is_429_and_says_when(shop: Shop, api: Api) -> None:
    order = shop.order()
    path = f"{URL}/{order.number}/check"
    assert api.http.post(path, headers=api.headers).json()["status"] == "awaiting_payment"
    answer = api.http.post(path, headers=api.headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "checked_just_now")
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    TopUp.objects.update(checked_at=clock.now() - timedelta(seconds=6))
    assert api.http.post(path, headers=api.headers).status_code == 200


def test_a_silent_provider_is_503_for_a_check_and_a_foreign_order_does_not_exist(shop: Shop, api: Api) -> None:
    order = shop.order()
    stranger = Api(factories.account(factories.user(), now=clock.now() + timedelta(seconds=1)))
    path = f"{URL}/{order.number}/check"
    assert stranger.http.post(path, headers=stranger.headers).status_code == 404
    assert Client().post(path).status_code == 401
    shop.sandbox.fail_next("/v1/checkout/sessions/", times=3)
    answer = api.http.post(path, headers=api.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "processor_unavailable")


def test_the_rate_is_told_with_its_source(api: Api) -> None:
    told = api.get("/api/v1/fx/usd-cny").json()
    assert (told["base"], told["quote"], told["rate"], told["source"], told["locked_seconds"]) == (
        "USD",
        "CNY",
        "7.3",
        "fixed",
        900,
    )
