"""Two workers at one account below its threshold, and a call that lowers the balance meanwhile; with the control."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from billing.books import ledger
from billing.books.models import Wallet
from billing.payments import auto_topup
from billing.payments.models import TopUp
from billing.payments.models_saved import AutoTopUp, AutoTopUpRun
from billing.payments.processor import ProcessorUnavailable
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop, shop  # noqa: F401  # a fixture
from tests.billing.payments.saving import Saver
from tests.concurrency.helpers import at_once, in_thread, wait_until_blocked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def saver(shop: Shop) -> Saver:  # noqa: F811
    return Saver(shop)


def two_workers_meet(saver: Saver) -> list[Any]:
    """One has decided and not yet committed when another decides."""
    account_id = saver.shop.account.pk
    with transaction.atomic():
        first = auto_topup.decide(account_id, now=clock.now())
        with in_thread(lambda: auto_topup.decide(account_id, now=clock.now())) as other:
            wait_until_blocked()
            connection.connection.commit()
            return [first, other()]


def test_the_second_worker_waits_for_the_wallet_and_goes_on_with_the_same_order(saver: Saver) -> None:
    saver.on()
    first, second = two_workers_meet(saver)
    assert first.pk == second.pk
    assert TopUp.objects.count() == 1


def test_without_the_lock_two_orders_are_placed(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    saver.on()
    monkeypatch.setattr(ledger, "lock_wallet", lambda account_id: Wallet.objects.get(pk=account_id))
    first, second = two_workers_meet(saver)
    assert first.pk != second.pk
    assert TopUp.objects.count() == 2


def test_four_workers_and_a_call_at_once_make_one_order_and_one_charge(saver: Saver) -> None:
    saver.on()
    factories.credit(saver.shop.account, "6", now=clock.now())
    saver.spend("2")

    def work(number: int) -> None:
        if number == 4:
            saver.spend("0.5")
            return
        with contextlib.suppress(ProcessorUnavailable):  # another one's request with this key is under way
            saver.run()

    at_once(5, work)
    saver.run()

    assert TopUp.objects.count() == len(saver.charges()) == 1
    assert saver.net == Decimal("13.5")


def test_limits_hold_when_many_workers_charge_at_once(saver: Saver, settings: Any) -> None:
    settings.TOPUP_MAX_USD = Decimal(10)
    saver.on(threshold="1000", amount="10", count=3, daily="60")

    def work(_: int) -> None:
        for _ in range(3):
            with contextlib.suppress(ProcessorUnavailable):
                saver.run()

    at_once(5, work)
    while saver.run() is not None:
        pass

    assert AutoTopUpRun.objects.count() == len(saver.charges()) == 3
    assert saver.net == 30
    assert AutoTopUp.objects.get().capped_by == "daily_count"
