"""A plan is given back through the real client: quote, submit, settle, send, and what the plan does meanwhile."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import plan_lifecycle
from refunds.models import Refund
from subscriptions import giving_back
from subscriptions.models import Invoice, Subscription
from tests.flush import broken_books
from tests.refunds.giving import Back, Shop, back, club, inbox, move, shop, work

__all__ = ["Shop", "back", "club", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_plan_is_given_back_and_the_account_is_free_at_once(back: Back) -> None:
    back.club.subscribe("pro")
    quote = back.quote()
    assert (quote.possible, quote.lines.paid, quote.lines.fee, quote.lines.final) == (True, 2000, 100, 1900)

    refund = back.submit(quote)
    assert (refund.status, back.club.row().paused_at is not None) == ("settling", True)
    refund = back.go_on(refund)

    assert (refund.status, refund.final, refund.sent) == ("succeeded", Decimal("19.00"), Decimal("19.00"))
    row = back.club.row()
    assert (row.status, row.end_reason, row.paused_at) == ("ended", "refunded", None)
    assert back.club.plan() == "free"
    [made] = back.club.sandbox.refunds()
    assert (made["amount"], made["status"]) == (1900, "succeeded")
    invoice = Invoice.objects.get()
    assert (invoice.refunded_minor, invoice.paid_back_minor) == (2000, 1900)
    back.club.tell()
    assert Refund.objects.count() == 1
    assert broken_books() == []
    assert Subscription.objects.get().review_reason == ""


def test_a_cancelled_refund_keeps_the_plan_its_renewal_and_the_smaller_plan_to_come(back: Back) -> None:
    back.club.subscribe("max")
    back.club.change("pro")
    refund = back.submit()
    giving_back.stop_renewing(refund.subscription_id, key="k", processor=get_processor(), now=clock.now())
    row = back.club.row()
    assert (row.cancel_at_period_end, row.next_version) == (True, None)

    plan_lifecycle.cancel(refund.pk, actor=back.club.owner, now=clock.now())
    for _ in range(2):
        refund = back.go_on(refund)

    row = back.club.row()
    assert (refund.status, row.paused_at, row.cancel_at_period_end) == ("cancelled", None, False)
    assert row.next_version is not None
    assert row.next_version.plan_id == "pro"
    assert back.club.sandbox.refunds() == []
