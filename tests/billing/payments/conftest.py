"""A customer at the door: orders placed through the operations, paid on the sandbox's page, told by signed webhooks."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import Account, User
from billing.books.models import JournalEntry, Wallet
from billing.payments import settling, topups
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.stripe_processor import get_processor
from config import clock
from config.celery import app
from tests import factories
from tests.sandbox.helpers import Sandbox


@dataclass
class Shop:
    """What these tests do again and again."""

    sandbox: Sandbox
    owner: User
    account: Account

    def order(self, usd: str = "20", *, key: str = "", account: Account | None = None, **terms: Any) -> TopUp:
        """Place an order and open its page."""
        return topups.start(
            (account or self.account).pk,
            Decimal(usd),
            method=terms.pop("method", "card"),
            client_key=key or uuid4().hex,
            actor=terms.pop("actor", self.owner),
            locale=terms.pop("locale", "en"),
            processor=get_processor(),
            now=terms.pop("now", None) or clock.now(),
            **terms,
        )

    def delayed_order(self, usd: str = "20") -> TopUp:
        """An order that a payment app pays, maybe later."""
        return self.order(usd, method="alipay")

    def tell(self) -> int:
        """Deliver every waiting event and let a worker do what the broker then holds; how many events that were."""
        sent = self.sandbox.deliver()
        work()
        return sent

    def settle(self, order: TopUp) -> TopUp:
        """Through the door, as the return page does."""
        return settling.settle(order.pk, processor=get_processor(), now=clock.now())

    def balance(self, account: Account | None = None) -> Decimal:
        """USD in the wallet."""
        return Wallet.objects.get(pk=(account or self.account).pk).balance

    def credits(self, account: Account | None = None) -> list[JournalEntry]:
        """The top-up entries in the books."""
        return list(JournalEntry.objects.filter(account=account or self.account, kind="topup").order_by("seq"))


def work() -> int:
    """Take what lies in the broker's queue and do it, as a worker would; how many tasks that were."""
    done = 0
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as waiting:
        while True:
            try:
                message = waiting.get(block=False)
            except queue.Empty:
                return done
            arguments, options, _ = message.payload
            app.tasks[message.headers["task"]](*arguments, **options)
            message.ack()
            done += 1


def inbox() -> list[tuple[str, str]]:
    """Type and state of every kept event, oldest first."""
    return list(PaymentEvent.objects.order_by("pk").values_list("type", "state"))


@pytest.fixture
def shop(sandbox: Sandbox) -> Shop:
    """One customer with an empty wallet, and the provider."""
    app.loader.import_default_modules()
    owner = factories.user()
    return Shop(sandbox, owner, factories.account(owner, now=clock.now(), name="Northwind Labs"))


@pytest.fixture
def broker_away() -> Any:
    """`with broker_away():` nobody listens where the broker should be."""

    @contextmanager
    def away() -> Iterator[None]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        before = app.conf.broker_url
        _use(f"redis://127.0.0.1:{port}/0")
        try:
            yield
        finally:
            _use(before)

    return away


def _use(url: str) -> None:
    """Point every later publication at this broker."""
    app.conf.broker_url = app.conf.broker_write_url = url
    app._pool = None
    app.amqp._producer_pool = None
