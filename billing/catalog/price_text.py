"""The parts of a price as lines that people write in a form: one special token, tier or field multiplier a line. Pure.

    cache_read × 0.1
    reasoning 0.015
    above 200000: input 0.0025, output 0.015, reasoning 0.02
    header:x-priority = true × 1.8

`x` and `*` may stand for `×`. What cannot be read is refused with its line, so that nothing is dropped in silence.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from django.utils.translation import gettext_lazy as _

from billing.catalog.plans import PriceSpec, plain
from billing.catalog.usage import COMPONENTS
from billing.errors import InvalidPrice

_NUMBER: Final = r"[0-9]*\.?[0-9]+"
_MULTIPLE: Final = re.compile(rf"(?P<name>\w+)\s*[×x*]\s*(?P<value>{_NUMBER})")
_OWN: Final = re.compile(rf"(?P<name>\w+)\s*[:=]?\s+(?P<value>{_NUMBER})")
_TIER: Final = re.compile(r"(?:above|>)\s*(?P<above>[0-9_,. ]*[0-9])\s*:\s*(?P<prices>.+)", re.IGNORECASE)
_FIELD: Final = re.compile(rf"(?P<field>\S+)\s*=\s*(?P<equals>.*?)\s*[×x*]\s*(?P<value>{_NUMBER})")


def specials_text(spec: PriceSpec) -> str:
    """The special tokens that a version prices apart."""
    lines = []
    for name in COMPONENTS:
        if name in spec.multiples:
            lines.append(f"{name} × {plain(spec.multiples[name])}")
        elif name in spec.component_per_1k:
            lines.append(f"{name} {plain(spec.component_per_1k[name])}")
    return "\n".join(lines)


def tiers_text(spec: PriceSpec) -> str:
    """Its tiers, shortest context first."""
    lines = []
    for tier in sorted(spec.tiers, key=lambda one: one.above_input_tokens):
        prices = [("input", tier.input_per_1k), ("output", tier.output_per_1k), *sorted(tier.component_per_1k.items())]
        told = ", ".join(f"{name} {plain(value)}" for name, value in prices)
        lines.append(f"above {tier.above_input_tokens}: {told}")
    return "\n".join(lines)


def multipliers_text(spec: PriceSpec) -> str:
    """Its field multipliers."""
    return "\n".join(f"{one.field} = {one.equals} × {plain(one.multiplier)}" for one in spec.field_multipliers)


def read_specials(text: str) -> dict[str, dict[str, str]]:
    """`multiples` and `component_per_1k` of a price entry."""
    multiples: dict[str, str] = {}
    own: dict[str, str] = {}
    for line in _lines(text):
        found, into = _MULTIPLE.fullmatch(line), multiples
        if found is None:
            found, into = _OWN.fullmatch(line), own
        if found is None:
            _refuse(line)
        name = found["name"].lower()
        if name not in COMPONENTS or name in multiples or name in own:
            _refuse(line)
        into[name] = _number(found["value"], line)
    return {"multiples": multiples, "component_per_1k": own}


def read_tiers(text: str) -> list[dict[str, Any]]:
    """`tiers` of a price entry."""
    tiers = []
    for line in _lines(text):
        found = _TIER.fullmatch(line)
        if found is None:
            _refuse(line)
        prices: dict[str, str] = {}
        for part in found["prices"].split(","):
            price = _OWN.fullmatch(part.strip())
            if price is None or price["name"].lower() in prices:
                _refuse(line)
            prices[price["name"].lower()] = _number(price["value"], line)
        if not {"input", "output"} <= prices.keys():
            _refuse(line)
        tier: dict[str, Any] = {
            "above_input_tokens": int(re.sub(r"[_,. ]", "", found["above"])),
            "input_per_1k": prices.pop("input"),
            "output_per_1k": prices.pop("output"),
        }
        if prices:
            tier["component_per_1k"] = prices
        tiers.append(tier)
    return tiers


def read_multipliers(text: str) -> list[dict[str, str]]:
    """`field_multipliers` of a price entry."""
    found = []
    for line in _lines(text):
        told = _FIELD.fullmatch(line)
        if told is None or not told["equals"]:
            _refuse(line)
        found.append({"field": told["field"], "equals": told["equals"], "multiplier": _number(told["value"], line)})
    return found


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _number(text: str, line: str) -> str:
    try:
        return plain(Decimal(text))
    except InvalidOperation:
        _refuse(line)


def _refuse(line: str) -> NoReturn:
    raise InvalidPrice(_("This line cannot be read: %(line)s"), line=line[:120])
