"""The gateway's verbs over HTTP (03-http-api 3.3, 3.4)."""

import threading
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from accounts import api_keys
from accounts.models import Account, GatewayToken
from billing.books.models import JournalEntry, Wallet
from billing.metering.models import Authorization, UsageRecord
from billing.metering.models_quarantine import QuarantinedUsage
from config import clock
from gateway import tokens
from gateway.models import DecisionReceipt
from tests import factories


def body(secret: str, number: int = 1, **more):
    return {
        "request_id": f"req-{number}",
        "api_key": secret,
        "model": "test/model",
        "estimate": {"input_tokens": 100, "max_output_tokens": 100},
    } | more


@pytest.fixture
def customer(live_stack):
    """A customer with $10, a key, and a model at $1 / $2 per 1K."""
    factories.price()
    account = factories.funded("10")
    key, secret = factories.key(account)
    return account, key, secret


def test_a_call_is_authorised_captured_and_charged(gateway, customer):
    account, key, secret = customer
    answer = gateway.post("/api/v1/authorizations", json=body(secret, trace_id="t-1"))
    assert answer.status_code == 201, answer.text
    held = answer.json()
    assert (held["status"], held["funding"], held["held"], held["key"]) == ("open", "payg", "0.3000000000", key.masked)
    assert held["account"] == str(account.pk)
    assert held["trace_id"] == answer.headers["x-trace-id"] == "t-1" or held["trace_id"] == "t-1"
    assert held["rpm"]["limit"] == 600

    done = gateway.post(
        f"/api/v1/authorizations/{held['id']}/capture", json={"usage": {"input_tokens": 100, "output_tokens": 50}}
    )
    assert done.status_code == 200, done.text
    assert (done.json()["charge"], done.json()["balance"], done.json()["status"]) == (
        "0.2000000000",
        "9.8000000000",
        "captured",
    )
    assert UsageRecord.objects.get().charge == Decimal("0.2")
    assert JournalEntry.objects.get(kind="usage").delta == Decimal("-0.2")


def test_a_repeat_gets_200_and_the_same_authorization_and_another_body_409(gateway, customer):
    secret = customer[2]
    first = gateway.post("/api/v1/authorizations", json=body(secret))
    again = gateway.post("/api/v1/authorizations", json=body(secret))
    other = gateway.post(
        "/api/v1/authorizations", json=body(secret, estimate={"input_tokens": 1, "max_output_tokens": 1})
    )
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    assert other.json()["code"] == "idempotency_conflict"


def test_the_same_request_id_fifty_times_at_once_is_one_hold_and_one_charge(gateway, customer):
    secret = customer[2]
    answers: list[httpx.Response] = []

    def pair() -> None:
        held = gateway.post("/api/v1/authorizations", json=body(secret))
        answers.append(held)
        answers.append(
            gateway.post(f"/api/v1/authorizations/{held.json()['id']}/capture", json={"usage": {"input_tokens": 100}})
        )

    threads = [threading.Thread(target=pair) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.status_code for a in answers} <= {200, 201}
    assert Authorization.objects.count() == UsageRecord.objects.count() == 1
    assert JournalEntry.objects.filter(kind="usage").count() == 1
    assert Wallet.objects.get().balance == Decimal("9.9")


def test_an_empty_wallet_gets_402_with_the_receipt(gateway, customer):
    _account, key, secret = customer
    answer = gateway.post(
        "/api/v1/authorizations", json=body(secret, estimate={"input_tokens": 100_000, "max_output_tokens": 1})
    )
    problem = answer.json()
    assert answer.status_code == 402
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["limit_source"]) == ("insufficient_balance", "balance")
    assert (problem["needed"], problem["available"], problem["resets_at"]) == ("100.0020000000", "10.0000000000", None)
    assert [g["gate"] for g in problem["gates"]] == ["key", "account", "model", "price", "rpm", "balance"]
    assert [g["verdict"] for g in problem["gates"]] == ["pass"] * 5 + ["refuse"]
    receipt = DecisionReceipt.objects.get()
    assert (receipt.code, receipt.trace_id, receipt.api_key_id) == ("insufficient_balance", problem["trace_id"], key.pk)
    assert not Authorization.objects.exists()


