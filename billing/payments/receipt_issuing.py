"""Issue receipts: once for every credited order, with numbers that have no gap.

A receipt is issued after the order's credit and in a transaction of its own, with the mail about it or by whoever asks
first: all customers share the year's series, and no credit should wait for another's. The series' row is locked until
the receipt is committed, so a number that is taken is a receipt that exists.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from billing.books.details import addressee
from billing.errors import NotFound
from billing.payments.models import PaymentAttempt, TopUp
from billing.payments.models_documents import Receipt, ReceiptSeries
from config.paper import seller

DIGITS: Final = 6


def issue(order_id: UUID, *, now: datetime) -> Receipt:
    """The order's receipt, made now if it has none. `NotFound` for an order that was never credited."""
    order: TopUp = TopUp.objects.select_related("account", "fx_quote").get(pk=order_id)
    if order.credited_at is None:
        raise NotFound
    if (found := Receipt.objects.filter(top_up=order).first()) is not None:
        return found
    with transaction.atomic():
        series = _locked_series(now.astimezone(UTC).year)
        if (found := Receipt.objects.filter(top_up=order).first()) is not None:  # somebody was first
            return found
        series.last += 1
        series.save(update_fields=["last"])
        return _write(order, series, now)


def _locked_series(year: int) -> ReceiptSeries:
    """The year's series; until the transaction ends nobody else takes a number of it."""
    ReceiptSeries.objects.bulk_create([ReceiptSeries(year=year)], ignore_conflicts=True)
    return ReceiptSeries.objects.select_for_update().get(pk=year)


def _write(order: TopUp, series: ReceiptSeries, now: datetime) -> Receipt:
    assert order.credited_at is not None  # noqa: S101  # `issue` looked
    paid = order.attempts.filter(outcome=PaymentAttempt.Outcome.SUCCEEDED).order_by("-at", "-pk").first()
    return Receipt.objects.create(
        year=series.year,
        serial=series.last,
        number=f"R-{series.year}-{series.last:0{DIGITS}d}",
        account=order.account,
        top_up=order,
        issued_at=now,
        paid_at=order.paid_at or order.credited_at,
        seller=seller().told(),
        buyer=addressee(order.account),
        amount_usd=order.amount_usd,
        currency=order.currency,
        amount_minor=order.amount_minor,
        fx_rate=order.fx_quote.rate if order.currency == "CNY" else None,
        method=order.method,
        brand=paid.brand if paid else "",
        last_four=paid.last_four if paid else "",
    )
