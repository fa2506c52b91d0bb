"""usage x price version x discounts -> sheet: the one function that prices quotes, calls, refunds and checks. Pure.

Nothing is rounded before the end: `list_price` and `charge` are each rounded once, at 1e-10, half up, from the exact
product of whole numbers. Floats are refused wherever they could enter.

Rules: F040-F053, C02, C05, C16, C17, C20, C21, C27, C28 of the product pages; examples J01-J10 and J14.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from billing.catalog.plans import (
    LEDGER_PLACES,
    ONE,
    PER_IMAGE,
    PER_MEGAPIXEL,
    PER_REQUEST,
    PER_SECOND,
    PER_TOKEN,
    PRICE_TYPES,
    FieldMultiplierSpec,
    Plan,
    PriceSpec,
    TierSpec,
    compile_plan,
    field_name,
    places_of,
    plain,
    whole,
)
from billing.catalog.usage import (
    INPUT_COMPONENTS,
    OUTPUT_COMPONENTS,
    SECOND_PLACES,
    Usage,
    parse_usage,
    seconds_ticks,
)
from billing.errors import InvalidPrice, InvalidUsage
from billing.money import EXACT, LEDGER_QUANTUM, round_flows, text

__all__ = [
    "PER_IMAGE",
    "PER_MEGAPIXEL",
    "PER_REQUEST",
    "PER_SECOND",
    "PER_TOKEN",
    "PRICE_TYPES",
    "AppliedMultiplier",
    "FieldMultiplierSpec",
    "Line",
    "Plan",
    "PriceSpec",
    "Sheet",
    "TierSpec",
    "Usage",
    "compile_plan",
    "flows",
    "hold_list_price",
    "line_as_dict",
    "parse_usage",
    "plain",
    "rate",
    "recompute",
    "upper_bound",
]

MAX_DISCOUNT: Final = Decimal("1.5")  # C20: a factor in (0, 1.5]
LEDGER_LIMIT: Final = 10**24  # NUMERIC(24,10) in units of 1e-10
INPUT_ITEMS: Final = frozenset({"input", *INPUT_COMPONENTS})
OUTPUT_ITEMS: Final = frozenset({"output", *OUTPUT_COMPONENTS})


class Line(NamedTuple):
    """amount = quantity x multiple x unit_price x field_multiplier, exactly."""

    item: str
    unit: str
    quantity: Decimal
    multiple: Decimal
    unit_price: Decimal  # for one unit (one token, not a thousand)
    field_multiplier: Decimal
    amount: Decimal


class AppliedMultiplier(NamedTuple):
    field: str
    value: str
    multiplier: Decimal


class _SheetRow(NamedTuple):
    plan: Plan
    usage: Usage
    exact: int  # the list price, unrounded, in units of 10**-places USD
    places: int
    field_multipliers: tuple[AppliedMultiplier, ...]
    list_units: int  # rounded, in units of 1e-10 USD, as is the charge: for those who add up many
    charge_units: int
    channel_discount: Decimal
    user_discount: Decimal


class Sheet(_SheetRow):
    """What a call costs and why. The two sums are ready; the lines are written out when somebody reads them."""

    __slots__ = ()

    @property
    def charge(self) -> Decimal:
        """What is paid: list price x channel x user, rounded once."""
        return LEDGER_QUANTUM * self.charge_units

    @property
    def list_price(self) -> Decimal:
        """The price before discounts, rounded for the record. The charge is not computed from it."""
        return LEDGER_QUANTUM * self.list_units

    @property
    def exact_list_price(self) -> Decimal:
        return _decimal(self.exact, self.places)

    @property
    def type(self) -> str:
        return self.plan.spec.type

    @property
    def version(self) -> UUID | int | str:
        return self.plan.spec.version

    @property
    def version_number(self) -> int:
        return self.plan.spec.number

    @property
    def multiplier(self) -> Decimal:
        """The field multipliers together, after the version's cap (C28)."""
        return _product(self.plan, self.field_multipliers)

    @property
    def lines(self) -> tuple[Line, ...]:
        spec, usage, factor = self.plan.spec, self.usage, self.multiplier if self.field_multipliers else ONE
        if spec.type != PER_TOKEN:
            quantity, price = _units(self.plan, usage), spec.price if spec.price is not None else Decimal(0)
            amount = EXACT.multiply(EXACT.multiply(quantity, price), factor)
            return (Line(self.plan.unit, self.plan.unit, quantity, ONE, price, factor, amount),)
        table = self.plan.table if not self.plan.tiers else self.plan.prices_at(usage.input_tokens).table
        lines = []
        for position, count in enumerate(usage.counts()):
            if count:
                item, multiple, unit_price, cost, short, _head, _tail = table[position]
                amount = cost * count if short else EXACT.multiply(cost, count)
                if factor is not ONE:
                    amount = EXACT.multiply(amount, factor)
                lines.append(tuple.__new__(Line, (item, "token", Decimal(count), multiple, unit_price, factor, amount)))
        return tuple(lines)

    @property
    def billed_input_tokens(self) -> Decimal:
        """F049's adjusted tokens. Tokens with a price of their own count once."""
        return _billed(self.lines, INPUT_ITEMS)

    @property
    def billed_output_tokens(self) -> Decimal:
        return _billed(self.lines, OUTPUT_ITEMS)

    def as_dict(self, *, flows: Decimal | None = None) -> dict[str, Any]:
        """The body of a quote (03-http-api 3.4): decimals as strings."""
        spec, lines = self.plan.spec, self.lines
        return {
            "model": spec.model,
            "channel": spec.channel,
            "price_version": spec.number,
            "price_version_id": str(spec.version),
            "type": spec.type,
            "lines": [line_as_dict(line) for line in lines],
            "billed_input_tokens": plain(_billed(lines, INPUT_ITEMS)),
            "billed_output_tokens": plain(_billed(lines, OUTPUT_ITEMS)),
            "field_multipliers": [
                {"field": applied.field, "value": applied.value, "multiplier": plain(applied.multiplier)}
                for applied in self.field_multipliers
            ],
            "multiplier": plain(self.multiplier),
            "list_price": text(self.list_price),
            "channel_discount": plain(self.channel_discount),
            "user_discount": plain(self.user_discount),
            "charge": text(self.charge),
            "flows": text(round_flows(flows if flows is not None else Decimal(0))),
        }

    def __repr__(self) -> str:
        return f"<Sheet {text(self.charge)} of {self.plan!r}>"