def test_a_refusal_speaks_the_callers_language_and_keeps_its_code(gateway, customer):
    asked = body(customer[2], estimate={"input_tokens": 100_000, "max_output_tokens": 1})
    english = gateway.post("/api/v1/authorizations", json=asked)
    chinese = gateway.post("/api/v1/authorizations", json=asked, headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    assert english.json()["code"] == chinese.json()["code"]
    assert english.json()["title"] != chinese.json()["title"]


def test_balance_denials_can_be_sent_as_403(gateway, customer, settings):
    settings.BALANCE_DENIAL_STATUS = 403
    answer = gateway.post(
        "/api/v1/authorizations", json=body(customer[2], estimate={"input_tokens": 100_000, "max_output_tokens": 1})
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_balance")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "no/such"}, 422, "unknown_model"),
        ({"channel": "nowhere"}, 422, "unknown_channel"),
        ({"estimate": {"input_tokens": -1}}, 422, "invalid_usage"),
        ({"estimate": {"input_tokens": 1.5}}, 422, "invalid_usage"),
        ({"estimate": {"input_tokens": "NaN"}}, 422, "invalid_usage"),
        ({"estimate": {"bananas": 1}}, 422, "invalid_usage"),
        ({"estimate": {"max_output_tokens": -5}}, 422, "invalid_usage"),
        ({"estimate": []}, 422, "invalid_request"),
        ({"request_id": ""}, 422, "invalid_request"),
        ({"request_id": None}, 422, "invalid_request"),
        ({"request_id": "x" * 201}, 422, "invalid_request"),
        ({"request_id": "nul\0"}, 422, "invalid_request"),
        ({"model": 7}, 422, "invalid_request"),
        ({"kind": "lunch"}, 422, "invalid_request"),
        ({"fields": {"a": {"b": 1}}}, 422, "invalid_request"),
        ({"api_key": "sk-pg-v1-wrong"}, 401, "invalid_credential"),
        ({"api_key": None}, 422, "invalid_request"),
        ({"account": "not-a-uuid", "api_key": None}, 422, "invalid_request"),
        ({"account": "7c1e4a52-0b7d-4d1e-9f0e-2a6a5b1c9d10", "api_key": None}, 404, "not_found"),
    ],
)
def test_bad_input_is_refused_with_its_code_and_writes_nothing(gateway, customer, change, status, code):
    asked = {name: value for name, value in (body(customer[2]) | change).items() if value is not None}
    answer = gateway.post("/api/v1/authorizations", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert not Authorization.objects.exists()
    assert Wallet.objects.get().held == 0


def test_a_body_that_is_not_json_or_too_large_is_refused(gateway, customer):
    not_json = gateway.post("/api/v1/authorizations", content=b"{nope")
    no_object = gateway.post("/api/v1/authorizations", content=b"[]")
    large = gateway.post("/api/v1/authorizations", content=b" " * 10_000_000)
    codes = [(a.status_code, a.json()["code"]) for a in (not_json, no_object, large)]
    assert codes == [(400, "bad_request"), (400, "bad_request"), (413, "body_too_large")]


def test_disabled_expired_and_forbidden_keys_and_suspended_accounts_are_refused_each_with_its_code(gateway, customer):
    account = customer[0]
    now = clock.now()
    factories.price("test/other")
    disabled, disabled_secret = factories.key(account)
    api_keys.disable(disabled.pk, now=now, actor=None)
    _, expired_secret = factories.key(account, expires_at=now - timedelta(seconds=1))
    _, narrow_secret = factories.key(account, allowed_models=["test/other"])
    _, plan_secret = factories.key(account, kind="subscription")
    asked = {
        disabled_secret: "key_disabled",
        expired_secret: "key_expired",
        narrow_secret: "model_not_permitted",
        plan_secret: "model_not_permitted",
    }
    for number, (secret, code) in enumerate(asked.items()):
        answer = gateway.post("/api/v1/authorizations", json=body(secret, number))
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    Account.objects.filter(pk=account.pk).update(status="suspended")
    assert gateway.post("/api/v1/authorizations", json=body(customer[2])).json()["code"] == "account_suspended"
    assert not Authorization.objects.exists()
    assert DecisionReceipt.objects.count() == 5


def test_a_model_without_a_price_is_refused_never_free(gateway, customer):
    from billing.catalog import book
    from billing.catalog.models import Model

    Model.objects.create(slug="test/unpriced", name="x", vendor="test")
    book.forget()
    answer = gateway.post("/api/v1/authorizations", json=body(customer[2], model="test/unpriced"))
    assert (answer.status_code, answer.json()["code"]) == (403, "model_unpriced")


def test_the_rate_limit_refuses_with_retry_after(gateway, customer):
    from accounts.models import BenefitLevel

    BenefitLevel.objects.update(rpm=2)
    got = [gateway.post("/api/v1/authorizations", json=body(customer[2], n)) for n in range(3)]
    assert [a.status_code for a in got] == [201, 201, 429]
    assert got[2].json()["code"] == "rpm_exceeded"
    assert 1 <= int(got[2].headers["retry-after"]) <= 60
    assert [a.json()["rpm"]["remaining"] for a in got[:2]] == [1, 0]


def test_a_void_releases_and_a_capture_after_it_is_refused(gateway, customer):
    held = gateway.post("/api/v1/authorizations", json=body(customer[2])).json()
    for _ in range(2):
        answer = gateway.post(f"/api/v1/authorizations/{held['id']}/void", json={"reason": "upstream_error"})
        assert (answer.status_code, answer.json()["status"]) == (200, "voided")
    late = gateway.post(f"/api/v1/authorizations/{held['id']}/capture", json={"usage": {"input_tokens": 1}})
    assert (late.status_code, late.json()["code"]) == (409, "already_voided")
    assert Wallet.objects.get().held == 0


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"usage": {"input_tokens": -1}}, "invalid_usage"),
        ({"usage": {"input_tokens": 10, "cache_read_tokens": 11}}, "invalid_usage"),
        ({}, "invalid_usage"),
        ({"provider_usage": {"prompt_tokens": 1}, "format": "no.such"}, "invalid_usage"),
        ({"usage": {"input_tokens": 1}, "latency_ms": "soon"}, "invalid_request"),
    ],
)
def test_bad_usage_is_refused_and_the_hold_stays(gateway, customer, sent, code):
    held = gateway.post("/api/v1/authorizations", json=body(customer[2])).json()
    answer = gateway.post(f"/api/v1/authorizations/{held['id']}/capture", json=sent)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert Authorization.objects.get().status == "open"


