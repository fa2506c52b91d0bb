"""A customer who subscribes: through the operations, on the sandbox's page, told by signed webhooks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import Account, User
from billing.books.models import JournalEntry
from billing.payments.stripe_processor import get_processor
from config import clock
from subscriptions import dunning, lifecycle, settling, standing
from subscriptions.models import Invoice, PlanChange, QuotaWindow, Subscription
from tests.billing.payments.conftest import Shop, inbox, shop, work
from tests.sandbox.helpers import Sandbox

__all__ = ["Club", "Shop", "inbox", "shop", "work"]

GOOD = "4242424242424242"


@dataclass
class Club:
    """What these tests do again and again."""

    sandbox: Sandbox
    account: Account
    owner: User

    def start(self, plan: str = "pro", *, key: str = "") -> Subscription:
        """Open the page on which the plan is paid."""
        return lifecycle.subscribe(
            self.account.pk,
            plan,
            client_key=key or uuid4().hex,
            actor=self.owner,
            locale="en",
            processor=get_processor(),
            now=clock.now(),
        )

    def subscribe(self, plan: str = "pro", *, card: str = GOOD) -> Subscription:
        """Paid on the page and known here, without a webhook."""
        row = self.start(plan)
        paid = self.sandbox.pay(row.session_id, card)
        assert paid.ok, paid.message
        return self.settle(row)

    def settle(self, row: Subscription) -> Subscription:
        """Through the door, as the return page does."""
        return settling.settle(row.pk, processor=get_processor(), now=clock.now())

    def look_after(self, row: Subscription) -> Subscription:
        """What the sweep does."""
        return dunning.look_after(row.pk, processor=get_processor(), now=clock.now())

    def tell(self) -> int:
        """Deliver every waiting event and let a worker do what the broker then holds; how many events that were."""
        sent = self.sandbox.deliver()
        work()
        return sent

    def change(self, plan: str, *, key: str = "", at: datetime | None = None) -> PlanChange:
        """Look at the preview and confirm it."""
        shown = lifecycle.preview(self.account.pk, plan, processor=get_processor(), now=clock.now())
        return lifecycle.change(
            self.account.pk,
            plan,
            at=at or shown.at,
            due_usd=shown.due_usd,
            client_key=key or uuid4().hex,
            actor=self.owner,
            processor=get_processor(),
            now=clock.now(),
        )

    def renew(self, *, on: bool) -> Subscription:
        """Cancel the renewal, or take that back."""
        return lifecycle.renew(
            self.account.pk, on=on, client_key=uuid4().hex, actor=self.owner, processor=get_processor(), now=clock.now()
        )

    def at(self, moment: datetime) -> None:
        """Move the clock of the installation and of its provider to this moment."""
        self.sandbox.move_clock(f"+{int(moment.timestamp() - time.time())}s")

    def plan(self, now: datetime | None = None) -> str:
        """The plan in force."""
        return standing.of([self.account.pk], now=now or clock.now())[self.account.pk].plan.code

    def row(self) -> Subscription:
        """The only subscription, as it is now."""
        return Subscription.objects.select_related("plan_version").get(account=self.account)

    def periods(self) -> list[QuotaWindow]:
        """The windows of billing periods, oldest first."""
        return list(QuotaWindow.objects.filter(account=self.account, kind="period").order_by("starts_at"))

    def invoices(self) -> list[tuple[str, str, int]]:
        """Kind, status and paid cents of the billing history, oldest first."""
        rows = Invoice.objects.filter(account=self.account).order_by("at", "pk")
        return list(rows.values_list("kind", "status", "paid_minor"))

    def booked(self) -> Decimal:
        """USD that subscriptions have brought in, less what was paid back."""
        found = Decimal(0)
        for entry in JournalEntry.objects.filter(account=self.account, kind__startswith="subscription"):
            amount = sum(line.amount for line in entry.postings.all() if line.side == 1)
            found += amount if entry.kind == "subscription_paid" else -amount
        return found


@pytest.fixture
def club(shop: Shop) -> Club:
    """One account on the Free plan, and the provider."""
    return Club(shop.sandbox, shop.account, shop.owner)


@pytest.fixture
def move(club: Club) -> Any:
    """`move("+31d")`: the clock of the installation and of its provider, from the real time on."""
    return club.sandbox.move_clock
