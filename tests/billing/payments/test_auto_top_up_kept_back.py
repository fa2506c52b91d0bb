"""Auto top-up meets our own risk rules and our staff: what is kept back is not charged twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.models import AuditRecord
from billing.payments import auto_topup, holds
from billing.payments.models import TopUp
from config import clock
from refunds import tasks as refund_tasks
from tests import staff
from tests.billing.payments.conftest import Shop
from tests.billing.payments.saving import Saver

pytestmark = pytest.mark.django_db(transaction=True)
ELEVATED_RISK = "4000000000009235"


@pytest.fixture
def saver(shop: Shop) -> Saver:
    return Saver(shop)


def test_a_held_payment_stays_under_way_and_nothing_more_is_charged_until_it_is_released(saver: Saver) -> None:
    saver.on(saver.card(ELEVATED_RISK))
    order = saver.run()
    assert order is not None
    assert (order.status, saver.net) == ("paid", 0)

    later = clock.now() + timedelta(hours=1)
    assert saver.run(now=later) is None
    assert auto_topup.claim_due(now=later) == []
    holds.release(order.pk, actor=saver.shop.owner, reason="known customer", now=clock.now())

    assert (saver.net, saver.row.pending_order, saver.row.status) == (10, None, "on")
    assert len(saver.charges()) == 1
    assert saver.run() is None


def test_a_held_payment_that_staff_do_not_accept_stops_it(saver: Saver) -> None:
    saver.on(saver.card(ELEVATED_RISK))
    order = saver.run()
    assert order is not None
    holds.refuse(order.pk, actor=saver.shop.owner, reason="stolen", now=clock.now())
    assert (saver.row.status, saver.row.stopped_reason, saver.row.pending_order) == ("stopped", "refused", None)

    refund_tasks.pay_back_refused(str(order.pk))

    assert saver.run() is None
    assert auto_topup.claim_due(now=clock.now() + timedelta(hours=1)) == []
    assert len(saver.shop.sandbox.objects("charge")) == 1


def test_finance_stops_it_at_the_desk_with_a_reason_and_support_only_reads(saver: Saver) -> None:
    saver.on()
    path = staff.action_of(saver.row, "stop")
    assert staff.desk("support").get(path).status_code == 403
    finance = staff.desk("finance")
    page = finance.get(staff.page_of(saver.row)).content.decode()
    assert "Charge my card." in page
    assert "Visa …4242" in page

    staff.act(finance, path, token="c" * 32, reason="asked by phone")

    assert saver.row.stopped_reason == "staff"
    [record] = AuditRecord.objects.filter(action="auto_top_up_stop")
    assert (record.reason, record.after["status"]) == ("asked by phone", "stopped")
    assert saver.run() is None
    assert TopUp.objects.count() == 0
    account = finance.get(staff.page_of(saver.shop.account)).content.decode()
    assert "Saved cards" in account
    assert "Stopped: stopped by our staff" in account
