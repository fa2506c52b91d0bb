"""The tables of statuses, over all pairs; order numbers; what the database itself refuses."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from billing.errors import InvalidTransition
from billing.payments import topups
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.numbers import order_number, tidy
from config.ids import uuid7
from tests import factories
from tests.factories import NOON

S = TopUp.Status
LEGAL = {
    (S.CREATED, S.AWAITING_PAYMENT),
    (S.CREATED, S.FAILED),
    (S.CREATED, S.EXPIRED),
    (S.AWAITING_PAYMENT, S.PROCESSING),
    (S.AWAITING_PAYMENT, S.PAID),
    (S.AWAITING_PAYMENT, S.FAILED),
    (S.AWAITING_PAYMENT, S.EXPIRED),
    (S.PROCESSING, S.PAID),
    (S.PROCESSING, S.FAILED),
    (S.FAILED, S.PAID),
    (S.EXPIRED, S.PAID),
    (S.PAID, S.CREDITED),
    (S.PAID, S.REFUNDED),
    (S.PAID, S.DISPUTED),
    (S.CREDITED, S.PARTIALLY_REFUNDED),
    (S.CREDITED, S.REFUNDED),
    (S.CREDITED, S.DISPUTED),
    (S.PARTIALLY_REFUNDED, S.CREDITED),
    (S.PARTIALLY_REFUNDED, S.REFUNDED),
    (S.PARTIALLY_REFUNDED, S.DISPUTED),
    (S.REFUNDED, S.CREDITED),
    (S.REFUNDED, S.PARTIALLY_REFUNDED),
    (S.REFUNDED, S.DISPUTED),
    (S.REFUNDED, S.PAID),
    (S.DISPUTED, S.CREDITED),
    (S.DISPUTED, S.PARTIALLY_REFUNDED),
    (S.DISPUTED, S.REFUNDED),
}


@pytest.mark.parametrize(("current", "wanted"), list(product(S, S)))
def test_an_order_moves_exactly_where_the_table_lets_it(current: TopUp.Status, wanted: TopUp.Status) -> None:
    order = TopUp(number="product_0", status=current)
    if (current, wanted) in LEGAL:
        order.move_to(wanted, now=NOON)
        assert (order.status, order.status_at) == (wanted, NOON)
    else:
        with pytest.raises(InvalidTransition):
            order.move_to(wanted, now=NOON)
        assert order.status == current


def test_every_status_has_a_row_and_every_way_to_money_ends_in_a_credit() -> None:
    assert set(TopUp.NEXT) == set(S)
    assert set(PaymentEvent.NEXT) == set(PaymentEvent.State)
    assert all(S.CREDITED in TopUp.NEXT[status] for status in S if status == S.PAID)
    assert {status for status in S if S.PAID in TopUp.NEXT[status]} == {
        S.AWAITING_PAYMENT,
        S.PROCESSING,
        S.FAILED,
        S.EXPIRED,
        S.REFUNDED,  # a payment that was never credited was paid back, and the bank returned it
    }


def test_order_numbers_are_short_readable_and_sort_by_time() -> None:
    ids = [uuid7() for _ in range(200)]
    numbers = [order_number(one) for one in ids]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 200
    assert all(len(number) == len("product_") + 26 for number in numbers)
    assert order_number(UUID(int=0)) == "product_" + "0" * 26
    assert order_number(UUID(int=2**128 - 1)) == "product_7" + "z" * 25
    assert tidy(" PRODUCT_O1L ") == "product_011"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"status": "stolen"},
        {"status": "credited"},
        {"method": "cash"},
        {"currency": "EUR"},
        {"amount_minor": 0},
        {"amount_usd": Decimal(-1)},
    ],
)
def test_the_database_refuses_what_the_code_never_writes(change: dict[str, object]) -> None:
    owner = factories.user()
    order = topups.place(
        factories.account(owner).pk,
        Decimal(20),
        method="card",
        client_key="a",
        actor=owner,
        locale="en",
        now=NOON,
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        TopUp.objects.filter(pk=order.pk).update(**change)
