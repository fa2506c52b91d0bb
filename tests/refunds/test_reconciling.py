"""Refunds in the daily comparison: known, unknown, failed, of another amount, and one that the provider misses."""

from __future__ import annotations

import pytest

from billing.payments.models_reconciling import Difference
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import sending
from refunds.models import Refund
from sandbox.models import StoredObject
from tests.billing.payments.test_reconciliation import compare, kinds
from tests.refunds.conftest import Desk

pytestmark = pytest.mark.django_db(transaction=True)


def there(**changes: object) -> None:
    """The provider's refund, changed."""
    row = StoredObject.objects.get(kind="refund")
    row.data.update(changes)
    row.save()


def test_a_refund_that_both_sides_know_is_no_difference_and_explains_its_movement(desk: Desk) -> None:
    desk.refunded(desk.paid(), "10")
    desk.shop.tell()
    row = compare()
    assert kinds() == []
    assert row.compared["refunds"] == 1
    assert row.totals["USD"]["refunds"] == 950


def test_a_refund_from_the_dashboard_is_a_difference_until_it_is_booked(desk: Desk) -> None:
    order = desk.paid()
    desk.shop.sandbox.client.v1.refunds.create({"payment_intent": order.payment_intent_id, "amount": 700})
    compare()
    assert "refund_unknown" in kinds()
    found = Difference.objects.get(kind="refund_unknown")
    assert (found.provider_minor, found.currency) == (700, "USD")
    desk.shop.tell()
    compare()
    assert kinds() == []


def test_a_refund_of_another_amount_is_a_difference(desk: Desk) -> None:
    refund = desk.refunded(desk.paid(), "10")
    there(amount=949)
    compare()
    found = Difference.objects.get(kind="refund_differs")
    assert (found.provider_minor, found.books_minor, found.top_up_id) == (949, 950, refund.top_up_id)


def test_a_refund_that_failed_there_and_stands_here_is_a_difference(desk: Desk) -> None:
    desk.refunded(desk.paid(), "10")
    there(status="failed")
    compare()
    assert kinds() == ["refund_differs"]


def test_a_refund_that_failed_on_both_sides_is_no_difference(desk: Desk) -> None:
    refund = desk.refunded(desk.paid(), "10")
    there(status="failed")
    sending.ask(refund.pk, processor=get_processor(), now=clock.now())
    assert Refund.objects.get().status == "failed"
    compare()
    assert kinds() == []


def test_a_failed_refund_that_we_do_not_know_moved_nothing(desk: Desk) -> None:
    order = desk.paid()
    desk.shop.sandbox.client.v1.refunds.create({"payment_intent": order.payment_intent_id, "amount": 700})
    there(status="failed")
    compare()
    assert "refund_unknown" not in kinds()


def test_a_refund_that_the_provider_does_not_name_is_a_difference(desk: Desk) -> None:
    refund = desk.refunded(desk.paid(), "10")
    StoredObject.objects.filter(kind="refund").delete()
    compare()
    found = Difference.objects.get(kind="refund_missing")
    assert (found.reference, found.books_minor) == (refund.provider_refund_id, 950)
