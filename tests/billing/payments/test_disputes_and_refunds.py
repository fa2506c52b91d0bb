"""A payment that is refunded and disputed: nothing goes back twice, nothing is taken twice, whatever ends first."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from billing.books.models import CreditGrant, JournalEntry, Posting, System, Wallet
from billing.errors import InvalidTransition
from billing.payments import disputes, fraud_warnings, holds
from billing.payments.models import TopUp
from billing.payments.models_disputes import EarlyFraudWarning
from billing.payments.models_risk import RiskAssessment
from billing.payments.processor_refunds import RefundProgress, RefundState
from refunds import deciding, lifecycle, outcomes, sending
from refunds.errors import NotRefundable
from refunds.models import Refund
from tests import factories
from tests.billing.payments import disputing
from tests.billing.payments.disputing import BACK, NOON, OUT, credited, gift, money, spend, state, the, warning
from tests.flush import broken_books
from tests.refunds import orders

pytestmark = pytest.mark.django_db(transaction=True)


class Silent:
    """A provider that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the provider was asked: {name}")


def say(order: TopUp, *states: Any) -> None:
    for one in states:
        disputes.record(order.pk, one, now=NOON)
    order.refresh_from_db()


def ask(order: TopUp, usd: str | None = None) -> Refund:
    return lifecycle.request(
        order.pk, Decimal(usd) if usd else None, reason="unused", actor=None, client_key=uuid4().hex, now=NOON
    )


def approve(refund: Refund, staff: User | None = None) -> Refund:
    return deciding.approve(refund.pk, actor=staff or factories.user(), reason="unused", now=NOON)


def sent(refund: Refund) -> Refund:
    """As `submit` leaves it before the provider answers."""
    with transaction.atomic():
        row, _wallet = outcomes.locked(refund.pk)
        row.move_to(Refund.Status.SUBMITTED, now=NOON)
        row.submitted_at = NOON
        row.save()
    return row


def outcome(refund: Refund, progress: str) -> Refund:
    said = RefundState(
        f"re_{refund.pk}",
        refund.top_up.payment_intent_id,
        RefundProgress(progress),
        progress,
        refund.sent_minor,
        refund.currency,
        marks={"refund": str(refund.pk)},
    )
    return outcomes.record_outcome(refund.pk, said, now=NOON)


def in_ledger(code: str) -> Decimal:
    rows = Posting.objects.filter(ledger_id=System.id_of(code)).values_list("side", "amount")
    return -sum((side * amount for side, amount in rows), Decimal(0))


def test_a_dispute_over_the_kept_fee_freezes_it_out_of_our_revenue_and_the_customer_owes_nothing():
    order = credited()
    outcome(sent(approve(ask(order, "20"))), "succeeded")
    assert in_ledger(System.REVENUE_REFUND_FEE) == 1
    say(order, state(order, "needs_response", -100, amount=100))
    assert (money(order), the().from_fee, in_ledger(System.CHARGEBACK)) == ((0, 0, 0), 1, 1)
    assert in_ledger(System.REVENUE_REFUND_FEE) == 0
    say(order, state(order, "won", -100, 100, amount=100))
    assert (money(order), in_ledger(System.REVENUE_REFUND_FEE), order.status) == ((0, 0, 0), 1, "refunded")
    assert not broken_books()


def test_a_dispute_over_the_kept_fee_that_is_lost_leaves_the_customer_as_after_the_refund():
    order = credited()
    outcome(sent(approve(ask(order, "20"))), "succeeded")
    say(order, state(order, "lost", -100, amount=100))
    assert (money(order), in_ledger(System.CHARGEBACK), in_ledger(System.PROCESSOR_STRIPE)) == ((0, 0, 0), 0, 0)
    assert not broken_books()


@pytest.mark.parametrize("lost", [False, True])
def test_a_refund_that_fails_while_the_payment_is_disputed_gives_nothing_to_spend(lost: bool):
    order = credited()
    refund = sent(approve(ask(order, "20")))
    say(order, state(order, "needs_response", OUT))
    assert (order.disputed_minor, money(order)) == (0, (0, 0, 0))
    if lost:
        say(order, state(order, "lost", OUT))
    outcome(refund, "failed")
    order.refresh_from_db()
    assert (order.disputed_minor, order.refunded_minor, money(order)) == (2000, 0, (0, 0, 0))
    assert not broken_books()
    if not lost:
        say(order, state(order, "won", OUT, BACK))
        assert (order.status, money(order)) == ("credited", (20, 0, 20))
        assert not broken_books()


