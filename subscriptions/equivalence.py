"""What Flows are worth in dollars, and how many calls they make (F066, F067, C03, C07, J13). Pure.

Everything is computed from Flows per dollar, which is exact (39.6); the dollar price of a Flow that pages show
($0.02525) is rounded, and nothing is computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Final

from billing.money import EXACT, FLOW_QUANTUM

CENT: Final = Decimal("0.01")
WEEK_OF_FIVE_HOURS: Final = Decimal("10.08")
"""Seven days are 33.6 times five hours; a week allows three tenths of them all (C07)."""
DAYS_OF_PERIOD: Final = 30
DAYS_OF_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Worth:
    """What a plan's Flows come to, in full. `leverage` is None where nothing is paid."""

    usd: Decimal
    leverage: Decimal | None

    @property
    def usd_shown(self) -> Decimal:
        """USD in whole cents, half up, as published: 54.55."""
        return self.usd.quantize(CENT, rounding=ROUND_HALF_UP, context=EXACT)

    @property
    def leverage_shown(self) -> Decimal | None:
        """Two places, half up, from the unrounded worth: 2.73."""
        if self.leverage is None:
            return None
        return self.leverage.quantize(CENT, rounding=ROUND_HALF_UP, context=EXACT)


def worth(flows: Decimal, price_usd: Decimal, flows_per_usd: Decimal) -> Worth:
    """The list price that so many Flows pay for, and how often that is the plan's price (F067)."""
    usd = EXACT.divide(flows, flows_per_usd)
    return Worth(usd, EXACT.divide(usd, price_usd) if price_usd else None)


def calls_within(quota: Decimal, flows_per_call: Decimal) -> int | None:
    """How many calls of this size a window of `quota` Flows takes; None: any number, they cost no Flows.

    A call larger than a whole window is admitted to an untouched one, so there is always room for one.
    """
    if flows_per_call <= 0:
        return None
    fit = EXACT.divide(quota, flows_per_call).to_integral_value(rounding=ROUND_FLOOR, context=EXACT)
    return max(1, int(fit))


def week_of(flows_5h: Decimal) -> Decimal:
    """The week's quota that belongs to one of five hours (C07), six places."""
    return EXACT.multiply(flows_5h, WEEK_OF_FIVE_HOURS).quantize(FLOW_QUANTUM, rounding=ROUND_HALF_UP, context=EXACT)


def period_of(flows_week: Decimal) -> Decimal:
    """The billing period's quota that belongs to one of a week: thirty days of it (C07), six places."""
    raw = EXACT.divide(EXACT.multiply(flows_week, DAYS_OF_PERIOD), DAYS_OF_WEEK)
    return raw.quantize(FLOW_QUANTUM, rounding=ROUND_HALF_UP, context=EXACT)
