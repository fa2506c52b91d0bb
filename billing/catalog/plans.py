"""Price versions compiled once into whole numbers, so that rating a call is a few multiplications. Pure.

`PriceSpec` is a price version as plain values; `compile_plan` checks it and makes an immutable `Plan` that all threads
share. What cannot be priced is refused here, with the field's name, not when the first call comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from billing.catalog.usage import COMPONENTS, INPUT_COMPONENTS, ITEMS, OUTPUT_COMPONENTS, SECOND_PLACES
from billing.errors import InvalidPrice
from billing.money import EXACT

PER_TOKEN: Final = "per_token"  # noqa: S105
PER_REQUEST: Final = "per_request"
PER_SECOND: Final = "per_second"
PER_MEGAPIXEL: Final = "per_megapixel"
PER_IMAGE: Final = "per_image"
PRICE_TYPES: Final = (PER_TOKEN, PER_REQUEST, PER_SECOND, PER_MEGAPIXEL, PER_IMAGE)

ONE: Final = Decimal(1)
LEDGER_PLACES: Final = 10

# A price that a version does not name is the price of its nearest kin: automatic caching and cache read are the same
# physical tokens (C05), and a write that lives an hour is never cheaper than one that lives five minutes.
KIN: Final[dict[str, str]] = {"cache": "cache_read", "cache_read": "cache", "cache_write_1h": "cache_write_5m"}

UNITS: Final[dict[str, str]] = {
    PER_TOKEN: "token",
    PER_REQUEST: "request",
    PER_SECOND: "second",
    PER_MEGAPIXEL: "megapixel",
    PER_IMAGE: "image",
}


@dataclass(frozen=True, slots=True)
class TierSpec:
    """Prices of the whole request once its input is longer than `above_input_tokens`.

    Multiples of the version apply to the tier's base. A component in `component_per_1k` replaces the version's own
    price of it; a version's absolute component price without an entry here stays as it is.
    """

    above_input_tokens: int
    input_per_1k: Decimal
    output_per_1k: Decimal
    component_per_1k: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldMultiplierSpec:
    """F051: a request field or header with this value multiplies the price."""

    field: str
    equals: str
    multiplier: Decimal


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """A price version as plain values, whether it comes from a row, a file or a test."""

    version: UUID | int | str = ""
    number: int = 1
    model: str = ""
    channel: str = "default"
    type: str = PER_TOKEN
    free: bool = False
    input_per_1k: Decimal | None = None
    output_per_1k: Decimal | None = None
    price: Decimal | None = None
    multiples: Mapping[str, Decimal] = field(default_factory=dict)
    component_per_1k: Mapping[str, Decimal] = field(default_factory=dict)
    tiers: tuple[TierSpec, ...] = ()
    field_multipliers: tuple[FieldMultiplierSpec, ...] = ()
    multiplier_cap: Decimal | None = None
    additive: bool = False
    second_step: Decimal | None = None
    min_seconds: Decimal | None = None


class Rate(NamedTuple):
    """One component of one tier: what a token of it costs, exactly."""

    multiple: Decimal
    unit_price: Decimal  # for one token, before the multiple

    @property
    def cost(self) -> Decimal:
        return EXACT.multiply(self.multiple, self.unit_price)


class Row(NamedTuple):
    """A line's fixed half."""

    item: str
    multiple: Decimal
    unit_price: Decimal
    cost: Decimal  # multiple x unit price
    short: bool  # short enough that cost x any count is exact in 28 digits
    head: str  # the line as a usage record keeps it (catalog/stored.py), before and after the quantity
    tail: str


class Prices(NamedTuple):
    """One tier, twice: as whole numbers to compute with, as Decimals to show."""

    whole: tuple[int, ...]  # input, output, then for each component what a token of it costs more than its base
    rates: dict[str, Rate]  # "input", "output" and every component
    table: tuple[Row, ...]  # the same in the order of usage.counts(), for writing lines


