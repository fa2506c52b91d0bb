"""How much an automatic top-up charges, and when it may. Pure.

**Closing the gap in one charge.** What is charged is the smallest multiple of the agreed amount that brings the balance
to the threshold or above it: a balance of −3.20 with a threshold of 5 and an amount of 10 is charged 10; one of −23.20
is charged 30, once, and not 10 three times. When the limits leave room for less, the largest multiple that fits is
charged; when they have no room for one amount, nothing is, until the day or the month is over.

Days and months are those of UTC. A charge counts towards the day on which it was decided. Every try counts towards the
number of charges a day, so that a card that declines is not asked again and again; money counts unless it is certain
that it was not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal


@dataclass(frozen=True, slots=True)
class Terms:
    """What the customer agreed to, in US dollars."""

    threshold: Decimal
    amount: Decimal
    daily_count: int
    daily_usd: Decimal
    monthly_usd: Decimal


@dataclass(frozen=True, slots=True)
class Spent:
    """What was charged already: today and in this month, in UTC."""

    count_today: int
    usd_today: Decimal
    usd_month: Decimal


@dataclass(frozen=True, slots=True)
class Decision:
    """An amount to charge now; or nothing, because the balance suffices or a limit is reached."""

    amount: Decimal = Decimal(0)
    capped_by: str = ""


def decide(terms: Terms, *, balance: Decimal, spent: Spent, most: Decimal) -> Decision:
    """What to charge for this balance (credit less overdraft). `most` is the largest single top-up."""
    if balance >= terms.threshold:
        return Decision()
    if spent.count_today >= terms.daily_count:
        return Decision(capped_by="daily_count")
    left_today, left_month = terms.daily_usd - spent.usd_today, terms.monthly_usd - spent.usd_month
    wanted = ((terms.threshold - balance) / terms.amount).to_integral_value(ROUND_CEILING)
    fits = (min(left_today, left_month, most) / terms.amount).to_integral_value(ROUND_FLOOR)
    if fits < 1:
        return Decision(capped_by="monthly_amount" if left_month < terms.amount else "daily_amount")
    return Decision(amount=min(wanted, fits) * terms.amount)


def free_again(capped_by: str, now: datetime) -> datetime:
    """When a limit that is reached leaves room again: the next midnight, or the first of the next month, in UTC."""
    today = now.astimezone(UTC).date()
    if capped_by == "monthly_amount":
        following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        following = today + timedelta(days=1)
    return datetime.combine(following, time(), UTC)