def test_a_refund_that_succeeds_while_the_payment_is_disputed_is_not_taken_again():
    order = credited()
    refund = sent(approve(ask(order, "20")))
    say(order, state(order, "needs_response", OUT))
    outcome(refund, "succeeded")
    order.refresh_from_db()
    assert (order.status, order.refunded_minor, order.disputed_minor, money(order)) == ("disputed", 2000, 0, (0, 0, 0))
    assert the().from_fee == 1
    say(order, state(order, "won", OUT, BACK))
    assert (order.status, money(order), in_ledger(System.REVENUE_REFUND_FEE)) == ("refunded", (0, 0, 0), 1)
    assert not broken_books()


def test_a_refund_that_the_bank_returns_after_a_dispute_over_its_fee_is_taken_for_the_dispute():
    order = credited()
    refund = outcome(sent(approve(ask(order, "20"))), "succeeded")
    say(order, state(order, "needs_response", -100, amount=100))
    outcome(refund, "failed")
    order.refresh_from_db()
    assert (money(order), the().from_fee, order.disputed_minor) == ((19, 0, 19), 0, 100)
    assert in_ledger(System.REVENUE_REFUND_FEE) == 0
    assert not broken_books()


def test_refunds_are_refused_while_the_payment_is_disputed_and_after_it_was_lost():
    order = credited()
    say(order, state(order, "needs_response", -500, amount=500))
    with pytest.raises(NotRefundable):
        ask(order, "5")
    say(order, state(order, "lost", -500, amount=500))
    with pytest.raises(NotRefundable):
        ask(order, "5")
    assert money(order) == (15, 0, 15)


def test_a_refund_that_was_approved_before_the_dispute_is_not_sent_and_is_taken_for_the_dispute():
    order = credited()
    refund = approve(ask(order, "20"))
    say(order, state(order, "needs_response", OUT))
    refund = sending.submit(refund.pk, processor=Silent(), now=NOON)  # type: ignore[arg-type]
    order.refresh_from_db()
    assert (refund.status, order.disputed_minor, money(order)) == ("cancelled", 2000, (0, 0, 0))
    assert not broken_books()


def test_a_request_that_nobody_approved_waits_through_the_dispute_and_leaves_the_order_credited():
    order = credited()
    refund = ask(order, "20")
    say(order, state(order, "needs_response", OUT))
    with pytest.raises(NotRefundable):
        approve(refund)
    say(order, state(order, "won", OUT, BACK))
    assert (order.status, money(order)) == ("credited", (0, 0, 0))
    assert outcome(sent(approve(refund)), "succeeded").status == "succeeded"
    order.refresh_from_db()
    assert (order.status, money(order)) == ("refunded", (0, 0, 0))
    assert not broken_books()


def test_a_dispute_that_closes_without_effect_and_opens_again_freezes_again_once():
    order = credited()
    spend(order, "7")
    opened, closed = state(order, "needs_response", OUT), state(order, "warning_closed", OUT, BACK)
    say(order, opened, closed)
    assert money(order) == (13, 0, 13)
    say(order, opened)  # an older answer: the money is not away
    assert money(order) == (13, 0, 13)
    say(order, closed)
    again = state(order, "needs_response", OUT, BACK, OUT)
    say(order, again, again)
    assert (money(order), order.disputed_minor, in_ledger(System.CHARGEBACK)) == ((0, 7, -7), 2000, 20)
    assert not broken_books()
    say(order, state(order, "won", OUT, BACK, OUT, BACK))
    assert (money(order), order.status) == ((13, 0, 13), "credited")
    assert disputing.entries(order) == ["dispute_opened", "dispute_won"] * 2
    assert not broken_books()


def test_a_refund_in_the_dashboard_while_a_dispute_is_open_is_booked_once_and_won_money_comes_back():
    order = credited()
    say(order, state(order, "needs_response", -500, amount=500))
    disputing.refund(order, 1500)
    assert (order.status, order.refunded_minor, order.disputed_minor, money(order)) == (
        "disputed",
        1500,
        500,
        (0, 0, 0),
    )
    assert not broken_books()
    say(order, state(order, "won", -500, 500, amount=500))
    assert (order.status, money(order)) == ("partially_refunded", (5, 0, 5))
    assert not broken_books()


