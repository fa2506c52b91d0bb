"""A customer who gives a plan back, through the real client: what these tests do again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from billing.books.models import Posting, System
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import StripeProcessor, get_processor
from config import clock
from refunds import plan_lifecycle, plan_settling, quotes
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions.models import Invoice
from tests.flush import broken_books
from tests.refunds.conftest import Shop, inbox, shop, work
from tests.subscriptions.conftest import Club, club, move

__all__ = ["Back", "Club", "Shop", "back", "club", "inbox", "move", "shop", "work"]

CALLS = (
    "create_refund", "end_subscription", "invoices_of", "payment", "refund", "refunds_of", "renew", "subscription",
    "withdraw_change",
)  # fmt: skip
"""What is asked of the provider on the way of a plan refund."""


@dataclass
class Back:
    """One customer of the club and the refund of their plan."""

    club: Club

    def quote(self) -> quotes.Quote:
        return plan_lifecycle.preview(self.club.account.pk, now=clock.now())

    def submit(self, quote: quotes.Quote | None = None, *, key: str = "") -> PlanRefund:
        quote = quote or self.quote()
        return plan_lifecycle.submit(
            self.club.account.pk, quote.token, client_key=key or uuid4().hex, actor=self.club.owner, now=clock.now()
        )

    def go_on(self, refund: PlanRefund) -> PlanRefund:
        return plan_settling.go_on(refund.pk, processor=get_processor(), now=clock.now())

    def go_on_in_vain(self, refund: PlanRefund) -> None:
        """The provider does not answer."""
        with pytest.raises(ProcessorUnavailable):
            self.go_on(refund)

    def cancel(self, refund: PlanRefund) -> PlanRefund:
        return plan_lifecycle.cancel(refund.pk, actor=self.club.owner, now=clock.now())

    def settle(self, refund: PlanRefund) -> PlanRefund:
        """The renewal is off and the amounts are computed; nothing was sent."""
        return plan_settling.settle(refund.pk, now=clock.now())

    def upgraded(self) -> None:
        """Two payments: Pro, and what Max cost more."""
        self.club.subscribe("pro")
        self.club.change("max")
        assert [kind for kind, status, _paid in self.club.invoices() if status == "paid"] == ["subscribe", "change"]

    def row(self) -> PlanRefund:
        """The newest request, as it is now."""
        found: PlanRefund = PlanRefund.objects.order_by("-pk")[0]
        return found

    def parts(self) -> list[tuple[str, int]]:
        """Status and cents to send of each payment's refund, the newest payment first."""
        return list(Refund.objects.filter(external=False).order_by("pk").values_list("status", "sent_minor"))

    def sent(self) -> dict[str, int]:
        """Cents that lie at the provider as going or gone, by payment."""
        found: dict[str, int] = {}
        for one in self.club.sandbox.refunds():
            if one["status"] not in ("failed", "canceled"):
                found[one["payment_intent"]] = found.get(one["payment_intent"], 0) + one["amount"]
        return found

    def kept(self) -> int:
        """Cents of revenue from subscriptions that are left."""
        code = System.id_of(System.REVENUE_SUBSCRIPTION)
        rows = Posting.objects.filter(ledger_id=code).values_list("side", "amount")
        return int(-100 * sum(side * amount for side, amount in rows))

    def renews_there(self) -> bool:
        """Whether the provider goes on with the plan after this period."""
        state = get_processor().subscription(self.club.row().provider_id)
        return state.status == "active" and not state.cancel_at_period_end

    def ended_there(self) -> bool:
        return get_processor().subscription(self.club.row().provider_id).status == "canceled"

    def check_gone(self) -> None:
        """The plan has ended here and there, its money went once, and the books are sound."""
        row, refund = self.club.row(), self.row()
        assert (refund.status, refund.sent_minor, refund.check_at) == ("succeeded", refund.final_minor, None)
        assert (row.status, row.end_reason, row.paused_at, self.club.plan()) == ("ended", "refunded", None, "free")
        assert self.ended_there()
        self.check_sums()

    def check_kept(self) -> None:
        """The plan goes on here and there, with its renewal."""
        row, refund = self.club.row(), self.row()
        assert (row.status, row.paused_at, row.cancel_at_period_end) == ("active", None, False)
        assert (refund.status in ("failed", "cancelled"), refund.check_at) == (True, None)
        assert self.renews_there()
        self.check_sums()

    def check_sums(self) -> None:
        """What we say went is what the provider says, payment by payment."""
        ours = {
            invoice.payment_intent_id: invoice.paid_back_minor for invoice in Invoice.objects.exclude(paid_back_minor=0)
        }
        assert ours == self.sent()
        assert broken_books() == []


@pytest.fixture
def back(club: Club) -> Back:
    return Back(club)


class Killed(BaseException):
    """The process is gone."""


class Reaper:
    """Counts the points and dies at the one it was told; 0: at none."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.passed, self.where = fatal, 0, ""
        self.names: list[str] = []

    def point(self, where: str) -> None:
        self.passed += 1
        self.names.append(where)
        if self.passed == self.fatal:
            self.where = where
            raise Killed(where)

    def execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.point(sql[:60])  # dying after one question is dying before the next
        return execute(sql, params, many, context)


@contextmanager
def dying_at(fatal: int) -> Iterator[Reaper]:
    """Every question to the database is a point, and so is the moment before and after each commit and each call."""
    reaper, commit = Reaper(fatal), connection.commit

    def dying_commit() -> None:
        try:
            reaper.point("before commit")
        except Killed:
            connection.connection.rollback()  # what the database does for a client that is gone
            raise
        commit()
        reaper.point("after commit")

    def dying(name: str) -> Any:
        call = getattr(StripeProcessor, name)

        def around(self: StripeProcessor, *args: Any, **more: Any) -> Any:
            reaper.point(f"before {name}")
            answer = call(self, *args, **more)
            reaper.point(f"after {name}")
            return answer

        return around

    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(reaper.execute):
        patch.setattr(connection, "commit", dying_commit)
        for name in CALLS:
            patch.setattr(StripeProcessor, name, dying(name))
        yield reaper
