"""`GET /api/v1/subscription`: plan, class, three windows, Extra Usage (03-http-api 3.5)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client

from config import clock
from subscriptions.models import ExtraUsageMonth
from tests.api import problem, program
from tests.billing.pages import signed_in
from tests.subscriptions.driving import Driver, driver, plan_version

pytestmark = pytest.mark.django_db(transaction=True)


def running(code: str = "pro", *, usd: str = "0") -> Driver:
    made = driver(usd=usd)
    start = clock.now() - timedelta(days=2)
    made.subscribe(plan_version(code), start, start + timedelta(days=30))
    return made


def told(made: Driver, role: str = "developer") -> dict:
    answer = program(made.account, role).call("GET", "subscription")
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "no-store"
    return json.loads(answer.content)


def test_a_paid_plan_with_its_windows():
    made = running()
    made.use("20", clock.now() - timedelta(hours=1))
    made.ask("5", clock.now() - timedelta(minutes=1))
    body = told(made)
    assert (body["plan"]["code"], body["plan"]["version"]) == ("pro", made.plan.number)
    assert (body["status"], body["flow_class"], body["renews"]) == ("active", "standard", True)
    five, week, period = body["windows"]
    assert [one["kind"] for one in body["windows"]] == ["5h", "week", "period"]
    assert (five["cap"], five["used"], five["held"], five["left"]) == (
        "50.000000",
        "20.000000",
        "5.000000",
        "25.000000",
    )
    assert five["starts_at"].endswith("Z")
    assert (week["left"], period["left"]) == ("479.000000", "2135.000000")
    assert (body["full"], body["admissible_at"]) == ([], None)
    assert body["flow_rate"]["flows_per_usd"] == "39.6"


def test_a_full_window_says_when_flows_pay_again():
    made = running()
    made.use("50", clock.now() - timedelta(hours=1))
    body = told(made)
    assert (body["full"], body["admissible_at"]) == (["5h"], body["windows"][0]["ends_at"])


def test_the_free_plan_before_its_first_call():
    body = told(driver())
    assert (body["plan"]["code"], body["status"], body["period_end"], body["renews"]) == ("free", "none", None, False)
    assert [(one["starts_at"], one["ends_at"]) for one in body["windows"]] == [(None, None)] * 3
    assert [one["left"] for one in body["windows"]] == ["5.000000", "50.400000", "216.000000"]
    assert body["extra_usage"]["enabled"] is False
    assert body["extra_usage"]["monthly_cap"] is None


def test_carried_flows_after_an_upgrade():
    made = running()
    made.use("30", clock.now() - timedelta(hours=3))
    made.change(plan_version("max"), clock.now() - timedelta(hours=2))
    body = told(made)
    assert [one["carried"] for one in body["windows"]] == ["30.000000"] * 3
    assert body["plan"]["code"] == "max"


def test_extra_usage_in_short():
    made = running(usd="10")
    key = made.agree("20")
    month = ExtraUsageMonth.objects.create(
        account=made.account, month=clock.now().date().replace(day=1), spent="3.42", held="0.5"
    )
    extra = told(made)["extra_usage"]
    month.delete()  # no call spent it, and the books are verified after this test
    assert (extra["enabled"], extra["api_key"], extra["stopped_by"]) == (True, str(key.pk), None)
    assert (extra["monthly_cap"], extra["spent"], extra["left"]) == ("20.0000000000", "3.4200000000", "16.0800000000")


def test_a_session_of_the_portal_reads_it_too_and_nobody_else():
    made = running()
    client, _, _ = signed_in(made.account)
    assert client.get("/api/v1/subscription").json()["plan"]["code"] == "pro"
    problem(Client().get("/api/v1/subscription"), 401, "invalid_credential")


def test_the_published_schema_describes_it():
    schema = json.loads(Client().get("/api/schema/", headers={"accept": "application/json"}).content)
    operation = schema["paths"]["/api/v1/subscription"]["get"]
    assert operation["operationId"] == "subscription_read"
    assert "SubscriptionOutput" in json.dumps(operation) or "Subscription" in json.dumps(operation["responses"])
    assert {"ManagementKey": []} in operation["security"]
