"""Two requests at once, and spending against a request; each with its control without the wallet's lock."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import Account
from billing.books import ledger
from billing.books.models import CreditGrant, Wallet
from billing.payments.models import TopUp
from refunds import deciding, lifecycle
from refunds.errors import NotRefundable
from refunds.models import Refund
from tests import factories
from tests.concurrency.helpers import at_once, in_thread, wait_until_blocked
from tests.factories import NOON
from tests.refunds.orders import credited

pytestmark = pytest.mark.django_db(transaction=True)


def ask(order: TopUp, usd: str) -> Refund:
    return lifecycle.request(order.pk, Decimal(usd), reason="race", actor=None, client_key=uuid4().hex, now=NOON)


def caught(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except NotRefundable as refusal:
        return refusal.evidence["reason"]


def test_case_18_of_two_refunds_at_once_one_is_accepted() -> None:
    order = credited("20")
    answers = at_once(8, lambda n: caught(lambda: ask(order, "15")))

    assert sorted(isinstance(one, Refund) for one in answers) == [False] * 7 + [True]
    assert {one for one in answers if not isinstance(one, Refund)} == {"more_than_unused"}
    order.refresh_from_db()
    assert (order.refunded_minor, order.grant.remaining) == (1500, 5)


def two_meet(order: TopUp) -> tuple[Any, Any]:
    """One has asked and not yet committed when another begins."""
    with transaction.atomic():
        first = ask(order, "15")
        with in_thread(lambda: caught(lambda: ask(order, "15"))) as other:
            wait_until_blocked()
            connection.connection.commit()
            return first, other()


def test_the_second_request_waits_for_the_wallet_and_reads_what_is_left() -> None:
    first, second = two_meet(credited("20"))
    assert (first.status, second) == ("requested", "more_than_unused")


@pytest.mark.damages_books
def test_without_the_lock_only_the_books_constraints_stop_the_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: it reads the grant before the first has committed, and both would be held."""
    order = credited("20")
    monkeypatch.setattr(ledger, "lock_wallet", lambda account_id: Wallet.objects.get(pk=account_id))
    with pytest.raises(IntegrityError):
        two_meet(order)


def test_spend_between_request_and_approval_is_impossible() -> None:
    order = credited("20")
    version = factories.price()
    account = Account.objects.get(pk=order.account_id)
    refund = ask(order, "15")

    assert factories.hold(account, version, "6").outcome == "insufficient_balance"
    assert Wallet.objects.get(pk=account.pk).available == 5
    deciding.approve(refund.pk, actor=factories.user(), reason="unused", now=NOON)


def test_calls_and_a_request_at_once_never_use_the_same_money() -> None:
    """Either the calls were admitted first, and less can be refunded, or the money is held, and they are refused."""
    order = credited("20")
    version = factories.price()
    account = Account.objects.get(pk=order.account_id)

    def work(number: int) -> Any:
        if number % 2:
            return caught(lambda: ask(order, "12"))
        try:
            return factories.hold(account, version, "12")
        except Exception as refusal:
            return refusal

    at_once(8, work)

    wallet = Wallet.objects.get(pk=account.pk)
    held = wallet.held + sum(Refund.objects.live().values_list("requested_usd", flat=True))
    assert (wallet.available, held) == (8, 12)
    assert CreditGrant.objects.get(pk=order.grant_id).remaining in (8, 20)


def test_money_promised_to_calls_under_way_is_not_refunded() -> None:
    order = credited("20")
    factories.hold(Account.objects.get(pk=order.account_id), factories.price(), "5")
    refund = lifecycle.request(order.pk, None, reason="all", actor=None, client_key="k", now=NOON)
    assert refund.requested_usd == 15
