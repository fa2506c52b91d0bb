"""What a person should look at twice before a price is published."""

from dataclasses import replace
from decimal import Decimal

import pytest

from billing.catalog.findings import look_twice
from billing.catalog.plans import PriceSpec, TierSpec

OLD = PriceSpec(
    model="a/b",
    input_per_1k=Decimal("0.003"),
    output_per_1k=Decimal("0.015"),
    multiples={"cache_read": Decimal("0.1")},
)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (replace(OLD, input_per_1k=Decimal("0.03")), ["input jumps from 0.003 to 0.03", "cache_read jumps"]),
        (replace(OLD, output_per_1k=Decimal("0.002")), ["output jumps", "Output is cheaper than input"]),
        (replace(OLD, multiples={"cache_read": Decimal("1.5")}), ["cache_read jumps", "cache is dearer"]),
        (
            replace(OLD, tiers=(TierSpec(200_000, Decimal("0.002"), Decimal("0.02")),)),
            ["a call with one token more would cost less"],
        ),
        (
            replace(OLD, free=True, input_per_1k=Decimal(0), output_per_1k=Decimal(0), multiples={}),
            ["free for everybody"],
        ),
        (
            PriceSpec(model="a/b", type="per_request", price=Decimal("0.05")),
            ["price type changes"],
        ),
    ],
)
def test_what_is_seldom_meant_is_said(new: PriceSpec, said: list[str]) -> None:
    texts = [str(one.text) for one in look_twice(new, OLD)]

    assert all(any(part in text for text in texts) for part in said), texts


def test_an_ordinary_change_and_a_first_price_say_nothing() -> None:
    assert look_twice(replace(OLD, input_per_1k=Decimal("0.0035")), OLD) == []
    assert look_twice(OLD, None) == []