class Plan:
    """A compiled price version. Immutable; made once per version and shared by all threads."""

    __slots__ = (
        "additive",
        "base",
        "cap",
        "multipliers",
        "places",
        "spec",
        "table",
        "tiers",
        "token",
        "unit",
        "unit_price",
    )

    def __init__(
        self,
        *,
        spec: PriceSpec,
        places: int,
        base: Prices | None,
        tiers: tuple[tuple[int, Prices], ...],
        unit_price: int,
        multipliers: dict[str, dict[str, tuple[int, int]]],
    ) -> None:
        self.spec = spec
        self.places = places  # exact amounts are whole numbers of 10**-places USD
        self.base = base
        self.tiers = tiers  # longest context first
        self.token = base.whole if base is not None else ()
        self.table = base.table if base is not None else ()
        self.unit = UNITS[spec.type]
        self.unit_price = unit_price
        self.multipliers = multipliers
        self.cap = spec.multiplier_cap
        self.additive = spec.additive

    def prices_at(self, input_tokens: int) -> Prices:
        """The tier that prices a request of this length."""
        for above, prices in self.tiers:
            if input_tokens > above:
                return prices
        if self.base is None:
            raise TypeError(f"{self.spec.type} has no token prices")
        return self.base

    @property
    def version(self) -> UUID | int | str:
        return self.spec.version

    def __repr__(self) -> str:
        return f"<Plan {self.spec.model}@{self.spec.channel} v{self.spec.number} {self.spec.type}>"


def compile_plan(spec: PriceSpec) -> Plan:
    """Whole numbers out of a price version, or InvalidPrice naming what is wrong with it."""
    if spec.type not in PRICE_TYPES:
        raise InvalidPrice(_("%(field)s: unknown price type."), field="type")
    multipliers = _multipliers(spec)
    if spec.type == PER_TOKEN:
        return _compile_tokens(spec, multipliers)

    if spec.input_per_1k is not None or spec.output_per_1k is not None or spec.tiers:
        raise InvalidPrice(_("%(field)s belongs to token prices."), field="input_per_1k")
    price = _price(Decimal(0) if spec.free and spec.price is None else spec.price, "price")
    _free_or_priced(spec, price)
    for name, value in (("second_step", spec.second_step), ("min_seconds", spec.min_seconds)):
        if value is not None and (_price(value, name) <= 0 or places_of(value) > SECOND_PLACES):
            raise InvalidPrice(_("%(field)s must be above zero."), field=name)
    places = max(places_of(price), LEDGER_PLACES)
    return Plan(spec=spec, places=places, base=None, tiers=(), unit_price=whole(price, places), multipliers=multipliers)


def _compile_tokens(spec: PriceSpec, multipliers: dict[str, dict[str, tuple[int, int]]]) -> Plan:
    if spec.price is not None:
        raise InvalidPrice(_("%(field)s belongs to the other price types."), field="price")
    zero = Decimal(0) if spec.free else None
    base = TierSpec(
        above_input_tokens=-1,
        input_per_1k=_price(zero if spec.input_per_1k is None else spec.input_per_1k, "input_per_1k"),
        output_per_1k=_price(zero if spec.output_per_1k is None else spec.output_per_1k, "output_per_1k"),
    )
    thresholds = [tier.above_input_tokens for tier in spec.tiers]
    if len(set(thresholds)) != len(thresholds) or any(above < 0 for above in thresholds):
        raise InvalidPrice(_("%(field)s: thresholds must differ and be at least 0."), field="tiers")
    steps = [base, *sorted(spec.tiers, key=lambda tier: tier.above_input_tokens)]
    tables = [_rates(spec, step) for step in steps]
    _free_or_priced(spec, max(rate.cost for rates in tables for rate in rates.values()))
    places = max(
        LEDGER_PLACES,
        *(places_of(rate.cost) for rates in tables for rate in rates.values()),
    )
    compiled = [Prices(_whole_prices(rates, places), rates, _table(rates)) for rates in tables]
    tiers = tuple(
        (step.above_input_tokens, prices) for step, prices in reversed(list(zip(steps[1:], compiled[1:], strict=True)))
    )
    return Plan(spec=spec, places=places, base=compiled[0], tiers=tiers, unit_price=0, multipliers=multipliers)


