"""Subscribe, renew, fall behind, cancel and come back: with the sandbox's clock (C12, C25, C29)."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from django.core import mail

from accounts.models import AuditRecord
from billing import notices
from billing.errors import InvalidRequest
from billing.models_notices import Notice
from billing.payments import reconcile
from billing.payments.models_reconciling import Difference, Reconciliation
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from subscriptions import dunning, lifecycle, periods
from subscriptions.models import FlowStanding, Invoice, PlanChange, Subscription
from tests.subscriptions.conftest import Club

pytestmark = pytest.mark.django_db(transaction=True)


def told() -> list[str]:
    """The kinds of notices so far."""
    return list(Notice.objects.order_by("created_at", "pk").values_list("kind", flat=True))


def test_the_plan_is_in_force_when_its_first_month_is_paid(club: Club) -> None:
    row = club.subscribe("pro")
    assert (row.status, row.activated_at is not None, club.plan()) == ("active", True, "pro")
    assert told() == ["subscription_started"]
    assert club.booked() == 20


def test_every_mail_about_a_plan_can_be_read(club: Club) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    end = row.period_end
    club.at(end + timedelta(hours=1))
    club.settle(row)
    club.sandbox.in_dashboard(row.provider_id, "pay_again")
    club.at(end + timedelta(days=3, hours=1))
    club.settle(row)
    club.change("max")
    club.renew(on=False)
    club.at(end + timedelta(days=32))
    club.settle(row)
    kinds = set(told())
    assert {"subscription_started", "renewal_failed", "invoice_paid", "plan_changed", "subscription_ended"} <= kinds
    for one in Notice.objects.all():
        notices.send(one.pk, now=clock.now())
    texts = [message.subject + message.body for message in mail.outbox]
    assert len(texts) == Notice.objects.count()
    assert not [text for text in texts if "{{" in text or "None" in text]


@pytest.mark.parametrize("wished", [True, False])
def test_an_end_is_told_as_a_wish_only_to_who_wished_it(club: Club, wished: bool) -> None:
    row = club.subscribe()
    if wished:
        club.renew(on=False)
        club.at(row.period_end + timedelta(hours=1))
    else:
        club.sandbox.in_dashboard(row.provider_id, "cancel")
    club.settle(row)
    notices.send(Notice.objects.get(kind="subscription_ended").pk, now=clock.now())
    assert ("as you wished" in mail.outbox[-1].body) == wished
    assert club.row().end_reason == ("cancelled" if wished else "ended")


def test_the_same_key_and_a_second_look_come_back_to_the_same_page(club: Club) -> None:
    first = club.start(key="one")
    assert club.start(key="one").checkout_url == first.checkout_url
    assert club.start(key="another").pk == first.pk
    assert len(club.sandbox.objects("checkout.session")) == 1


def test_a_page_whose_opening_was_never_answered_is_opened_once(club: Club) -> None:
    club.sandbox.lose_next_answer("^/v1/checkout/sessions$")
    with pytest.raises(ProcessorUnavailable):
        club.start(key="one")
    row = club.start(key="one")
    assert row.session_id
    assert len(club.sandbox.objects("checkout.session")) == 1


@pytest.mark.parametrize("plan", ["free", "huge", "", None, 7])
def test_a_plan_that_cannot_be_bought_is_refused_and_nothing_is_written(club: Club, plan: object) -> None:
    with pytest.raises(InvalidRequest):
        club.start(plan)  # type: ignore[arg-type]
    assert not Subscription.objects.exists()


def test_a_second_plan_is_refused_and_the_same_plan_is_no_change(club: Club) -> None:
    club.subscribe()
    with pytest.raises(lifecycle.AlreadySubscribed):
        club.start("max")
    with pytest.raises(lifecycle.SamePlan):
        club.change("pro")


def test_a_preview_says_what_the_upgrade_then_charges(club: Club, move) -> None:
    club.subscribe()
    move("+10d")
    shown = lifecycle.preview(club.account.pk, "ultra", processor=get_processor(), now=clock.now())
    assert shown.kind == "upgrade"
    assert sum(line.amount_minor for line in shown.lines) == shown.due_usd * 100
    asked = club.change("ultra", at=shown.at)
    assert club.invoices()[1] == ("change", "paid", shown.due_usd * 100)
    assert asked.due_minor == shown.due_usd * 100


def test_an_old_preview_is_not_confirmed(club: Club) -> None:
    club.subscribe()
    with pytest.raises(lifecycle.PreviewExpired):
        club.change("max", at=clock.now() - timedelta(minutes=16))
    assert not PlanChange.objects.exists()


def test_a_change_whose_answer_was_lost_is_finished_by_the_sweep_and_paid_once(club: Club) -> None:
    club.subscribe()
    club.sandbox.lose_next_answer("^/v1/invoices$")  # asked for when the change was made
    with pytest.raises(ProcessorUnavailable):
        club.change("max", key="one")
    asked = PlanChange.objects.get()
    for _ in range(2):
        lifecycle.perform(asked.pk, processor=get_processor(), now=clock.now())
    assert PlanChange.objects.get().status == "done"
    assert [kind for kind, *_ in club.invoices()] == ["subscribe", "change"]


def test_a_renewal_opens_the_next_period_with_new_windows(club: Club, move) -> None:
    row = club.subscribe()
    end = row.period_end
    move("+32d")
    club.tell()
    row = club.row()
    assert (row.status, row.period_start) == ("active", end)
    first, second = club.periods()
    assert (first.ends_at, second.starts_at, second.ends_at) == (end, end, row.period_end)
    assert club.invoices() == [("subscribe", "paid", 2000), ("renewal", "paid", 2000)]
    assert club.booked() == 40


def test_until_the_renewal_is_told_the_plan_goes_on_in_a_period_of_its_own(club: Club) -> None:
    row = club.subscribe()
    end = row.period_end
    later = end + timedelta(hours=1)
    assert club.plan(later) == "pro"
    periods.bridge(club.account.pk, now=later)
    periods.bridge(club.account.pk, now=later)
    first, second = club.periods()
    assert (first.ends_at, second.starts_at) == (end, end)

    club.sandbox.move_clock("+32d")
    club.tell()
    assert [w.pk for w in club.periods()] == [first.pk, second.pk]
    assert club.periods()[1].ends_at == club.row().period_end


def test_an_unpaid_renewal_keeps_the_plan_for_the_grace_and_then_ends_it(club: Club) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    FlowStanding.objects.create(account=club.account, flow_class="insider", since=clock.now(), reason="early")
    end = row.period_end
    club.at(end + timedelta(hours=1))
    club.tell()
    row = club.row()
    assert (row.status, row.grace_until, club.plan()) == ("past_due", end + periods.grace(), "pro")
    assert club.invoices()[1][:2] == ("renewal", "open")
    assert "renewal_failed" in told()

    club.at(end + periods.grace() + timedelta(hours=1))
    club.look_after(row)
    row = club.row()
    assert (row.status, row.end_reason, club.plan()) == ("ended", "unpaid", "free")
    assert FlowStanding.objects.get().flow_class == "standard"
    assert AuditRecord.objects.filter(action="flow_class_changed").count() == 1
    assert club.booked() == 20


def test_a_renewal_that_is_paid_within_the_grace_goes_on_as_if_nothing_had_been(club: Club) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    end = row.period_end
    club.at(end + timedelta(hours=1))
    club.tell()
    assert club.row().status == "past_due"
    club.sandbox.in_dashboard(row.provider_id, "pay_again")
    club.at(end + timedelta(days=3, hours=1))  # the provider tries again after three days
    club.tell()
    row = club.row()
    assert (row.status, row.grace_until, club.plan()) == ("active", None, "pro")
    assert club.booked() == 40


def test_cancelling_keeps_the_plan_until_the_end_and_can_be_taken_back(club: Club, move) -> None:
    club.subscribe()
    assert club.renew(on=False).cancel_at_period_end
    assert club.plan() == "pro"
    assert not club.renew(on=True).cancel_at_period_end
    club.renew(on=False)
    end = club.row().period_end
    move("+32d")
    club.tell()
    row = club.row()
    assert (row.status, row.end_reason, club.plan()) == ("ended", "cancelled", "free")
    assert [w.ends_at for w in club.periods()] == [end]
    assert club.booked() == 20
    assert "subscription_ended" in told()


def test_the_sweep_asks_about_what_nobody_told_us(club: Club, move) -> None:
    row = club.start()
    assert club.sandbox.pay(row.session_id).ok
    assert dunning.due(now=clock.now()) == []
    assert dunning.due(now=clock.now() + timedelta(minutes=2)) == [row.pk]
    club.look_after(row)
    assert club.plan() == "pro"
    move("+32d")
    assert dunning.due(now=clock.now()) == [row.pk]
    club.look_after(row)
    assert club.row().period_start > row.created_at
    assert dunning.due(now=clock.now()) == []


def test_what_was_paid_for_a_plan_is_no_difference_in_the_days_comparison(club: Club) -> None:
    club.subscribe()
    club.change("max")
    day = clock.now().astimezone(UTC).date()
    Reconciliation.objects.create(day=day, due_at=clock.now())
    found = reconcile.run(day, processor=get_processor(), now=clock.now())
    assert found.compared["payments"] == 2
    assert not Difference.objects.exists()

    Invoice.objects.filter(kind="change").update(paid_minor=1)
    reconcile.run(day, processor=get_processor(), now=clock.now())
    assert [one.kind for one in Difference.objects.all()] == ["charge_amount"]
    Invoice.objects.filter(kind="change").update(paid_minor=8000)
