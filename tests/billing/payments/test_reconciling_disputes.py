"""Disputes in the daily comparison: known with what they moved, unknown, and of another amount."""

from __future__ import annotations

import pytest

from billing.payments.models_disputes import Dispute
from billing.payments.models_reconciling import Difference
from sandbox.models import Delivery
from tests.billing.payments.conftest import Shop
from tests.billing.payments.test_dispute_cases import act, charge, paid
from tests.billing.payments.test_reconciliation import compare, kinds

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_open_dispute_with_its_withdrawal_and_one_that_was_won_are_no_difference(shop: Shop) -> None:
    paid(shop)
    dispute = act(charge(shop), "dispute")
    shop.tell()
    row = compare()
    assert kinds() == []
    assert row.compared["disputes"] == 1
    act(dispute, "won")
    shop.tell()
    compare()
    assert kinds() == []


def test_a_dispute_that_we_do_not_know_is_one_difference_and_gone_once_we_do(shop: Shop) -> None:
    paid(shop)
    act(charge(shop), "dispute")
    waiting = list(Delivery.objects.filter(state="pending"))
    compare()
    [found] = Difference.objects.all()
    assert (found.kind, found.provider_minor, found.currency) == ("dispute_unknown", 2000, "USD")
    assert waiting
    shop.tell()
    compare()
    assert kinds() == []


def test_a_dispute_of_another_amount_or_state_is_a_difference(shop: Shop) -> None:
    order = paid(shop)
    dispute = act(charge(shop), "dispute")
    shop.tell()
    Dispute.objects.update(amount_minor=1999)
    compare()
    [found] = Difference.objects.filter(state="open")
    assert (found.kind, found.provider_minor, found.books_minor) == ("dispute_differs", 2000, 1999)
    assert found.top_up == order
    Dispute.objects.update(amount_minor=2000)
    compare()
    assert kinds() == []
    act(dispute, "lost")
    compare()
    assert kinds() == ["dispute_differs"]
