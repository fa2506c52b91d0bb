"""Plan advice from an account's own last thirty days: hourly sums of its calls, replayed (`advice`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db.models import Count, Sum
from django.db.models.functions import TruncHour

from billing.catalog.book import current_book
from billing.metering import rollups
from billing.metering.models import Funding, UsageRecord
from billing.metering.rollups import Scope, Sums, start_of
from subscriptions import advice, standing
from subscriptions.advice import ZERO, Outcome, Rate, Used
from subscriptions.cockpit import rate_of
from subscriptions.plans import current_plans
from subscriptions.windows import FREE_PERIOD

HOUR: Final = timedelta(hours=1)
MOST_CALLS: Final = 50_000
"""More calls than this are not read one by one: their daily sums are spread over the day."""
FEW_DAYS: Final = 7
ON_PLAN: Final = (Funding.SUBSCRIPTION.value, Funding.EXTRA_USAGE.value)
ON_BALANCE: Final = (Funding.PAYG.value,)


@dataclass(frozen=True, slots=True)
class Advice:
    """What each plan would have cost for the calls of a subscription, or, where there are none, for all calls.

    `with_balance` is the cheapest plan if the pay-as-you-go calls had been made on it as well. `days` is for how long
    calls were made; `spread`: they were too many to be read, so daily sums stand for them.
    """

    outcomes: tuple[Outcome, ...]
    best: Outcome
    current: Outcome | None
    of_balance: bool
    balance_usd: Decimal
    balance_calls: int
    with_balance: Outcome | None
    calls: int
    days: int
    spread: bool
    flow_class: str
    start: datetime
    end: datetime


def advise(account_id: UUID, *, now: datetime) -> Advice | None:
    """The advice; None where nothing was used, or where no plan is on offer."""
    start, end = stretch(now)
    held = standing.of([account_id], now=now)[account_id]
    rate, book, offers = rate_of(held.flow_class, now), current_book(), current_plans().on_offer(now)
    days = rollups.sums(Scope(account_id, first=start.date(), last=end.date()), by=["day", "model_id", "funding"])
    if not days or not offers or rate is None:
        return None
    slugs = {card.id: card.slug for card in book.models.values()}
    on_plan = _used(account_id, ON_PLAN, days, slugs, start, end)
    on_balance = _used(account_id, ON_BALANCE, days, slugs, start, end)
    main = on_plan or on_balance
    if not main:
        return None
    terms = Rate(rate.flows_per_usd, rate.call_overhead_flows, lambda plan, slug: book.flow_factor(plan, slug, now))
    outcomes = advice.compare(main, offers, terms, start=start, end=end)
    together = None
    if on_plan and on_balance:
        together = advice.cheapest(advice.compare([*on_plan, *on_balance], offers, terms, start=start, end=end))
    return Advice(
        outcomes=tuple(outcomes),
        best=advice.cheapest(outcomes),
        current=next((one for one in outcomes if one.code == held.plan.code), None),
        of_balance=not on_plan,
        balance_usd=sum((one.list_usd for one in on_balance), ZERO),
        balance_calls=int(sum(one.calls for one in on_balance)),
        with_balance=together,
        calls=int(sum(one.calls for one in main)),
        days=(end - min(one.hour for one in main)).days + 1,
        spread=_calls(days, ON_PLAN if on_plan else ON_BALANCE) > MOST_CALLS,
        flow_class=held.flow_class,
        start=start,
        end=end,
    )


def stretch(now: datetime) -> tuple[datetime, datetime]:
    """Thirty days up to the end of the present hour: as long as a billing period."""
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    return end - FREE_PERIOD, end


def _calls(days: Sequence[Sums], funding: Sequence[str]) -> int:
    return sum(row.calls for row in days if row.funding in funding)


def _used(
    account_id: UUID,
    funding: Sequence[str],
    days: Sequence[Sums],
    slugs: dict[int, str],
    start: datetime,
    end: datetime,
) -> list[Used]:
    calls = _calls(days, funding)
    if not calls:
        return []
    if calls > MOST_CALLS:
        return [one for row in days if row.funding in funding for one in _spread(row, slugs, start, end)]
    return _by_hour(account_id, funding, slugs, start, end)


def _by_hour(
    account_id: UUID, funding: Sequence[str], slugs: dict[int, str], start: datetime, end: datetime
) -> list[Used]:
    rows = UsageRecord.objects.filter(
        account_id=account_id, funding__in=funding, authorized_at__gte=start, authorized_at__lt=end
    )
    if Funding.PAYG not in funding:
        rows = rows.exclude(funding=Funding.PAYG)  # said in these words so that the partial index is used
    sums = (
        rows.order_by()
        .annotate(hour=TruncHour("authorized_at", tzinfo=UTC))
        .values("hour", "model_id")
        .annotate(listed=Sum("list_price"), made=Count("pk"))
    )
    return [
        Used(row["hour"], slugs.get(row["model_id"], ""), row["listed"], Decimal(row["made"]))
        for row in sums.order_by("hour", "model_id")
    ]


def _spread(row: Sums, slugs: dict[int, str], start: datetime, end: datetime) -> list[Used]:
    """A day's sum as if it had been used evenly; what lies outside the thirty days falls away."""
    day: date = row.day  # type: ignore[assignment]  # asked for
    hours = [start_of(day) + HOUR * number for number in range(24)]
    slug = slugs.get(row.model_id or 0, "")
    return [Used(hour, slug, row.list_price / 24, Decimal(row.calls) / 24) for hour in hours if start <= hour < end]
