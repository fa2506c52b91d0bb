"""The operations on our side: who may ask and decide, what the order and the books say, the one door."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import AuditRecord
from billing.books.models import CreditGrant, JournalEntry, Wallet
from billing.errors import IdempotencyConflict, InvalidRequest, InvalidTransition, SecondPersonNeeded
from billing.payments import settling
from billing.payments.models import TopUp
from billing.payments.processor import UnrecognisedStatus
from billing.payments.processor_refunds import RefundProgress, RefundState
from refunds import deciding, external, lifecycle, outcomes, sending
from refunds.errors import NotRefundable
from refunds.models import Refund
from tests import factories
from tests.factories import NOON
from tests.refunds.orders import credited, paid_in_review, state_of

pytestmark = pytest.mark.django_db
Status = Refund.Status


def ask(order: TopUp, usd: str | None = None, **terms: Any) -> Refund:
    terms = {"reason": "unused", "actor": None, "client_key": uuid4().hex, "now": NOON} | terms
    return lifecycle.request(order.pk, Decimal(usd) if usd else None, **terms)


def approve(refund: Refund, actor: Any = None, **terms: Any) -> Refund:
    return deciding.approve(refund.pk, actor=actor or factories.user(), reason="fine", now=terms.pop("now", NOON))


def sent(refund: Refund) -> Refund:
    """As `submit` leaves it before the network."""
    Refund.objects.filter(pk=refund.pk).update(status=Status.SUBMITTED, submitted_at=NOON)
    refund.refresh_from_db()
    return refund


def said(refund: Refund, progress: str = "succeeded", **changes: Any) -> RefundState:
    state = RefundState(
        refund_id=f"re_{refund.number}",
        payment_intent_id=refund.top_up.payment_intent_id,
        progress=RefundProgress(progress),
        status=progress,
        amount_minor=refund.sent_minor,
        currency=refund.currency,
        marks={"refund": str(refund.pk)},
    )
    return replace(state, **changes)


class Silent:
    """A provider that nobody may call."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the provider was called: {name}")


# --- The table
@pytest.mark.parametrize(("old", "new"), list(product(Status.values, Status.values)))
def test_every_step_is_in_the_table_or_refused(old: str, new: str) -> None:
    refund = Refund(number="refund_1", status=old)
    if new in Refund.NEXT[old]:
        refund.move_to(new, now=NOON)
        assert (refund.status, refund.status_at) == (new, NOON)
    else:
        with pytest.raises(InvalidTransition):
            refund.move_to(new, now=NOON)


@pytest.mark.parametrize(("old", "told"), list(product(Status.values, ["pending", "succeeded", "failed", "cancelled"])))
def test_the_door_takes_every_answer_in_every_status_and_never_leaves_the_table(old: str, told: str) -> None:
    refund = ask(credited("20"))
    if old in ("approved", "submitted", "succeeded", "failed"):
        refund = approve(refund)
    if old in ("submitted", "succeeded", "failed"):
        refund = sent(refund)
    if old in ("succeeded", "failed"):
        refund = outcomes.record_outcome(refund.pk, said(refund, old), now=NOON)
    if old == "cancelled":
        refund = deciding.reject(refund.pk, actor=factories.user(), reason="no", now=NOON)
    assert refund.status == old

    for _ in range(2):
        after = outcomes.record_outcome(refund.pk, said(refund, told), now=NOON)

    may_pass = old == "approved" or told in Refund.NEXT[old] or told in (old, "pending")
    if old in ("requested", "cancelled") or (not may_pass):
        assert (after.status, after.flagged) == (old, True)
    elif told == "pending":
        assert after.status == ("submitted" if old == "approved" else old)
    else:
        assert (after.status, after.flagged) == (told, False)


# --- Asking
def test_the_same_key_comes_back_to_the_same_refund() -> None:
    order = credited("20")
    first = ask(order, "5", client_key="k")
    assert ask(order, "5", client_key="k") == first
    with pytest.raises(IdempotencyConflict):
        ask(order, "6", client_key="k")
    assert Refund.objects.count() == 1


def test_an_order_that_was_not_credited_a_disputed_one_and_a_spent_one_are_refused_with_the_reason() -> None:
    reasons = []
    disputed, half, spent, waiting = credited(), credited(), credited(), paid_in_review()
    TopUp.objects.filter(pk=disputed.pk).update(status="disputed", disputed_minor=2000)
    TopUp.objects.filter(pk=half.pk).update(disputed_minor=1500)
    ask(spent)
    for order, usd in ((disputed, "1"), (half, "6"), (spent, "1"), (waiting, "1")):
        with pytest.raises(NotRefundable) as refusal:
            ask(order, usd)
        reasons.append(refusal.value.evidence["reason"])
    assert reasons == ["disputed", "more_than_unused", "nothing_left", "not_credited"]
    assert ask(half, "5").requested_minor == 500


