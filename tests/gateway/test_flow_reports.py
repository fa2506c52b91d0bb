"""Calls of subscriptions that report themselves: to the windows of their moment, none left unbilled (C06, C24)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from billing.books import verify
from billing.books.models import Wallet
from billing.metering.models import Authorization, UsageRecord
from billing.metering.models_quarantine import QuarantinedUsage
from config import clock
from tests import factories
from tests.subscriptions.driving import Driver, plan_version


@pytest.fixture
def there(live_stack):
    """An account with $1, on a Pro plan of 50 Flows that began ten hours ago; one dollar is 39.6 Flows."""
    now = clock.now() - timedelta(hours=10)
    made = Driver(factories.funded("1"), factories.price(), plan_version("free", model_slugs=["test/other"]))
    made.subscribe(plan_version("pro"), now, now + timedelta(days=300))
    return made


@pytest.fixture
def secret(there):
    return factories.key(there.account, kind="subscription")[1]


def event(secret, tokens=1000, **more):
    return {
        "request_id": uuid4().hex,
        "api_key": secret,
        "model": "test/model",
        "usage": {"input_tokens": tokens},
    } | more


def report(gateway, *events):
    answer = gateway.post("/api/v1/usage", json={"events": [*events]})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def ago(hours):
    return (clock.now() - timedelta(hours=hours)).isoformat()


def whole():
    assert [(one.code, one.broken) for one in verify.run() if one.broken] == []


def test_a_reported_call_takes_flows_once_and_never_the_balance(gateway, there, secret):
    told = event(secret, 500)
    [first] = report(gateway, told)
    assert (first["status"], first["charge"], first["flows"], first["funding"], first["code"]) == (
        "created", "0.0000000000", "19.800000", "subscription", None,
    )  # fmt: skip
    [again] = report(gateway, told)
    assert (again["status"], again["flows"]) == ("duplicate", "19.800000")
    [other] = report(gateway, told | {"usage": {"input_tokens": 7}})
    assert (other["status"], other["code"]) == ("rejected", "already_captured")
    [clash] = report(gateway, told | {"fingerprint": "another"})
    assert (clash["status"], clash["code"]) == ("rejected", "idempotency_conflict")
    assert UsageRecord.objects.count() == 1
    assert [one.used for one in there.windows()] == [Decimal("19.8")]
    assert Wallet.objects.get(pk=there.account.pk).balance == 1
    whole()


def test_a_call_counts_in_the_window_of_the_moment_at_which_it_was_made(gateway, there, secret):
    report(gateway, event(secret, 100, occurred_at=ago(9)), event(secret, 200, occurred_at=ago(1)))
    first, second = there.windows()
    assert (first.used, second.used) == (Decimal("3.96"), Decimal("7.92"))
    assert first.ends_at - first.starts_at == timedelta(hours=5)
    report(gateway, event(secret, 300, occurred_at=ago(8)))
    assert [one.used for one in there.windows()] == [Decimal("15.84"), Decimal("7.92")]
    [week] = there.windows("week")
    assert week.used == Decimal("23.76")
    whole()


def test_a_call_that_was_made_is_billed_beyond_a_full_window(gateway, there, secret):
    results = report(gateway, *(event(secret) for _ in range(3)))
    assert [one["flows"] for one in results] == ["39.600000"] * 3
    [five] = there.windows()
    assert (five.used, five.overshoot, five.held) == (Decimal("118.8"), Decimal("68.8"), 0)
    whole()


def test_where_a_window_is_full_extra_usage_pays_within_its_cap_and_the_balance(gateway, there, secret):
    there.agree("0.50", clock.now())
    results = report(gateway, event(secret), event(secret, 400), event(secret, 400))
    assert [(one["funding"], one["charge"], one["flows"]) for one in results] == [
        ("subscription", "0.0000000000", "39.600000"),
        ("extra_usage", "0.4000000000", "0.000000"),
        ("subscription", "0.0000000000", "15.840000"),
    ]
    assert Wallet.objects.get(pk=there.account.pk).balance == Decimal("0.6")
    whole()


def test_a_model_that_the_plan_does_not_have_was_called_all_the_same(gateway, there, secret):
    factories.price("test/large")
    [one] = report(gateway, event(secret, 100, model="test/large"))
    assert (one["status"], one["flows"]) == ("created", "3.960000")


def test_usage_that_cannot_be_read_is_kept_and_charged_in_flows_when_it_is_mended(gateway, there, secret):
    bad = event(secret, 100)
    bad["usage"] = {"input_tokens": 10, "cache_read_tokens": 20}
    good = event(secret, 100)
    first, second = report(gateway, bad, good)
    assert (first["status"], first["code"], second["status"]) == ("rejected", "invalid_usage", "created")
    assert QuarantinedUsage.objects.get().request_id == bad["request_id"]
    [mended] = report(gateway, bad | {"usage": {"input_tokens": 20, "cache_read_tokens": 20}})
    assert (mended["status"], mended["funding"]) == ("created", "subscription")
    assert Authorization.objects.filter(status="open").count() == 0
    whole()


def test_balance_and_plan_are_charged_side_by_side_in_one_report(gateway, there, secret):
    payg = factories.key(there.account)[1]
    results = report(gateway, event(payg, 100), event(secret, 100), event("sk-ss-v1-wrong"), event(payg, 200))
    assert [one.get("funding", one["code"]) for one in results] == [
        "payg", "subscription", "invalid_credential", "payg",
    ]  # fmt: skip
    assert Wallet.objects.get(pk=there.account.pk).balance == Decimal("0.7")
    whole()
