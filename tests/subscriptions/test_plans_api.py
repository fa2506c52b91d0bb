"""`GET /api/v1/plans`: public, exact, and the published table (F066-F068, C03, C11, J13)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.catalog import book
from billing.catalog.models import CatalogState, Model
from subscriptions import plans
from subscriptions.seeds import published
from tests import factories
from tests.api import Program, problem, program
from tests.subscriptions.driving import plan_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh():
    plans.forget()
    book.forget()
    yield
    plans.forget()
    book.forget()


def told(**more):
    answer = Program().call("GET", "plans", **more)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_j13_the_published_table_is_told_to_the_last_digit():
    body = told()
    assert [one["code"] for one in body["plans"]] == ["free", "pro", "max", "ultra"]
    for one, row in zip(body["plans"], published()["plans"], strict=True):
        assert Decimal(one["price_usd"]) == Decimal(row["price_usd_month"])
        assert [Decimal(one[name]) for name in ("flows_5h", "flows_week", "flows_period")] == [
            Decimal(row[name]) for name in ("flows_5h", "flows_week", "flows_month")
        ]
        assert (one["name"], one["rpm"], one["version"]) == (row["name"], row["rpm"], 1)
        assert one["leverage"] == row.get("leverage")
        assert one["equivalent_usd"] == row.get("equivalent_usd", "5.45")
        assert (one["anchor_policy"], one["enforce_period_cap"]) == ("first_request", True)
    assert (body["flow_rate"]["flows_per_usd"], body["flow_rate"]["usd_per_flow"]) == ("39.6", "0.02525")


def test_models_are_those_of_the_catalogue_and_what_is_to_come_stands_apart():
    """C11: counted from data; the catalogue says what is still to come."""
    factories.price("openai/gpt-5")
    factories.price("openai/gpt-5-pro")
    factories.price("openai/gpt-image-1.5")
    Model.objects.filter(slug="openai/gpt-image-1.5").update(coming_soon=True)
    factories.price("acme/only-as-you-go")
    book.forget()
    found = {one["code"]: one for one in told()["plans"]}
    assert found["free"]["models"] == []
    assert found["pro"]["models"] == ["openai/gpt-5"]
    assert found["max"]["models"] == found["ultra"]["models"] == ["openai/gpt-5", "openai/gpt-5-pro"]
    assert [found[code]["coming_soon"] for code in ("free", "pro")] == [[], ["openai/gpt-image-1.5"]]
    Model.objects.filter(slug="openai/gpt-5").update(coming_soon=True)
    CatalogState.objects.update(revision=99)
    book.forget()
    assert {one["code"]: one["models"] for one in told()["plans"]}["pro"] == []


def test_it_is_the_same_for_everybody_and_may_be_kept_for_a_minute():
    answer = Program().call("GET", "plans")
    assert answer["Cache-Control"] == "public, max-age=60"
    own = program(factories.account()).call("GET", "plans").json()
    assert own["plans"] == answer.json()["plans"]
    problem(Program("mk-wrong").call("GET", "plans"), 401, "invalid_credential")


def test_a_new_version_is_told_from_its_moment_on():
    plan_version("pro", price_usd=Decimal(25), anchor_policy="grid", enforce_period_cap=False, flows_period=2000)
    [pro] = [one for one in told()["plans"] if one["code"] == "pro"]
    assert (pro["price_usd"], pro["anchor_policy"], pro["enforce_period_cap"]) == ("25.00", "grid", False)
    assert (pro["equivalent_usd"], pro["leverage"]) == ("50.51", "2.02")


def test_plans_come_from_memory():
    told()
    with CaptureQueriesContext(
        connection,
    ) as asked:
        told()
    assert len(asked) <= 2, [one["sql"] for one in asked]


def test_the_schema_has_it(client):
    schema = client.get("/api/schema/", headers={"Accept": "application/json"}).json()
    read = schema["paths"]["/api/v1/plans"]["get"]
    assert read["operationId"] == "plans_list"
    assert {"equivalent_usd", "leverage", "anchor_policy"} <= set(
        schema["components"]["schemas"]["PlanOutput"]["properties"]
    )
