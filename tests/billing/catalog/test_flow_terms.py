"""Flow terms: dated rows, the plan table, quotes in Flows and the published rate (C16, C03, C21, J14, F061-F064)."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from billing.catalog import book, importing
from billing.catalog.book import load_book
from billing.catalog.documents import read_document
from billing.catalog.flow_terms import FactorTerm, FlowTerm, FlowTerms
from billing.catalog.models import CatalogState
from billing.catalog.models_flows import FlowFactor, FlowRate
from billing.catalog.plans import PriceSpec, compile_plan
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import Usage
from billing.errors import InvalidCatalog
from billing.money import round_minor
from tests import factories
from tests.api import Program, problem
from tests.factories import NOON

D = Decimal
DAY = timedelta(days=1)
PUBLISHED = json.loads((Path(importing.__file__).resolve().parents[1] / "data" / "plans_and_models.json").read_text())
TERMS = FlowTerms(
    [
        FlowTerm("standard", D("39.6"), D("0.05"), NOON),
        FlowTerm("insider", D(36), D("0.05"), NOON),
        FlowTerm("restricted", D("79.2"), D("0.05"), NOON),
        FlowTerm("standard", D(50), D(0), NOON + DAY),
    ],
    [
        FactorTerm("", "acme/chat", D("1.5"), NOON),
        FactorTerm("pro", "acme/chat", D(2), NOON + DAY),
    ],
)


def sheet(list_price: str, slug: str = "acme/other", *, free: bool = False) -> Sheet:
    spec = PriceSpec(model=slug, channel="default", type="per_request", price=D(list_price), free=free)
    return rate(compile_plan(spec), Usage(requests=1), channel_discount=D("0.8"), user_discount=D("0.95"))


@pytest.mark.parametrize(
    ("flow_class", "flows"), [("standard", "2.426000"), ("insider", "2.210000"), ("restricted", "4.802000")]
)
def test_j14_a_call_in_flows_is_counted_from_the_price_before_discounts(flow_class, flows):
    assert str(TERMS.cost(sheet("0.06"), flow_class=flow_class, now=NOON)) == flows


@pytest.mark.parametrize(
    "plan", [one for one in PUBLISHED["plans"] if "equivalent_usd" in one], ids=lambda p: p["code"]
)
def test_the_plan_table_comes_out_with_39_6_and_not_with_the_number_that_is_shown(plan):
    term = FlowTerm("standard", D(PUBLISHED["flows_per_usd"]), D(0), NOON)
    equivalent = D(plan["flows_month"]) / term.flows_per_usd
    assert str(round_minor(equivalent)) == plan["equivalent_usd"]
    assert str(round_minor(equivalent / D(plan["price_usd_month"]))) == plan["leverage"]
    assert str(term.usd_per_flow) == PUBLISHED["flow_usd_displayed"]
    assert str(round_minor(D(plan["flows_month"]) * term.usd_per_flow)) != plan["equivalent_usd"]


def test_terms_hold_from_their_moment_until_the_next_begins():
    assert TERMS.rate("standard", NOON - DAY) is None
    assert TERMS.rate("standard", NOON + DAY - timedelta(microseconds=1)).flows_per_usd == D("39.6")
    assert TERMS.rate("standard", NOON + DAY).flows_per_usd == D(50)
    assert [one.flows_per_usd for one in TERMS.history("standard")] == [D(50), D("39.6")]


def test_a_plans_own_factor_comes_before_that_of_every_plan():
    assert TERMS.factor("pro", "acme/chat", NOON) == D("1.5")
    assert TERMS.factor("pro", "acme/chat", NOON + DAY) == 2
    assert TERMS.factor("max", "acme/chat", NOON + DAY) == D("1.5")
    assert TERMS.factor("", "acme/chat", NOON + DAY) == D("1.5")
    assert TERMS.factor("pro", "acme/other", NOON) == 1


def test_a_free_model_costs_no_flows_the_overhead_included():
    assert TERMS.cost(sheet("0", free=True), now=NOON) == 0


# --- rows ------------------------------------------------------------------------------------------------------------


def bring(now=NOON, **members: Any) -> importing.Diff:
    return importing.import_catalog(read_document(members, source="test"), now=now)


def a_rate(per_usd: str, since: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"flows_per_usd": per_usd, "effective_from": since, **more}


@pytest.mark.django_db
def test_every_installation_has_the_published_rate():
    term = load_book().flow_rate("standard", NOON)
    assert (term.flows_per_usd, term.call_overhead_flows, str(term.usd_per_flow)) == (D("39.6"), 0, "0.02525")
    assert load_book().flow_rate("insider", NOON) is None


@pytest.mark.django_db
def test_a_document_brings_terms_and_the_same_document_again_changes_nothing():
    factories.price("acme/chat")
    told = {
        "flow_rates": [a_rate("36", flow_class="insider", note="early members"), a_rate("40", "2027-01-01T00:00:00Z")],
        "flow_factors": [{"model": "acme/chat", "factor": "1.5", "effective_from": "2026-01-01T00:00:00Z"}],
    }
    before = CatalogState.objects.get().revision
    diff = bring(**told)
    assert {change.what for change in diff.changes if change.kind != "gone"} == {"flow rate", "flow factor"}
    assert CatalogState.objects.get().revision == before + 1
    now = load_book()
    assert now.flow_rate("insider", NOON).flows_per_usd == 36
    assert now.flow_rate("standard", NOON).flows_per_usd == D("39.6")
    assert now.flow_rate("standard", NOON + 60 * DAY).flows_per_usd == 40
    assert now.flow_factor("pro", "acme/chat", NOON) == D("1.5")

    diff = bring(now=NOON + DAY, **told)
    assert not diff.written
    assert (FlowRate.objects.count(), FlowFactor.objects.count()) == (3, 1)


@pytest.mark.django_db
def test_a_changed_rate_begins_now_however_early_the_file_dates_it():
    bring(flow_rates=[a_rate("42", "2021-01-01T00:00:00Z", call_overhead_flows="0.05")])
    now = load_book()
    assert now.flow_rate("standard", NOON - timedelta(microseconds=1)).flows_per_usd == D("39.6")
    assert now.flow_rate("standard", NOON).call_overhead_flows == D("0.05")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"flow_rates": [a_rate("0")]}, "flow_rates[0].flows_per_usd"),
        ({"flow_rates": [a_rate("1", flow_class="gold")]}, "flow_rates[0].flow_class"),
        ({"flow_rates": [a_rate("1", "2030-01-01T00:00:00Z"), a_rate("2", "2030-01-01T00:00:00Z")]}, "flow_rates[1]"),
        ({"flow_factors": [{"model": "no/such", "factor": 1, "effective_from": "2026-01-01T00:00:00Z"}]}, "no/such"),
        ({"flow_factors": [{"model": "a/b", "factor": 1, "plan": "team", "effective_from": "x"}]}, "plan"),
    ],
)
def test_terms_that_cannot_be_are_refused_with_their_place(members, place):
    before = FlowRate.objects.count()
    with pytest.raises(InvalidCatalog) as refusal:
        bring(**members)
    assert place in str(refusal.value)
    assert FlowRate.objects.count() == before


@pytest.mark.django_db
def test_a_term_is_never_changed_or_removed():
    for change in (
        lambda: FlowRate.objects.update(flows_per_usd=1),
        lambda: FlowRate.objects.all().delete(),
        lambda: FlowFactor.objects.update(factor=1),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


# --- the API ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_quote_says_what_the_call_would_cost_a_subscription():
    factories.price("acme/chat", at=NOON - 3650 * DAY)
    bring(
        now=NOON - 1000 * DAY,
        flow_factors=[{"plan": "pro", "model": "acme/chat", "factor": "2", "effective_from": "2020-01-01T00:00:00Z"}],
    )
    book.forget()
    asked = {"model": "acme/chat", "usage": {"input_tokens": 60}}
    assert Program().call("POST", "quotes", asked).json()["flows"] == "2.376000"
    assert Program().call("POST", "quotes", asked | {"plan": "pro"}).json()["flows"] == "4.752000"
    refused = Program().call("POST", "quotes", asked | {"plan": "team"})
    assert problem(refused, 422, "invalid_request")["field"] == "plan"


@pytest.mark.django_db
def test_the_rate_is_published_with_its_history():
    bring(now=NOON - 1000 * DAY, flow_rates=[a_rate("40", "2099-01-01T00:00:00Z")])
    book.forget()
    told = Program().call("GET", "flow-rate").json()
    assert (told["flow_class"], told["flows_per_usd"], told["usd_per_flow"]) == ("standard", "39.6", "0.02525")
    assert told["call_overhead_flows"] == "0.000000"
    assert told["effective_to"] == "2099-01-01T00:00:00Z"
    assert [one["flows_per_usd"] for one in told["history"]] == ["40", "39.6"]
    assert [one["effective_to"] for one in told["history"]] == [None, "2099-01-01T00:00:00Z"]