def line_as_dict(line: Line) -> dict[str, str]:
    """A line as the API says it."""
    return {
        "item": line.item,
        "unit": line.unit,
        "quantity": plain(line.quantity),
        "multiple": plain(line.multiple),
        "unit_price": plain(line.unit_price),
        "field_multiplier": plain(line.field_multiplier),
        "amount": plain(line.amount),
    }


def rate(
    plan: Plan,
    usage: Usage,
    *,
    channel_discount: Decimal = ONE,
    user_discount: Decimal = ONE,
    fields: Mapping[str, Any] | None = None,
) -> Sheet:
    """Price one call. Exact until the two roundings at the end; refuses what it cannot price (InvalidUsage)."""
    if type(channel_discount) is not Decimal or type(user_discount) is not Decimal:
        raise TypeError("a discount is a Decimal")
    factor, factor_places = _discounts(channel_discount, user_discount)

    if plan.base is not None:
        i, o, auto, read, w5, w1, ia, ii, oa, oi, re = usage[:11]
        if auto and read and not plan.additive:
            raise InvalidUsage(
                _("cache_tokens and cache_read_tokens are the same tokens: send one of them."),
                field="cache_read_tokens",
            )
        p = plan.token if not plan.tiers else plan.prices_at(i).whole
        exact = i * p[0] + o * p[1]
        if auto or read or w5 or w1 or ia or ii:
            exact += auto * p[2] + read * p[3] + w5 * p[4] + w1 * p[5] + ia * p[6] + ii * p[7]
        if oa or oi or re:
            exact += oa * p[8] + oi * p[9] + re * p[10]
        places = plan.places
    else:
        exact, places = _exact_units(plan, usage)

    applied: tuple[AppliedMultiplier, ...] = ()
    if fields and plan.multipliers:
        applied = _applied(plan, fields)
        if applied:
            exact, places = _multiplied(plan, applied, exact, places)

    shift = places - LEDGER_PLACES
    listed = (exact + _HALF[shift]) // _POWER[shift]
    shift += factor_places
    charge = (exact * factor + _HALF[shift]) // _POWER[shift]
    if charge >= LEDGER_LIMIT or listed >= LEDGER_LIMIT:
        raise InvalidUsage(_("%(field)s is absurdly large."), field="usage")
    return tuple.__new__(Sheet, (plan, usage, exact, places, applied, listed, charge, channel_discount, user_discount))


