"""A plan's payment that is given back and disputed: nothing goes back twice, and the books hold, whoever is first."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.errors import InvalidTransition
from billing.payments.models_disputes import Dispute
from billing.payments.processor_refunds import RefundProgress, RefundState
from config import clock
from refunds import external, outcomes, plan_lifecycle, plan_settling, sending
from refunds.duplicates import _rest_of
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions import dunning
from subscriptions.models import Invoice
from tests import factories
from tests.flush import broken_books
from tests.refunds.conftest import Shop, inbox, shop, work
from tests.refunds.test_plan_refunds import Back, back
from tests.subscriptions.conftest import club, move
from tests.subscriptions.disputing import BACK, NOON, OUT, books, in_ledger, paid, say, state, the
from tests.subscriptions.test_disputes import act, charge

__all__ = ["Shop", "back", "club", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)


class Silent:
    """A provider that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the provider was asked: {name}")


def refunded(invoice: Invoice, minor: int, *, name: str = "re_1", progress: str = "succeeded") -> Refund | None:
    """Somebody refunds in the dashboard."""
    said = RefundState(name, invoice.payment_intent_id, RefundProgress(progress), progress, minor, "USD")
    row = external.apply(said, now=NOON)
    invoice.refresh_from_db()
    return row


def approved(invoice: Invoice) -> Refund:
    """All of it on its way back, not sent yet."""
    with transaction.atomic():
        refund = _rest_of(invoice.pk, now=NOON)
    assert refund is not None
    return refund


def outcome(refund: Refund, progress: str) -> Refund:
    said = RefundState(
        f"re_{refund.pk}", refund.payment_intent_id, RefundProgress(progress), progress, refund.sent_minor, "USD",
        marks={"refund": str(refund.pk)},
    )  # fmt: skip
    return outcomes.record_outcome(refund.pk, said, now=NOON)


# --- by the door alone -----------------------------------------------------------------------------------------------


def test_a_dispute_over_all_after_a_refund_of_most_takes_what_is_left() -> None:
    invoice = paid()
    refunded(invoice, 1900)
    say(invoice, state(invoice, "needs_response", OUT))
    assert (the().counted_minor, invoice.disputed_minor, books()) == (100, 100, (0, 0, 1, 1))
    say(invoice, state(invoice, "lost", OUT))
    assert books() == (0, 0, 0, 0)
    assert not broken_books()


def test_a_refund_that_was_approved_before_the_dispute_is_not_sent_and_the_dispute_takes_it() -> None:
    invoice = paid()
    refund = approved(invoice)
    say(invoice, state(invoice, "needs_response", OUT))
    assert (the().counted_minor, invoice.disputed_minor) == (0, 0)
    refund = sending.submit(refund.pk, processor=Silent(), now=NOON)  # type: ignore[arg-type]
    invoice.refresh_from_db()
    assert (refund.status, invoice.refunded_minor, invoice.disputed_minor) == ("cancelled", 0, 2000)
    assert books() == (0, 0, 20, 20)
    assert not broken_books()


@pytest.mark.parametrize("lost", [False, True])
def test_a_refund_at_the_provider_that_fails_while_the_payment_is_disputed_is_taken_by_the_dispute(lost: bool) -> None:
    invoice = paid()
    refund = approved(invoice)
    outcome(refund, "pending")
    say(invoice, state(invoice, "needs_response", OUT))
    if lost:
        say(invoice, state(invoice, "lost", OUT))
    outcome(refund, "failed")
    invoice.refresh_from_db()
    assert (invoice.refunded_minor, invoice.disputed_minor) == (0, 2000)
    assert books() == ((0, 0, 0, 0) if lost else (0, 0, 20, 20))
    assert not broken_books()
    if not lost:
        say(invoice, state(invoice, "won", OUT, BACK))
        assert (invoice.disputed_minor, books()) == (0, (20, 0, 0, 20))
        assert not broken_books()


def test_a_refund_at_the_provider_that_succeeds_while_the_payment_is_disputed_is_not_taken_again() -> None:
    invoice = paid()
    refund = approved(invoice)
    outcome(refund, "pending")
    say(invoice, state(invoice, "needs_response", OUT))
    outcome(refund, "succeeded")
    invoice.refresh_from_db()
    assert (invoice.refunded_minor, invoice.disputed_minor, books()) == (2000, 0, (0, 0, 0, 0))
    say(invoice, state(invoice, "won", OUT, BACK))
    assert books() == (0, 0, 0, 0)
    assert not broken_books()


