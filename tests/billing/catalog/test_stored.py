"""What a usage record keeps of its sheet is enough to compute its charge again (I8)."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.plans import FieldMultiplierSpec, PriceSpec, TierSpec, compile_plan
from billing.catalog.rating import rate
from billing.catalog.stored import lines_of, recompute, store
from billing.catalog.usage import Usage

TOKENS = compile_plan(
    PriceSpec(
        input_per_1k=Decimal("0.003"),
        output_per_1k=Decimal("0.015"),
        multiples={"cache_read": Decimal("0.1"), "cache_write_5m": Decimal("1.25")},
        component_per_1k={"reasoning": Decimal("0.0123456789")},
        tiers=(TierSpec(200_000, Decimal("0.006"), Decimal("0.0225")),),
        field_multipliers=(FieldMultiplierSpec("service_tier", "priority", Decimal("1.8")),),
    )
)
SECONDS = compile_plan(
    PriceSpec(
        type="per_second",
        price=Decimal("0.40"),
        field_multipliers=(FieldMultiplierSpec("header:x-priority", "true", Decimal("1.8")),),
    )
)
counts = st.integers(0, 400_000)
factors = st.decimals("0.01", "1.5", places=4)


def test_the_kept_sheet_is_small_and_says_it_all() -> None:
    sheet = rate(TOKENS, Usage(input_tokens=12_000, cache_read_tokens=8_000, output_tokens=310))

    assert store(sheet) == (
        '{"lines":[["input","4000","1","0.000003"],["cache_read","8000","0.1","0.000003"],'
        '["output","310","1","0.000015"]]}'
    )


def test_multipliers_are_kept_with_their_field_and_value() -> None:
    sheet = rate(SECONDS, Usage(seconds=Decimal(8)), fields={"header:X-Priority": "true"})

    assert json.loads(store(sheet)) == {
        "lines": [["second", "8", "1", "0.4"]],
        "multipliers": [["header:x-priority", "true", "1.8"]],
        "multiplier": "1.8",
    }


@given(
    plain=counts, read=counts, written=counts, out=counts, thought=counts, of_channel=factors, of_user=factors,
    fields=st.sampled_from([{}, {"service_tier": "priority"}, {"service_tier": "flex"}]),
)  # fmt: skip
def test_list_price_and_charge_follow_from_the_kept_sheet_alone(
    plain: int, read: int, written: int, out: int, thought: int, of_channel: Decimal, of_user: Decimal, fields: Any
) -> None:
    used = Usage(
        input_tokens=plain + read + written,
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
        output_tokens=out + thought,
        reasoning_tokens=thought,
    )
    sheet = rate(TOKENS, used, channel_discount=of_channel, user_discount=of_user, fields=fields)

    kept = json.loads(store(sheet))

    assert recompute(kept, of_channel, of_user) == (sheet.list_price, sheet.charge)
    assert lines_of(kept) == list(sheet.lines)


@given(seconds=st.decimals("0", "100000", places=3), of_channel=factors)
def test_the_other_price_types_too(seconds: Decimal, of_channel: Decimal) -> None:
    sheet = rate(SECONDS, Usage(seconds=seconds), channel_discount=of_channel, fields={"header:x-priority": "true"})

    assert recompute(json.loads(store(sheet)), of_channel, Decimal(1)) == (sheet.list_price, sheet.charge)
