"""At the gateway's door while a plan is given back: nothing is spent of it, and all else goes on (C14, C15)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from accounts.models import ApiKey
from config import clock
from gateway.models import DecisionReceipt
from refunds import outcomes, plan_lifecycle, plan_settling
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions import conversations
from subscriptions.models import Subscription
from tests import factories
from tests.flush import broken_books
from tests.gateway.conftest import _server, gateway, gateway_token, live_stack
from tests.refunds.states import state_of
from tests.subscriptions.driving import Driver, plan_version
from tests.subscriptions.invoicing import paid_invoice

__all__ = ["_server", "gateway", "gateway_token", "live_stack"]


@pytest.fixture
def there(live_stack: str) -> Driver:
    """An account with $1, on a Pro plan that was paid an hour ago; one dollar is 39.6 Flows."""
    now = clock.now() - timedelta(hours=1)
    made = Driver(factories.funded("1"), factories.price(), plan_version("free", model_slugs=["test/other"]))
    row = made.subscribe(plan_version("pro"), now, now + timedelta(days=30))
    paid_invoice(row, at=now, paid_at=now, period_start=now, period_end=now + timedelta(days=30))
    return made


@pytest.fixture
def secret(there: Driver) -> str:
    return factories.key(there.account, kind="subscription")[1]


def call(secret: str, **more: Any) -> dict[str, Any]:
    return {
        "request_id": uuid4().hex,
        "api_key": secret,
        "model": "test/model",
        "estimate": {"input_tokens": 100, "max_output_tokens": 0},
    } | more


def authorize(gateway: httpx.Client, secret: str, **more: Any) -> httpx.Response:
    return gateway.post("/api/v1/authorizations", json=call(secret, **more))


def submit(there: Driver) -> PlanRefund:
    token = plan_lifecycle.preview(there.account.pk, now=clock.now()).token
    return plan_lifecycle.submit(there.account.pk, token, client_key=uuid4().hex, actor=None, now=clock.now())


def test_a_call_is_refused_with_its_receipt_until_the_refund_is_taken_back(
    gateway: httpx.Client, there: Driver, secret: str
) -> None:
    refund = submit(there)
    answer = authorize(gateway, secret)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["limit_source"]) == (403, "refund_pending", "plan")
    assert problem["gates"][-1] == {"gate": "plan", "verdict": "refuse", "value": "refund_pending", "limit": None}
    receipt = DecisionReceipt.objects.get()
    assert (receipt.code, receipt.account_id) == ("refund_pending", there.account.pk)
    assert there.windows() == []

    batch = gateway.post(
        "/api/v1/authorizations/batch", json={"authorizations": [call(secret), call(factories.key(there.account)[1])]}
    ).json()["results"]
    assert [one.get("code") or one.get("funding") for one in batch] == ["refund_pending", "payg"]

    plan_lifecycle.cancel(refund.pk, actor=None, now=clock.now())
    assert authorize(gateway, secret).json()["funding"] == "subscription"


def test_extra_usage_does_not_pay_for_a_plan_that_is_given_back(
    gateway: httpx.Client, there: Driver, secret: str
) -> None:
    there.agree("5", clock.now())
    submit(there)
    assert authorize(gateway, secret).json()["code"] == "refund_pending"


def test_a_first_party_app_on_flows_is_refused_and_on_the_balance_goes_on(gateway: httpx.Client, there: Driver) -> None:
    submit(there)
    body = call("", account=str(there.account.pk), conversation="chat-1")
    del body["api_key"]
    assert gateway.post("/api/v1/authorizations", json=body).json()["code"] == "refund_pending"
    conversations.set_mode(there.account.pk, "chat-1", "payg", now=clock.now())
    again = body | {"request_id": uuid4().hex}
    assert gateway.post("/api/v1/authorizations", json=again).json()["funding"] == "payg"
    sent = body | {"request_id": uuid4().hex, "billing_mode": "subscription"}
    assert gateway.post("/api/v1/authorizations", json=sent).json()["code"] == "refund_pending"


def test_a_call_that_was_made_is_charged_and_counts_though_the_plan_is_paused(
    gateway: httpx.Client, there: Driver, secret: str
) -> None:
    held = authorize(gateway, secret).json()
    refund = submit(there)
    assert plan_settling.settle(refund.pk, now=clock.now()).status == "settling"
    repeat = gateway.post(f"/api/v1/authorizations/{held['id']}/capture", json={"usage": {"input_tokens": 200}})
    assert repeat.json()["flows"] == "7.920000"
    event = {"request_id": uuid4().hex, "api_key": secret, "model": "test/model", "usage": {"input_tokens": 1000}}
    [told] = gateway.post("/api/v1/usage", json={"events": [event]}).json()["results"]
    assert (told["status"], told["flows"]) == ("created", "39.600000")

    done = plan_settling.settle(refund.pk, now=clock.now())
    assert (done.status, done.settled["usage"]) == ("submitted", 120)  # $0.20 and $1.00
    assert done.final_minor == 1786  # 95 % of 18.80


@pytest.mark.parametrize("outcome", ["failed", "succeeded"])
def test_after_its_end_the_plan_goes_on_or_its_keys_are_disabled(
    gateway: httpx.Client, there: Driver, secret: str, outcome: str
) -> None:
    payg = factories.key(there.account)[1]
    refund = plan_settling.settle(submit(there).pk, now=clock.now())
    assert refund.status == "submitted"
    assert authorize(gateway, secret).json()["code"] == "refund_pending"
    [part] = Refund.objects.all()
    outcomes.record_outcome(part.pk, state_of(part, outcome), now=clock.now())

    answer = authorize(gateway, secret)
    row = Subscription.objects.get()
    if outcome == "failed":
        assert (answer.json()["funding"], row.status, row.paused_at) == ("subscription", "active", None)
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "key_disabled")
        assert (row.status, row.end_reason) == ("ended", "refunded")
        assert ApiKey.objects.get(kind="subscription").disabled_at is not None
        fresh = factories.key(there.account, kind="subscription")[1]  # Free has another model
        assert authorize(gateway, fresh).json()["code"] in ("plan_required", "model_not_permitted")
    assert authorize(gateway, payg).json()["funding"] == "payg"
    assert Decimal(authorize(gateway, payg).json()["held"]) == Decimal("0.1")
    assert broken_books() == []
