"""What the price sources have in common: tables of exact prices per 1K tokens become one price entry. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from billing.catalog.rating import plain
from billing.catalog.usage import COMPONENTS, OUTPUT_COMPONENTS
from billing.money import EXACT

EPOCH: Final = "2026-01-01T00:00:00Z"  # where a source does not say since when
MULTIPLE_PLACES: Final = 4

Table = Mapping[str, Decimal]  # "input", "output" and components: per 1K tokens


def token_price(tables: Sequence[tuple[int, Table]], *, channel: str = "default") -> dict[str, Any]:
    """A price entry of the catalogue document. `tables` begins with the base; each tier follows with its threshold.

    A component becomes a multiple of its base where the ratio is short and the same in every tier, which is how vendors
    publish it; else it keeps a price of its own.
    """
    base = tables[0][1]
    price: dict[str, Any] = {
        "channel": channel,
        "type": "per_token",
        "effective_from": EPOCH,
        "input_per_1k": plain(base["input"]),
        "output_per_1k": plain(base.get("output", Decimal(0))),
    }
    multiples, own = {}, []
    for component in COMPONENTS:
        if component not in base:
            continue
        multiple = _multiple(component, tables)
        if multiple is None:
            own.append(component)
        elif multiple != 1 or component in ("cache_read", "cache"):
            multiples[component] = plain(multiple)
    if multiples:
        price["multiples"] = multiples
    if own:
        price["component_per_1k"] = {component: plain(base[component]) for component in own}
    if len(tables) > 1:
        price["tiers"] = [
            {
                "above_input_tokens": above,
                "input_per_1k": plain(table["input"]),
                "output_per_1k": plain(table.get("output", Decimal(0))),
                **({"component_per_1k": {component: plain(table[component]) for component in own}} if own else {}),
            }
            for above, table in tables[1:]
        ]
    return price


def _multiple(component: str, tables: Sequence[tuple[int, Table]]) -> Decimal | None:
    side = "output" if component in OUTPUT_COMPONENTS else "input"
    ratios = set()
    for _above, table in tables:
        base = table.get(side)
        if not base:
            return None
        ratio = EXACT.divide(table[component], base).quantize(Decimal(1).scaleb(-MULTIPLE_PLACES), context=EXACT)
        if EXACT.multiply(ratio, base) != table[component]:
            return None
        ratios.add(ratio)
    return ratios.pop() if len(ratios) == 1 else None
