"""Canonical usage (03-http-api 3.4): what is refused, and that nothing is lost on the way."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.usage import Usage, parse_usage
from billing.errors import InvalidUsage


@pytest.mark.parametrize(
    ("quantities", "field"),
    [
        ({"input_tokens": -1}, "input_tokens"),
        ({"input_tokens": "-0.5"}, "input_tokens"),
        ({"input_tokens": 1.0}, "input_tokens"),
        ({"input_tokens": True}, "input_tokens"),
        ({"input_tokens": "1.5"}, "input_tokens"),
        ({"input_tokens": "NaN"}, "input_tokens"),
        ({"input_tokens": "Infinity"}, "input_tokens"),
        ({"input_tokens": "many"}, "input_tokens"),
        ({"input_tokens": [1]}, "input_tokens"),
        ({"input_tokens": 2**53}, "input_tokens"),
        ({"input_tokens": "1e40"}, "input_tokens"),
        ({"input_tokens": "9" * 5000}, "input_tokens"),
        ({"seconds": 8.0}, "seconds"),
        ({"seconds": "-1"}, "seconds"),
        ({"seconds": "0.0000000001"}, "seconds"),
        ({"seconds": "inf"}, "seconds"),
        ({"images": -1}, "images"),
        ({"prompt_tokens": 1}, "prompt_tokens"),
        ({"input_tokens": 10, "cache_read_tokens": 11}, "input_tokens"),
        ({"input_tokens": 10, "cache_read_tokens": 6, "input_audio_tokens": 5}, "input_tokens"),
        ({"cache_write_1h_tokens": 1}, "input_tokens"),
        ({"output_tokens": 10, "reasoning_tokens": 8, "output_image_tokens": 3}, "output_tokens"),
    ],
)
def test_c17_bad_usage_is_refused_and_the_field_named(quantities: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidUsage) as refusal:
        parse_usage(quantities)
    assert refusal.value.members["field"] == field
    assert field in str(refusal.value)
    with pytest.raises(InvalidUsage):
        Usage(**quantities)


def test_usage_must_be_an_object() -> None:
    with pytest.raises(InvalidUsage):
        parse_usage([1, 2])  # type: ignore[arg-type]


def test_null_means_not_told_and_zero_stays_zero() -> None:
    usage = parse_usage({"input_tokens": None, "images": 0, "seconds": None})
    assert (usage.input_tokens, usage.images, usage.seconds, usage.requests) == (0, 0, None, None)


def test_decimal_strings_and_integers_mean_the_same() -> None:
    assert parse_usage({"input_tokens": "12000", "seconds": "8.50"}) == parse_usage(
        {"input_tokens": 12000, "seconds": Decimal("8.5")}
    )


tokens = st.integers(min_value=0, max_value=10**7)


@given(st.lists(tokens, min_size=11, max_size=11), st.one_of(st.none(), tokens), st.decimals(0, 10**6, places=3))
def test_stored_usage_reads_back_unchanged(counts: list[int], images: int | None, seconds: Decimal) -> None:
    names = Usage._fields[:11]
    quantities: dict[str, Any] = dict(zip(names, counts, strict=True))
    quantities["input_tokens"] += sum(counts[2:8])
    quantities["output_tokens"] += sum(counts[8:])
    usage = parse_usage(quantities | {"images": images, "seconds": seconds})
    assert parse_usage(usage.as_dict()) == usage
    assert sum(usage.parts().values()) == usage.total_tokens
