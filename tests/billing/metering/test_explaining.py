"""Which sentences explain a call's price, and when they stay silent (F053-F056, F107, C21)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.catalog.plans import FieldMultiplierSpec, PriceSpec, TierSpec, compile_plan
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import Usage
from billing.metering import explaining
from billing.metering.explaining import Peer, checks, median_of

D = Decimal
PLAN = compile_plan(
    PriceSpec(
        model="acme/big",
        input_per_1k=D("0.005"),
        output_per_1k=D("0.025"),
        multiples={"cache_read": D("0.1"), "cache_write_5m": D("1.25"), "input_image": D(1), "reasoning": D(1)},
        tiers=(TierSpec(above_input_tokens=200_000, input_per_1k=D("0.01"), output_per_1k=D("0.0375")),),
        field_multipliers=(FieldMultiplierSpec(field="tier", equals="fast", multiplier=D(2)),),
    )
)


def called(fields: dict[str, Any] | None = None, **quantities: int) -> Sheet:
    return rate(PLAN, Usage(**quantities), fields=fields)


def peers(*prices: str, vendor: str = "other") -> list[Peer]:
    return [Peer(f"{vendor}/{n}", f"Model {n}", vendor, D(price)) for n, price in enumerate(prices)]


@pytest.mark.parametrize(
    ("quantities", "codes"),
    [
        # F055: 110K tokens of input on a dear model cost more than $0.45, and input is what they are.
        ({"input_tokens": 110_000, "output_tokens": 100}, ["large_context"]),
        ({"input_tokens": 110_000, "output_tokens": 20_000}, []),  # the output is half of it
        ({"input_tokens": 19_999, "output_tokens": 10}, []),  # all input, but not long
        ({"input_tokens": 20_000, "output_tokens": 10}, ["large_context"]),
        ({"input_tokens": 1_900}, []),  # $0.0095: below a cent nobody asks
        ({"input_tokens": 200_000}, ["large_context"]),
        ({"input_tokens": 200_001}, ["large_context", "long_context"]),
        ({"input_tokens": 500, "output_tokens": 4_000, "reasoning_tokens": 2_000}, ["reasoning"]),
        ({"input_tokens": 500, "output_tokens": 4_000, "reasoning_tokens": 1_999}, []),
        ({"input_tokens": 60_000, "output_tokens": 400, "reasoning_tokens": 400}, ["large_context"]),
        ({"input_tokens": 9_000, "input_image_tokens": 6_000, "output_tokens": 900}, ["image_inputs"]),
        ({"input_tokens": 9_000, "input_image_tokens": 1_000, "output_tokens": 900}, []),
        ({"input_tokens": 9_000, "cache_write_5m_tokens": 6_000, "output_tokens": 900}, ["cache_write"]),
        ({"input_tokens": 9_000, "cache_write_5m_tokens": 100, "output_tokens": 900}, []),
    ],
)  # fmt: skip
def test_a_sentence_appears_exactly_when_it_explains_the_price(quantities, codes):
    assert [check.code for check in checks(called(**quantities), vendor="acme")] == codes


@pytest.mark.parametrize(
    ("quantities", "nearby", "missed"),
    [
        ({"input_tokens": 5_000}, True, True),
        ({"input_tokens": 5_000}, False, False),
        ({"input_tokens": 3_999}, True, False),
        ({"input_tokens": 5_000, "cache_read_tokens": 1}, True, False),
    ],
)
def test_a_miss_is_one_where_other_calls_read(quantities, nearby, missed):
    found = [check.code for check in checks(called(**quantities), vendor="acme", read_nearby=nearby)]
    assert ("cache_miss" in found) is missed


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (peers("0.05", "0.05", "0.05"), True),  # exactly twice
        (peers("0.05", "0.0501", "0.0502"), False),
        (peers("0.01", "0.01"), False),  # two models are no kind
        (peers("0", "0", "0"), False),
        ([], False),
    ],
)
def test_the_model_explains_the_price_from_twice_the_median_on(others, said):
    found = [
        check.code for check in checks(called(input_tokens=10_000, output_tokens=2_000), vendor="acme", peers=others)
    ]
    assert found == (["model_choice"] if said else [])


def test_the_vendors_cheaper_model_is_named_when_it_has_one():
    others = [*peers("0.02", "0.03", "0.04"), *peers("0.06", "0.015", vendor="acme")]
    [check] = checks(called(input_tokens=10_000, output_tokens=2_000), vendor="acme", peers=others)
    assert check.topic == "model_choice"
    assert "$0.10," in check.text
    assert "3.3 times the $0.03" in check.text
    assert "With Model 1 of the same vendor it would be $0.015" in check.text


def test_the_long_context_sentence_says_what_the_tier_added_multipliers_included():
    usual = checks(called(input_tokens=300_000), vendor="")[-1].text
    fast = checks(called({"tier": "fast"}, input_tokens=300_000), vendor="")[-1].text
    assert "added $1.50 to" in usual
    assert "added $3.00 to" in fast


def test_the_cache_write_sentence_says_what_writing_cost_more_than_plain_input():
    [check] = checks(called(input_tokens=8_000, cache_write_5m_tokens=8_000), vendor="")
    assert "here $0.01 more" in check.text  # 8,000 x 0.25 x $0.005 / 1K


def test_a_free_model_says_so_and_nothing_else():
    plan = compile_plan(PriceSpec(model="acme/free", input_per_1k=D(0), output_per_1k=D(0), free=True))
    [check] = checks(rate(plan, Usage(input_tokens=500_000)), vendor="", peers=peers("1", "1", "1"), read_nearby=True)
    assert (check.code, check.topic) == ("free_model", "free")


def test_calls_priced_by_the_unit_have_no_token_reasons():
    plan = compile_plan(PriceSpec(model="acme/image", type="per_image", price=D("0.04")))
    assert checks(rate(plan, Usage(images=10, input_tokens=90_000)), vendor="", read_nearby=True) == []


def test_of_an_even_number_the_cheaper_of_the_two_in_the_middle_is_the_median():
    assert median_of(peers("4", "1", "3", "2")).list_price == 2


def test_every_threshold_has_a_sentence_of_its_own():
    source = Path(explaining.__file__).read_text().splitlines()
    for place, line in enumerate(source):
        if ": Final = " in line:
            assert source[place - 1].startswith("# "), line
