"""Replay docs/worked-examples.md from tests/data/worked_examples.json: every number there is computed here again."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from billing.catalog.normalise import normalise
from billing.catalog.rating import (
    FieldMultiplierSpec,
    PriceSpec,
    compile_plan,
    flows,
    parse_usage,
    rate,
    recompute,
)
from refunds import quote_plan
from refunds.quote_plan import Lines, Paid, Used

ROOT = Path(__file__).resolve().parent
EXAMPLES: dict[str, Any] = json.loads((ROOT / "data" / "worked_examples.json").read_text())
PAGE = (ROOT.parent / "docs" / "worked-examples.md").read_text()


def decimals(case: dict[str, Any], name: str) -> dict[str, Decimal]:
    return {key: Decimal(value) for key, value in case.get(name, {}).items()}


def optional(case: dict[str, Any], name: str) -> Decimal | None:
    return Decimal(case[name]) if name in case else None


@pytest.mark.parametrize("case", EXAMPLES["pricing"], ids=lambda case: case["id"])
def test_j01_to_j10_a_call_costs_what_the_page_says(case: dict[str, Any]) -> None:
    spec = PriceSpec(
        type=case["type"],
        price=optional(case, "price"),
        input_per_1k=optional(case, "input_per_1k"),
        output_per_1k=optional(case, "output_per_1k"),
        multiples=decimals(case, "multiples"),
        field_multipliers=tuple(
            FieldMultiplierSpec(entry["field"], entry["equals"], Decimal(entry["multiplier"]))
            for entry in case.get("field_multipliers", [])
        ),
    )
    usage = parse_usage(case["usage"]) if "usage" in case else normalise(case["format"], case["provider_usage"])
    sheet = rate(
        compile_plan(spec),
        usage,
        channel_discount=Decimal(case.get("channel_discount", "0.80")),
        user_discount=Decimal(case.get("user_discount", "0.95")),
        fields=case.get("fields"),
    )
    body = sheet.as_dict()
    checked = {
        name: body[name]
        for name in ("list_price", "charge", "billed_input_tokens", "billed_output_tokens")
        if name in case
    }
    assert checked == {name: case[name] for name in checked}
    assert checked
    assert recompute(body) == (sheet.list_price, sheet.charge)


@pytest.mark.parametrize("case", EXAMPLES["flows"], ids=lambda case: case.get("class", "standard"))
def test_j14_flows_cost_what_the_page_says(case: dict[str, Any]) -> None:
    cost = flows(
        Decimal(case["list_usd"]),
        flows_per_usd=Decimal(case["flows_per_usd"]),
        call_overhead=Decimal(case["overhead"]),
    )
    assert format(cost, "f") == case["flows"]


def given_back(case: dict[str, Any], *, fee_of_paid: bool = False) -> Lines:
    paid, refunded = (int(Decimal(case[name]) * 100) for name in ("paid", "refunded"))
    return quote_plan.compute(
        [Paid(UUID(int=1), paid, refunded_minor=refunded)],
        [Used(Decimal(case["flows"]), Decimal(case["flows_per_usd"]))],
        fee_rate=Decimal("0.05"),
        fee_of_paid=fee_of_paid,
    )


@pytest.mark.parametrize("case", EXAMPLES["refunds"], ids=lambda case: case["id"])
def test_j16_to_j19_of_a_plan_goes_back_what_the_page_says(case: dict[str, Any]) -> None:
    told = given_back(case).told()
    names = [name for name in ("usage", "refunded", "difference", "fee", "final") if name in case]
    assert {name: f"{Decimal(told[name]) / 100:.2f}" for name in names} == {name: case[name] for name in names}
    assert (told["final"] > 0) == case.get("eligible", True)
    if "final_of_paid" in case:
        of_paid = given_back(case, fee_of_paid=True)
        assert f"{Decimal(of_paid.final) / 100:.2f}" == case["final_of_paid"]
        assert f"${case['final_of_paid']}" in PAGE
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| {case['id']}:")]
    assert all(f"${case[name]}" in row for name in ("paid", *names))
    assert f"{int(case['flows']):,} Flows" in row


@pytest.mark.parametrize("case", [*EXAMPLES["pricing"], *EXAMPLES["flows"]], ids=lambda case: case["id"])
def test_the_page_shows_the_results(case: dict[str, Any]) -> None:
    """The page writes numbers for people; compared without idle zeros and thousands' commas."""
    shown = {number.replace(",", "") for number in re.findall(r"\d[\d,]*(?:\.\d+)?", PAGE)}
    result = case.get("charge") or case.get("flows") or case["billed_input_tokens"]
    assert format(Decimal(result).normalize(), "f") in shown
    assert re.search(rf"\b{case['id'][:3]}\b|J07–J09|J07-J09", PAGE)
