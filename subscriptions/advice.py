"""Which plan would have been cheapest for what was really used (F061, F066, C06, C07, C16). Pure.

Calls are given as sums by hour and model. They are replayed through each plan's quotas: a window opens with the first
hour in which something is admitted, what does not fit is paid from the balance at list price, and so are models that
the plan does not include. Windows therefore begin on whole hours here; requests a minute are not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final, Protocol

from billing.money import round_charge, round_flows
from subscriptions.windows import span

ZERO: Final = Decimal(0)


class Offer(Protocol):
    """What a plan on offer costs a month and allows (`plans.Terms` is one)."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def price_usd(self) -> Decimal: ...
    @property
    def flows_5h(self) -> Decimal: ...
    @property
    def flows_week(self) -> Decimal: ...
    @property
    def flows_period(self) -> Decimal: ...
    @property
    def grid(self) -> bool: ...
    @property
    def enforce_period_cap(self) -> bool: ...
    @property
    def models(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Used:
    """What was used of one model in the hour that begins at `hour`: list price in USD, and calls."""

    hour: datetime
    slug: str
    list_usd: Decimal
    calls: Decimal


@dataclass(frozen=True, slots=True)
class Rate:
    """What a dollar of list price is in Flows: for the account's class, and times a factor by (plan, model)."""

    per_usd: Decimal
    overhead: Decimal
    factor: Callable[[str, str], Decimal]

    def flows(self, plan: str, used: Used) -> Decimal:
        """The Flows of these calls on this plan (C16). What has no list price costs none (C21)."""
        if not used.list_usd:
            return ZERO
        return used.list_usd * self.per_usd * self.factor(plan, used.slug) + used.calls * self.overhead


@dataclass(frozen=True, slots=True)
class Outcome:
    """One plan with these calls: Flows that fitted, and what was left over for the balance, in USD at list price.

    `not_included_usd` is the part of what was left over that calls of models made which the plan does not have.
    """

    code: str
    name: str
    price_usd: Decimal
    fitted: Decimal
    left_over_usd: Decimal
    not_included_usd: Decimal

    @property
    def total_usd(self) -> Decimal:
        """What a month of it would have cost."""
        return self.price_usd + self.left_over_usd


def replay(used: Iterable[Used], offer: Offer, rate: Rate, *, start: datetime, end: datetime) -> Outcome:
    """These calls through one plan's quotas; `[start, end)` is its billing period."""
    fitted = left_over = not_included = in_period = ZERO
    in_window = {"5h": ZERO, "week": ZERO}
    closes: dict[str, datetime] = {}
    caps = {"5h": offer.flows_5h, "week": offer.flows_week}
    for hour, calls in groupby(sorted(used, key=lambda one: one.hour), key=lambda one: one.hour):
        wanted = list_usd = ZERO
        for one in calls:
            if one.slug in offer.models:
                wanted += rate.flows(offer.code, one)
                list_usd += one.list_usd
            else:
                not_included += one.list_usd
        if not wanted:
            continue
        room = [cap if hour >= closes.get(kind, hour) else cap - in_window[kind] for kind, cap in caps.items()]
        if offer.enforce_period_cap:
            room.append(offer.flows_period - in_period)
        granted = min(wanted, *room)
        if granted > 0:  # a call that is refused opens no window
            for kind in caps:
                if hour >= closes.get(kind, hour):
                    _, closes[kind] = span(kind, hour, period_start=start, period_end=end, grid=offer.grid)
                    in_window[kind] = ZERO
                in_window[kind] += granted
            in_period += granted
            fitted += granted
        left_over += list_usd * (wanted - granted) / wanted
    return Outcome(
        code=offer.code,
        name=offer.name,
        price_usd=offer.price_usd,
        fitted=round_flows(fitted),
        left_over_usd=round_charge(left_over + not_included),
        not_included_usd=round_charge(not_included),
    )


def compare(
    used: Sequence[Used], offers: Iterable[Offer], rate: Rate, *, start: datetime, end: datetime
) -> list[Outcome]:
    """Every plan on offer, in the order given."""
    return [replay(used, offer, rate, start=start, end=end) for offer in offers]


def cheapest(outcomes: Iterable[Outcome]) -> Outcome:
    """The lowest total; of two that cost the same the one with the lower price, as it promises less."""
    return min(outcomes, key=lambda one: (one.total_usd, one.price_usd))
