"""A customer with a paid top-up who wants the money back, and the clock of the installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import User
from billing.books.models import JournalEntry, Posting, System, Wallet
from billing.payments import topups
from billing.payments.models import TopUp
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import deciding, lifecycle, sending
from refunds.models import Refund
from tests import factories
from tests.billing.payments.conftest import Shop, broker_away, inbox, shop, work

__all__ = ["Desk", "Shop", "broker_away", "inbox", "shop", "work"]


@dataclass
class Desk:
    """What these tests do again and again."""

    shop: Shop
    staff: User = field(default_factory=lambda: factories.user(is_staff=True))

    def paid(self, usd: str = "20", *, card: str = "4242424242424242") -> TopUp:
        """An order that was paid by card and credited."""
        order = self.shop.order(usd)
        assert self.shop.sandbox.pay(order.checkout_session_id, card).ok
        return self.shop.settle(order)

    def paid_by_wallet(self, method: str, usd: str = "20") -> TopUp:
        """An order that was paid by Alipay or WeChat Pay and credited."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(topups, "METHODS", (method,))
            order = self.shop.order(usd, method=method)
        assert self.shop.sandbox.pay_by_wallet(order.checkout_session_id, method).ok
        return self.shop.settle(order)

    def spend(self, usd: str) -> None:
        """Calls for this much, captured."""
        version = factories.price(slug=f"test/{uuid4().hex[:8]}", at=factories.NOON)
        now = clock.now()
        held = factories.hold(self.shop.account, version, usd, now=now)
        factories.capture(held.id, now=now, input_tokens=int(Decimal(usd) * 1000))

    def ask(self, order: TopUp, usd: str | None = None, *, now: datetime | None = None, key: str = "") -> Refund:
        """The customer's request."""
        return lifecycle.request(
            order.pk,
            Decimal(usd) if usd else None,
            reason="bought by mistake",
            actor=self.shop.owner,
            client_key=key or uuid4().hex,
            now=now or clock.now(),
        )

    def approve(self, refund: Refund) -> Refund:
        return deciding.approve(refund.pk, actor=self.staff, reason="unused", now=clock.now())

    def submit(self, refund: Refund) -> Refund:
        return sending.submit(refund.pk, processor=get_processor(), now=clock.now())

    def refunded(self, order: TopUp, usd: str | None = None) -> Refund:
        """Requested, approved and sent."""
        return self.submit(self.approve(self.ask(order, usd)))

    def order(self) -> TopUp:
        """The only order, as it is now."""
        return TopUp.objects.get()

    def net(self) -> Decimal:
        """USD: credit less overdraft."""
        return Wallet.objects.get(pk=self.shop.account.pk).net

    def in_books(self, code: str) -> Decimal:
        """USD on a system account, credits above zero."""
        rows = Posting.objects.filter(ledger_id=System.id_of(code)).values_list("side", "amount")
        return -sum((side * amount for side, amount in rows), Decimal(0))

    def entries(self) -> list[str]:
        """Kinds of the account's entries about refunds, in order."""
        rows = JournalEntry.objects.filter(account=self.shop.account, kind__startswith="refund").order_by("seq")
        return list(rows.values_list("kind", flat=True))


@pytest.fixture
def desk(shop: Shop) -> Desk:
    return Desk(shop)


@pytest.fixture
def clock_at(settings: Any) -> Callable[[str], datetime]:
    """`clock_at("+25h")`: the clock of the installation and of its provider, from the real time on."""

    def move(offset: str) -> datetime:
        settings.DEBUG = True
        settings.CLOCK_OFFSET = offset
        return clock.now()

    return move
