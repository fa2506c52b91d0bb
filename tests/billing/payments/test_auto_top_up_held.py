"""An automatic charge that a risk rule holds: nothing more is charged until somebody or the time decides."""

from __future__ import annotations

import pytest

from billing.payments import holds
from billing.payments.models import TopUp
from billing.payments.models_risk import RiskRule
from config import clock
from tests import staff
from tests.billing.payments.conftest import Shop
from tests.billing.payments.saving import Saver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def held(shop: Shop) -> Saver:
    """An account whose first automatic charge is on hold."""
    saver = Saver(shop)
    RiskRule.objects.filter(pk="new_card").update(hold_at=0, window_minutes=525_600)
    RiskRule.objects.filter(pk="declines_per_email").update(refuse_at=0)  # would refuse whoever stood at a page
    saver.on()
    saver.run()
    return saver


def test_a_held_automatic_charge_is_the_only_one_until_it_is_released(held: Saver) -> None:
    order = TopUp.objects.get()
    assert (order.status, order.risk.state, held.row.pending_order_id) == ("paid", "held", order.pk)
    assert held.run() is None
    held.shop.tell()
    assert held.run() is None
    assert len(held.charges()) == 1

    holds.release(order.pk, actor=staff.person("finance"), reason="known", now=clock.now())
    order.refresh_from_db()
    assert (order.status, held.net, held.row.pending_order_id) == ("credited", 10, None)
    assert held.run() is None


def test_a_refused_automatic_charge_stops_it_with_a_mail(held: Saver) -> None:
    order = TopUp.objects.get()
    holds.refuse(order.pk, actor=staff.person("finance"), reason="stolen", now=clock.now())
    row = held.row
    assert (row.running, row.pending_order_id, held.net) == (False, None, 0)
    assert held.run() is None
    assert len(held.charges()) == 1