@pytest.mark.parametrize("usd", ["0.001", "-1", "1e12"])
def test_an_amount_that_is_none_is_refused_and_nothing_is_written(usd: str) -> None:
    order = credited()
    with pytest.raises(NotRefundable):
        ask(order, usd)
    assert (Refund.objects.count(), Wallet.objects.get().balance) == (0, 20)


def test_a_reason_is_asked_of_everybody() -> None:
    order = credited()
    with pytest.raises(InvalidRequest):
        ask(order, reason=" ")
    refund = ask(order)
    for act in (deciding.approve, deciding.reject, deciding.cancel):
        with pytest.raises(InvalidRequest):
            act(refund.pk, actor=factories.user(), reason="", now=NOON)


# --- Deciding
def test_a_large_refund_needs_two_people_who_did_not_ask_for_it() -> None:
    asker, first, second = factories.user(), factories.user(), factories.user()
    refund = ask(credited("600"), actor=asker)
    with pytest.raises(SecondPersonNeeded):
        approve(refund, asker)
    assert approve(refund, first).status == "requested"
    with pytest.raises(SecondPersonNeeded):
        approve(refund, first)
    refund = approve(refund, second)
    assert (refund.status, refund.first_approved_by, refund.decided_by) == ("approved", first, second)
    actions = AuditRecord.objects.filter(subject_id=str(refund.pk)).order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["refund_request", "refund_first_approval", "refund_approve"]


def test_small_refunds_of_one_person_to_one_account_within_a_day_count_together() -> None:
    owner, person = factories.user(), factories.user()
    account = factories.account(owner)
    first, second, third = (ask(credited("300", account=account)) for _ in range(3))
    assert approve(first, person).status == "approved"
    assert approve(second, person).status == "requested"
    assert approve(third, person, now=NOON + timedelta(hours=25)).status == "approved"


def test_a_rejected_and_a_cancelled_request_give_all_back_and_are_audited() -> None:
    order = credited()
    for act in (deciding.reject, deciding.cancel):
        refund = ask(order)
        assert Wallet.objects.get().balance == 0
        done = act(refund.pk, actor=factories.user(), reason="they changed their mind", now=NOON)
        assert (done.status, Wallet.objects.get().balance) == ("cancelled", 20)
    order.refresh_from_db()
    assert (order.status, order.refunded_minor) == ("credited", 0)


def test_what_was_sent_cannot_be_stopped() -> None:
    refund = sent(approve(ask(credited())))
    with pytest.raises(InvalidTransition):
        deciding.cancel(refund.pk, actor=factories.user(), reason="stop", now=NOON)


# --- The outcome
def test_partial_refunds_over_time_end_in_a_refunded_order_and_one_that_fails_leads_back() -> None:
    order = credited()
    statuses = []
    for usd in ("5", "10", None):
        refund = sent(approve(ask(order, usd)))
        outcomes.record_outcome(refund.pk, said(refund), now=NOON)
        order.refresh_from_db()
        statuses.append((order.status, order.refunded_minor))
    assert statuses == [("partially_refunded", 500), ("partially_refunded", 1500), ("refunded", 2000)]
    outcomes.record_outcome(refund.pk, said(refund, "failed"), now=NOON)
    order.refresh_from_db()
    assert (order.status, order.refunded_minor) == ("partially_refunded", 1500)


def test_a_status_that_nobody_knows_is_kept_flagged_and_changes_nothing() -> None:
    refund = sent(approve(ask(credited())))
    with pytest.raises(UnrecognisedStatus):
        outcomes.record_outcome(refund.pk, said(refund, "unknown", status="on_the_moon"), now=NOON)
    refund.refresh_from_db()
    assert (refund.status, refund.flagged, refund.provider_status) == ("submitted", True, "on_the_moon")


def test_a_refund_of_another_amount_than_asked_is_flagged() -> None:
    refund = sent(approve(ask(credited())))
    refund = outcomes.record_outcome(refund.pk, said(refund, amount_minor=1), now=NOON)
    assert (refund.status, refund.flagged) == ("succeeded", True)


def test_a_second_refund_under_our_mark_is_booked_as_external_and_flagged() -> None:
    refund = sent(approve(ask(credited(), "5")))
    outcomes.record_outcome(refund.pk, said(refund), now=NOON)
    other = external.apply(said(refund, refund_id="re_twice"), now=NOON)
    assert other is not None
    assert (other.external, other.flagged, other.status) == (True, True, "succeeded")


def test_what_comes_back_pays_the_overdraft_first() -> None:
    order = credited()
    refund = sent(approve(ask(order)))
    outcomes.record_outcome(refund.pk, said(refund), now=NOON)
    wallet = Wallet.objects.get()
    version = factories.price()
    factories.credit(order.account, "1")
    held = factories.hold(order.account, version, "1")
    factories.capture(held.id, input_tokens=4000)  # $4 of $1
    outcomes.record_outcome(refund.pk, said(refund, "failed"), now=NOON)
    wallet.refresh_from_db()
    assert (wallet.balance, wallet.overdraft) == (17, 0)


