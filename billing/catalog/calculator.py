"""The calculator of a model's page: quantities in, the full sheet out, by the function that charges calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from billing.catalog.image_text import Question
from billing.catalog.layout import ITEM_LABELS, Layout, lay_out
from billing.catalog.plans import PER_IMAGE, PER_MEGAPIXEL, PER_REQUEST, PER_SECOND, Plan
from billing.catalog.pricelist import Offer, priced_apart
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import COMPONENTS, parse_usage
from billing.errors import BillingError

UNIT_FIELDS: Final[Mapping[str, list[tuple[str, Any, str]]]] = {
    PER_REQUEST: [("requests", pgettext_lazy("calculator", "Requests"), "1")],
    PER_SECOND: [("seconds", pgettext_lazy("calculator", "Seconds"), "8")],
    PER_IMAGE: [("images", pgettext_lazy("calculator", "Images"), "1")],
    PER_MEGAPIXEL: [
        ("width", _("Width in pixels"), "1536"),
        ("height", _("Height in pixels"), "1024"),
        ("images", pgettext_lazy("calculator", "Images"), "1"),
    ],
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """One field of the form."""

    name: str
    label: Any
    value: str
    hint: Any


@dataclass(frozen=True, slots=True)
class Choice:
    """A request field that multiplies the price, with the values that do."""

    name: str
    param: str
    values: list[tuple[str, str]]
    selected: str


@dataclass(frozen=True, slots=True)
class Calculation:
    """The form as filled, and its sheet or why there is none."""

    quantities: list[Quantity]
    choices: list[Choice]
    layout: Layout | None
    problem: str
    version: int
    sheet: Sheet | None = None


def calculate(
    offer: Offer, user_discount: Decimal, params: Mapping[str, str], images: Question | None = None
) -> Calculation:
    """Rate what the form says; without anything said, an ordinary call."""
    plan = offer.plan
    quantities = [
        Quantity(name, label, params.get(name, default).strip()[:20], hint)
        for name, label, default, hint in _fields(plan)
    ]
    choices = [
        Choice(
            name,
            f"field:{name}",
            [(value, f"{value} × {factor}") for value, factor in values],
            params.get(f"field:{name}", ""),
        )
        for name, values in _multipliers(plan).items()
    ]
    told = {one.name: one.value.replace(",", "").replace(" ", "") or "0" for one in quantities}
    try:
        sheet = rate(
            plan,
            parse_usage(images.added(told) if images else told),
            channel_discount=offer.channel.discount,
            user_discount=user_discount,
            fields={one.name: one.selected for one in choices if one.selected},
        )
    except BillingError as refusal:
        return Calculation(quantities, choices, None, _readable(refusal, quantities), offer.price.number)
    return Calculation(quantities, choices, lay_out(sheet), "", offer.price.number, sheet)


def _fields(plan: Plan) -> list[tuple[str, Any, str, Any]]:
    if plan.base is None:
        return [(name, label, default, "") for name, label, default in UNIT_FIELDS[plan.spec.type]]
    apart = priced_apart(plan)
    shown = [name for name in COMPONENTS if name in apart and not (name == "cache" and "cache_read" in apart)]
    return [
        ("input_tokens", _("Input tokens"), "12000", _("all of them, cached ones too")),
        ("output_tokens", _("Output tokens"), "3000", _("all of them, reasoning too")),
        *((f"{name}_tokens", ITEM_LABELS[name], "0", "") for name in shown),
    ]


def _multipliers(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for entry in plan.spec.field_multipliers:
        found.setdefault(entry.field, []).append((entry.equals, f"{entry.multiplier.normalize():f}"))
    return found


def _readable(refusal: BillingError, quantities: list[Quantity]) -> str:
    """The refusal with the form's own word for the field."""
    labels = {one.name: str(one.label) for one in quantities}
    field = str(refusal.evidence.get("field", ""))
    return str(refusal).replace(field, labels[field]) if field in labels else str(refusal)
