"""Rating: every price type, the special tokens, tiers, multipliers, discounts, and one rounding (F040-F053)."""

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.plans import FieldMultiplierSpec, PriceSpec, TierSpec, compile_plan
from billing.catalog.rating import flows, hold_list_price, plain, rate, recompute, upper_bound
from billing.catalog.usage import COMPONENTS, INPUT_COMPONENTS, OUTPUT_COMPONENTS, Usage, parse_usage
from billing.errors import InvalidPrice, InvalidUsage

D = Decimal
OPUS = PriceSpec(
    version=14,
    number=14,
    model="anthropic/claude-opus-4.5",
    input_per_1k=D("0.005"),
    output_per_1k=D("0.025"),
    multiples={"cache_read": D("0.1"), "cache_write_5m": D("1.25"), "cache_write_1h": D(2)},
)
GEMINI = PriceSpec(
    input_per_1k=D("0.00125"),
    output_per_1k=D("0.01"),
    multiples={"cache_read": D("0.1")},
    tiers=(TierSpec(above_input_tokens=200_000, input_per_1k=D("0.0025"), output_per_1k=D("0.015")),),
)
VIDEO = PriceSpec(
    type="per_second",
    price=D("0.40"),
    field_multipliers=(
        FieldMultiplierSpec("header:X-Priority", "true", D("1.8")),
        FieldMultiplierSpec("resolution", "4k", D("1.5")),
        FieldMultiplierSpec("audio", "true", D(2)),
    ),
)


def charge(spec: PriceSpec, fields: dict[str, Any] | None = None, **quantities: Any) -> Decimal:
    return rate(compile_plan(spec), parse_usage(quantities), fields=fields).charge


# --- the ways of pricing ---------------------------------------------------------------------------------------------


def test_f044_a_request_without_a_count_is_one() -> None:
    spec = PriceSpec(type="per_request", price=D("0.05"))
    assert charge(spec) == D("0.05")
    assert charge(spec, requests=3, input_tokens=999) == D("0.15")
    assert charge(spec, requests=0) == 0


def test_c27_megapixels_count_every_image() -> None:
    spec = PriceSpec(type="per_megapixel", price=D("0.04"))
    assert charge(spec, width=1536, height=1024, images=3) == 3 * charge(spec, width=1536, height=1024)


def test_c27_seconds_are_as_delivered_unless_the_version_has_a_step_or_a_minimum() -> None:
    spec = PriceSpec(type="per_second", price=D("0.40"))
    assert charge(spec, seconds="8.123") == D("3.2492")
    stepped = replace(spec, second_step=D(5), min_seconds=D(3))
    assert [charge(stepped, seconds=s) for s in ("0", "0.5", "5", "5.001")] == [0, 2, 2, 4]
    assert charge(replace(spec, min_seconds=D(3)), seconds="0.5") == D("1.2")


@pytest.mark.parametrize(
    ("type", "quantities", "field"),
    [
        ("per_second", {"input_tokens": 5}, "seconds"),
        ("per_image", {}, "images"),
        ("per_megapixel", {"width": 5}, "height"),
        ("per_megapixel", {"height": 5}, "width"),
    ],
)
def test_a_quantity_that_the_price_needs_is_never_taken_for_zero(
    type: str, quantities: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidUsage) as refusal:
        charge(PriceSpec(type=type, price=D(1)), **quantities)
    assert refusal.value.members["field"] == field


def test_a_component_may_have_a_price_of_its_own() -> None:
    spec = replace(OPUS, component_per_1k={"reasoning": D("0.03")})
    sheet = rate(compile_plan(spec), parse_usage({"output_tokens": 3000, "reasoning_tokens": 1000}))
    assert sheet.charge == D("0.05") + D("0.03")
    assert sheet.billed_output_tokens == 3000
    assert [(line.item, plain(line.unit_price)) for line in sheet.lines] == [
        ("output", "0.000025"),
        ("reasoning", "0.00003"),
    ]


def test_a_special_token_without_a_price_costs_its_base() -> None:
    assert charge(OPUS, input_tokens=1000, input_image_tokens=600) == charge(OPUS, input_tokens=1000)


