"""Cases 21 to 23 of the payment design, through the real client, the sandbox and signed webhooks."""

from __future__ import annotations

import itertools

import pytest

from billing.books.models import JournalEntry
from billing.payments.models import PaymentEvent
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import sending
from refunds.models import Refund
from subscriptions import dunning, lifecycle
from subscriptions.models import PlanChange, Subscription
from tests.subscriptions.conftest import Club, inbox, work

pytestmark = pytest.mark.django_db(transaction=True)
ORDER = ("customer.subscription.updated", "invoice.paid", "customer.subscription.created", "checkout.session.completed")


@pytest.mark.parametrize("order", list(itertools.permutations(ORDER[:3])), ids=lambda order: " ".join(order))
def test_case_21_the_plan_comes_into_force_once_whatever_order_the_news_come_in(
    club: Club, order: tuple[str, ...]
) -> None:
    row = club.start()
    assert club.sandbox.pay(row.session_id).ok
    for kind in order:
        for event in club.sandbox.events(kind):
            assert [answer.status_code for answer in club.sandbox.send(event)] == [200]
    club.tell()
    club.tell()

    row = club.row()
    assert (row.status, row.plan_version.plan_id, club.plan()) == ("active", "pro", "pro")
    [period] = club.periods()
    assert (period.starts_at >= row.period_start, period.ends_at) == (True, row.period_end)
    assert (row.period_end - row.period_start).days in (28, 29, 30, 31)
    assert club.invoices() == [("subscribe", "paid", 2000)]
    assert JournalEntry.objects.filter(kind="subscription_paid").count() == 1
    assert "parked" not in {state for _, state in inbox()}


def test_case_21_what_was_never_paid_leaves_the_account_on_the_free_plan(club: Club) -> None:
    row = club.start()
    assert not club.sandbox.pay(row.session_id, "4000000000009995").ok
    club.tell()
    assert (club.row().status, club.plan()) == ("incomplete", "free")

    club.sandbox.expire(row.session_id)
    club.tell()
    assert (club.row().status, club.plan()) == ("expired", "free")
    assert club.periods() == []
    assert not JournalEntry.objects.filter(kind="subscription_paid").exists()


def test_case_22_an_upgrade_that_is_paid_is_in_force_at_once_with_one_invoice(club: Club) -> None:
    club.subscribe()
    asked = club.change("max")
    club.tell()

    assert (asked.status, club.row().plan_version.plan_id) == ("done", "max")
    first, second = club.invoices()
    assert (first, second[:2]) == (("subscribe", "paid", 2000), ("change", "paid"))
    assert second[2] == asked.due_minor
    assert [(w.ended_by, w.plan_version.plan_id) for w in club.periods()] == [("change", "pro"), ("", "max")]
    assert club.booked() * 100 == 2000 + second[2]


def test_case_22_an_upgrade_that_is_declined_leaves_the_old_plan(club: Club) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    with pytest.raises(lifecycle.PaymentDeclined):
        club.change("max")
    club.tell()
    assert (PlanChange.objects.get().status, club.row().plan_version.plan_id) == ("declined", "pro")
    assert [w.plan_version.plan_id for w in club.periods()] == ["pro"]

    club.sandbox.move_clock("+24h")  # the pending update expires
    club.tell()
    assert PaymentEvent.objects.filter(type="customer.subscription.pending_update_expired").exists()
    assert (club.row().plan_version.plan_id, club.plan()) == ("pro", "pro")
    assert club.booked() == 20


def test_case_22_an_upgrade_that_is_declined_does_not_bring_a_cancelled_renewal_back(club: Club) -> None:
    """Else the card that was just declined would be charged next month, against the customer's will."""
    row = club.subscribe()
    club.renew(on=False)
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    with pytest.raises(lifecycle.PaymentDeclined):
        club.change("max")
    club.tell()
    assert (club.row().cancel_at_period_end, club.row().plan_version.plan_id) == (True, "pro")


def test_case_22_an_upgrade_that_is_paid_goes_on_after_the_period(club: Club) -> None:
    club.subscribe()
    club.renew(on=False)
    club.change("max")
    assert (club.row().cancel_at_period_end, club.row().plan_version.plan_id) == (False, "max")