def _rates(spec: PriceSpec, step: TierSpec) -> dict[str, Rate]:
    known = set(COMPONENTS)
    unknown = (set(spec.multiples) | set(spec.component_per_1k) | set(step.component_per_1k)) - known
    if unknown:
        raise InvalidPrice(_("%(field)s is not a billing item."), field=min(unknown))
    both = set(spec.multiples) & set(spec.component_per_1k)
    if both:
        raise InvalidPrice(_("%(field)s has a multiple and a price of its own."), field=min(both))

    rates = {
        "input": Rate(ONE, _price(step.input_per_1k, "input_per_1k").scaleb(-3, context=EXACT)),
        "output": Rate(ONE, _price(step.output_per_1k, "output_per_1k").scaleb(-3, context=EXACT)),
    }
    for component in COMPONENTS:
        side = rates["input" if component in INPUT_COMPONENTS else "output"]
        for name in (component, KIN.get(component, component)):
            own = step.component_per_1k.get(name, spec.component_per_1k.get(name))
            if own is not None:
                rates[component] = Rate(ONE, _price(own, name).scaleb(-3, context=EXACT))
            elif name in spec.multiples:
                rates[component] = Rate(_price(spec.multiples[name], name), side.unit_price)
            else:
                continue
            break
        else:
            rates[component] = side
    return rates


def _whole_prices(rates: dict[str, Rate], places: int) -> tuple[int, ...]:
    cost = {item: whole(rate.cost, places) for item, rate in rates.items()}
    extra = [cost[item] - cost["input"] for item in INPUT_COMPONENTS]
    extra += [cost[item] - cost["output"] for item in OUTPUT_COMPONENTS]
    return (cost["input"], cost["output"], *extra)


def _table(rates: dict[str, Rate]) -> tuple[Row, ...]:
    rows = []
    for item in ITEMS:
        rate, cost = rates[item], rates[item].cost.normalize(EXACT)
        short = len(cost.as_tuple().digits) <= 12
        tail = f'","{plain(rate.multiple)}","{plain(rate.unit_price)}"]'
        rows.append(Row(item, rate.multiple, rate.unit_price, cost, short, f'["{item}","', tail))
    return tuple(rows)


def _multipliers(spec: PriceSpec) -> dict[str, dict[str, tuple[int, int]]]:
    table: dict[str, dict[str, tuple[int, int]]] = {}
    for entry in spec.field_multipliers:
        values = table.setdefault(field_name(entry.field), {})
        if entry.equals in values:
            raise InvalidPrice(_("%(field)s has two multipliers for one value."), field=entry.field)
        if _price(entry.multiplier, entry.field) <= 0:
            raise InvalidPrice(_("%(field)s must be above zero."), field=entry.field)
        places = places_of(entry.multiplier)
        values[entry.equals] = (whole(entry.multiplier, places), places)
    if spec.multiplier_cap is not None and _price(spec.multiplier_cap, "multiplier_cap") <= 0:
        raise InvalidPrice(_("%(field)s must be above zero."), field="multiplier_cap")
    return table


def _free_or_priced(spec: PriceSpec, dearest: Decimal) -> None:
    """A zero is free only when the version says so, and a free version charges nothing (C21)."""
    if spec.free and dearest > 0:
        raise InvalidPrice(_("A free version cannot carry a price."), field="free")
    if not spec.free and dearest == 0:
        raise InvalidPrice(_("A price of zero must be marked free."), field="free")


def _price(value: Decimal | None, name: str) -> Decimal:
    if value is None:
        raise InvalidPrice(_("%(field)s is missing."), field=name)
    if not isinstance(value, Decimal):
        raise TypeError(f"{name} is a Decimal, not {type(value).__name__}")
    if not value.is_finite() or value < 0 or places_of(value) > 20 or value >= 10**9:
        raise InvalidPrice(_("%(field)s must be a decimal of at least 0 with at most 20 places."), field=name)
    return value


def places_of(value: Decimal) -> int:
    """Digits after the point that matter."""
    exponent = value.normalize(EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


@lru_cache(maxsize=4096)  # the same multiples and unit prices are written again and again
def plain(value: Decimal) -> str:
    """A decimal without exponent and without idle zeros: "6300", "0.1"."""
    return format(value.normalize(EXACT), "f") if value else "0"


def whole(value: Decimal, places: int) -> int:
    return int(value.scaleb(places, context=EXACT))


def field_name(name: str) -> str:
    """Header names do not depend on case; body fields do."""
    return name.lower() if name[:7].lower() == "header:" else name