def test_unknown_authorizations_are_not_found(gateway, customer):
    for hold in ("7c1e4a52-0b7d-4d1e-9f0e-2a6a5b1c9d10", "nonsense"):
        for verb, sent in (("capture", {"usage": {}}), ("void", {})):
            assert gateway.post(f"/api/v1/authorizations/{hold}/{verb}", json=sent).status_code == 404
    assert gateway.post("/api/v1/authorizations/x/y/z", json={}).status_code == 404
    assert gateway.get("/api/v1/authorizations").status_code == 405


def test_a_provider_usage_object_is_charged_as_it_comes(gateway, customer):
    held = gateway.post("/api/v1/authorizations", json=body(customer[2])).json()
    sent = {
        "provider_usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        "format": "openai.chat",
    }
    answer = gateway.post(f"/api/v1/authorizations/{held['id']}/capture", json=sent)
    assert answer.json()["charge"] == "0.1200000000"


def test_batches_answer_item_by_item_in_order(gateway, customer):
    secret = customer[2]
    items = [body(secret, 1), {"nonsense": True}, body(secret, 2, model="no/such"), body(secret, 3)]
    answer = gateway.post("/api/v1/authorizations/batch", json={"authorizations": items})
    results = answer.json()["results"]
    assert answer.status_code == 200
    assert [r.get("code") for r in results] == [None, "invalid_request", "unknown_model", None]
    captures = [{"id": r["id"], "usage": {"input_tokens": 100}} for r in results if "id" in r] + [
        {"id": "x", "usage": {}}
    ]
    done = gateway.post("/api/v1/captures/batch", json={"captures": captures}).json()["results"]
    assert [r.get("charge") or r["code"] for r in done] == ["0.1000000000", "0.1000000000", "not_found"]
    too_many = gateway.post("/api/v1/captures/batch", json={"captures": [captures[0]] * 1001})
    assert too_many.status_code == 422