def test_case_22_an_upgrade_that_is_declined_leaves_the_smaller_plan_that_was_to_begin(club: Club) -> None:
    row = club.subscribe("max")
    club.change("pro")
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    with pytest.raises(lifecycle.PaymentDeclined):
        club.change("ultra")
    club.tell()
    row = Subscription.objects.select_related("plan_version", "next_version").get()
    assert row.next_version is not None
    assert (row.plan_version.plan_id, row.next_version.plan_id) == ("max", "pro")


def test_case_22_a_downgrade_begins_with_the_next_period(club: Club, move) -> None:
    club.subscribe("max")
    asked = club.change("pro")
    assert (asked.status, club.row().plan_version.plan_id, club.row().next_version.plan_id) == (
        "scheduled",
        "max",
        "pro",
    )
    assert club.invoices() == [("subscribe", "paid", 10000)]

    move("+32d")
    club.tell()
    assert (club.row().plan_version.plan_id, club.plan()) == ("pro", "pro")
    assert PlanChange.objects.get().status == "done"
    assert club.invoices()[1] == ("renewal", "paid", 2000)
    assert [(w.plan_version.plan_id, w.carried) for w in club.periods()] == [("max", 0), ("pro", 0)]


def test_case_22_a_downgrade_that_is_withdrawn_before_changes_nothing(club: Club, move) -> None:
    club.subscribe("max")
    club.change("pro")
    lifecycle.withdraw(club.account.pk, actor=club.owner, processor=get_processor(), now=clock.now())
    club.tell()
    assert (PlanChange.objects.get().status, club.row().next_version) == ("withdrawn", None)

    move("+32d")
    club.tell()
    assert club.plan() == "max"
    assert club.invoices()[1] == ("renewal", "paid", 10000)


def test_case_23_of_two_checkouts_one_is_kept_and_the_other_ended_and_paid_back_without_a_fee(club: Club) -> None:
    first, second = club.start("pro"), club.start("max")  # two tabs
    assert club.sandbox.pay(first.session_id).ok
    assert club.sandbox.pay(second.session_id).ok
    club.tell()
    club.tell()

    rows = {row.plan_version.plan_id: row for row in Subscription.objects.select_related("plan_version")}
    statuses = sorted(row.status for row in rows.values())
    assert statuses == ["active", "duplicate"]
    kept = next(row for row in rows.values() if row.status == "active")
    undone = next(row for row in rows.values() if row.status == "duplicate")
    assert undone.undone_at is not None
    assert undone.review_reason.startswith("a second subscription")
    assert club.plan() == kept.plan_version.plan_id
    [refund] = club.sandbox.refunds()
    assert refund["amount"] == int(undone.plan_version.price_usd * 100)
    assert club.booked() == kept.plan_version.price_usd
    stand = {one["id"]: one["status"] for one in club.sandbox.objects("subscription")}
    assert (stand[kept.provider_id], stand[undone.provider_id]) == ("active", "canceled")


def test_case_23_undoing_a_second_one_whose_answer_was_lost_refunds_once(club: Club) -> None:
    first, second = club.start("pro"), club.start("max")
    for row in (first, second):
        assert club.sandbox.pay(row.session_id).ok
        club.settle(row)
    undone = Subscription.objects.get(status="duplicate")
    dunning.undo_duplicate(undone.pk, processor=get_processor(), now=clock.now())
    club.sandbox.lose_next_answer("^/v1/refunds$")
    work()
    for _ in range(2):
        dunning.undo_duplicate(undone.pk, processor=get_processor(), now=clock.now())
        sending.submit(Refund.objects.get().pk, processor=get_processor(), now=clock.now())
    assert len(club.sandbox.refunds()) == 1
    assert JournalEntry.objects.filter(kind="subscription_refund").count() == 1


