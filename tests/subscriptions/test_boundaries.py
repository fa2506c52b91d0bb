"""What is over is over at its moment, whoever comes to write it down, and when (C06, C07, C25, C26, I9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from billing.books import verify
from billing.books.ledger import lock_wallet
from billing.payments.processor_subscriptions import InvoiceProgress, SubscriptionProgress
from billing.payments.stripe_processor import get_processor
from config import clock
from subscriptions import cockpit, dunning, periods, settling, standing
from subscriptions.models import FlowStanding, QuotaWindow, Subscription
from tests import factories
from tests.subscriptions.conftest import Club
from tests.subscriptions.driving import NOON, Driver, driver, plan_version

pytestmark = pytest.mark.django_db(transaction=True)
MICRO = timedelta(microseconds=1)
MONTH = NOON + timedelta(days=30)


def whole() -> None:
    """Every invariant holds."""
    assert [(one.code, one.broken) for one in verify.run() if one.broken] == []


def unpaid(club: Club) -> tuple[Driver, datetime, datetime]:
    """Pro, whose renewal failed an hour after its period; its end and its grace's."""
    row = club.subscribe("pro")
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    end = row.period_end
    assert end is not None
    club.at(end + timedelta(hours=1))
    club.settle(row)
    made = Driver(club.account, factories.price(), plan_version("free"))
    return made, end, end + periods.grace()


def test_an_unpaid_plan_stops_exactly_with_its_grace_and_not_with_the_sweep(club: Club) -> None:
    FlowStanding.objects.create(account=club.account, flow_class="insider", since=clock.now(), reason="early")
    made, _end, over = unpaid(club)
    for at, plan, flow_class in ((over - MICRO, "pro", "insider"), (over, "free", "standard")):
        assert club.plan(at) == plan
        assert standing.of([club.account.pk], now=at)[club.account.pk].flow_class == flow_class
        shown = cockpit.read(club.account.pk, now=at)
        assert (shown.plan.code, shown.standing.flow_class) == (plan, flow_class)
        assert [term.code for term in (cockpit.glance(club.account.pk, now=at)[0],)] == [plan]
    assert made.ask("40", over - MICRO).outcome == "created"
    assert made.use("5", over).outcome == "created"
    assert made.ask("1", over).outcome == "exhausted"  # Free has five
    assert [w.plan_version.plan_id for w in made.windows()] == ["pro", "free"]

    club.at(over + timedelta(minutes=9))
    club.look_after(club.row())
    row = club.row()
    assert (row.status, row.ended_at, FlowStanding.objects.get().since) == ("ended", over, over)
    assert made.ask("1", clock.now()).outcome == "exhausted"  # the end of the old plan gives no second Free window
    whole()


def test_the_grace_of_an_invoice_that_was_made_within_the_period_counts_from_that_invoice(club: Club) -> None:
    row = club.subscribe()
    told = settling.ask(club.row(), get_processor())
    assert told.state is not None
    [first] = told.invoices
    made = told.state.period_start + timedelta(days=20)
    by_hand = replace(
        first, provider_id="in_by_hand", progress=InvoiceProgress.OPEN, status="open", reason="manual", at=made,
        paid_minor=0, paid_at=None, payment_intent_id="",
    )  # fmt: skip
    late = replace(told.state, progress=SubscriptionProgress.PAST_DUE, status="past_due")
    row = settling.record(row.pk, replace(told, state=late, invoices=(by_hand, first)), now=made + timedelta(hours=1))
    assert (row.status, row.grace_until) == ("past_due", made + periods.grace())
    assert club.plan(made + timedelta(days=3)) == "pro"


def test_an_unpaid_plan_whose_grace_is_over_is_asked_about_at_the_next_sweep(club: Club) -> None:
    _made, _end, over = unpaid(club)
    row = club.row()
    Subscription.objects.update(checked_at=over - timedelta(minutes=1))
    assert dunning.due(now=over - MICRO) == []
    assert dunning.due(now=over) == [row.pk]