def test_a_refund_that_the_bank_returns_after_a_dispute_is_taken_by_it() -> None:
    invoice = paid()
    refund = outcome(approved(invoice), "succeeded")
    say(invoice, state(invoice, "needs_response", OUT))
    assert books() == (0, 0, 0, 0)
    outcome(refund, "failed")
    invoice.refresh_from_db()
    assert (invoice.disputed_minor, books()) == (2000, (0, 0, 20, 20))
    assert not broken_books()


def test_money_that_the_dashboard_sent_although_the_bank_has_it_is_our_loss_until_the_dispute_is_won() -> None:
    invoice = paid()
    say(invoice, state(invoice, "needs_response", OUT))
    refunded(invoice, 2000)
    assert books() == (-20, 0, 20, 0)
    say(invoice, state(invoice, "won", OUT, BACK))
    assert (invoice.disputed_minor, books()) == (0, (0, 0, 0, 0))
    assert not broken_books()


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("dashboard"), st.integers(1, 2000)),
        st.tuples(st.sampled_from(["approve", "send", "pending", "succeeded", "failed"]), st.integers(0, 3)),
        st.tuples(
            st.sampled_from(["needs_response", "won", "lost", "prevented", "warning_closed", "warning_needs_response"]),
            st.integers(1, 2),
        ),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_no_sequence_of_refunds_and_disputes_breaks_the_books(moves: Any) -> None:
    invoice = paid()
    tag = invoice.payment_intent_id[-12:]
    for number, (what, how) in enumerate(moves):
        invoice.refresh_from_db()
        mine = list(Refund.objects.filter(invoice=invoice).order_by("pk"))
        if what == "dashboard":
            if how <= invoice.paid_minor - invoice.refunded_minor:
                refunded(invoice, how, name=f"re_{tag}_{number}")
        elif what == "approve":
            with transaction.atomic():
                _rest_of(invoice.pk, now=NOON)
        elif what in ("send", "pending", "succeeded", "failed"):
            refund = mine[how % len(mine)] if mine else None
            if refund is None or refund.external:
                continue
            if what == "send" and refund.status == "approved" and disputed(tag):
                sending.submit(refund.pk, processor=Silent(), now=NOON)  # type: ignore[arg-type]
            elif what != "send" and refund.status in ("approved", "submitted", "succeeded"):
                outcome(refund, what)
        else:
            lines = {"needs_response": [-1000], "lost": [-1000], "warning_needs_response": []}.get(what, [-1000, 1000])
            say(invoice, state(invoice, what, *lines, amount=1000, name=f"dp_{tag}_{how}"))
    assert not broken_books()
    assert in_ledger("chargeback") >= 0


def disputed(tag: str) -> bool:
    return Dispute.objects.filter(provider_id__contains=tag, state__in=Dispute.COUNTED).exists()


# --- through the real client and the sandbox -------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["prevented", "won"])
def test_a_disputed_plan_cannot_be_given_back_until_the_dispute_is_over(back: Back, ending: str) -> None:
    """The sandbox refuses to refund a charge that was ever charged back: then the plan and its renewal are kept."""
    back.club.subscribe("pro")
    back.club.tell()
    dispute = act(charge(back.club), "dispute")
    back.club.tell()
    quote = back.quote()
    assert (quote.possible, "disputed" in [one.code for one in quote.reasons]) == (False, True)
    act(dispute, ending)
    back.club.tell()
    assert back.quote().possible
    refund = back.go_on(back.submit())
    row = back.club.row()
    if ending == "prevented":
        assert (refund.status, row.end_reason, books()) == ("succeeded", "refunded", (0, 1, 0, 1))
    else:
        refund = back.go_on(refund)
        assert (refund.status, refund.failure_reason) == ("failed", "charge_disputed")
        assert (back.club.plan(), back.club.row().renews, books()) == ("pro", True, (20, 0, 0, 20))


def test_a_plan_refund_that_is_settling_when_the_dispute_opens_is_cancelled_and_the_plan_kept(back: Back) -> None:
    back.club.subscribe("pro")
    back.club.tell()
    refund = back.submit()
    act(charge(back.club), "dispute")
    back.club.tell()
    refund.refresh_from_db()
    if refund.status == "settling":
        refund = back.go_on(refund)
    assert (refund.status, refund.failure_reason) == ("cancelled", "disputed")
    assert (back.club.sandbox.refunds(), back.club.plan(), back.club.row().paused_at) == ([], "pro", None)