def test_usage_without_a_hold_is_charged_once_and_bad_events_reject_only_themselves(gateway, customer):
    account, _, secret = customer
    good = {"request_id": "u-1", "api_key": secret, "model": "test/model", "usage": {"input_tokens": 100}}
    events = [good, good, {"request_id": "u-2"}, good | {"request_id": "u-3", "model": "no/such"}]
    events.append(
        {"request_id": "u-4", "account": str(account.pk), "model": "test/model", "usage": {"output_tokens": 50}}
    )
    results = gateway.post("/api/v1/usage", json={"events": events}).json()["results"]
    assert [(r["status"], r["code"]) for r in results] == [
        ("created", None),
        ("duplicate", None),
        ("rejected", "invalid_request"),
        ("rejected", "unknown_model"),
        ("created", None),
    ]
    assert Wallet.objects.get().balance == Decimal("9.8")
    again = gateway.post("/api/v1/usage", json={"events": [good, good | {"usage": {"input_tokens": 1}}]}).json()[
        "results"
    ]
    assert [(r["status"], r["code"]) for r in again] == [("duplicate", None), ("rejected", "already_captured")]


def test_wrong_revoked_and_expired_tokens_get_the_same_401(live_stack, customer):
    now = clock.now()
    revoked, revoked_secret = api_keys.issue_gateway_token("old", now=now, actor=None)
    GatewayToken.objects.filter(pk=revoked.pk).update(disabled_at=now)
    expired, expired_secret = api_keys.issue_gateway_token("older", now=now, actor=None)
    GatewayToken.objects.filter(pk=expired.pk).update(expires_at=now)
    bodies = set()
    for secret in ("", "gw-nope", revoked_secret, expired_secret, customer[2]):
        answer = httpx.post(
            f"{live_stack}/api/v1/authorizations",
            json=body(customer[2]),
            headers={"Authorization": f"Bearer {secret}" if secret else "", "X-Trace-Id": "same"},
        )
        assert answer.status_code == 401
        bodies.add(answer.text)
    assert len(bodies) == 1


def test_a_token_with_an_address_list_is_refused_from_elsewhere(live_stack, customer):
    secret = api_keys.issue_gateway_token("far", now=clock.now(), actor=None, allowed_ips=["192.0.2.0/24"])[1]
    tokens.forget()
    answer = httpx.post(
        f"{live_stack}/api/v1/authorizations", json=body(customer[2]), headers={"Authorization": f"Bearer {secret}"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "ip_not_allowed")


def test_refused_usage_is_kept_with_the_token_it_came_with_and_its_neighbours_are_charged(gateway, customer):
    held = [gateway.post("/api/v1/authorizations", json=body(customer[2], n)).json()["id"] for n in (1, 2)]
    apart = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 90}}
    captures = [
        {"id": held[0], "format": "openai.chat", "provider_usage": apart},
        {"id": held[1], "usage": {"input_tokens": 100}},
    ]

    done = gateway.post("/api/v1/captures/batch", json={"captures": captures}).json()["results"]

    row = QuarantinedUsage.objects.get()
    assert [one.get("charge") or one["code"] for one in done] == ["invalid_usage", "0.1000000000"]
    assert (str(row.authorization_id), row.state, row.body) == (held[0], "waiting", apart)
    assert row.token_id == GatewayToken.objects.get().pk
    assert UsageRecord.objects.count() == 1
