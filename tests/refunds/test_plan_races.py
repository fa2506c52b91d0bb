"""A plan that is given back meets calls, changes and its own news at the same moment; with controls without the
wallet's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from billing.books import ledger
from billing.books.models import JournalEntry, Wallet
from billing.errors import BillingError
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import facts, outcomes, plan_lifecycle, plan_settling, sending
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions import giving_back, lifecycle
from subscriptions.models import PlanChange, Subscription
from tests.concurrency.helpers import at_once, in_thread, wait_until_blocked, without_lock
from tests.flush import broken_books
from tests.refunds.giving import Back, Shop, back, club, inbox, move, shop, work
from tests.refunds.states import state_of
from tests.subscriptions.driving import NOON, Driver, driver, plan_version
from tests.subscriptions.invoicing import paid_invoice

__all__ = ["Shop", "back", "club", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def made() -> Driver:
    """An account whose plan of $20 was paid at noon; one Flow is a dollar."""
    there = driver()
    row = there.subscribe(plan_version("pro"), NOON, NOON + timedelta(days=30))
    paid_invoice(row, at=NOON, paid_at=NOON)
    return there


def submit(made: Driver, *, token: str = "", key: str = "") -> PlanRefund:
    token = token or plan_lifecycle.preview(made.account.pk, now=LATER).token
    return plan_lifecycle.submit(made.account.pk, token, client_key=key or uuid4().hex, actor=None, now=LATER)


def caught(work: Callable[[], Any]) -> Any:
    """The answer, or the code of the refusal with its reason."""
    try:
        return work()
    except BillingError as refusal:
        return refusal.evidence.get("reason") or refusal.code


# --- A call and a submission -----------------------------------------------------------------------------------------
def a_call_meets_a_submission(made: Driver) -> tuple[Any, PlanRefund]:
    """The plan is asked back and that is not committed yet when a call comes."""
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token
    with transaction.atomic():
        refund = submit(made, token=token)
        with in_thread(lambda: made.ask("5", LATER)) as call:
            try:
                wait_until_blocked()
            finally:
                connection.connection.commit()
            return call().outcome, refund


def test_a_call_that_meets_a_submission_waits_for_it_and_is_refused(made: Driver) -> None:
    outcome, refund = a_call_meets_a_submission(made)
    assert outcome == "refund_pending"
    assert plan_settling.settle(refund.pk, now=LATER).final_minor == 1900


@pytest.mark.damages_books
def test_without_the_lock_the_call_is_admitted_beside_the_submission(made: Driver) -> None:
    """The control: it does not wait, and holds Flows of a plan whose money is on its way back."""
    made.use("0.1", NOON + timedelta(minutes=1))  # its windows are open: nothing else is waited for
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token
    with without_lock("admit_flows", "subscriptions/sql"), transaction.atomic():
        submit(made, token=token)
        with in_thread(lambda: made.ask("5", LATER)) as call:
            assert call().outcome == "created"


def test_a_submission_that_meets_a_call_waits_and_counts_what_it_holds(made: Driver) -> None:
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token
    with transaction.atomic():
        held = made.ask("5", LATER)
        with in_thread(lambda: submit(made, token=token)) as asked:
            wait_until_blocked()
            connection.connection.commit()
            refund = asked()
    assert held.outcome == "created"
    assert facts.read(Subscription.objects.get(), now=LATER).calls.open == 1
    assert plan_settling.settle(refund.pk, now=LATER).status == "settling"  # it is waited for
    made.capture(held, LATER, "5")
    assert plan_settling.settle(refund.pk, now=LATER).final_minor == 1425


def test_of_calls_and_a_submission_at_once_what_was_spent_and_what_goes_back_never_exceed_what_was_paid(
    made: Driver,
) -> None:
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token

    def work(number: int) -> Any:
        if number == 3:
            return submit(made, token=token)
        found = made.ask("2", LATER)
        if found.outcome == "created":
            made.capture(found, LATER, "2")
        return found.outcome

    found = at_once(8, work)
    [refund] = [one for one in found if isinstance(one, PlanRefund)]
    used = 200 * found.count("created")
    assert set(found) <= {"created", "refund_pending", refund}
    done = plan_settling.settle(refund.pk, now=LATER + timedelta(minutes=15))
    assert (done.settled["usage"], done.final_minor + done.fee_minor + used) == (used, 2000)
    assert made.ask("2", LATER).outcome == "refund_pending"
    assert broken_books() == []


def test_a_capture_and_the_settling_at_once_count_the_call_once(made: Driver) -> None:
    held = made.ask("5", LATER)
    refund = submit(made)
    deadline = LATER + timedelta(minutes=15)

    def work(number: int) -> Any:
        if number:
            return plan_settling.settle(refund.pk, now=deadline)
        return made.capture(held, deadline, "5")

    at_once(4, work)
    refund.refresh_from_db()
    assert (refund.status, refund.final_minor, refund.settled["usage"]) == ("submitted", 1425, 500)
    assert Refund.objects.count() == 1
    assert broken_books() == []


# --- Two submissions -------------------------------------------------------------------------------------------------
def test_of_submissions_from_many_tabs_at_once_one_is_accepted(made: Driver) -> None:
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token
    found = at_once(6, lambda _number: caught(lambda: submit(made, token=token)))
    assert sorted(str(one) for one in found if not isinstance(one, PlanRefund)) == ["under_way"] * 5
    assert PlanRefund.objects.count() == 1


def test_the_same_submission_many_times_at_once_is_one_and_every_answer_the_same(made: Driver) -> None:
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token
    found = at_once(6, lambda _number: caught(lambda: submit(made, token=token, key="same")))
    assert {one.pk for one in found} == {PlanRefund.objects.get().pk}


@contextmanager
def no_lock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "lock_wallet", lambda account_id: Wallet.objects.get(pk=account_id))
        yield


@pytest.mark.damages_books
def test_without_the_lock_only_a_constraint_stops_the_second_submission(made: Driver) -> None:
    """The control: it reads that none is under way before the first has committed."""
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token
    with no_lock(), transaction.atomic():
        submit(made, token=token)
        with in_thread(lambda: submit(made, token=token)) as other:
            wait_until_blocked()  # on the unique index, and not on the wallet
            connection.connection.commit()
            with pytest.raises(IntegrityError):
                other()


# --- A submission and a change of plan -------------------------------------------------------------------------------
def upgrade(back: Back, at: Any) -> PlanChange:
    return lifecycle.change(
        back.club.account.pk, "max", at=at, due_usd=None, client_key=uuid4().hex, actor=back.club.owner,
        processor=get_processor(), now=clock.now(),
    )  # fmt: skip


def test_of_an_upgrade_and_a_submission_at_once_one_is_refused(back: Back) -> None:
    back.club.subscribe("pro")
    quote = back.quote()
    at = lifecycle.preview(back.club.account.pk, "max", processor=get_processor(), now=clock.now()).at

    def work(number: int) -> Any:
        return caught(lambda: upgrade(back, at) if number else back.submit(quote))

    asked, changed = at_once(2, work)
    if isinstance(asked, PlanRefund) and changed == "refund_under_way":
        assert not PlanChange.objects.exists()
        back.go_on(asked)
        back.check_gone()
    else:  # the upgrade was first: it is under way, or is paid, and the quote knew nothing of it
        assert asked in ("change_under_way", "refund_quote_expired")
        assert (changed.status, back.club.plan()) == ("done", "max")


def test_an_upgrade_that_is_under_way_refuses_the_submission_and_one_under_way_the_upgrade(back: Back) -> None:
    back.club.subscribe("pro")
    at = lifecycle.preview(back.club.account.pk, "max", processor=get_processor(), now=clock.now()).at
    quote = back.quote()
    back.club.sandbox.fail_next("^/v1/subscriptions/", times=3)
    assert caught(lambda: upgrade(back, at)) == "processor_unavailable"
    assert caught(lambda: back.submit(quote)) == "change_under_way"
    PlanChange.objects.all().delete()
    refund = back.submit(quote)
    assert caught(lambda: upgrade(back, at)) == "refund_under_way"
    back.cancel(refund)


# --- The customer's second thoughts, and the provider's news ---------------------------------------------------------
def test_of_a_cancellation_and_the_settling_at_once_one_wins(made: Driver) -> None:
    for _round in range(4):
        refund = submit(made)

        def work(number: int, refund: PlanRefund = refund) -> Any:
            if number % 2:
                return caught(lambda: plan_settling.settle(refund.pk, now=LATER))
            return caught(lambda: plan_lifecycle.cancel(refund.pk, actor=None, now=LATER))

        at_once(4, work)
        refund.refresh_from_db()
        sent = Refund.objects.filter(plan_refund=refund)
        assert (refund.status, sent.count()) in (("cancelled", 0), ("submitted", 1))
        assert (Subscription.objects.get().paused_at is None) == (refund.status == "cancelled")
        if refund.status == "submitted":
            assert caught(lambda r=refund: plan_lifecycle.cancel(r.pk, actor=None, now=LATER)) == "invalid_transition"
            outcomes.record_outcome(sent.get().pk, state_of(sent.get(), "failed"), now=LATER)
    assert broken_books() == []


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_the_answer_and_its_events_at_once_end_the_plan_once(made: Driver, outcome: str) -> None:
    refund = plan_settling.settle(submit(made).pk, now=LATER)
    part = Refund.objects.get()
    state = state_of(part, outcome)
    at_once(6, lambda _number: outcomes.record_outcome(part.pk, state, now=LATER))

    refund.refresh_from_db()
    row = Subscription.objects.get()
    assert (refund.status, row.status) == ((outcome, "ended") if outcome == "succeeded" else (outcome, "active"))
    kind = "subscription_refund" if outcome == "succeeded" else "refund_failed"
    assert JournalEntry.objects.filter(kind=kind).count() == 1
    assert row.paused_at is None
    assert broken_books() == []


def test_of_two_parts_whose_outcomes_come_at_once_the_later_ends_the_plan(back: Back) -> None:
    back.upgraded()
    back.club.sandbox.switch(refunds="pending")
    back.go_on(back.submit())
    parts = list(Refund.objects.order_by("pk"))
    for one in back.club.sandbox.refunds():
        back.club.sandbox.settle(one["id"])
    at_once(4, lambda number: sending.ask(parts[number % 2].pk, processor=get_processor(), now=clock.now()))
    assert (back.row().status, back.row().sent_minor) == ("succeeded", back.row().final_minor)
    work()
    back.check_gone()


def test_two_workers_at_once_send_each_payment_once(back: Back) -> None:
    back.upgraded()
    refund = back.submit()
    at_once(3, lambda _number: caught(lambda: back.go_on(refund)))
    back.go_on(refund)
    assert len(back.club.sandbox.refunds()) == 2
    back.check_gone()


def test_a_cancellation_while_the_provider_is_asked_to_renew_no_more_leaves_the_renewal_on(back: Back) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    at_once(2, lambda number: caught(lambda: back.go_on(refund) if number else back.cancel(refund)))
    back.go_on(refund)
    if back.row().status == "cancelled":
        back.check_kept()
    else:
        back.check_gone()


def test_an_outcome_that_comes_just_after_the_last_step_is_not_lost_to_the_sweep(back: Back) -> None:
    """The worker has looked, and found it under way; then the event's outcome is recorded; then the worker rests."""
    back.club.subscribe("pro")
    back.club.sandbox.switch(refunds="pending")
    refund = back.go_on(back.submit())
    [part] = Refund.objects.all()
    back.club.sandbox.settle(part.provider_refund_id or "")
    told = get_processor().refund(part.provider_refund_id or "")
    outcomes.record_outcome(part.pk, told, now=clock.now())
    rested = plan_settling._rest(refund.pk)
    assert (rested.status, rested.plan_ended_at) == ("succeeded", None)
    assert rested.check_at is not None
    assert plan_settling.claim_due(now=clock.now()) == [refund.pk]
    back.go_on(refund)
    back.check_gone()


def test_a_renewal_that_is_off_is_on_again_once_whoever_asks(back: Back) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    giving_back.stop_renewing(
        refund.subscription_id, key=f"plan_refund:{refund.pk}:renewal", processor=get_processor(), now=clock.now()
    )
    back.cancel(refund)
    at_once(3, lambda _number: caught(lambda: back.go_on(refund)))
    back.go_on(refund)
    back.check_kept()
    assert back.kept() == 2000
