"""The exchange rate (F005, F006, C01): what it is now, and a promise of it for an order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings

from billing.money import round_minor
from billing.payments.models import FxQuote, FxRate, FxSource

LOCKED_FOR: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Rate:
    """CNY for one USD, where it comes from, and since when it holds."""

    rate: Decimal
    source: str
    effective_at: datetime


def current(*, now: datetime) -> Rate:
    """The rate in force. The fixed one comes from the settings; the table keeps what was promised, and since when."""
    return _newest(now) or Rate(settings.FX_FIXED_USD_CNY, FxSource.FIXED, now)


def lock(account_id: UUID, *, now: datetime) -> FxQuote:
    """Promise the rate in force to an account for fifteen minutes. Inside the transaction of the order."""
    rate = current(now=now)
    if _newest(now) is None:
        FxRate.objects.create(rate=rate.rate, source=rate.source, effective_at=now)
    return FxQuote.objects.create(
        account_id=account_id, rate=rate.rate, source=rate.source, created_at=now, expires_at=now + LOCKED_FOR
    )


def _newest(now: datetime) -> Rate | None:
    """The newest row, unless the settings have another fixed rate since."""
    row = FxRate.objects.filter(effective_at__lte=now).order_by("-effective_at", "-pk").first()
    if row is None or row.source != FxSource.FIXED or row.rate != settings.FX_FIXED_USD_CNY:
        return None
    return Rate(settings.FX_FIXED_USD_CNY, row.source, row.effective_at)


def to_cny(usd: Decimal, rate: Decimal) -> Decimal:
    """J11: $50 × 7.3 = ¥365.00, to the fen, half up."""
    return round_minor(usd * rate, "CNY")


def to_usd(cny: Decimal, rate: Decimal) -> Decimal:
    """J11: ¥100 ÷ 7.3 = $13.70, to the cent, half up."""
    return round_minor(cny / rate, "USD")