def test_money_that_the_dashboard_sent_although_the_bank_has_it_is_owed():
    order = credited()
    say(order, state(order, "needs_response", OUT))
    disputing.refund(order, 2000)
    assert money(order) == (0, 20, -20)
    say(order, state(order, "won", OUT, BACK))
    assert (order.status, money(order)) == ("refunded", (0, 0, 0))
    assert not broken_books()


def held() -> TopUp:
    """A payment that arrived and that our rules hold."""
    order = orders.placed()
    TopUp.objects.filter(pk=order.pk).update(status="paid", paid_at=NOON, payment_intent_id=f"pi_{order.number}")
    RiskAssessment.objects.filter(pk=order.pk).delete()
    RiskAssessment.objects.create(
        top_up=order, account_id=order.account_id, created_at=NOON, state="held", state_at=NOON, held_until=NOON
    )
    order.refresh_from_db()
    return order


def test_a_payment_on_hold_that_is_disputed_goes_to_review_and_is_never_credited():
    order = held()
    say(order, state(order, "needs_response", OUT))
    assert (order.status, order.in_review, order.grant_id) == ("paid", True, None)
    assert holds.due(now=NOON) == []
    assert holds.release_in_time(order.pk, now=NOON).grant_id is None
    with pytest.raises(InvalidTransition):
        holds.release(order.pk, actor=factories.user(), reason="Looks fine.", now=NOON)
    with pytest.raises(NotRefundable):
        lifecycle.return_uncredited(order.pk, reason="back", actor=None, now=NOON)
    assert not JournalEntry.objects.filter(account_id=order.account_id).exists()
    assert not broken_books()


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("spend"), st.integers(1, 1500)),
        st.tuples(st.just("top_up"), st.integers(1, 1500)),
        st.tuples(st.just("request"), st.integers(1, 20)),
        st.tuples(st.sampled_from(["approve", "send", "cancel", "succeeded", "failed"]), st.integers(0, 3)),
        st.tuples(st.just("warn"), st.integers(1, 3)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(
            st.sampled_from(["needs_response", "won", "lost", "prevented", "warning_closed", "warning_needs_response"]),
            st.integers(1, 2),
        ),
    ),
    max_size=16,
)


def step(order: TopUp, what: str, how: int, key: str, staff: User) -> None:
    """One thing that happens; what is refused at that moment does not happen."""
    mine = list(Refund.objects.filter(top_up=order).select_related("top_up").order_by("pk"))
    tag = order.number[-12:]
    if what == "spend":
        spend(order, str(Decimal(how) / 100), key=key)
    elif what == "top_up":
        gift(order, str(Decimal(how) / 100), key=key)
    elif what == "request":
        ask(order, str(how))
    elif what == "warn":
        fraud_warnings.record(order.pk, warning(order, f"issfr_{tag}_{how}"), now=NOON)
    elif what == "release":
        for row in EarlyFraudWarning.objects.filter(top_up=order, state="frozen"):
            fraud_warnings.release(row.pk, actor=staff, reason="Looked at.", now=NOON)
    elif what in ("approve", "send", "cancel", "succeeded", "failed"):
        if not mine:
            return
        refund = mine[how % len(mine)]
        if what == "approve":
            approve(refund, staff)
        elif what == "cancel":
            deciding.cancel(refund.pk, actor=staff, reason="changed", now=NOON)
        elif what == "send" and refund.status == "approved" and order.status != "disputed":
            sent(refund)
        elif what in ("succeeded", "failed") and refund.status in ("submitted", "succeeded"):
            outcome(refund, what)
    else:
        lines = {"needs_response": [-1000], "lost": [-1000], "warning_needs_response": []}.get(what, [-1000, 1000])
        said = state(order, what, *lines, amount=1000, name=f"dp_{tag}_{how}")
        disputes.record(order.pk, said, now=NOON)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_no_sequence_of_refunds_and_disputes_gives_back_more_than_was_paid(moves: Any):
    order, staff = credited(factories.account(now=NOON), number=uuid4().hex), factories.user()
    for number, (what, how) in enumerate(moves):
        order.refresh_from_db()
        try:
            step(order, what, how, f"{what}{number}", staff)
        except (NotRefundable, InvalidTransition):
            continue
        order.refresh_from_db()
        wallet = Wallet.objects.get(pk=order.account_id)
        assert wallet.balance >= 0
        assert wallet.overdraft >= 0
        assert CreditGrant.objects.get(pk=order.grant_id).remaining >= 0
        assert order.refunded_minor + order.disputed_minor <= order.amount_minor
    assert not broken_books()