def test_a_renewal_that_is_paid_in_the_grace_makes_the_windows_as_long_as_they_would_have_been(club: Club) -> None:
    made, end, over = unpaid(club)
    opened = over - timedelta(days=2)
    assert made.use("30", opened).outcome == "created"
    assert [w.ends_at for w in made.windows("week")] == [over]

    club.sandbox.in_dashboard(club.row().provider_id, "pay_again")
    club.at(end + timedelta(days=3, hours=1))
    club.settle(club.row())
    row = club.row()
    assert row.status == "active"
    assert [w.ends_at for w in made.windows("week")] == [opened + timedelta(days=7)]
    assert club.periods()[-1].ends_at == row.period_end
    assert club.plan(over) == "pro"
    whole()


def test_a_renewal_that_is_paid_after_the_grace_brings_the_plan_back_and_the_insider_class_not(club: Club) -> None:
    """Before the sweep: by then the Free plan may have opened a window of thirty days."""
    FlowStanding.objects.create(account=club.account, flow_class="insider", since=clock.now(), reason="early")
    made, end, over = unpaid(club)
    assert made.use("40", over - timedelta(hours=6)).outcome == "created"
    assert made.use("5", over).outcome == "created"

    club.at(end + timedelta(days=3, hours=2))  # the provider's second try fails, too
    club.sandbox.in_dashboard(club.row().provider_id, "pay_again")
    club.at(end + timedelta(days=9))
    club.settle(club.row())
    row = club.row()
    now = clock.now()
    assert (row.status, club.plan()) == ("active", "pro")
    assert standing.of([club.account.pk], now=now)[club.account.pk].flow_class == "standard"
    period = club.periods()[-1]
    assert (period.plan_version.plan_id, period.ends_at, period.carried) == ("pro", row.period_end, 40)
    assert made.ask("50", now).outcome == "created"
    whole()


@pytest.mark.parametrize("paid", [True, False])
def test_a_change_that_waited_for_the_provider_finds_windows_that_opened_meanwhile(paid: bool) -> None:
    """Its moment was read before the provider was asked; calls go on while that takes seconds."""
    made = driver(plan_version("pro") if paid else None)
    later = NOON + timedelta(seconds=2)
    held = made.ask("4", later)
    if paid:
        made.change(plan_version("max"), NOON + timedelta(seconds=1))
    else:
        made.subscribe(plan_version("max"), NOON + timedelta(seconds=1), MONTH)
    assert made.windows("period")[-1].starts_at == later
    made.capture(held, later, "5")
    assert made.ask("295", later + MICRO).outcome == "created"
    assert made.ask("5", later + MICRO).outcome == ("exhausted" if paid else "created")
    assert made.windows()[-1].carried == (5 if paid else 0)
    whole()


def test_a_provider_whose_clock_is_ahead_does_not_activate_in_the_future(club: Club) -> None:
    """Else a change that is made at once would be older than its subscription, and never be seen to be done."""
    row = club.start("pro")
    assert club.sandbox.pay(row.session_id).ok
    told = settling.ask(row, get_processor())
    ahead = clock.now() + timedelta(minutes=2)
    late = replace(told, invoices=tuple(replace(one, paid_at=ahead) for one in told.invoices))
    row = settling.record(row.pk, late, now=clock.now())
    assert row.activated_at is not None
    assert row.activated_at <= clock.now()
    assert club.change("max").status == "done"


def renewed(made: Driver, *, at: datetime) -> None:
    """The provider's word on the next month, thirty days from the end of the first."""
    row = Subscription.objects.get()
    with transaction.atomic():
        lock_wallet(made.account.pk)
        row.period_start, row.period_end, row.grace_until = MONTH, MONTH + timedelta(days=30), None
        row.save()
        periods.follow_renewal(row, now=at)


@pytest.mark.parametrize("policy", ["first_request", "grid"])
def test_a_period_that_nobody_told_of_ends_with_the_grace_and_is_made_longer_by_the_word(policy: str) -> None:
    made = driver(plan_version("pro", anchor_policy=policy))
    periods.bridge(made.account.pk, now=MONTH)
    assert made.use("50", MONTH).outcome == "created"
    bridged = made.windows("period")[-1]
    assert (bridged.starts_at, bridged.ends_at) == (MONTH, MONTH + periods.grace())
    assert made.windows("week")[-1].ends_at == bridged.ends_at

    renewed(made, at=MONTH + timedelta(days=1))
    assert made.windows("period")[-1].ends_at == MONTH + timedelta(days=30)
    assert made.windows("week")[-1].ends_at == MONTH + timedelta(days=7)
    assert made.windows()[-1].ends_at == MONTH + timedelta(hours=5)
    whole()


