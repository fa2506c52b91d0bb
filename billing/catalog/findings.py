"""What a person should look at twice before a price is published. Pure; it refuses nothing.

A slipped decimal point is the commonest wrong price there is, so jumps are named; the rest are prices that are possible
and seldom meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from billing.catalog.plans import KIN, PER_TOKEN, Plan, PriceSpec, compile_plan, plain
from billing.catalog.usage import INPUT_COMPONENTS

JUMP: Final = Decimal(2)
"""A price that is more than doubled or less than half of what it was is worth a second look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one price."""

    model: str
    channel: str
    text: Any


def look_twice(spec: PriceSpec, before: PriceSpec | None) -> list[Finding]:
    """Findings about a price beside the one that it replaces (None: the first of its model and channel)."""
    plan = compile_plan(spec)
    texts = [] if before is None else _beside(plan, compile_plan(before))
    texts += _alone(plan)
    return [Finding(spec.model, spec.channel, text) for text in texts]


def _beside(plan: Plan, before: Plan) -> list[Any]:
    spec, old = plan.spec, before.spec
    if spec.free != old.free:
        return [_("It was free and will cost something.") if old.free else _("It will be free for everybody.")]
    if spec.type != old.type:
        return [_("The price type changes: gateways must send other quantities, or calls cannot be charged.")]
    if plan.base is None or before.base is None:
        return _jump("price", old.price or Decimal(0), spec.price or Decimal(0))
    found = []
    for item, rate in plan.base.rates.items():
        now, was = rate.cost, before.base.rates[item].cost
        base = "input" if item in INPUT_COMPONENTS else "output"
        follows = item not in ("input", "output") and now == plan.base.rates[base].cost
        kin = KIN.get(item)
        named = item in spec.multiples or item in spec.component_per_1k
        if not follows and (kin is None or named):
            found += _jump(item, was * 1000, now * 1000)
    return found


def _jump(item: str, was: Decimal, now: Decimal) -> list[Any]:
    if was == now:
        return []
    if not was or not now or now > was * JUMP or now * JUMP < was:
        told = {"item": item, "was": plain(was), "now": plain(now)}
        return [_("%(item)s jumps from %(was)s to %(now)s.") % told]
    return []


def _alone(plan: Plan) -> list[Any]:
    if plan.spec.type != PER_TOKEN or plan.base is None or plan.spec.free:
        return []
    rates, found = plan.base.rates, []
    if rates["output"].cost and rates["output"].cost < rates["input"].cost:
        found.append(_("Output is cheaper than input."))
    if rates["cache_read"].cost > rates["input"].cost:
        found.append(_("Reading from the cache is dearer than plain input."))
    steps = [plan.base, *(prices for _above, prices in reversed(plan.tiers))]
    for shorter, longer in pairwise(steps):
        if any(longer.rates[item].cost < rate.cost for item, rate in shorter.rates.items()):
            found.append(_("A longer context is cheaper: a call with one token more would cost less."))
            break
    return found
