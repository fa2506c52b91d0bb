"""The sweeps: what calls leave behind is tidied up by rows, not by memory."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.books import tasks as book_tasks
from billing.books.models import CreditGrant, JournalEntry, Wallet
from billing.metering import tasks
from billing.metering.models import Authorization
from config import clock
from tests import factories

pytestmark = pytest.mark.django_db


def test_the_sweep_releases_only_holds_that_are_due():
    account, version = factories.funded("10"), factories.price()
    now = clock.now()
    old = factories.hold(account, version, "1", now=now - timedelta(minutes=16))
    young = factories.hold(account, version, "1", now=now)
    tasks.expire_holds()
    assert dict(Authorization.objects.values_list("id", "status")) == {old.id: "expired", young.id: "open"}
    assert Wallet.objects.get(pk=account.pk).held == Decimal(1)


def test_the_sweep_writes_off_expired_credit_and_ends():
    now = clock.now()
    for _ in range(2):
        account = factories.account(now=now)
        factories.credit(account, "3", now=now - timedelta(days=2), expires_at=now - timedelta(days=1))
        factories.credit(account, "2", now=now, expires_at=now + timedelta(days=1))
    book_tasks.expire_credit()
    book_tasks.expire_credit()
    assert JournalEntry.objects.filter(kind="grant_expired").count() == 2
    assert sorted(CreditGrant.objects.values_list("remaining", flat=True)) == [0, 0, 2, 2]
    assert set(Wallet.objects.values_list("balance", flat=True)) == {Decimal(2)}