def flows(
    list_price: Decimal,
    *,
    flows_per_usd: Decimal,
    model_flow_factor: Decimal = ONE,
    call_overhead: Decimal = Decimal(0),
) -> Decimal:
    """What a call costs in Flows (C16, J14): six places, half up."""
    cost = EXACT.multiply(EXACT.multiply(list_price, flows_per_usd), model_flow_factor)
    return round_flows(EXACT.add(cost, call_overhead))


def upper_bound(plan: Plan, estimate: Mapping[str, Any], *, default_max_output_tokens: int | None = None) -> Usage:
    """The most that a call with this estimate is expected to use; a hold is rated from it.

    `estimate` is canonical usage plus `max_output_tokens`. Output counts at `max_output_tokens` (else
    `default_max_output_tokens`, the model's own maximum), and at the dearest output item where the version prices one
    above plain output, because a model may think or draw with all of it; a caller who knows better tells the items
    (`output_image_tokens`). Input counts as told, at the plain price: only who marks a prompt for caching pays more for
    it, knows so, and may say so (`cache_write_5m_tokens`).
    """
    told = dict(estimate)
    maximum = told.pop("max_output_tokens", None)
    if plan.base is None:
        return parse_usage(told)
    if maximum is None:
        maximum = told.get("output_tokens", default_max_output_tokens)
    if maximum is None:
        raise InvalidUsage(_("%(field)s is missing: the model has no known maximum."), field="max_output_tokens")
    try:
        output = parse_usage({"output_tokens": maximum}).output_tokens
    except InvalidUsage as refusal:
        raise InvalidUsage(refusal.template, field="max_output_tokens") from None
    told["output_tokens"] = output
    usage = parse_usage(told)
    if usage.output_audio_tokens or usage.output_image_tokens or usage.reasoning_tokens:
        return usage
    rates = plan.prices_at(usage.input_tokens).rates
    dearest = max(OUTPUT_COMPONENTS, key=lambda item: rates[item].cost)
    if rates[dearest].cost > rates["output"].unit_price:
        return parse_usage(told | {f"{dearest}_tokens": output})
    return usage