def test_a_plan_refund_that_was_made_and_not_sent_ends_and_the_plan_is_kept(back: Back) -> None:
    back.club.subscribe("pro")
    back.club.tell()
    refund = back.submit()
    plan_settling.settle(refund.pk, now=clock.now())
    act(charge(back.club), "dispute")
    back.club.tell()
    refund = back.go_on(PlanRefund.objects.get())
    part = Refund.objects.get()
    assert (refund.status, part.status, Invoice.objects.get().disputed_minor) == ("failed", "cancelled", 2000)
    assert (back.club.sandbox.refunds(), back.club.plan(), back.club.row().paused_at) == ([], "pro", None)
    assert books() == (0, 0, 20, 20)


def test_one_disputed_payment_of_an_upgraded_plan_keeps_the_other_from_being_sent(back: Back) -> None:
    back.club.subscribe("pro")
    back.club.change("max")
    back.club.tell()
    refund = back.submit()
    plan_settling.settle(refund.pk, now=clock.now())
    first = str(back.club.sandbox.objects("charge")[0]["id"])
    act(first, "dispute")
    back.club.tell()
    refund = back.go_on(PlanRefund.objects.get())
    assert (refund.status, back.club.plan(), back.club.sandbox.refunds()) == ("failed", "max", [])
    assert set(Refund.objects.values_list("status", flat=True)) == {"cancelled"}


def test_a_dispute_over_the_kept_fee_after_a_plan_was_given_back_comes_out_of_fees(back: Back) -> None:
    back.club.subscribe("pro")
    back.club.tell()
    back.go_on(back.submit())
    assert books() == (0, 1, 0, 1)
    dispute = act(charge(back.club), "dispute")  # the sandbox lets the holder dispute what is left: the fee
    back.club.tell()
    invoice = Invoice.objects.get()
    assert (the(dispute).from_fee, the(dispute).from_revenue, invoice.disputed_minor, books()) == (
        1,
        0,
        0,
        (0, 0, 1, 1),
    )
    act(dispute, "won")
    back.club.tell()
    assert (the(dispute).state, books()) == ("won", (0, 1, 0, 1))


def test_a_request_that_waits_for_staff_is_closed_when_a_dispute_opens_and_the_plan_goes_on(back: Back) -> None:
    back.club.subscribe("pro")
    back.club.tell()
    refund = back.submit()
    PlanRefund.objects.filter(pk=refund.pk).update(status="requested", approval="restricted", settle_by=None)
    act(charge(back.club), "dispute")
    back.club.tell()
    refund.refresh_from_db()
    assert (refund.status, refund.failure_reason, back.club.plan()) == ("cancelled", "disputed", "pro")
    assert (back.club.row().paused_at, back.renews_there(), back.club.sandbox.refunds()) == (None, True, [])
    with pytest.raises(InvalidTransition):
        plan_lifecycle.approve(refund.pk, actor=factories.user(is_staff=True), reason="Looked at.", now=clock.now())


def test_a_second_subscription_is_paid_back_when_the_dispute_of_its_payment_is_over(back: Back, move: Any) -> None:
    first, second = back.club.start("pro"), back.club.start("max")
    for row in (first, second):
        assert back.club.sandbox.pay(row.session_id).ok
        row = back.club.settle(row)
    assert row.status == "duplicate"
    invoice = Invoice.objects.get(subscription=row)
    dispute = act(charge(back.club), "dispute")
    back.club.tell()
    back.club.look_after(row)
    invoice.refresh_from_db()
    assert (invoice.disputed_minor, back.club.sandbox.refunds()) == (10000, [])
    act(dispute, "prevented")
    back.club.tell()
    move("+11m")
    assert row.pk in dunning.due(now=clock.now())
    for _ in range(2):
        back.club.look_after(row)
        work()
    assert row.pk not in dunning.due(now=clock.now())
    invoice.refresh_from_db()
    assert (invoice.disputed_minor, invoice.paid_back_minor) == (0, 10000)
    assert [one["amount"] for one in back.club.sandbox.refunds()] == [10000]
    assert not broken_books()
