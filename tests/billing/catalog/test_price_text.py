"""Prices as lines in a form: what is shown reads back unchanged, and what cannot be read is named."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.plans import FieldMultiplierSpec, PriceSpec, TierSpec, plain
from billing.catalog.price_text import (
    multipliers_text,
    read_multipliers,
    read_specials,
    read_tiers,
    specials_text,
    tiers_text,
)
from billing.catalog.usage import COMPONENTS
from billing.errors import InvalidPrice

prices = st.decimals("0", "1000", places=8)
above_zero = st.decimals("0.000001", "1000", places=6)


@given(
    multiples=st.dictionaries(st.sampled_from(COMPONENTS[:5]), prices),
    own=st.dictionaries(st.sampled_from(COMPONENTS[5:]), prices),
    tiers=st.lists(st.tuples(st.integers(1, 10**9), prices, prices, prices), unique_by=lambda one: one[0], max_size=3),
    multiplier=above_zero,
)
def test_what_a_form_shows_reads_back_as_it_was(
    multiples: dict[str, Decimal],
    own: dict[str, Decimal],
    tiers: list[tuple[int, Decimal, Decimal, Decimal]],
    multiplier: Decimal,
) -> None:
    spec = PriceSpec(
        input_per_1k=Decimal(1),
        output_per_1k=Decimal(2),
        multiples=multiples,
        component_per_1k=own,
        tiers=tuple(TierSpec(above, i, o, {"reasoning": r}) for above, i, o, r in tiers),
        field_multipliers=(FieldMultiplierSpec("header:x-priority", "a × b = c", multiplier),),
    )

    told = read_specials(specials_text(spec))

    assert told["multiples"] == {name: plain(value) for name, value in multiples.items()}
    assert told["component_per_1k"] == {name: plain(value) for name, value in own.items()}
    assert read_tiers(tiers_text(spec)) == [
        {
            "above_input_tokens": above,
            "input_per_1k": plain(i),
            "output_per_1k": plain(o),
            "component_per_1k": {"reasoning": plain(r)},
        }
        for above, i, o, r in sorted(tiers)
    ]
    assert read_multipliers(multipliers_text(spec)) == [
        {"field": "header:x-priority", "equals": "a × b = c", "multiplier": plain(multiplier)}
    ]


def test_people_may_write_it_as_they_like() -> None:
    assert read_specials("cache_read x 0.1\n\n  CACHE_WRITE_5M*1.25 \nreasoning: 0.015") == {
        "multiples": {"cache_read": "0.1", "cache_write_5m": "1.25"},
        "component_per_1k": {"reasoning": "0.015"},
    }
    assert read_tiers("> 200,000: input 0.005, output 0.02") == [
        {"above_input_tokens": 200000, "input_per_1k": "0.005", "output_per_1k": "0.02"}
    ]


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_specials, "cache_read 10%"),
        (read_specials, "cache_raed × 0.1"),
        (read_specials, "cache_read × 0.1\ncache_read × 0.2"),
        (read_specials, "cache_read × -1"),
        (read_tiers, "above 200000: input 0.005"),
        (read_tiers, "above many: input 1, output 2"),
        (read_tiers, "above 10: input 1, output 2, input 3"),
        (read_multipliers, "header:x-priority × 1.8"),
        (read_multipliers, "header:x-priority = true"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_and_named(read: object, text: str) -> None:
    with pytest.raises(InvalidPrice) as refusal:
        read(text)  # type: ignore[operator]

    assert text.splitlines()[-1] in str(refusal.value)
