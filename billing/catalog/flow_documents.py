"""The Flow terms of a catalogue document, read and checked. Pure.

{"flow_rates": [{"flow_class": "standard", "flows_per_usd": "39.6", "call_overhead_flows": "0",
                 "effective_from": "2026-01-01T00:00:00Z", "note": "…"}],
 "flow_factors": [{"plan": "", "model": "openai/gpt-5", "factor": "1.5", "effective_from": "2026-01-01T00:00:00Z"}]}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

from billing.catalog.flow_terms import CLASSES, EVERY_PLAN, PLANS, STANDARD

if TYPE_CHECKING:
    from billing.catalog.documents import _Node

RATE_PLACES: Final = 10
FLOW_PLACES: Final = 6


@dataclass(frozen=True, slots=True)
class RateEntry:
    flow_class: str
    flows_per_usd: Decimal
    call_overhead_flows: Decimal
    effective_from: datetime
    note: str
    place: str


@dataclass(frozen=True, slots=True)
class FactorEntry:
    plan: str
    model: str
    factor: Decimal
    effective_from: datetime
    place: str


def read_rate(node: _Node) -> RateEntry:
    entry = node.object({"flow_class", "flows_per_usd", "call_overhead_flows", "effective_from", "note"})
    per_usd = entry.get("flows_per_usd").decimal(places=RATE_PLACES)
    if not per_usd:
        entry.get("flows_per_usd").refuse(_("it must be above 0"))
    return RateEntry(
        flow_class=entry.get("flow_class").choice(CLASSES, default=STANDARD),
        flows_per_usd=per_usd,
        call_overhead_flows=entry.get("call_overhead_flows").decimal(places=FLOW_PLACES, default=Decimal(0)),
        effective_from=entry.get("effective_from").moment(),
        note=entry.get("note").text(200, default=""),
        place=node.place,
    )


def read_factor(node: _Node) -> FactorEntry:
    entry = node.object({"plan", "model", "factor", "effective_from"})
    factor = entry.get("factor").decimal(places=FLOW_PLACES)
    if not factor:
        entry.get("factor").refuse(_("it must be above 0"))
    return FactorEntry(
        plan=entry.get("plan").choice((EVERY_PLAN, *PLANS), default=EVERY_PLAN),
        model=entry.get("model").slug(120),
        factor=factor,
        effective_from=entry.get("effective_from").moment(),
        place=node.place,
    )
