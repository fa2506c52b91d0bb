"""The cases that must hold when a plan is given back: the real client, the sandbox over HTTP, signed webhooks (case
numbers: payments design)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.core import mail

from billing.payments.models import PaymentEvent
from config import clock
from refunds import plan_settling, tasks
from refunds.models import Refund
from sandbox.models import Fault, RequestLog
from subscriptions.models import Invoice
from tests.refunds.giving import Back, Shop, back, club, inbox, move, shop, work

__all__ = ["Shop", "back", "club", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)

NEWS = ("refund.created", "refund.updated", "charge.refunded")


def posted(path: str = "/v1/refunds") -> int:
    return RequestLog.objects.filter(method="POST", path=path).count()


def intents() -> list[str]:
    """Of the payments, the newest first."""
    return list(Invoice.objects.order_by("-at", "-pk").values_list("payment_intent_id", flat=True))


@pytest.mark.parametrize("order_of_news", list(itertools.permutations((*NEWS, "answer")))[::5])
def test_case_14_in_whatever_order_the_news_comes_the_plan_ends_once(
    back: Back, order_of_news: tuple[str, ...]
) -> None:
    back.club.subscribe("pro")
    back.club.tell()
    refund = back.submit()
    sandbox = back.club.sandbox
    if order_of_news[0] != "answer":  # the answer is lost at first
        sandbox.lose_next_answer("^/v1/refunds$")
        back.go_on_in_vain(refund)
    for news in order_of_news:
        if news == "answer":
            back.go_on(refund)
        else:
            [event] = sandbox.events(news)
            sandbox.send(event["id"], times=2)
            work()
    back.club.tell()

    [part] = Refund.objects.all()
    [made] = sandbox.refunds()
    keys = set(RequestLog.objects.filter(method="POST", path="/v1/refunds").values_list("idempotency_key", flat=True))
    assert (made["amount"], made["metadata"]["refund"], made["metadata"]["fee"]) == (1900, str(part.pk), "100")
    assert keys == {f"refund:{part.pk}:v1"}
    assert (part.status, part.provider_refund_id) == ("succeeded", made["id"])
    assert back.kept() == 0  # the fee is revenue of another kind
    told = PaymentEvent.objects.filter(type__in=NEWS)
    assert set(told.values_list("state", "flagged")) == {("processed", False)}
    back.check_gone()


@pytest.mark.parametrize("later", ["+1h", "+25h"])
@pytest.mark.parametrize("arrived", [True, False])
def test_case_15_a_lost_answer_never_makes_a_second_refund(back: Back, move: Any, later: str, arrived: bool) -> None:
    back.upgraded()
    refund = back.submit()
    if arrived:
        back.club.sandbox.lose_next_answer("^/v1/refunds$")
    else:
        back.club.sandbox.fail_next("^/v1/refunds$", times=3)
    back.go_on_in_vain(refund)
    assert len(back.club.sandbox.refunds()) == int(arrived)
    assert back.row().status == "submitted"

    move(later)
    assert plan_settling.claim_due(now=clock.now()) == [refund.pk]
    back.go_on(refund)
    assert len(back.club.sandbox.refunds()) == 2
    back.check_gone()


def test_case_15_the_provider_is_away_at_each_step_and_the_sweep_goes_on(back: Back, move: Any) -> None:
    back.upgraded()
    back.club.change("pro")  # a smaller plan to come, which the provider has to forget first
    refund = back.submit()
    steps = [
        ("^/v1/subscriptions/", "settling"),
        ("^/v1/subscription_schedules/", "settling"),
        ("^/v1/invoices", "settling"),
        ("^/v1/refunds$", "submitted"),
    ]
    for path, status in steps:
        back.club.sandbox.fail_next(path, times=3)
        back.go_on_in_vain(refund)
        assert (back.row().status, back.club.row().paused_at is not None) == (status, True)
    back.club.sandbox.lose_next_answer("^/v1/refunds$")
    back.go_on_in_vain(refund)
    _fail_ends(back)
    back.go_on_in_vain(refund)
    assert (back.row().status, back.row().plan_ended_at, back.club.plan()) == ("succeeded", None, "free")
    assert not back.ended_there()

    move("+10m")
    tasks.sweep()
    back.check_gone()
    assert len(back.club.sandbox.refunds()) == 2


def _fail_ends(back: Back) -> None:
    """The provider answers about refunds, and of subscriptions nothing more."""
    back.club.sandbox.fail_next("^/v1/subscriptions/", times=3)


def test_case_16_a_pending_refund_that_succeeds_ends_the_plan_only_then(back: Back) -> None:
    back.upgraded()
    back.club.sandbox.switch(refunds="pending")
    refund = back.go_on(back.submit())
    assert (refund.status, back.club.plan(), back.club.row().paused_at is not None) == ("submitted", "max", True)
    assert not back.renews_there()

    first, second = back.club.sandbox.refunds()
    back.club.sandbox.settle(second["id"])
    back.club.tell()
    assert (back.row().status, back.row().sent_minor, back.club.plan()) == ("submitted", second["amount"], "max")
    back.club.sandbox.settle(first["id"])
    back.club.tell()
    back.check_gone()


@pytest.mark.parametrize("outcome", ["failed", "canceled"])
@pytest.mark.parametrize("waits", ["pending", "requires_action"])
def test_case_16_a_pending_refund_that_does_not_succeed_keeps_the_plan_and_its_renewal(
    back: Back, outcome: str, waits: str
) -> None:
    back.club.subscribe("pro")
    back.club.tell()
    back.club.sandbox.switch(refunds=waits)
    back.go_on(back.submit())
    back.club.tell()
    mail.outbox.clear()
    [made] = back.club.sandbox.refunds()
    back.club.sandbox.settle(made["id"], outcome)
    back.club.tell()
    work()

    refund = back.row()
    assert (refund.status, refund.sent_minor, back.club.plan()) == ("failed", 0, "pro")
    assert back.kept() == 2000
    assert [one.to for one in mail.outbox] == [[back.club.owner.email]]
    assert Invoice.objects.get().refunded_minor == 0
    back.check_kept()

    back.club.sandbox.switch(refunds="succeed")  # and the customer may ask again
    back.go_on(back.submit())
    back.check_gone()


def test_case_16_a_refund_that_a_bank_returns_days_later_is_reversed_and_flagged(back: Back, move: Any) -> None:
    back.club.subscribe("pro")
    back.go_on(back.submit())
    back.club.tell()
    move("+3d")
    mail.outbox.clear()
    [made] = back.club.sandbox.refunds()
    back.club.sandbox.settle(made["id"], "failed")
    back.club.tell()
    work()

    refund, row = back.row(), back.club.row()
    assert (refund.status, refund.sent_minor, refund.flagged) == ("failed", 0, True)
    assert "19.00 USD" in refund.flag_reason
    assert (row.status, back.club.plan(), back.ended_there(), refund.check_at) == ("ended", "free", True, None)
    assert back.kept() == 2000
    assert len(mail.outbox) == 1
    back.check_sums()


def test_case_16_a_bank_that_returns_it_before_the_provider_ended_the_plan_does_not_leave_it_alive(
    back: Back, move: Any
) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    back.club.sandbox.switch(refunds="pending")
    back.go_on(refund)
    back.club.tell()
    [made] = back.club.sandbox.refunds()
    back.club.sandbox.settle(made["id"], "succeeded")
    back.club.sandbox.fail_next("^/v1/subscriptions/", times=30)
    back.club.tell()
    assert (back.row().status, back.row().plan_ended_at) == ("succeeded", None)
    back.club.sandbox.settle(made["id"], "failed")
    back.club.tell()
    Fault.objects.all().delete()
    move("+20m")
    tasks.sweep()
    refund = back.row()
    assert (refund.status, refund.flagged, back.club.row().status) == ("failed", True, "ended")
    assert back.ended_there()
    assert refund.check_at is None
    back.check_sums()


@pytest.mark.parametrize("cents", [500, None])
def test_case_17_a_dashboard_refund_before_the_request_leaves_less_to_give_back(back: Back, cents: int | None) -> None:
    back.club.subscribe("pro")
    back.club.sandbox.refund_in_dashboard(intents()[0], cents)
    back.club.tell()
    other = Refund.objects.get()
    assert (other.external, other.status, other.flagged) == (True, "succeeded", True)
    quote = back.quote()
    if cents is None:
        assert [one.code for one in quote.reasons] == ["used_up"]
        return
    assert (quote.lines.refunded, quote.lines.final) == (500, 1425)
    back.go_on(back.submit(quote))
    back.check_gone()
    assert sorted(one["amount"] for one in back.club.sandbox.refunds()) == [500, 1425]


@pytest.mark.parametrize("cents", [500, None])
def test_case_17_a_dashboard_refund_while_calls_are_settled_is_counted_before_ours_is_sent(
    back: Back, cents: int | None
) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    back.club.sandbox.refund_in_dashboard(intents()[0], cents)
    back.club.tell()
    back.go_on(refund)
    if cents is None:
        assert (back.row().status, back.row().failure_reason, posted()) == ("cancelled", "used_up", 0)
        back.check_kept()
        return
    assert back.row().final_minor == 1425
    back.check_gone()


def test_case_17_one_that_arrives_before_ours_was_sent_ends_the_part_that_no_money_is_left_for(back: Back) -> None:
    back.club.subscribe("pro")
    refund = back.settle(back.submit())
    back.club.sandbox.refund_in_dashboard(intents()[0])
    back.club.tell()
    work()
    assert back.parts() == [("cancelled", 1900)]
    refund = back.row()
    assert (refund.status, refund.failure_reason, posted()) == ("failed", "refunded_at_the_provider", 0)
    assert Refund.objects.get(external=True).flagged
    back.check_kept()


@pytest.mark.parametrize("cents", [None, 500])
def test_case_17_one_that_nobody_told_us_of_is_found_by_the_providers_refusal(back: Back, cents: int | None) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    back.club.sandbox.refund_in_dashboard(intents()[0], cents)
    back.go_on(refund)  # no event has arrived
    back.go_on(refund)
    [(status, _sent)] = back.parts()
    other = Refund.objects.get(external=True)
    assert (status, back.row().status, other.flagged) == ("failed", "failed", True)
    if cents is None:
        assert back.row().failure_reason == "charge_already_refunded"
    back.club.tell()
    assert Refund.objects.count() == 2
    back.check_kept()


def test_case_17_the_fee_that_was_kept_may_be_given_back_in_the_dashboard_after_ours(back: Back) -> None:
    back.club.subscribe("pro")
    back.go_on(back.submit())
    back.club.sandbox.refund_in_dashboard(intents()[0])
    back.club.tell()
    other = Refund.objects.get(external=True)
    assert (other.sent_minor, other.requested_minor, other.fee_minor, other.flagged) == (100, 0, -100, False)
    assert Invoice.objects.get().paid_back_minor == 2000
    back.check_gone()


def test_case_17_of_two_payments_one_was_refunded_already_and_the_plan_is_kept_for_a_person_to_see(
    back: Back,
) -> None:
    back.upgraded()
    refund = back.submit()
    newest, oldest = intents()
    back.club.sandbox.refund_in_dashboard(oldest)
    back.go_on(refund)
    back.go_on(refund)
    row = back.row()
    assert [status for status, _sent in back.parts()] == ["succeeded", "failed"]
    assert (row.status, row.flagged) == ("failed", True)
    assert f"only {row.sent:.2f} of {row.final:.2f} USD" in row.flag_reason
    back.club.tell()
    back.check_kept()
    assert set(back.sent()) == {newest, oldest}


def test_case_17_when_the_first_of_two_payments_fails_the_second_is_not_sent(back: Back) -> None:
    back.upgraded()
    refund = back.submit()
    back.club.sandbox.refund_in_dashboard(intents()[0])
    for _ in range(2):
        back.go_on(refund)
    assert [status for status, _sent in back.parts()] == ["failed", "cancelled"]
    assert (back.row().status, back.row().sent_minor, posted()) == ("failed", 0, 1)
    back.club.tell()
    back.check_kept()


def test_case_18_a_second_request_beside_one_under_way_or_done_is_refused(back: Back) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    assert [one.code for one in back.quote().reasons] == ["under_way"]
    back.go_on(refund)
    assert next(one.code for one in back.quote().reasons) == "refunded"
    back.check_gone()


def test_a_plan_that_was_ended_in_the_dashboard_meanwhile_does_not_stop_the_refund(back: Back) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    back.club.sandbox.in_dashboard(back.club.row().provider_id, "cancel")
    for _ in range(2):
        back.go_on(refund)
    assert back.row().check_at is None
    assert (back.row().status, back.club.row().status, back.club.row().paused_at) == ("cancelled", "ended", None)
    back.check_sums()


def test_a_plan_that_ends_at_the_provider_while_its_money_goes_is_refunded_all_the_same(back: Back) -> None:
    back.club.subscribe("pro")
    back.club.sandbox.switch(refunds="pending")
    refund = back.go_on(back.submit())
    back.club.sandbox.in_dashboard(back.club.row().provider_id, "cancel")
    back.club.tell()
    assert (back.club.row().status, back.row().status) == ("ended", "submitted")
    [made] = back.club.sandbox.refunds()
    back.club.sandbox.settle(made["id"])
    back.club.tell()
    assert (back.row().status, back.row().plan_ended_at is not None, back.row().check_at) == ("succeeded", True, None)
    back.go_on(refund)
    back.check_sums()


def test_case_23_a_second_subscription_is_paid_back_in_whole_whatever_was_sent_back_by_hand(back: Back) -> None:
    first, second = back.club.start("pro"), back.club.start("max")
    for row in (first, second):
        assert back.club.sandbox.pay(row.session_id).ok
        row = back.club.settle(row)
    assert row.status == "duplicate"
    [payment] = row.invoices.values_list("payment_intent_id", flat=True)
    back.club.sandbox.refund_in_dashboard(payment, 2500)
    back.club.look_after(row)
    back.club.tell()
    parts = Refund.objects.order_by("pk").values_list("external", "status", "requested_minor", "fee_minor")
    assert list(parts) == [(True, "succeeded", 2500, 0), (False, "succeeded", 7500, 0)]
    back.check_sums()

    quote = back.quote()  # and the first one may still be given back
    assert (quote.possible, quote.lines.paid, quote.lines.refunded) == (True, 2000, 0)
    back.go_on(back.submit(quote))
    assert sorted(back.sent().values()) == [1900, 10000]
