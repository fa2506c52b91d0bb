"""C01, J11: the rate on the page is the rate on the order, and the history of promised rates is kept."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.payments import fx
from billing.payments.models import FxRate
from tests import factories
from tests.factories import NOON


def test_fifty_dollars_cost_365_yuan_and_100_yuan_buy_13_dollars_70() -> None:
    assert fx.to_cny(Decimal(50), Decimal("7.3")) == Decimal("365.00")
    assert fx.to_usd(Decimal(100), Decimal("7.3")) == Decimal("13.70")


@pytest.mark.django_db
def test_a_quote_keeps_its_rate_for_fifteen_minutes_and_the_history_grows_only_when_the_rate_changes(
    settings: Any,
) -> None:
    account = factories.account()
    first = fx.lock(account.pk, now=NOON)
    fx.lock(account.pk, now=NOON + timedelta(minutes=1))
    assert (first.rate, first.source, first.expires_at) == (Decimal("7.3"), "fixed", NOON + timedelta(minutes=15))
    assert FxRate.objects.count() == 1

    settings.FX_FIXED_USD_CNY = Decimal("7.12")
    assert fx.current(now=NOON).rate == Decimal("7.12")
    fx.lock(account.pk, now=NOON + timedelta(hours=1))
    assert [row.rate for row in FxRate.objects.order_by("effective_at")] == [Decimal("7.3"), Decimal("7.12")]