def test_c05_automatic_cache_and_cache_read_are_the_same_tokens() -> None:
    assert charge(OPUS, input_tokens=1000, cache_tokens=800) == charge(OPUS, input_tokens=1000, cache_read_tokens=800)
    with pytest.raises(InvalidUsage):
        charge(OPUS, input_tokens=1000, cache_tokens=100, cache_read_tokens=100)
    both = replace(OPUS, additive=True)
    assert charge(both, input_tokens=1000, cache_tokens=100, cache_read_tokens=100) == D("0.0041")


def test_a_longer_write_is_never_cheaper_than_a_shorter_one() -> None:
    spec = replace(OPUS, multiples={"cache_write_5m": D("1.25")})
    assert charge(spec, input_tokens=1000, cache_write_1h_tokens=1000) == D("0.00625")


def test_context_tiers_price_the_whole_request() -> None:
    at = charge(GEMINI, input_tokens=200_000, output_tokens=1000)
    above = charge(GEMINI, input_tokens=200_001, output_tokens=1000)
    assert at == D("0.25") + D("0.01")
    assert above == 200_001 * D("0.0000025") + D("0.015")


def test_multiples_follow_the_tier() -> None:
    assert charge(GEMINI, input_tokens=300_000, cache_read_tokens=300_000) == D("0.075")


def test_a_tier_may_reprice_a_component() -> None:
    tier = TierSpec(1000, D("0.002"), D("0.004"), component_per_1k={"cache_read": D("0.0005")})
    spec = PriceSpec(
        input_per_1k=D("0.001"), output_per_1k=D("0.002"), component_per_1k={"cache_read": D("0.0002")}, tiers=(tier,)
    )
    assert charge(spec, input_tokens=1000, cache_read_tokens=1000) == D("0.0002")
    assert charge(spec, input_tokens=2000, cache_read_tokens=2000) == D("0.001")


# --- field multipliers -----------------------------------------------------------------------------------------------


def test_c28_field_multipliers_multiply_and_unknown_values_count_once() -> None:
    fields = {"header:x-PRIORITY": "true", "resolution": "4k", "audio": True, "style": "noir"}
    assert charge(VIDEO, fields, seconds=1) == D("0.40") * D("1.8") * D("1.5") * 2
    assert charge(VIDEO, {"resolution": "8k", "audio": [1], "header:x-priority": None}, seconds=1) == D("0.40")


def test_c28_the_cap_holds_their_product() -> None:
    capped = replace(VIDEO, multiplier_cap=D("2.5"))
    sheet = rate(compile_plan(capped), Usage(seconds=1), fields={"audio": "true", "resolution": "4k"})
    assert sheet.charge == D("1.0")
    assert [entry.field for entry in sheet.field_multipliers] == ["audio", "resolution"]
    assert sheet.lines[0].amount == 1


def test_a_discount_applies_to_the_multiplied_price_and_the_charge_is_rounded_once() -> None:
    plan = compile_plan(PriceSpec(type="per_request", price=D("0.00000000004")))
    sheet = rate(plan, Usage(), channel_discount=D("1.5"), user_discount=D(1))
    assert (sheet.list_price, sheet.charge) == (D("0.0000000000"), D("0.0000000001"))


@pytest.mark.parametrize("bad", ["0", "-0.1", "1.51", "NaN", "Infinity"])
def test_c20_a_discount_is_a_factor_above_zero_and_at_most_one_and_a_half(bad: str) -> None:
    with pytest.raises(InvalidPrice):
        rate(compile_plan(OPUS), Usage(), user_discount=D(bad))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        PriceSpec(type="per_token", input_per_1k=D(1)),
        PriceSpec(type="per_request"),
        PriceSpec(type="per_word", price=D(1)),
        PriceSpec(type="per_request", price=D(1), input_per_1k=D(1)),
        PriceSpec(input_per_1k=D(1), output_per_1k=D(1), price=D(1)),
        PriceSpec(input_per_1k=D(-1), output_per_1k=D(1)),
        PriceSpec(input_per_1k=D("NaN"), output_per_1k=D(1)),
        PriceSpec(input_per_1k=D(1), output_per_1k=D(1), multiples={"smell": D(1)}),
        PriceSpec(input_per_1k=D(1), output_per_1k=D(1), multiples={"cache": D(1)}, component_per_1k={"cache": D(1)}),
        PriceSpec(input_per_1k=D(1), output_per_1k=D(1), tiers=(TierSpec(5, D(1), D(1)), TierSpec(5, D(2), D(2)))),
        PriceSpec(type="per_request", price=D(1), field_multipliers=(FieldMultiplierSpec("a", "b", D(0)),)),
        PriceSpec(type="per_request", price=D(1), multiplier_cap=D(0)),
        PriceSpec(type="per_second", price=D(1), second_step=D(0)),
        # C21: zero is free only when the version says so, and free is zero
        PriceSpec(input_per_1k=D(0), output_per_1k=D(0)),
        PriceSpec(type="per_request", price=D(0)),
        PriceSpec(type="per_request", price=D(1), free=True),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_when_it_is_compiled(spec: PriceSpec) -> None:
    with pytest.raises(InvalidPrice):
        compile_plan(spec)