@pytest.mark.parametrize("ahead", [2500, 10000])
def test_case_23_what_staff_paid_back_in_the_dashboard_is_not_paid_back_again(club: Club, ahead: int) -> None:
    first, second = club.start("pro"), club.start("max")
    for row in (first, second):
        assert club.sandbox.pay(row.session_id).ok
        club.settle(row)
    undone = Subscription.objects.get(status="duplicate")
    payment = undone.invoices.get().payment_intent_id
    club.sandbox.refund_in_dashboard(payment, ahead)
    club.look_after(undone)
    undone.refresh_from_db()
    assert undone.undone_at is not None
    work()
    invoice = undone.invoices.get()
    assert (invoice.refunded_minor, invoice.paid_back_minor) == (10000, 10000)
    assert sum(one["amount"] for one in club.sandbox.refunds()) == 10000
    assert club.booked() == 20


def test_case_23_a_plan_that_is_paid_when_the_old_one_had_ended_untold_is_not_taken_for_a_second_one(
    club: Club,
) -> None:
    tab = club.start("max")
    old = club.subscribe("pro")
    club.sandbox.in_dashboard(old.provider_id, "cancel")
    assert club.sandbox.pay(tab.session_id).ok
    club.settle(tab)
    assert {row.pk: row.status for row in Subscription.objects.all()} == {old.pk: "ended", tab.pk: "active"}
    assert club.plan() == "max"


def test_case_23_a_second_one_that_renewed_before_it_was_undone_is_paid_back_in_whole(club: Club) -> None:
    for row in (club.start("pro"), club.start("max")):
        assert club.sandbox.pay(row.session_id).ok
        club.settle(row)
    undone = Subscription.objects.get(status="duplicate")
    club.sandbox.renew(undone.provider_id)
    dunning.undo_duplicate(undone.pk, processor=get_processor(), now=clock.now())
    work()
    price = int(undone.plan_version.price_usd * 100)
    assert [one["amount"] for one in club.sandbox.refunds()] == [price, price]
    assert club.booked() == Subscription.objects.get(status="active").plan_version.price_usd


def test_case_23_a_second_one_that_has_ended_before_we_heard_of_it_is_paid_back_as_well(club: Club) -> None:
    first, second = club.start("pro"), club.start("max")
    assert club.sandbox.pay(first.session_id).ok
    ended = club.sandbox.objects("subscription")[0]["id"]
    assert club.sandbox.pay(second.session_id).ok
    club.settle(second)
    club.sandbox.in_dashboard(ended, "cancel")
    club.look_after(first)
    work()
    first.refresh_from_db()
    assert (first.status, first.undone_at is None) == ("duplicate", False)
    assert club.plan() == "max"
    assert [one["amount"] for one in club.sandbox.refunds()] == [2000]
    assert club.booked() == second.plan_version.price_usd


def test_a_plan_that_was_paid_and_ended_before_we_heard_of_it_is_not_called_unpaid(club: Club, caplog) -> None:
    row = club.start("pro")
    assert club.sandbox.pay(row.session_id).ok
    club.sandbox.in_dashboard(club.sandbox.objects("subscription")[0]["id"], "cancel")
    club.tell()
    row = club.row()
    assert (row.status, row.end_reason, club.plan()) == ("ended", "ended", "free")
    assert row.review_reason == "paid, and ended at the provider before it began here"
    assert club.periods() == []
    assert club.booked() == row.plan_version.price_usd
    assert any("ALERT" in one.message for one in caplog.records)


def test_case_23_the_end_of_the_old_one_after_the_start_of_the_new_one_leaves_the_new_plan(club: Club, move) -> None:
    old = club.subscribe()
    club.renew(on=False)
    move("+32d")
    club.settle(old)
    late = club.sandbox.events("customer.subscription.deleted")
    new = club.subscribe("max")
    for event in late:
        club.sandbox.send(event)
    club.tell()
    assert {row.pk: row.status for row in Subscription.objects.all()} == {old.pk: "ended", new.pk: "active"}
    assert club.plan() == "max"


def test_case_23_an_unknown_price_in_the_dashboard_leaves_the_plan_and_calls_staff(club: Club, caplog) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "unknown_price")
    club.tell()
    row = club.row()
    assert (row.status, row.plan_version.plan_id, club.plan()) == ("active", "pro", "pro")
    assert row.review_reason.startswith("the provider has another price")
    assert any("ALERT" in one.message for one in caplog.records)
