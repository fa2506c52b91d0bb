"""What a broken or dishonest gateway sends, and a database that goes away, over HTTP."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection

from billing.books.models import Wallet
from config import clock
from gateway import tokens
from tests import factories


@pytest.fixture
def customer(live_stack):
    """A customer with $10 and a key."""
    factories.price()
    account = factories.funded("10")
    return account, factories.key(account)[1]


def call(secret, **more):
    return {
        "request_id": uuid.uuid4().hex,
        "api_key": secret,
        "model": "test/model",
        "estimate": {"input_tokens": 100, "max_output_tokens": 100},
    } | more


def event(secret, **more):
    return {
        "request_id": uuid.uuid4().hex,
        "api_key": secret,
        "model": "test/model",
        "usage": {"input_tokens": 10},
        "occurred_at": clock.now().isoformat(),
    } | more


def test_an_estimate_of_nothing_does_not_pass_an_empty_wallet(gateway, live_stack):
    factories.price()
    secret = factories.key(factories.funded("0"))[1]
    answer = gateway.post("/api/v1/authorizations", json=call(secret, estimate={"max_output_tokens": 0}))
    assert (answer.status_code, answer.json()["code"]) == (402, "insufficient_balance")


def test_a_free_model_is_called_with_an_empty_wallet(gateway, live_stack):
    zero = Decimal(0)
    factories.price("test/free", type="per_token", input_per_1k=zero, output_per_1k=zero, free=True)
    secret = factories.key(factories.funded("0"))[1]
    answer = gateway.post("/api/v1/authorizations", json=call(secret, model="test/free"))
    assert (answer.status_code, answer.json()["held"]) == (201, "0.0000000000")


def test_a_request_that_was_reported_is_not_authorised_afterwards(gateway, customer):
    account, secret = customer
    told = event(secret)
    assert gateway.post("/api/v1/usage", json={"events": [told]}).json()["results"][0]["status"] == "created"
    answer = gateway.post("/api/v1/authorizations", json=call(secret, request_id=told["request_id"]))
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
    assert Wallet.objects.get(pk=account.pk).held == 0


def test_usage_of_a_subscription_is_not_taken_from_the_balance(gateway, customer):
    account, _secret = customer
    before = Wallet.objects.get(pk=account.pk).balance
    of_plan = factories.key(account, kind="subscription")[1]
    by_account = event("", account=str(account.pk), billing_mode="subscription")
    del by_account["api_key"]
    found = gateway.post("/api/v1/usage", json={"events": [event(of_plan), by_account]}).json()["results"]
    assert [(one["status"], one["funding"], one["charge"]) for one in found] == [
        ("created", "subscription", "0.0000000000")
    ] * 2
    assert Wallet.objects.get(pk=account.pk).balance == before


def test_usage_that_the_books_cannot_hold_rejects_only_itself(gateway, customer):
    _account, secret = customer
    absurd = factories.key(factories.funded("10"))[1]
    most = 2**53 - 1
    huge = {"input_tokens": most, "output_tokens": most}
    for _ in range(3):  # the sum of what they owe reaches the end of the column
        gateway.post("/api/v1/usage", json={"events": [event(absurd, usage=huge)]})
    told = [event(secret), event(absurd, usage=huge), event(secret)]
    answer = gateway.post("/api/v1/usage", json={"events": told})
    found = answer.json()["results"]
    assert [(one["status"], one["code"]) for one in found] == [
        ("created", None),
        ("rejected", "not_recorded"),
        ("created", None),
    ]


def test_a_token_that_cannot_be_looked_up_is_503_and_not_a_fault(gateway, customer):
    _account, secret = customer
    tokens.forget()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        cursor.execute("ALTER TABLE accounts_gatewaytoken RENAME TO hidden")
        cursor.execute(
            "CREATE FUNCTION away() RETURNS integer LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = 'admin_shutdown'; END $$"
        )
        cursor.execute("CREATE VIEW accounts_gatewaytoken AS SELECT hidden.* FROM hidden WHERE away() = 1")
    try:
        answer = gateway.post("/api/v1/authorizations", json=call(secret))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP VIEW accounts_gatewaytoken")
            cursor.execute("DROP FUNCTION away()")
            cursor.execute("ALTER TABLE hidden RENAME TO accounts_gatewaytoken")
        tokens.forget()
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_connections_that_the_server_dropped_cost_at_most_one_caller_an_error(gateway, customer):
    """With a full pool, so that there are many dead connections for the next callers to meet."""
    _account, secret = customer

    def ask(_: int) -> int:
        return gateway.get("/readyz").status_code

    with ThreadPoolExecutor(24) as threads:
        assert set(threads.map(ask, range(48))) == {200}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    answers = [gateway.post("/api/v1/authorizations", json=call(secret)) for _ in range(4)]
    assert answers[0].status_code in (201, 503)
    if answers[0].status_code == 503:
        assert answers[0].headers["retry-after"] == "1"
    assert [answer.status_code for answer in answers[1:]] == [201] * 3