def hold_list_price(
    plan: Plan,
    estimate: Mapping[str, Any],
    *,
    default_max_output_tokens: int | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Decimal:
    """The list price to hold for a call; the caller applies discounts and its cap."""
    usage = upper_bound(plan, estimate, default_max_output_tokens=default_max_output_tokens)
    return rate(plan, usage, fields=fields).list_price


def recompute(body: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """(list_price, charge) from a stored sheet alone, without the price version (I8)."""
    exact = Decimal(0)
    for line in body["lines"]:
        amount = EXACT.multiply(Decimal(line["quantity"]), Decimal(line["multiple"]))
        amount = EXACT.multiply(amount, Decimal(line["unit_price"]))
        exact = EXACT.add(exact, EXACT.multiply(amount, Decimal(line.get("field_multiplier", "1"))))
    charge = EXACT.multiply(EXACT.multiply(exact, Decimal(body["channel_discount"])), Decimal(body["user_discount"]))
    return exact.quantize(LEDGER_QUANTUM, context=EXACT), charge.quantize(LEDGER_QUANTUM, context=EXACT)


# --- pieces ----------------------------------------------------------------------------------------------------------

_POWER: Final = tuple(10**n for n in range(160))
_QUANTA: Final = tuple(Decimal(1).scaleb(-n) for n in range(160))
_EXACT_IN_28: Final = 10**28
_HALF: Final = (0, *(10**n // 2 for n in range(1, 160)))


@lru_cache(maxsize=4096)
def _discounts(channel: Decimal, user: Decimal) -> tuple[int, int]:
    for name, value in (("channel_discount", channel), ("user_discount", user)):
        if not value.is_finite() or not 0 < value <= MAX_DISCOUNT or places_of(value) > 20:
            raise InvalidPrice(_("%(field)s must be above 0 and at most 1.5."), field=name)
    product = EXACT.multiply(channel, user)
    places = places_of(product)
    return whole(product, places), places


def _missing(name: str) -> InvalidUsage:
    return InvalidUsage(_("%(field)s is missing: this model is priced by it."), field=name)


def _units(plan: Plan, usage: Usage) -> Decimal:
    """The quantity that a price by request, second, megapixel or image multiplies (F044, F046-F048, C27)."""
    exact, places = _exact_quantity(plan, usage)
    return _decimal(exact, places)


def _exact_units(plan: Plan, usage: Usage) -> tuple[int, int]:
    quantity, places = _exact_quantity(plan, usage)
    return quantity * plan.unit_price, plan.places + places


def _exact_quantity(plan: Plan, usage: Usage) -> tuple[int, int]:
    kind = plan.spec.type
    if kind == PER_REQUEST:
        return (1 if usage.requests is None else usage.requests), 0
    if kind == PER_SECOND:
        if usage.seconds is None:
            raise _missing("seconds")
        return _billed_ticks(plan.spec, usage.seconds), SECOND_PLACES
    if kind == PER_IMAGE:
        if usage.images is None:
            raise _missing("images")
        return usage.images, 0
    if usage.width is None or usage.height is None:
        raise _missing("width" if usage.width is None else "height")
    return usage.width * usage.height * (1 if usage.images is None else usage.images), 6


def _billed_ticks(spec: PriceSpec, seconds: Decimal) -> int:
    """Delivered seconds, at least the minimum; rounded up only when the version has a step (C27)."""
    ticks = seconds_ticks(seconds)
    if ticks and spec.min_seconds is not None:
        ticks = max(ticks, seconds_ticks(spec.min_seconds))
    if spec.second_step is not None:
        step = seconds_ticks(spec.second_step)
        ticks = -(-ticks // step) * step
    return ticks


def _field_value(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return str(value)
    return None  # a list, an object, a float: no multiplier can name it, so it multiplies by 1


def _applied(plan: Plan, fields: Mapping[str, Any]) -> tuple[AppliedMultiplier, ...]:
    """In the order of the field names, so that the same call always gives the same sheet."""
    found: dict[str, AppliedMultiplier] = {}
    for raw_name, raw_value in fields.items():
        name = field_name(raw_name)
        values = plan.multipliers.get(name)
        value = _field_value(raw_value) if values else None
        if values and value is not None and value in values:
            amount, places = values[value]
            found[name] = AppliedMultiplier(name, value, Decimal(amount).scaleb(-places))
    return tuple(found[name] for name in sorted(found))


def _product(plan: Plan, applied: tuple[AppliedMultiplier, ...]) -> Decimal:
    """All multipliers that apply, held by the version's cap; where none applies, there is nothing to hold."""
    if not applied:
        return ONE
    product = ONE
    for entry in applied:
        product = EXACT.multiply(product, entry.multiplier)
    return product if plan.cap is None or product <= plan.cap else plan.cap


def _multiplied(plan: Plan, applied: tuple[AppliedMultiplier, ...], exact: int, places: int) -> tuple[int, int]:
    product = _product(plan, applied)
    more = places_of(product)
    return exact * whole(product, more), places + more


def _billed(lines: tuple[Line, ...], items: frozenset[str]) -> Decimal:
    return sum((line.multiple * line.quantity for line in lines if line.item in items), Decimal(0))


def _decimal(units: int, places: int) -> Decimal:
    """units x 10**-places, exactly. The short way holds as long as the default context's 28 digits do."""
    if units < _EXACT_IN_28:
        return _QUANTA[places] * units
    return Decimal(units).scaleb(-places, context=EXACT)
