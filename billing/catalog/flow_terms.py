"""The Flow terms in force, as plain values: a part of the price book's snapshot (C16, C03, J14). Pure.

flows = list price in USD x flows_per_usd(class) x the model's factor on the plan + call_overhead_flows
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from billing.catalog.plans import ONE
from billing.catalog.rating import Sheet, flows
from billing.money import EXACT, round_flows

STANDARD: Final = "standard"
EVERY_PLAN: Final = ""
PLANS: Final = ("free", "pro", "max", "ultra")
CLASSES: Final = (STANDARD, "insider", "restricted")
SHOWN: Final = Decimal("0.00001")  # the dollar price of a Flow as it is displayed: five places (C03)


@dataclass(frozen=True, slots=True)
class FlowTerm:
    """One row of the Flow rate: in force from its moment until a later one of its class begins."""

    flow_class: str
    flows_per_usd: Decimal
    call_overhead_flows: Decimal
    effective_from: datetime
    note: str = ""

    @property
    def usd_per_flow(self) -> Decimal:
        """For display only; nothing is computed from it."""
        return EXACT.divide(ONE, self.flows_per_usd).quantize(SHOWN, rounding=ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class FactorTerm:
    """What a model's Flows are multiplied by on one plan; `""`: on every plan that has no factor of its own."""

    plan: str
    model: str
    factor: Decimal
    effective_from: datetime


class FlowTerms:
    """An immutable snapshot of both."""

    __slots__ = ("_factors", "_rates")

    def __init__(self, rates: Iterable[FlowTerm] = (), factors: Iterable[FactorTerm] = ()) -> None:
        self._rates: dict[str, list[FlowTerm]] = {}
        self._factors: dict[tuple[str, str], list[FactorTerm]] = {}
        for rate in sorted(rates, key=lambda one: one.effective_from, reverse=True):
            self._rates.setdefault(rate.flow_class, []).append(rate)
        for factor in sorted(factors, key=lambda one: one.effective_from, reverse=True):
            self._factors.setdefault((factor.plan, factor.model), []).append(factor)

    def rate(self, flow_class: str, now: datetime) -> FlowTerm | None:
        """The class's rate in force at `now`; None where the class has none."""
        return next((one for one in self._rates.get(flow_class, ()) if one.effective_from <= now), None)

    def factor(self, plan: str, slug: str, now: datetime) -> Decimal:
        """The model's factor on the plan: the plan's own, else that of every plan, else 1."""
        for code in dict.fromkeys((plan, EVERY_PLAN)):
            found = next((one for one in self._factors.get((code, slug), ()) if one.effective_from <= now), None)
            if found is not None:
                return found.factor
        return ONE

    def history(self, flow_class: str) -> list[FlowTerm]:
        """Newest first, those to come above the present one."""
        return list(self._rates.get(flow_class, ()))

    def cost(self, sheet: Sheet, *, plan: str = EVERY_PLAN, flow_class: str = STANDARD, now: datetime) -> Decimal:
        """What a rated call costs in Flows, before any discount (C16). A free model costs none, overhead included: a
        model with a price of zero never charges (C21). Zero, too, where the class has no rate."""
        term = self.rate(flow_class, now)
        if term is None or sheet.plan.spec.free:
            return round_flows(Decimal(0))
        return flows(
            sheet.list_price,
            flows_per_usd=term.flows_per_usd,
            model_flow_factor=self.factor(plan, sheet.plan.spec.model, now),
            call_overhead=term.call_overhead_flows,
        )
