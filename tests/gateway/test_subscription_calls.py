"""Subscription keys at the gateway's door: Flows, the gates in their order, Extra Usage (03-http-api 3.2, 3.3)."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from billing.books.models import Wallet
from billing.metering.models import UsageRecord
from config import clock
from gateway import parsing
from gateway.callers import in_conversations
from gateway.models import DecisionReceipt
from subscriptions import conversations
from subscriptions.models import ExtraUsage, QuotaWindow
from tests import factories
from tests.subscriptions.driving import Driver, plan_version


@pytest.fixture
def there(live_stack):
    """An account with $1, on a Pro plan of 50 Flows that began with this test; one dollar is 39.6 Flows."""
    now = clock.now()
    version = factories.price()
    account = factories.funded("1")
    made = Driver(account, version, plan_version("free", model_slugs=["test/other"]))
    plan = plan_version("pro")
    made.subscribe(plan, now, now.replace(year=now.year + 1))
    return made


@pytest.fixture
def secret(there):
    return factories.key(there.account, kind="subscription")[1]


def call(secret, tokens=1000, **more):
    return {
        "request_id": uuid4().hex,
        "api_key": secret,
        "model": "test/model",
        "estimate": {"input_tokens": tokens, "max_output_tokens": 0},
    } | more


def authorize(gateway, *args, **more):
    return gateway.post("/api/v1/authorizations", json=call(*args, **more))


def capture(gateway, held, tokens):
    return gateway.post(f"/api/v1/authorizations/{held['id']}/capture", json={"usage": {"input_tokens": tokens}}).json()


def test_a_call_with_a_subscription_key_takes_flows_and_never_the_balance(gateway, there, secret):
    held = authorize(gateway, secret)
    assert held.status_code == 201, held.text
    told = held.json()
    assert (told["funding"], told["held"], told["held_flows"]) == ("subscription", "0.0000000000", "39.600000")
    assert told["rpm"]["limit"] == 10

    done = capture(gateway, told, 500)
    assert (done["funding"], done["charge"], done["flows"]) == ("subscription", "0.0000000000", "19.800000")
    assert done["list_price"] == "0.5000000000"
    record = UsageRecord.objects.get()
    assert (record.flows, record.flows_per_usd, record.flow_class) == (Decimal("19.8"), Decimal("39.6"), "standard")
    assert Wallet.objects.get(pk=there.account.pk).balance == 1
    assert {(w.kind, w.used, w.held) for w in QuotaWindow.objects.all()} == {
        ("5h", Decimal("19.8"), 0),
        ("week", Decimal("19.8"), 0),
        ("period", Decimal("19.8"), 0),
    }


def test_a_full_window_is_429_with_its_end_and_the_receipt(gateway, there, secret):
    capture(gateway, authorize(gateway, secret).json(), 1200)  # 47.52 of 50
    answer = authorize(gateway, secret)
    problem = answer.json()
    five = QuotaWindow.objects.get(kind="5h")
    assert (answer.status_code, problem["code"], problem["limit_source"]) == (429, "flow_5h_exhausted", "flow_5h")
    assert (problem["needed"], problem["available"]) == ("39.600000", "2.480000")
    assert problem["resets_at"] == five.ends_at.isoformat().replace("+00:00", "Z")
    assert int(answer.headers["retry-after"]) in range(17990, 18001)
    assert [gate["gate"] for gate in problem["gates"]] == ["key", "account", "plan", "model", "price", "rpm", "flow_5h"]
    assert problem["gates"][-1] == {"gate": "flow_5h", "verdict": "refuse", "value": "47.520000", "limit": "50.000000"}
    assert DecisionReceipt.objects.get().code == "flow_5h_exhausted"


def test_a_model_of_a_larger_plan_names_the_plans_that_have_it(gateway, there, secret):
    factories.price("test/large")
    plan_version("max", model_slugs=["test/model", "test/large"])
    answer = authorize(gateway, secret, model="test/large").json()
    assert (answer["code"], answer["plans"], answer["plan"]) == ("plan_required", ["max"], "pro")
    factories.price("test/nowhere")
    assert authorize(gateway, secret, model="test/nowhere").json()["code"] == "model_not_permitted"


def test_when_a_window_is_full_extra_usage_takes_over_within_its_cap_and_the_balance(gateway, there, secret):
    capture(gateway, authorize(gateway, secret).json(), 1200)
    there.agree("0.50", clock.now())

    held = authorize(gateway, secret, 400).json()
    assert (held["funding"], held["held"], held["held_flows"]) == ("extra_usage", "0.4000000000", "0.000000")
    done = capture(gateway, held, 400)
    assert (done["charge"], done["balance"], done["flows"]) == ("0.4000000000", "0.6000000000", "0.000000")

    capped = authorize(gateway, secret, 400).json()
    assert (capped["code"], capped["needed"], capped["available"]) == (
        "extra_usage_cap",
        "0.4000000000",
        "0.1000000000",
    )
    assert [gate["verdict"] for gate in capped["gates"][-2:]] == ["full", "refuse"]

    ExtraUsage.objects.update(monthly_cap=100)
    poor = authorize(gateway, secret, 700).json()
    assert (poor["code"], poor["available"]) == ("insufficient_balance", "0.6000000000")


def test_a_call_that_fits_again_is_paid_by_flows_though_extra_usage_is_on(gateway, there, secret):
    capture(gateway, authorize(gateway, secret).json(), 1200)
    there.agree("5", clock.now())
    assert authorize(gateway, secret, 400).json()["funding"] == "extra_usage"
    assert authorize(gateway, secret, 50).json()["funding"] == "subscription"


def test_a_key_that_could_not_make_the_call_does_not_pay_for_it(gateway, there, secret):
    capture(gateway, authorize(gateway, secret).json(), 1200)
    key = there.agree("5", clock.now())
    key.allowed_models = ["test/other"]
    key.save()
    answer = authorize(gateway, secret, 400).json()
    assert answer["code"] == "flow_5h_exhausted"
    assert answer["gates"][-1] == {
        "gate": "extra_usage", "verdict": "unavailable", "value": "key_not_usable", "limit": None,
    }  # fmt: skip


def test_a_first_party_app_asks_for_the_same_flows_by_its_billing_mode(gateway, there):
    body = call("") | {"account": str(there.account.pk), "billing_mode": "subscription"}
    del body["api_key"]
    assert gateway.post("/api/v1/authorizations", json=body).json()["funding"] == "subscription"
    paid = body | {"billing_mode": "payg", "request_id": "other"}
    assert gateway.post("/api/v1/authorizations", json=paid).json()["funding"] == "payg"


def test_requests_a_minute_are_the_plans_and_apart_from_those_of_the_balance(gateway, there, secret):
    payg = factories.key(there.account)[1]
    answers = [authorize(gateway, secret, 1) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [201] * 10 + [429]
    assert answers[-1].json()["code"] == "rpm_exceeded"
    assert authorize(gateway, payg, 1).status_code == 201


def test_many_calls_of_both_kinds_in_one_batch_are_each_answered_in_their_place(gateway, there, secret):
    payg = factories.key(there.account)[1]
    items = [call(secret if n % 2 else payg, 10) for n in range(8)]
    found = gateway.post("/api/v1/authorizations/batch", json={"authorizations": items}).json()["results"]
    assert [one["funding"] for one in found] == ["payg", "subscription"] * 4


# --- Conversations of a first-party app (F084) ----------------------------------------------------------------------


def chat(there, **more):
    body = call("") | {"account": str(there.account.pk), "conversation": "chat-1"} | more
    del body["api_key"]
    return body


def funding(gateway, body):
    answer = gateway.post("/api/v1/authorizations", json=body)
    return answer.json().get("funding") or answer.json()["code"]


def test_a_conversation_is_paid_as_it_was_set_and_by_flows_until_it_is(gateway, there):
    small = {"input_tokens": 100, "max_output_tokens": 0}
    assert funding(gateway, chat(there, estimate=small)) == "subscription"
    conversations.set_mode(there.account.pk, "chat-1", "payg", now=clock.now())
    assert funding(gateway, chat(there, estimate=small)) == "payg"
    other = chat(there, conversation="chat-2", estimate=small)
    assert funding(gateway, other) == "subscription"  # each has its own


def test_a_mode_that_is_sent_overrides_the_conversations_and_is_not_stored(gateway, there):
    conversations.set_mode(there.account.pk, "chat-1", "payg", now=clock.now())
    small = {"input_tokens": 100, "max_output_tokens": 0}
    assert funding(gateway, chat(there, billing_mode="subscription", estimate=small)) == "subscription"
    assert funding(gateway, chat(there, estimate=small)) == "payg"
    unheard = chat(there, conversation="chat-3", billing_mode="payg", estimate=small)
    assert funding(gateway, unheard) == "payg"
    assert conversations.chosen(there.account.pk, "chat-3") is None


def test_conversations_share_one_pool_of_flows_and_one_on_the_balance_goes_on_when_it_is_empty(gateway, there):
    conversations.set_mode(there.account.pk, "chat-2", "payg", now=clock.now())
    assert funding(gateway, chat(there, estimate={"input_tokens": 1200, "max_output_tokens": 0})) == "subscription"
    more = {"input_tokens": 200, "max_output_tokens": 0}
    assert funding(gateway, chat(there, conversation="chat-3", estimate=more)) == "flow_5h_exhausted"
    assert funding(gateway, chat(there, conversation="chat-2", estimate=more)) == "payg"


def test_switching_concerns_the_next_call_and_a_repeat_is_the_same_hold(gateway, there):
    body = chat(there, estimate={"input_tokens": 100, "max_output_tokens": 0})
    first = gateway.post("/api/v1/authorizations", json=body)
    conversations.set_mode(there.account.pk, "chat-1", "payg", now=clock.now())
    again = gateway.post("/api/v1/authorizations", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["id"], again.json()["funding"]) == (first.json()["id"], "subscription")
    done = capture(gateway, first.json(), 100)
    assert (done["funding"], done["charge"]) == ("subscription", "0.0000000000")


def test_a_batch_takes_each_conversations_own_mode(gateway, there):
    conversations.set_mode(there.account.pk, "chat-2", "payg", now=clock.now())
    small = {"input_tokens": 100, "max_output_tokens": 0}
    calls = [chat(there, conversation=name, estimate=small) for name in ("chat-1", "chat-2")]
    calls.append(chat(there, conversation=None, estimate=small))  # names none and no mode: the balance, as ever
    answers = gateway.post("/api/v1/authorizations/batch", json={"authorizations": calls}).json()["results"]
    assert [one["funding"] for one in answers] == ["subscription", "payg", "payg"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"conversation": "x" * 201}, "conversation"),
        ({"conversation": 7}, "conversation"),
        ({"conversation": "a\0b"}, "conversation"),
        ({"billing_mode": "free"}, "billing_mode"),
        ({"billing_mode": ""}, "billing_mode"),
    ],
)
def test_a_conversation_or_a_mode_that_is_none_is_refused(gateway, there, more, field):
    answer = gateway.post("/api/v1/authorizations", json=chat(there, **more))
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_another_accounts_conversation_of_the_same_name_says_nothing(gateway, there):
    conversations.set_mode(factories.account().pk, "chat-1", "payg", now=clock.now())
    assert funding(gateway, chat(there, estimate={"input_tokens": 100, "max_output_tokens": 0})) == "subscription"


def test_a_batch_without_conversations_asks_nothing_more(transactional_db, django_assert_num_queries):
    body = {"request_id": "r", "account": str(uuid4()), "model": "test/model"}
    calls = [parsing.call_of(body), parsing.call_of(body | {"conversation": "chat-1", "billing_mode": "payg"})]
    with django_assert_num_queries(0):
        assert in_conversations(calls) is calls
    with django_assert_num_queries(1):
        in_conversations([*calls, parsing.call_of(body | {"conversation": "chat-1"})])


def test_the_last_use_of_the_key_of_extra_usage_is_kept(gateway, there, secret):
    capture(gateway, authorize(gateway, secret).json(), 1200)
    key = there.agree("5", clock.now())
    assert authorize(gateway, secret, 400).json()["funding"] == "extra_usage"
    key.refresh_from_db()
    assert key.last_used_at is not None
