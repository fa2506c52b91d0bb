"""A rated call laid out for people: items x multiple = billed, prices, discounts, charge (F043-F051).

The numbers are the sheet's own; nothing is priced here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from billing.catalog.plans import ONE, PER_TOKEN, Rate
from billing.catalog.rating import Line, Sheet
from billing.catalog.usage import INPUT_COMPONENTS, OUTPUT_COMPONENTS
from billing.money import EXACT

ITEM_LABELS: Final[Mapping[str, Any]] = {
    "input": _("Input, plain"),
    "cache": _("Automatic cache"),
    "cache_read": _("Cache read"),
    "cache_write_5m": _("Cache write, 5 min"),
    "cache_write_1h": _("Cache write, 1 h"),
    "input_audio": _("Input audio"),
    "input_image": _("Input image"),
    "output": _("Output, plain"),
    "output_audio": _("Output audio"),
    "output_image": _("Output image"),
    "reasoning": _("Reasoning"),
    "request": _("Requests"),
    "second": _("Seconds"),
    "megapixel": _("Megapixels"),
    "image": _("Images"),
}
SIDE_LABELS: Final[Mapping[str, Any]] = {"input": _("Input"), "output": _("Output")}
UNIT_LABELS: Final[Mapping[str, Any]] = {
    "token": pgettext_lazy("unit", "tokens"),
    "request": pgettext_lazy("unit", "requests"),
    "second": pgettext_lazy("unit", "s"),
    "megapixel": pgettext_lazy("unit", "MP"),
    "image": pgettext_lazy("unit", "images"),
}
SIDES: Final = (("input", ("input", *INPUT_COMPONENTS)), ("output", ("output", *OUTPUT_COMPONENTS)))


@dataclass(frozen=True, slots=True)
class Item:
    """One kind of token: counted, times its multiple, billed. With a price of its own it has no multiple."""

    name: str
    label: Any
    quantity: Decimal
    multiple: Decimal | None
    billed: Decimal | None
    own_per_1k: Decimal | None


@dataclass(frozen=True, slots=True)
class Side:
    """Input or output: its items, and what they add up to at the side's base price."""

    label: Any
    items: list[Item]
    billed: Decimal


@dataclass(frozen=True, slots=True)
class Step:
    """A product on the way to the list price: quantity x price."""

    quantity: Decimal
    unit: str
    price: Decimal
    per_1k: bool
    amount: Decimal
    label: Any = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """A sheet for people. Amounts are exact; only list price and charge are rounded, as they were recorded."""

    type: str
    sides: list[Side]
    steps: list[Step]
    subtotal: Decimal  # before the field multipliers
    multipliers: list[Any]
    multiplier: Decimal
    capped: bool
    above_input_tokens: int | None  # the tier that priced the whole call
    free: bool
    list_price: Decimal
    channel_discount: Decimal
    after_channel: Decimal
    user_discount: Decimal
    charge: Decimal
    notes: list[Any] = field(default_factory=list)


def lay_out(sheet: Sheet) -> Layout:
    """The lines of a sheet in the order in which a person would compute them."""
    spec = sheet.plan.spec
    if spec.type == PER_TOKEN:
        sides, steps = _tokens(sheet)
    else:
        sides, steps = [], [_unit_step(line) for line in sheet.lines]
    product = ONE
    for applied in sheet.field_multipliers:
        product = EXACT.multiply(product, applied.multiplier)
    exact = sheet.exact_list_price
    return Layout(
        type=spec.type,
        sides=sides,
        steps=steps,
        subtotal=sum((step.amount for step in steps), Decimal(0)),
        multipliers=list(sheet.field_multipliers),
        multiplier=sheet.multiplier,
        capped=product != sheet.multiplier,
        above_input_tokens=_tier(sheet),
        free=spec.free,
        list_price=sheet.list_price,
        channel_discount=sheet.channel_discount,
        after_channel=EXACT.multiply(exact, sheet.channel_discount),
        user_discount=sheet.user_discount,
        charge=sheet.charge,
        notes=_notes(sheet),
    )


def _tokens(sheet: Sheet) -> tuple[list[Side], list[Step]]:
    rates = sheet.plan.prices_at(sheet.usage.input_tokens).rates
    lines = {line.item: line for line in sheet.lines}
    sides, steps = [], []
    for side, names in SIDES:
        here = [lines[name] for name in names if name in lines]
        if not here:
            continue
        base = rates[side].unit_price
        items = [_item(line, rates[line.item], base, alone=len(here) == 1) for line in here]
        billed = sum((item.billed for item in items if item.billed is not None), Decimal(0))
        sides.append(Side(SIDE_LABELS[side], items, billed))
        if billed or not any(item.own_per_1k is not None for item in items):
            steps.append(_step(billed, base, SIDE_LABELS[side]))
        for item in items:
            if item.own_per_1k is not None:
                steps.append(_step(item.quantity, rates[item.name].cost, item.label))
    return sides, steps


def _item(line: Line, rate: Rate, base: Decimal, *, alone: bool) -> Item:
    label = SIDE_LABELS[line.item] if alone and line.item in SIDE_LABELS else ITEM_LABELS[line.item]
    if rate.unit_price == base:
        return Item(line.item, label, line.quantity, rate.multiple, EXACT.multiply(line.quantity, rate.multiple), None)
    return Item(line.item, label, line.quantity, None, None, EXACT.multiply(rate.cost, Decimal(1000)))


def _step(tokens: Decimal, unit_price: Decimal, label: Any) -> Step:
    amount = EXACT.multiply(tokens, unit_price)
    return Step(tokens, "token", EXACT.multiply(unit_price, Decimal(1000)), True, amount, label)


def _unit_step(line: Line) -> Step:
    return Step(line.quantity, line.unit, line.unit_price, False, EXACT.multiply(line.quantity, line.unit_price))


def _tier(sheet: Sheet) -> int | None:
    for above, _prices in sheet.plan.tiers:
        if sheet.usage.input_tokens > above:
            return above
    return None


def _notes(sheet: Sheet) -> list[Any]:
    """What the seconds of a video have become on the way to the bill (C27)."""
    usage, spec = sheet.usage, sheet.plan.spec
    billed = sheet.lines[0].quantity if sheet.lines else None
    if spec.type != "per_second" or usage.seconds is None or billed == usage.seconds:
        return []
    told = {"delivered": f"{usage.seconds.normalize():f}", "billed": f"{billed.normalize() if billed else 0:f}"}
    return [_("%(delivered)s s delivered, billed as %(billed)s s.") % told]
