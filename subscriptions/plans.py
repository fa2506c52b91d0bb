"""The plans in force, as plain values that every thread shares; read again when a version was published."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Max

from subscriptions.models import PlanVersion

FREE: Final = "free"
RECHECK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Terms:
    """One plan version: price a month in USD, Flows in each window, requests a minute, models."""

    id: int
    code: str
    name: str
    rank: int
    number: int
    price_usd: Decimal
    flows_5h: Decimal
    flows_week: Decimal
    flows_period: Decimal
    rpm: int
    models: frozenset[str]
    grid: bool
    enforce_period_cap: bool
    effective_from: datetime

    @property
    def free(self) -> bool:
        """Nobody is billed for it."""
        return not self.price_usd


class Plans:
    """An immutable snapshot of every version."""

    __slots__ = ("_timeline", "by_id", "marker")

    def __init__(self, marker: int | None, versions: list[Terms]) -> None:
        self.marker = marker
        self.by_id = {version.id: version for version in versions}
        self._timeline: dict[str, list[Terms]] = {}
        for version in sorted(versions, key=lambda one: one.effective_from, reverse=True):
            self._timeline.setdefault(version.code, []).append(version)

    def current(self, code: str, now: datetime) -> Terms:
        """The plan's version in force. KeyError when there is no such plan, or not yet."""
        for version in self._timeline.get(code, ()):
            if version.effective_from <= now:
                return version
        raise KeyError(code)

    def on_offer(self, now: datetime) -> list[Terms]:
        """The version in force of every plan, from the smallest to the largest."""
        found = [
            self.current(code, now) for code, versions in self._timeline.items() if versions[-1].effective_from <= now
        ]
        return sorted(found, key=lambda one: one.rank)

    def including(self, slug: str, now: datetime) -> list[Terms]:
        """The plans on offer whose models include this one."""
        return [plan for plan in self.on_offer(now) if slug in plan.models]


_lock = threading.Lock()
_plans: Plans | None = None
_checked_at = 0.0


def current_plans(*, fresh: bool = False) -> Plans:
    """The process's plans, at most a second old; `fresh` asks now. Versions are append-only: the newest id tells."""
    global _plans, _checked_at
    plans = _plans
    if plans is not None and not fresh and time.monotonic() - _checked_at < RECHECK_SECONDS:
        return plans
    with _lock:
        at = time.monotonic()
        if _plans is None or _plans.marker is None or _plans.marker != _newest():
            _plans = _load()
        _checked_at = at
        return _plans


def forget() -> None:
    """Drop the cached plans; the next reader loads them."""
    global _plans
    with _lock:
        _plans = None


def _newest() -> int | None:
    found: int | None = PlanVersion.objects.aggregate(newest=Max("pk"))["newest"]
    return found


def _load() -> Plans:
    marker = _newest()  # read first: what is published while we load makes the next check load again
    return Plans(
        marker,
        [
            Terms(
                id=row.pk,
                code=row.plan_id,
                name=row.plan.name,
                rank=row.plan.rank,
                number=row.number,
                price_usd=row.price_usd,
                flows_5h=row.flows_5h,
                flows_week=row.flows_week,
                flows_period=row.flows_period,
                rpm=row.rpm,
                models=frozenset(row.model_slugs),
                grid=row.anchor_policy == PlanVersion.AnchorPolicy.GRID,
                enforce_period_cap=row.enforce_period_cap,
                effective_from=row.effective_from,
            )
            for row in PlanVersion.objects.select_related("plan")
        ],
    )