def test_c21_a_free_version_never_charges() -> None:
    free = PriceSpec(free=True)
    assert charge(free, input_tokens=10**9, output_tokens=10**9, reasoning_tokens=5) == 0
    assert charge(PriceSpec(type="per_image", free=True), images=4) == 0


def test_no_float_enters() -> None:
    plan = compile_plan(OPUS)
    with pytest.raises(TypeError):
        rate(plan, Usage(), channel_discount=0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        compile_plan(replace(OPUS, input_per_1k=0.005))
    with pytest.raises(InvalidUsage):
        Usage(input_tokens=1.0)
    # a multiplier cannot be chosen by a float either
    assert charge(
        replace(VIDEO, field_multipliers=(FieldMultiplierSpec("n", "1.0", D(9)),)), {"n": 1.0}, seconds=1
    ) == D("0.4")


def test_an_absurd_charge_is_refused_and_not_left_to_the_database() -> None:
    with pytest.raises(InvalidUsage):
        charge(replace(OPUS, input_per_1k=D("999999")), input_tokens=2**53 - 1)


# --- sheets ----------------------------------------------------------------------------------------------------------


def test_the_sheet_is_a_quotes_body_in_decimal_strings() -> None:
    sheet = rate(
        compile_plan(OPUS),
        parse_usage({"input_tokens": 1200, "output_tokens": 310, "cache_read_tokens": 800}),
        channel_discount=D("0.82"),
        user_discount=D("0.95"),
    )
    body = sheet.as_dict(flows=D("0.1"))
    assert body["lines"][1] == {
        "item": "cache_read",
        "unit": "token",
        "quantity": "800",
        "multiple": "0.1",
        "unit_price": "0.000005",
        "field_multiplier": "1",
        "amount": "0.0004",
    }
    assert {
        key: body[key] for key in ("model", "channel", "price_version", "type", "list_price", "charge", "flows")
    } == {
        "model": "anthropic/claude-opus-4.5",
        "channel": "default",
        "price_version": 14,
        "type": "per_token",
        "list_price": "0.0101500000",
        "charge": "0.0079068500",
        "flows": "0.100000",
    }
    assert (body["billed_input_tokens"], body["billed_output_tokens"]) == ("480", "310")
    assert rate(compile_plan(OPUS), Usage()).as_dict()["charge"] == "0.0000000000"


def test_j14_flows() -> None:
    assert flows(D("0.06"), flows_per_usd=D("39.6"), call_overhead=D("0.05")) == D("2.426")
    assert flows(D("0.06"), flows_per_usd=D("36"), model_flow_factor=D("2"), call_overhead=D("0.05")) == D("4.37")
    assert flows(D("0.0000000001"), flows_per_usd=D("39.6")) == 0


# --- holds -----------------------------------------------------------------------------------------------------------


def test_a_hold_is_rated_at_the_largest_output() -> None:
    """The contract's example: 1,200 tokens in, at most 4,096 out."""
    plan = compile_plan(OPUS)
    assert hold_list_price(plan, {"input_tokens": 1200, "max_output_tokens": 4096}) == D("0.1084")
    assert hold_list_price(plan, {"input_tokens": 1200}, default_max_output_tokens=4096) == D("0.1084")
    with pytest.raises(InvalidUsage) as refusal:
        hold_list_price(plan, {"input_tokens": 1200})
    assert refusal.value.members["field"] == "max_output_tokens"


def test_a_hold_counts_output_at_the_dearest_item_unless_told() -> None:
    plan = compile_plan(replace(OPUS, multiples={"output_image": D(10), "reasoning": D("1.5")}))
    assert hold_list_price(plan, {"max_output_tokens": 1000}) == D("0.25")
    assert hold_list_price(plan, {"max_output_tokens": 1000, "output_image_tokens": 100}) == D("0.0475")
    assert upper_bound(plan, {"max_output_tokens": 7}).output_image_tokens == 7


@pytest.mark.parametrize(
    "estimate", [{"max_output_tokens": -1}, {"max_output_tokens": "x"}, {"input_tokens": -5}, {"inputs": 1}]
)
def test_a_bad_estimate_is_refused(estimate: dict[str, Any]) -> None:
    with pytest.raises(InvalidUsage):
        hold_list_price(compile_plan(OPUS), estimate, default_max_output_tokens=10)


def test_a_hold_of_another_price_type_takes_its_own_quantities() -> None:
    assert hold_list_price(compile_plan(VIDEO), {"seconds": "8"}, fields={"header:x-priority": "true"}) == D("5.76")


# --- properties ------------------------------------------------------------------------------------------------------

prices = st.decimals(min_value="0.0000001", max_value=1, places=9)
factors = st.decimals(min_value="0.01", max_value="1.5", places=4)
multiples = st.dictionaries(
    st.sampled_from(COMPONENTS), st.decimals(min_value=0, max_value=10, places=4), max_size=len(COMPONENTS)
)
small = st.integers(min_value=0, max_value=10**6)


@st.composite
def specs(draw: st.DrawFn) -> PriceSpec:
    base_in, base_out = draw(prices), draw(prices)
    own = draw(multiples)
    absolute = {name: own.pop(name) for name in list(own) if draw(st.booleans())}
    tiers = tuple(
        TierSpec(above, base_in * step, base_out * step)
        for step, above in enumerate(sorted(draw(st.sets(st.integers(1, 10**6), max_size=3))), start=2)
    )
    multiplier = FieldMultiplierSpec("quality", "high", draw(st.decimals(min_value="0.1", max_value=5, places=3)))
    return PriceSpec(
        input_per_1k=base_in,
        output_per_1k=base_out,
        multiples=own,
        component_per_1k=absolute,
        tiers=tiers,
        field_multipliers=(multiplier,),
        multiplier_cap=draw(st.one_of(st.none(), st.decimals(min_value="0.5", max_value=3, places=2))),
        additive=True,
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    special_in = {f"{name}_tokens": draw(small) for name in INPUT_COMPONENTS}
    special_out = {f"{name}_tokens": draw(small) for name in OUTPUT_COMPONENTS}
    return Usage(
        input_tokens=draw(small) + sum(special_in.values()),
        output_tokens=draw(small) + sum(special_out.values()),
        **special_in,
        **special_out,
    )


fields = st.sampled_from([None, {"quality": "high"}, {"quality": "low"}])


@given(specs(), usages(), factors, factors, fields)
def test_the_lines_of_a_sheet_add_up_to_its_list_price_and_charge(
    spec: PriceSpec, usage: Usage, channel: Decimal, user: Decimal, given_fields: dict[str, str] | None
) -> None:
    sheet = rate(compile_plan(spec), usage, channel_discount=channel, user_discount=user, fields=given_fields)
    exact = sum((Fraction(line.amount) for line in sheet.lines), Fraction(0))
    for line in sheet.lines:
        product = Fraction(line.quantity) * Fraction(line.multiple) * Fraction(line.unit_price)
        assert product * Fraction(line.field_multiplier) == Fraction(line.amount)
    assert Fraction(sheet.list_price) == half_up(exact)
    assert Fraction(sheet.charge) == half_up(exact * Fraction(channel) * Fraction(user))
    assert recompute(sheet.as_dict()) == (sheet.list_price, sheet.charge)
    assert (sheet.charge_units, sheet.list_units) == (sheet.charge.scaleb(10), sheet.list_price.scaleb(10))


@given(specs(), usages(), fields)
def test_f049_the_lines_agree_with_the_published_formula(
    spec: PriceSpec, usage: Usage, given_fields: dict[str, str] | None
) -> None:
    """adjusted = base + special x (multiple - 1), rated at the base price."""
    spec = replace(spec, component_per_1k={}, field_multipliers=(), multiplier_cap=None)
    sheet = rate(compile_plan(spec), usage, fields=given_fields)
    multiple = dict(spec.multiples)
    multiple.setdefault("cache", multiple.get("cache_read", D(1)))
    multiple.setdefault("cache_read", multiple["cache"])
    multiple.setdefault("cache_write_1h", multiple.get("cache_write_5m", D(1)))
    adjusted = [D(usage.input_tokens), D(usage.output_tokens)]
    for name, count in zip(COMPONENTS, usage[2:11], strict=True):
        adjusted[name in OUTPUT_COMPONENTS] += count * (multiple.get(name, D(1)) - 1)
    assert (sheet.billed_input_tokens, sheet.billed_output_tokens) == tuple(adjusted)
    base = next((tier for tier in reversed(spec.tiers) if usage.input_tokens > tier.above_input_tokens), None)
    price_in = base.input_per_1k if base else spec.input_per_1k
    price_out = base.output_per_1k if base else spec.output_per_1k
    assert price_in is not None
    assert price_out is not None
    cost = Fraction(adjusted[0]) * Fraction(price_in) + Fraction(adjusted[1]) * Fraction(price_out)
    assert Fraction(sheet.list_price) == half_up(cost / 1000)


@given(specs(), usages(), st.sampled_from(["input", "output", *COMPONENTS]), small, factors)
def test_a_charge_never_falls_when_more_is_used(
    spec: PriceSpec, usage: Usage, item: str, more: int, discount: Decimal
) -> None:
    """More of one item adds it to its base, too: a cached token is an input token."""
    plan = compile_plan(spec)
    bigger = usage.as_dict()
    base = "output_tokens" if item == "output" or item in OUTPUT_COMPONENTS else "input_tokens"
    bigger[base] = int(bigger.get(base, 0)) + more
    if item in COMPONENTS:
        bigger[f"{item}_tokens"] = int(bigger.get(f"{item}_tokens", 0)) + more
    before = rate(plan, usage, user_discount=discount)
    after = rate(plan, parse_usage(bigger), user_discount=discount)
    assert after.list_price >= before.list_price
    assert after.charge >= before.charge


@given(
    st.sampled_from(["per_request", "per_second", "per_image", "per_megapixel"]),
    prices,
    small,
    st.integers(1, 9),
    factors,
)
def test_the_other_price_types_are_exact_and_monotone(
    type: str, price: Decimal, count: int, images: int, discount: Decimal
) -> None:
    plan = compile_plan(PriceSpec(type=type, price=price))
    quantities: dict[str, Any] = {
        "per_request": {"requests": count},
        "per_second": {"seconds": D(count) / 1000},
        "per_image": {"images": count},
        "per_megapixel": {"width": count, "height": 7, "images": images},
    }[type]
    quantity = {
        "per_request": Fraction(count),
        "per_second": Fraction(count, 1000),
        "per_image": Fraction(count),
        "per_megapixel": Fraction(count * 7 * images, 10**6),
    }[type]
    sheet = rate(plan, parse_usage(quantities), user_discount=discount)
    assert Fraction(sheet.list_price) == half_up(quantity * Fraction(price))
    assert Fraction(sheet.charge) == half_up(quantity * Fraction(price) * Fraction(discount))
    for name in quantities:
        more = rate(plan, parse_usage(quantities | {name: quantities[name] + 1}), user_discount=discount)
        assert more.list_price >= sheet.list_price
        assert more.charge >= sheet.charge
    assert recompute(sheet.as_dict()) == (sheet.list_price, sheet.charge)


def half_up(exact: Fraction) -> Fraction:
    scaled = exact * 10**10
    whole = scaled.numerator // scaled.denominator
    return Fraction(whole + (2 * (scaled - whole) >= 1), 10**10)


def test_half_up_here_means_what_decimal_means() -> None:
    for raw in ("0.00000000005", "0.000000000049", "1.23456789015"):
        assert half_up(Fraction(raw)) == Fraction(D(raw).quantize(D("1e-10"), rounding=ROUND_HALF_UP))