def test_a_grant_that_was_filled_meanwhile_gets_no_more_than_it_was_given() -> None:
    order = credited()
    refund = sent(approve(ask(order)))
    CreditGrant.objects.filter(pk=order.grant_id).update(amount=15)  # as if five had come back another way
    outcomes.record_outcome(refund.pk, said(refund, "failed"), now=NOON)
    CreditGrant.objects.filter(pk=order.grant_id).update(amount=20)
    assert sorted(CreditGrant.objects.values_list("remaining", flat=True)) == [5, 15]
    assert CreditGrant.objects.get(source=refund.number).paid


def test_an_order_in_yuan_goes_back_at_its_own_rate() -> None:
    order = credited("50", currency="CNY")
    refund = sent(approve(ask(order, "20")))
    refund = outcomes.record_outcome(refund.pk, said(refund), now=NOON)
    assert (refund.requested_minor, refund.fee_minor, refund.sent_minor) == (14600, 730, 13870)
    assert (refund.fee_usd, refund.sent_usd) == (1, 19)
    assert Wallet.objects.get().balance == 30


# --- Paid and never credited
def test_a_payment_that_was_never_credited_goes_back_in_full_without_a_fee_once() -> None:
    order = paid_in_review()
    person = factories.user()
    refund = lifecycle.return_uncredited(order.pk, reason="risk", actor=person, now=NOON)
    assert lifecycle.return_uncredited(order.pk, reason="risk", actor=person, now=NOON) == refund
    assert (refund.status, refund.fee_minor, refund.sent_minor) == ("approved", 0, 2000)

    refund = outcomes.record_outcome(sent(refund).pk, said(refund), now=NOON)
    order.refresh_from_db()
    assert (refund.status, order.status, order.in_review, order.refunded_minor) == (
        "succeeded",
        "refunded",
        False,
        2000,
    )
    assert Wallet.objects.get().net == 0

    TopUp.objects.filter(pk=order.pk).update(in_review=False)
    order = settling.record_outcome(order.pk, state_of(order), now=NOON)
    assert (order.status, order.grant, Wallet.objects.get().net) == ("refunded", None, 0)


@pytest.mark.parametrize("gone_first", [True, False])
def test_a_return_that_fails_leaves_the_payment_in_review_and_can_be_tried_again(gone_first: bool) -> None:
    order = paid_in_review()
    refund = sent(lifecycle.return_uncredited(order.pk, reason="risk", actor=None, now=NOON))
    if gone_first:
        outcomes.record_outcome(refund.pk, said(refund), now=NOON)
    outcomes.record_outcome(refund.pk, said(refund, "failed"), now=NOON)
    order.refresh_from_db()
    assert (order.status, order.in_review, order.refunded_minor) == ("paid", True, 0)
    assert Wallet.objects.get().net == 0
    again = lifecycle.return_uncredited(order.pk, reason="risk", actor=None, now=NOON)
    assert again.pk != refund.pk
    assert again.status == "approved"


def test_a_credited_order_is_not_returned_as_if_it_were_not() -> None:
    with pytest.raises(NotRefundable):
        lifecycle.return_uncredited(credited().pk, reason="risk", actor=None, now=NOON)


def test_an_external_refund_of_a_payment_in_review_takes_no_credit() -> None:
    order = paid_in_review()
    fake = RefundState("re_x", order.payment_intent_id, RefundProgress.SUCCEEDED, "succeeded", 2000, "USD")
    refund = external.apply(fake, now=NOON)
    assert external.apply(fake, now=NOON) == refund
    order.refresh_from_db()
    assert (order.status, order.in_review, Wallet.objects.get().net) == ("refunded", False, 0)


# --- The sweep
def test_the_sweep_claims_each_refund_once_and_waits_longer_each_time() -> None:
    refund = approve(ask(credited()))
    at = NOON + outcomes.FIRST_CHECK
    waits = []
    for _ in range(8):
        assert sending.claim_due(now=at - timedelta(seconds=1)) == []
        assert sending.claim_due(now=at) == [refund.pk]
        assert sending.claim_due(now=at) == []
        refund.refresh_from_db()
        waits.append(int((refund.check_at - at).total_seconds()) // 60)
        at = refund.check_at
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_the_books_name_the_refund_in_every_entry() -> None:
    refund = sent(approve(ask(credited())))
    outcomes.record_outcome(refund.pk, said(refund), now=NOON)
    keys = JournalEntry.objects.filter(kind__startswith="refund").order_by("seq").values_list("key", flat=True)
    assert list(keys) == [f"refund:{refund.pk}:held", f"refund:{refund.pk}:paid"]
