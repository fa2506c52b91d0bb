"""I5 is looked for, and found when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

import billing.payments.verify  # noqa: F401  # registers its checks
from billing.books import verify
from billing.books.models import CreditGrant
from billing.payments.models import TopUp
from tests.billing.payments.conftest import Shop

pytestmark = pytest.mark.django_db(transaction=True)


def broken() -> list[str]:
    """What the checks of I5 name."""
    return [row for result in verify.run() if result.check.number == "I5" for row in result.broken]


def test_a_credited_order_passes_and_each_breach_is_named(shop: Shop) -> None:
    order, open_order = shop.order(), shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    order = shop.settle(order)
    assert broken() == []

    breaches: list[Callable[[], Any]] = [
        lambda: TopUp.objects.filter(pk=order.pk).update(amount_usd=21),
        lambda: TopUp.objects.filter(pk=order.pk).update(status="created", credited_at=None, grant=None),
        lambda: CreditGrant.objects.filter(pk=order.grant_id).update(source="somewhere else"),
        lambda: CreditGrant.objects.filter(pk=order.grant_id).update(paid=False),
        lambda: TopUp.objects.filter(pk=open_order.pk).update(status="paid"),
    ]
    for breach in breaches:
        with transaction.atomic(), connection.cursor() as cursor:
            breach()
            found = []
            for check in (one for one in verify._checks if one.number == "I5"):
                cursor.execute(check.broken)
                found += cursor.fetchall()
            assert found, breach
            transaction.set_rollback(True)
    assert broken() == []