def test_word_after_the_grace_gives_the_periods_flows_once() -> None:
    """Else what was used before the word would be given again."""
    made = driver(plan_version("pro", flows_5h=2000, flows_week=2000, flows_period=2160))
    paid, free = made.plan, plan_version("free")
    periods.bridge(made.account.pk, now=MONTH)
    assert made.use("1500", MONTH).outcome == "created"
    over = MONTH + periods.grace()
    made.plan = free
    assert made.use("3", over).outcome == "created"  # on Free

    told = over + timedelta(hours=1)
    renewed(made, at=told)
    made.plan = paid
    assert made.windows("period")[-1].carried == 1500
    assert made.ask("661", told).outcome == "exhausted"
    assert made.ask("660", told).outcome == "created"
    whole()


def test_word_after_the_grace_to_one_who_made_no_call_on_free_goes_on_in_the_same_window() -> None:
    made = driver(plan_version("pro"))
    periods.bridge(made.account.pk, now=MONTH)
    made.use("50", MONTH)
    renewed(made, at=MONTH + periods.grace() + timedelta(hours=1))
    assert len(made.windows("period")) == 2
    assert made.windows("period")[-1].ends_at == MONTH + timedelta(days=30)
    whole()


def test_a_smaller_plan_begins_with_its_period_before_the_provider_has_told_of_it(club: Club) -> None:
    row = club.subscribe("max")
    club.change("pro")
    end = club.row().period_end
    assert end is not None
    assert (club.plan(end - MICRO), club.plan(end)) == ("max", "pro")
    periods.bridge(club.account.pk, now=end)
    assert [w.plan_version.plan_id for w in club.periods()] == ["max", "pro"]
    assert cockpit.read(club.account.pk, now=end).plan.code == "pro"
    assert row.pk == club.row().pk


def test_the_end_of_a_cancelled_plan_told_late_gives_no_second_window_on_free(club: Club) -> None:
    row = club.subscribe("pro")
    club.renew(on=False)
    end = row.period_end
    assert end is not None
    made = Driver(club.account, factories.price(), plan_version("free"))
    club.at(end + timedelta(minutes=20))
    assert made.use("5", end).outcome == "created"
    club.settle(row)
    assert club.row().status == "ended"
    assert made.ask("1", clock.now()).outcome == "exhausted"
    assert QuotaWindow.objects.filter(account=club.account, kind="period", subscription=None).count() == 1
    assert made.windows()[-1].used == Decimal(5)
    whole()


def test_an_older_answer_after_a_renewal_changes_nothing(club: Club, move) -> None:
    row = club.subscribe("pro")
    before = settling.ask(row, get_processor())
    club.renew(on=False)
    club.renew(on=True)
    move("+32d")
    club.settle(row)
    then = club.row()
    with pytest.raises(settling.Overtaken):
        settling.record(row.pk, before, now=clock.now())
    settling.record(row.pk, replace(before, after=None), now=clock.now())
    now = club.row()
    assert (now.period_start, now.status, now.plan_version_id) == (
        then.period_start,
        then.status,
        then.plan_version_id,
    )


@pytest.mark.parametrize("how", ["ended", "shortened"])
def test_an_end_that_was_read_before_the_lock_keeps_the_windows_that_a_call_opened_since(how: str) -> None:
    """The call is newer than the moment at which the worker began to wait."""
    made = driver(plan_version("pro"))
    held, read, called = made.subscription, NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)
    assert held is not None
    made.use("3", called)
    with transaction.atomic():
        lock_wallet(made.account.pk)
        if how == "ended":
            periods.end_open(made.account.pk, at=read, by="end", subscription=held)
        else:
            held.period_end = read
            held.save()
            periods.move_end(held, now=read)
    [period] = QuotaWindow.objects.filter(account=made.account, kind="period")
    assert period.ends_at == called
    whole()
