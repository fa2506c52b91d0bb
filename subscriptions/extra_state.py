"""Extra Usage as pages and programs show it: on or off, which key, what was spent and held (F082, F083)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import F, Sum

from accounts import api_keys
from accounts.models import ApiKey
from billing.books.models import Wallet
from subscriptions.models import ExtraUsage, ExtraUsageMonth
from subscriptions.windows import month_of, next_month

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class State:
    """As of `now`. Amounts are USD; `spent`, `held` and `calls` are of the running month of UTC. `key_problem` says why
    the key that is named cannot pay: disabled or expired; empty when it can, and when none is named."""

    row: ExtraUsage | None
    on: bool
    key: ApiKey | None
    key_problem: str
    cap: Decimal | None
    spent: Decimal
    held: Decimal
    calls: int
    spent_in_all: Decimal
    available: Decimal
    resets_at: datetime

    @property
    def left(self) -> Decimal | None:
        """What the cap still leaves for this month's calls; never below zero."""
        return None if self.cap is None else max(ZERO, self.cap - self.spent - self.held)

    @property
    def tone(self) -> str:
        """The colour of the month's bar."""
        taken = self.spent + self.held
        if self.cap is None or taken * 100 < self.cap * 80:
            return "primary"
        return "danger" if taken >= self.cap else "warning"


def state_of(account_id: UUID, *, now: datetime) -> State:
    """In three queries."""
    row = ExtraUsage.objects.select_related("api_key", "agreed_by").filter(pk=account_id).first()
    month = ExtraUsageMonth.objects.filter(account=account_id, month=month_of(now)).first()
    others = ExtraUsageMonth.objects.filter(account=account_id).aggregate(spent=Sum("spent"))["spent"]
    key = row.api_key if row else None
    return State(
        row=row,
        on=bool(row and row.enabled),
        key=key,
        key_problem=_problem(key, now) if key else "",
        cap=row.monthly_cap if row else None,
        spent=month.spent if month else ZERO,
        held=month.held if month else ZERO,
        calls=month.calls if month else 0,
        spent_in_all=others or ZERO,
        available=Wallet.objects.get(pk=account_id).available,
        resets_at=next_month(now),
    )


def payable_keys(account_id: UUID, *, now: datetime, most: int = 50) -> list[ApiKey]:
    """The keys that may be chosen, those used last first: live, pay as you go, and followed by no other key."""
    followed = ApiKey.objects.filter(account=account_id, rotated_from__isnull=False).values("rotated_from")
    rows = ApiKey.objects.filter(account=account_id, kind=ApiKey.Kind.PAYG, disabled_at=None)
    live = rows.exclude(pk__in=followed).exclude(expires_at__lte=now)
    return list(live.order_by(F("last_used_at").desc(nulls_last=True), "-created_at", "-pk")[:most])


def _problem(key: ApiKey, now: datetime) -> str:
    if key.disabled_at is not None:
        return "disabled"
    return "" if api_keys.is_live(key, now) else "expired"
