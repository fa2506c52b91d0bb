"""The cases that must hold: the real client, the sandbox over HTTP, signed webhooks (case numbers: payments design)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail

from billing.books.models import System, Wallet
from billing.payments.models import PaymentEvent
from billing.payments.processor import ProcessorUnavailable
from refunds import sending
from refunds.errors import NotRefundable
from refunds.models import Refund
from sandbox.models import RequestLog
from tests.refunds.conftest import Desk, work

pytestmark = pytest.mark.django_db(transaction=True)

REFUND_EVENTS = ("refund.created", "refund.updated", "charge.refunded")


def calls(path: str = "/v1/refunds") -> int:
    return RequestLog.objects.filter(method="POST", path=path).count()


@pytest.mark.parametrize("order_of_news", list(itertools.permutations((*REFUND_EVENTS, "answer")))[::4])
def test_case_14_a_refund_sends_all_but_the_fee_and_is_booked_once_in_whatever_order_its_news_comes(
    desk: Desk, order_of_news: tuple[str, ...]
) -> None:
    order = desk.paid()
    refund = desk.approve(desk.ask(order))
    sandbox = desk.shop.sandbox
    if order_of_news[0] != "answer":  # the answer is lost at first, and comes with the next try under the same key
        sandbox.lose_next_answer("^/v1/refunds$")
        with pytest.raises(ProcessorUnavailable):
            desk.submit(refund)
    for news in order_of_news:
        if news == "answer":
            desk.submit(refund)
        else:
            [event] = sandbox.events(news)
            sandbox.send(event["id"], times=2)
            work()

    refund.refresh_from_db()
    [sent] = sandbox.refunds()
    made = RequestLog.objects.filter(method="POST", path="/v1/refunds")
    assert (sent["amount"], sent["metadata"]["refund"], sent["metadata"]["fee"]) == (1900, str(refund.pk), "100")
    assert set(made.values_list("idempotency_key", flat=True)) == {f"refund:{refund.pk}:v1"}
    assert (refund.status, refund.provider_refund_id, refund.sent_minor) == ("succeeded", sent["id"], 1900)
    assert desk.net() == 0
    assert desk.in_books(System.REVENUE_REFUND_FEE) == 1
    assert desk.in_books(System.PROCESSOR_STRIPE) == -1
    assert desk.entries() == ["refund_hold", "refund_paid"]
    assert (desk.order().status, desk.order().refunded_minor) == ("refunded", 2000)
    assert set(PaymentEvent.objects.values_list("state", "flagged")) == {("processed", False)}


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("later", ["+1h", "+25h"])
def test_case_15_a_lost_answer_never_makes_a_second_refund(
    desk: Desk, clock_at: Callable[[str], datetime], later: str, arrived: bool
) -> None:
    refund = desk.approve(desk.ask(desk.paid()))
    sandbox = desk.shop.sandbox
    if arrived:
        sandbox.lose_next_answer("^/v1/refunds$")
    else:
        sandbox.fail_next("^/v1/refunds$", times=3)
    with pytest.raises(ProcessorUnavailable):
        desk.submit(refund)
    assert (len(sandbox.refunds()), Refund.objects.get().status) == (int(arrived), "submitted")

    now = clock_at(later)
    assert sending.claim_due(now=now) == [refund.pk]
    refund = desk.submit(refund)

    assert refund.status == "succeeded"
    assert [one["id"] for one in sandbox.refunds()] == [refund.provider_refund_id]
    assert desk.entries() == ["refund_hold", "refund_paid"]
    if later == "+25h":
        asked = RequestLog.objects.filter(method="GET", path="/v1/refunds")
        assert asked.count() == 1


def test_case_15_the_provider_has_forgotten_the_key_by_then(desk: Desk, clock_at: Callable[[str], datetime]) -> None:
    """The control: without looking first, the same key after 25 hours makes a second refund."""
    refund = desk.approve(desk.ask(desk.paid(), "5"))
    sandbox = desk.shop.sandbox
    sandbox.lose_next_answer("^/v1/refunds$")
    with pytest.raises(ProcessorUnavailable):
        desk.submit(refund)

    clock_at("+25h")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "KEY_IS_KEPT", sending.KEY_IS_KEPT * 10)
        desk.submit(refund)

    assert len(sandbox.refunds()) == 2


def test_case_16_a_pending_refund_that_succeeds_is_paid_once(desk: Desk) -> None:
    sandbox = desk.shop.sandbox
    sandbox.switch(refunds="pending")
    refund = desk.refunded(desk.paid())
    assert (refund.status, desk.entries()) == ("submitted", ["refund_hold"])
    assert (desk.order().status, desk.order().refunded_minor) == ("credited", 2000)

    sandbox.settle(refund.provider_refund_id)
    desk.shop.tell()
    desk.submit(refund)

    refund.refresh_from_db()
    assert (refund.status, desk.entries()) == ("succeeded", ["refund_hold", "refund_paid"])


@pytest.mark.parametrize("outcome", ["failed", "canceled"])
@pytest.mark.parametrize("waits", ["pending", "requires_action"])
def test_case_16_a_pending_refund_that_does_not_succeed_gives_all_back_and_says_so(
    desk: Desk, caplog: Any, outcome: str, waits: str
) -> None:
    sandbox = desk.shop.sandbox
    sandbox.switch(refunds=waits)
    refund = desk.refunded(desk.paid())
    assert desk.net() == 0
    mail.outbox.clear()

    sandbox.settle(refund.provider_refund_id, outcome)
    desk.shop.tell()
    work()

    refund.refresh_from_db()
    assert refund.status == {"failed": "failed", "canceled": "cancelled"}[outcome]
    assert (desk.net(), desk.in_books(System.REVENUE_REFUND_FEE)) == (20, 0)
    assert desk.entries() == ["refund_hold", "refund_failed"]
    assert (desk.order().status, desk.order().refunded_minor) == ("credited", 0)
    told = [one for one in mail.outbox if "efund" in one.subject]
    assert [one.to for one in told] == [[desk.shop.owner.email]]
    if outcome == "failed":
        assert f"ALERT refund {refund.number}" in caplog.text


def test_case_16_a_refund_that_fails_days_after_its_success_is_reversed_with_its_fee(desk: Desk) -> None:
    refund = desk.refunded(desk.paid())
    desk.shop.tell()
    assert desk.order().status == "refunded"
    mail.outbox.clear()

    desk.shop.sandbox.settle(refund.provider_refund_id, "failed")
    desk.shop.tell()
    work()

    refund.refresh_from_db()
    assert refund.status == "failed"
    assert desk.net() == 20
    assert desk.order().grant.remaining == 20
    assert (desk.in_books(System.REVENUE_REFUND_FEE), desk.in_books(System.PROCESSOR_STRIPE)) == (0, -20)
    assert (desk.order().status, desk.order().refunded_minor) == ("credited", 0)
    assert "returned" in mail.outbox[0].body


def test_case_16_a_failure_whose_event_is_lost_is_found_by_the_sweep(
    desk: Desk, clock_at: Callable[[str], datetime]
) -> None:
    refund = desk.refunded(desk.paid())
    desk.shop.sandbox.settle(refund.provider_refund_id, "failed")

    now = clock_at("+25h")
    assert sending.claim_due(now=now) == [refund.pk]
    sending.check(refund.pk, processor=sending_processor(), now=now)

    refund.refresh_from_db()
    assert (refund.status, desk.net()) == ("failed", 20)


def sending_processor() -> Any:
    from billing.payments.stripe_processor import get_processor

    return get_processor()


def test_case_17_a_refund_made_in_the_dashboard_is_booked_once_without_a_fee(desk: Desk) -> None:
    order = desk.paid()
    desk.shop.sandbox.refund_in_dashboard(order.payment_intent_id, 500)
    for _ in range(2):
        for event in desk.shop.sandbox.events("charge.refunded", "refund.created", "refund.updated"):
            desk.shop.sandbox.send(event["id"], times=2)
        work()

    [refund] = Refund.objects.all()
    assert (refund.external, refund.status, refund.requested_minor, refund.fee_minor) == (True, "succeeded", 500, 0)
    assert (refund.flagged, refund.overdrawn_usd) == (False, 0)
    assert desk.net() == 15
    assert (desk.order().status, desk.order().refunded_minor) == ("partially_refunded", 500)


def test_case_17_what_had_been_spent_becomes_overdraft_and_is_flagged(desk: Desk) -> None:
    order = desk.paid()
    desk.spend("7")
    desk.shop.sandbox.refund_in_dashboard(order.payment_intent_id)
    desk.shop.tell()

    [refund] = Refund.objects.all()
    wallet = Wallet.objects.get(pk=desk.shop.account.pk)
    assert (wallet.balance, wallet.overdraft) == (0, 7)
    assert (refund.flagged, refund.overdrawn_usd, refund.fee_usd) == (True, 7, 0)
    assert "overdraft" in refund.flag_reason


def test_case_17_when_the_charge_is_refunded_already_the_other_refund_is_booked_and_ours_is_not(desk: Desk) -> None:
    order = desk.paid()
    ours = desk.approve(desk.ask(order))
    external = desk.shop.sandbox.refund_in_dashboard(order.payment_intent_id)

    ours = desk.submit(ours)  # before any event arrives
    desk.shop.tell()

    other = Refund.objects.get(external=True)
    assert (ours.status, ours.failure_reason) == ("failed", "charge_already_refunded")
    assert (other.provider_refund_id, other.status, other.sent_minor) == (external["id"], "succeeded", 2000)
    assert Refund.objects.count() == 2
    wallet = Wallet.objects.get(pk=desk.shop.account.pk)
    assert (wallet.balance, wallet.overdraft) == (0, 0)
    assert desk.in_books(System.REVENUE_REFUND_FEE) == 0
    assert (desk.order().status, desk.order().refunded_minor) == ("refunded", 2000)


def test_case_17_a_request_that_a_dashboard_refund_leaves_no_money_for_ends(desk: Desk) -> None:
    order = desk.paid()
    ours = desk.approve(desk.ask(order))
    desk.shop.sandbox.refund_in_dashboard(order.payment_intent_id)
    desk.shop.tell()  # the event comes before ours was sent

    ours.refresh_from_db()
    assert (ours.status, ours.failure_reason) == ("cancelled", "refunded_at_the_provider")
    assert calls() == 0
    assert desk.net() == 0


def test_case_17_the_fee_that_was_kept_can_be_given_back_in_the_dashboard(desk: Desk) -> None:
    order = desk.paid()
    desk.refunded(order)
    desk.shop.sandbox.refund_in_dashboard(order.payment_intent_id)
    desk.shop.tell()

    other = Refund.objects.get(external=True)
    assert (other.sent_minor, other.requested_minor, other.fee_minor) == (100, 0, -100)
    assert desk.net() == 0
    assert (desk.in_books(System.REVENUE_REFUND_FEE), desk.in_books(System.PROCESSOR_STRIPE)) == (0, 0)
    desk.shop.sandbox.settle(other.provider_refund_id, "failed")
    desk.shop.tell()
    assert desk.in_books(System.REVENUE_REFUND_FEE) == 1


def test_case_18_a_refund_of_all_after_spending_sends_what_is_left_less_the_fee(desk: Desk) -> None:
    order = desk.paid()
    desk.spend("7")
    refund = desk.refunded(order)

    assert (refund.requested_minor, refund.fee_minor, refund.sent_minor) == (1300, 65, 1235)
    assert [one["amount"] for one in desk.shop.sandbox.refunds()] == [1235]
    assert desk.net() == 0
    assert (desk.order().status, desk.order().refunded_minor) == ("partially_refunded", 1300)


def test_case_18_the_second_of_two_refunds_is_refused_before_the_provider_is_called(desk: Desk) -> None:
    """At once, with the race and its control: tests/refunds/test_races.py."""
    order = desk.paid()
    desk.ask(order, "15")
    with pytest.raises(NotRefundable) as refusal:
        desk.ask(order, "15")

    assert refusal.value.evidence["reason"] == "more_than_unused"
    assert (refusal.value.evidence["refundable"], calls()) == ("5.00", 0)


@pytest.mark.parametrize(("method", "days"), [("alipay", 91), ("wechat_pay", 181)])
def test_case_19_a_wallet_payment_that_is_too_old_is_refused_with_the_reason_before_any_call(
    desk: Desk, clock_at: Callable[[str], datetime], method: str, days: int
) -> None:
    order = desk.paid_by_wallet(method)
    before = RequestLog.objects.count()
    with pytest.raises(NotRefundable) as refusal:
        desk.ask(order, now=clock_at(f"+{days}d"))

    assert refusal.value.evidence["reason"] == "too_old"
    assert f"{days - 1} days" in str(refusal.value)
    assert (RequestLog.objects.count(), Refund.objects.count(), desk.net()) == (before, 0, Decimal(20))


@pytest.mark.parametrize(("method", "days"), [("alipay", 89), ("wechat_pay", 179), ("card", 400)])
def test_case_19_a_payment_that_is_young_enough_is_refunded(
    desk: Desk, clock_at: Callable[[str], datetime], method: str, days: int
) -> None:
    order = desk.paid() if method == "card" else desk.paid_by_wallet(method)
    clock_at(f"+{days}d")
    refund = desk.refunded(order)

    assert refund.status == ("succeeded" if method == "card" else "submitted")


def test_case_19_a_refund_that_became_too_old_while_it_waited_is_cancelled_before_any_call(
    desk: Desk, clock_at: Callable[[str], datetime]
) -> None:
    order = desk.paid_by_wallet("alipay")
    clock_at("+89d")
    refund = desk.approve(desk.ask(order))
    clock_at("+91d")
    refund = desk.submit(refund)

    assert (refund.status, refund.failure_reason, calls()) == ("cancelled", "too_old", 0)
    assert desk.net() == 20
