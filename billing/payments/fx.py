"""The exchange rate (F005, F006, C01): what it is now, and a promise of it for an order.

The rate comes from a feed while that has been heard of lately, and otherwise it is the fixed one of the settings; pages
and API say which. What was promised is a row (`FxQuote`) and is never converted again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext_lazy as _

from billing.errors import BillingError, InvalidRequest
from billing.money import round_minor
from billing.payments.models import FxQuote, FxRate, FxSource

LOCKED_FOR: Final = timedelta(minutes=15)
SHOWN_AGAIN_FOR: Final = timedelta(minutes=3)
"""A page that is loaded again shows the promise that was made for it, if that is not older than this."""
FORGET_AFTER: Final = timedelta(days=1)


class QuoteExpired(BillingError):
    """The promise is over; the payer must see the new rate first."""

    code = "quote_expired"
    status = HTTPStatus.CONFLICT
    title = _("The exchange rate was kept for you until its time was over. Look at the new amount and try again.")


class QuoteUsed(BillingError):
    """One promise, one order."""

    code = "quote_used"
    status = HTTPStatus.CONFLICT
    title = _("Another order was placed with this exchange rate. Look at the new amount and try again.")


@dataclass(frozen=True, slots=True)
class Rate:
    """CNY for one USD, where it comes from, and since when it holds. `stale`: there is a feed, but it is silent."""

    rate: Decimal
    source: str
    effective_at: datetime
    stale: bool = False


def current(*, now: datetime) -> Rate:
    """The rate in force: the feed's newest while it is young enough, else the fixed one."""
    if settings.FX_FEED_URL:
        newest = FxRate.objects.filter(source=FxSource.FEED, effective_at__lte=now).order_by("-effective_at").first()
        if newest is not None and now - newest.effective_at <= timedelta(seconds=settings.FX_FEED_MAX_AGE):
            return Rate(newest.rate, newest.source, newest.effective_at)
    fixed = _kept_fixed(now)
    since = fixed.effective_at if fixed else now
    return Rate(settings.FX_FIXED_USD_CNY, FxSource.FIXED, since, stale=bool(settings.FX_FEED_URL))


def lock(account_id: UUID, *, now: datetime) -> FxQuote:
    """Promise the rate in force to an account for fifteen minutes. Inside the transaction of the order."""
    rate = current(now=now)
    if rate.source == FxSource.FIXED and _kept_fixed(now) is None:
        FxRate.objects.create(rate=rate.rate, source=rate.source, effective_at=now)
    return FxQuote.objects.create(
        account_id=account_id, rate=rate.rate, source=rate.source, created_at=now, expires_at=now + LOCKED_FOR
    )


def offer(account_id: UUID, *, now: datetime) -> FxQuote:
    """A promise for a page: one made a moment ago and not used, while the rate is the same; or a new one."""
    rate = current(now=now)
    before = FxQuote.objects.filter(
        account_id=account_id,
        created_at__gt=now - SHOWN_AGAIN_FOR,
        created_at__lte=now,
        rate=rate.rate,
        source=rate.source,
        top_up=None,
    )
    return before.order_by("-created_at").first() or lock(account_id, now=now)


def redeem(account_id: UUID, quote_id: UUID, *, now: datetime) -> FxQuote:
    """The promise that an order is placed with: this account's, unused, and not over. The caller holds the wallet."""
    quote = FxQuote.objects.filter(pk=quote_id, account_id=account_id).select_related("top_up").first()
    if quote is None:  # another account's reads like one that never was
        raise InvalidRequest(_("There is no such exchange rate quote."), field="quote")
    if hasattr(quote, "top_up"):
        raise QuoteUsed(field="quote")
    if now >= quote.expires_at:
        raise QuoteExpired(field="quote", expired_at=quote.expires_at.isoformat())
    return quote


_FORGET: Final = """
  DELETE FROM billing_fxquote WHERE id IN (
    SELECT q.id FROM billing_fxquote q
    WHERE q.expires_at < %s AND q.expires_at >= %s
      AND NOT EXISTS (SELECT 1 FROM billing_topup t WHERE t.fx_quote_id = q.id)
    LIMIT %s FOR UPDATE SKIP LOCKED)"""


def forget_unused(*, now: datetime, limit: int = 5000) -> int:
    """Promises that were over a day ago and that no order used; how many went. Those of orders stay for ever."""
    until = now - FORGET_AFTER
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [until, until - timedelta(days=14), limit])
        return int(cursor.rowcount)


def _kept_fixed(now: datetime) -> FxRate | None:
    """The newest row of the fixed rate, unless the settings have another one since."""
    row = FxRate.objects.filter(source=FxSource.FIXED, effective_at__lte=now).order_by("-effective_at", "-pk").first()
    return row if row is not None and row.rate == settings.FX_FIXED_USD_CNY else None


def to_cny(usd: Decimal, rate: Decimal) -> Decimal:
    """J11: $50 × 7.3 = ¥365.00, to the fen, half up."""
    return round_minor(usd * rate, "CNY")


def to_usd(cny: Decimal, rate: Decimal) -> Decimal:
    """J11: ¥100 ÷ 7.3 = $13.70, to the cent, half up."""
    return round_minor(cny / rate, "USD")
