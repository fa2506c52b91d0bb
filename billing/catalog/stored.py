"""The calculation sheet as a usage record keeps it (I8): the lines as rated, the multipliers that applied. Pure.

    {"lines": [["input", "4200", "1", "0.0000025"], ...],
     "multipliers": [["service_tier", "priority", "2"]], "multiplier": "2"}

A line is item, quantity, multiple, unit price in USD for one unit. From it and the record's two discounts the list
price and the charge follow without the price version; `verify_charges` computes both ways and compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from billing.catalog.plans import ONE
from billing.catalog.rating import Line, Sheet, plain
from billing.money import EXACT, LEDGER_QUANTUM


def store(sheet: Sheet) -> str:
    """The JSON text for the record. Written for every call there is, so the parts that never change are ready."""
    plan = sheet.plan
    if plan.base is None:
        lines = [json.dumps([line.item, *map(plain, line[2:5])]) for line in sheet.lines]
    else:
        table = plan.table if not plan.tiers else plan.prices_at(sheet.usage.input_tokens).table
        lines = [
            row.head + str(count) + row.tail for row, count in zip(table, sheet.usage.counts(), strict=True) if count
        ]
    text = '{"lines":[' + ",".join(lines) + "]"
    if sheet.field_multipliers:
        applied = [[one.field, one.value, plain(one.multiplier)] for one in sheet.field_multipliers]
        text += f',"multipliers":{json.dumps(applied)},"multiplier":"{plain(sheet.multiplier)}"'
    return text + "}"


def lines_of(stored: Mapping[str, Any]) -> list[Line]:
    """The kept lines with their amounts, exactly."""
    factor = Decimal(stored.get("multiplier", "1"))
    found = []
    for item, quantity, multiple, unit_price in stored["lines"]:
        line = (Decimal(quantity), Decimal(multiple), Decimal(unit_price))
        amount = EXACT.multiply(EXACT.multiply(EXACT.multiply(line[0], line[1]), line[2]), factor)
        unit = item if item in ("request", "second", "megapixel", "image") else "token"
        found.append(Line(item, unit, *line, factor, amount))
    return found


def recompute(stored: Mapping[str, Any], channel_discount: Decimal, user_discount: Decimal) -> tuple[Decimal, Decimal]:
    """(list price, charge) in USD from what the record keeps and nothing else."""
    exact = Decimal(0)
    for _item, quantity, multiple, unit_price in stored["lines"]:
        amount = EXACT.multiply(Decimal(quantity), Decimal(unit_price))
        exact = EXACT.add(exact, amount if multiple == "1" else EXACT.multiply(amount, Decimal(multiple)))
    if "multiplier" in stored:
        exact = EXACT.multiply(exact, Decimal(stored["multiplier"]))
    charge = exact
    for discount in (channel_discount, user_discount):
        if discount != ONE:
            charge = EXACT.multiply(charge, discount)
    return exact.quantize(LEDGER_QUANTUM, context=EXACT), charge.quantize(LEDGER_QUANTUM, context=EXACT)
