"""What Flows are worth, against the published table (F066, F067, C03, C07, J13)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.catalog.flow_terms import FlowTerm
from subscriptions.equivalence import calls_within, period_of, week_of, worth
from subscriptions.seeds import SINCE, published

RATE = Decimal("39.6")
PLANS = {plan["code"]: plan for plan in published()["plans"]}
PAID = [code for code, plan in PLANS.items() if "leverage" in plan]


def of(code: str, rate: Decimal = RATE):
    plan = PLANS[code]
    return worth(Decimal(plan["flows_month"]), Decimal(plan["price_usd_month"]), rate)


@pytest.mark.parametrize("code", PAID)
def test_the_published_table_comes_out_to_the_last_digit(code):
    """C03: with 39.6 Flows for a dollar, and with nothing else."""
    found = of(code)
    assert str(found.usd_shown) == PLANS[code]["equivalent_usd"]
    assert str(found.leverage_shown) == PLANS[code]["leverage"]


def test_j13_pro_is_worth_54_545454_dollars_and_2_727_times_its_price():
    found = of("pro")
    assert str(found.usd)[:9] == "54.545454"
    assert str(found.leverage)[:6] == "2.7272"
    assert (str(found.usd_shown), str(found.leverage_shown)) == ("54.55", "2.73")


def test_the_displayed_price_of_a_flow_would_not_give_the_published_table():
    """C03, the control: computed from $0.02525 every plan comes out wrong."""
    shown = FlowTerm("standard", RATE, Decimal(0), SINCE).usd_per_flow
    assert str(shown) == "0.02525"
    wrong = [str(round(Decimal(PLANS[code]["flows_month"]) * shown, 2)) for code in PAID]
    assert wrong == ["54.54", "327.24", "872.64"]
    also_wrong = [str(of(code, Decimal(40)).usd_shown) for code in PAID]
    assert also_wrong == ["54.00", "324.00", "864.00"]


def test_leverage_is_taken_of_the_unrounded_worth():
    """3.3333… dollars for 0.99: 3.3670 rounds down; of the rounded 3.33 it would be 3.3636 and round to 3.36."""
    found = worth(Decimal(10), Decimal("0.99"), Decimal(3))
    assert (str(found.usd_shown), str(found.leverage_shown)) == ("3.33", "3.37")


def test_a_plan_that_costs_nothing_has_no_leverage():
    found = of("free")
    assert (found.usd_shown, found.leverage, found.leverage_shown) == (Decimal("5.45"), None, None)


@pytest.mark.parametrize("code", PLANS)
def test_c07_the_published_quotas_keep_the_relations_of_week_and_period(code):
    plan = PLANS[code]
    assert week_of(Decimal(plan["flows_5h"])) == Decimal(plan["flows_week"])
    assert period_of(Decimal(plan["flows_week"])) == Decimal(plan["flows_month"])


@pytest.mark.parametrize(
    ("quota", "flows", "calls"),
    [
        ("50", "2.426", 20), ("50", "2.5", 20), ("50", "2.500001", 19), ("50", "50", 1), ("5", "50", 1),
        ("5", "0.000001", 5_000_000), ("5", "0", None),
    ],
)  # fmt: skip
def test_a_window_takes_whole_calls_one_at_least_and_any_number_of_free_ones(quota, flows, calls):
    assert calls_within(Decimal(quota), Decimal(flows)) == calls
