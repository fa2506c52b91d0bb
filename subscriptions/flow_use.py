"""Where Flows go: an account's subscription calls since a moment, by key, model or day (F077, F086)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Sum

from billing.metering import rollups
from billing.metering.models import Funding, UsageRecord
from billing.metering.rollups import Scope, start_of

DIMENSIONS: Final = {"key": "api_key_id", "model": "model_id", "day": "day"}
SUBSCRIPTION: Final = Funding.SUBSCRIPTION.value
NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """What went to one key (None: calls without a key), one model or one day in UTC."""

    of: Any
    flows: Decimal
    calls: int


def used_since(account_id: UUID, since: datetime, *, by: str, now: datetime) -> list[Line]:
    """The largest first; days the newest first.

    Whole days come from the rollups and their tail. The day in which `since` lies is read from its calls: a plan's
    requests a minute bound them.
    """
    dimension = DIMENSIONS[by]
    since, today = since.astimezone(UTC), now.astimezone(UTC).date()
    first = since.date() if since == start_of(since.date()) else since.date() + timedelta(days=1)
    found: dict[Any, tuple[Decimal, int]] = {}

    def add(of: Any, flows: Decimal, calls: int) -> None:
        flows_before, calls_before = found.get(of, (Decimal(0), 0))
        found[of] = flows_before + flows, calls_before + calls

    if first <= today:
        scope = Scope(account_id, first=first, last=today, funding=SUBSCRIPTION)
        for row in rollups.sums(scope, by=[dimension]):
            add(getattr(row, dimension), row.flows, row.calls)
    if start_of(first) > since:
        rows = UsageRecord.objects.filter(
            account_id=account_id,
            funding=SUBSCRIPTION,
            authorized_at__gte=since,
            authorized_at__lt=start_of(first),
        ).exclude(funding=Funding.PAYG)  # said in these words so that the partial index is used
        grouped = rows.order_by() if by == "day" else rows.order_by().values(dimension)
        if by == "day":
            sums = grouped.aggregate(spent=Sum("flows"), made=Count("pk"))
            if sums["made"]:
                add(since.date(), sums["spent"], sums["made"])
        else:
            sums_by: Any = grouped.annotate(spent=Sum("flows"), made=Count("pk"))
            for line in sums_by:
                add(line[dimension], line["spent"], line["made"])
    lines = [Line(of, flows, calls) for of, (flows, calls) in found.items() if calls]
    if by == "day":
        return sorted(lines, key=lambda line: line.of, reverse=True)
    return sorted(lines, key=lambda line: (-line.flows, -line.calls, str(line.of)))
