"""Subscribe, renew, fall behind, cancel and come back: with the sandbox's clock (C12, C25, C29)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.core import mail

from accounts.models import AuditRecord
from billing import notices
from billing.errors import IdempotencyConflict, InvalidRequest
from billing.models_notices import Notice
from billing.payments import reconcile, stripe_subscriptions
from billing.payments.models_reconciling import Difference, Reconciliation
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds.models import Refund
from subscriptions import dunning, lifecycle, periods, settling
from subscriptions.models import FlowStanding, Invoice, PlanChange, Subscription
from tests.subscriptions.conftest import Club, work

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
    [changed] = [text for text in texts if text.startswith("Receipt for Max")]
    assert "for the change of Northwind Labs to the plan Max: its price until" in changed


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


def test_nobody_is_sent_to_a_page_that_was_paid_or_has_expired(club: Club) -> None:
    first = club.start()
    club.sandbox.expire(first.session_id)
    second = club.start()
    assert (second.pk != first.pk, second.status) == (True, "incomplete")
    first.refresh_from_db()
    assert first.status == "expired"

    assert club.sandbox.pay(second.session_id).ok  # and the customer never comes back from the page
    with pytest.raises(lifecycle.AlreadySubscribed):
        club.start()
    assert club.plan() == "pro"


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


def test_an_answer_from_before_a_change_was_scheduled_does_not_withdraw_it(club: Club) -> None:
    row = club.subscribe("max")
    before = settling.ask(row, get_processor())
    change = club.change("pro")
    assert change.status == "scheduled"

    settling.record(row.pk, replace(before, after=None), now=clock.now())  # though nothing was recorded in between
    change.refresh_from_db()
    assert change.status == "scheduled"

    row = club.settle(row)
    assert row.next_version_id == change.to_version_id
    get_processor().withdraw_change(row.schedule_id)
    club.settle(row)
    change.refresh_from_db()
    assert change.status == "withdrawn"


class Meanwhile:
    """The real provider, where something else happens just after one of its answers was read."""

    def __init__(self, answer: str, then: Callable[[], object]) -> None:
        self.real, self.answer, self.then = get_processor(), answer, then

    def __getattr__(self, name: str) -> Any:
        def read(*args: Any, **more: Any) -> Any:
            found = getattr(self.real, name)(*args, **more)
            if name == self.answer:
                self.answer = ""
                self.then()
            return found

        return read


def test_an_answer_that_another_has_overtaken_is_asked_for_again(club: Club) -> None:
    """Else the plan that was just paid for would be taken back by an answer from before it."""
    row = club.subscribe("pro")

    def upgrade() -> None:
        state = settling.ask(row, get_processor())
        assert state.state is not None
        club.change("max")

    slow = Meanwhile("invoices_of", upgrade)
    settling.settle(row.pk, processor=slow, now=clock.now())  # type: ignore[arg-type]
    assert club.row().plan_version.plan_id == "max"
    assert [w.plan_version.plan_id for w in club.periods()] == ["pro", "max"]


def test_invoices_are_heard_of_however_many_there_are(club: Club, monkeypatch) -> None:
    """More than the provider gives at once, and nobody told us of any."""
    monkeypatch.setattr(stripe_subscriptions, "_PAGE", 4)
    row = club.subscribe("pro")
    for _ in range(12):
        club.sandbox.in_dashboard(row.provider_id, "renew")
    club.settle(row)
    assert club.invoices() == [("subscribe", "paid", 2000)] + 12 * [("renewal", "paid", 2000)]
    assert club.booked() == 13 * 20


def test_cancelling_does_not_take_back_an_upgrade_that_was_paid_meanwhile(club: Club) -> None:
    club.subscribe("pro")
    slow = Meanwhile("renew", lambda: club.change("max"))
    lifecycle.renew(
        club.account.pk, on=False, client_key="one", actor=club.owner, processor=slow, now=clock.now()  # type: ignore[arg-type]
    )  # fmt: skip
    assert club.row().plan_version.plan_id == "max"
    assert [w.plan_version.plan_id for w in club.periods()] == ["pro", "max"]


def test_a_change_that_another_tab_made_meanwhile_is_weighed_again_under_the_lock(club: Club, monkeypatch) -> None:
    club.subscribe("pro")
    shown = lifecycle.preview(club.account.pk, "max", processor=get_processor(), now=clock.now())
    weighed = lifecycle._wanted

    def slowly(*args: Any) -> Any:
        found = weighed(*args)
        monkeypatch.setattr(lifecycle, "_wanted", weighed)
        club.change("max")  # the other tab, between the question and the lock
        return found

    monkeypatch.setattr(lifecycle, "_wanted", slowly)
    with pytest.raises(lifecycle.SamePlan):
        lifecycle.change(
            club.account.pk, "max", at=shown.at, due_usd=shown.due_usd, client_key="late", actor=club.owner,
            processor=get_processor(), now=clock.now(),
        )  # fmt: skip
    assert [(one.kind, one.status) for one in PlanChange.objects.all()] == [("upgrade", "done")]
    assert [kind for kind, *_ in club.invoices()] == ["subscribe", "change"]


def test_the_same_key_answers_with_the_same_change_also_when_it_is_done_or_declined(club: Club) -> None:
    row = club.subscribe("pro")
    shown = lifecycle.preview(club.account.pk, "max", processor=get_processor(), now=clock.now())

    def ask(plan: str, key: str) -> PlanChange:
        return lifecycle.change(
            club.account.pk, plan, at=shown.at, due_usd=None, client_key=key, actor=club.owner,
            processor=get_processor(), now=clock.now(),
        )  # fmt: skip

    done = ask("max", "one")
    assert ask("max", "one") == done
    club.at(clock.now() + timedelta(minutes=20))
    assert ask("max", "one").status == "done"
    with pytest.raises(IdempotencyConflict):
        ask("ultra", "one")
    assert [kind for kind, *_ in club.invoices()] == ["subscribe", "change"]

    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    shown = lifecycle.preview(club.account.pk, "ultra", processor=get_processor(), now=clock.now())
    for _ in range(2):
        with pytest.raises(lifecycle.PaymentDeclined):
            ask("ultra", "two")
    assert PlanChange.objects.count() == 2


def test_a_preview_from_before_the_renewal_is_not_confirmed_after_it(club: Club) -> None:
    """Not a decline: nobody asked the card."""
    row = club.subscribe()
    end = row.period_end
    assert end is not None
    club.at(end - timedelta(minutes=5))
    shown = lifecycle.preview(club.account.pk, "max", processor=get_processor(), now=clock.now())
    club.at(end + timedelta(minutes=5))
    club.settle(row)
    with pytest.raises(lifecycle.PreviewExpired):
        lifecycle.change(
            club.account.pk, "max", at=shown.at, due_usd=shown.due_usd, client_key="one", actor=club.owner,
            processor=get_processor(), now=clock.now(),
        )  # fmt: skip
    assert not PlanChange.objects.exists()


def test_after_a_cancelled_plan_another_can_be_bought_at_once_though_nobody_told_of_the_end(club: Club) -> None:
    row = club.subscribe("pro")
    club.renew(on=False)
    assert row.period_end is not None
    club.at(row.period_end + timedelta(seconds=2))
    fresh = club.subscribe("max")
    assert fresh.status == "active"
    row.refresh_from_db()
    assert (row.status, club.plan()) == ("ended", "max")


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


def test_an_upgrade_that_could_not_be_asked_for_is_not_charged_the_next_day(club: Club) -> None:
    row = club.subscribe()
    shown = lifecycle.preview(club.account.pk, "max", processor=get_processor(), now=clock.now())

    def ask() -> PlanChange:
        return lifecycle.change(
            club.account.pk, "max", at=shown.at, due_usd=shown.due_usd, client_key="one", actor=club.owner,
            processor=get_processor(), now=clock.now(),
        )  # fmt: skip

    club.sandbox.fail_next(f"^/v1/subscriptions/{row.provider_id}$", times=3)
    with pytest.raises(ProcessorUnavailable):
        ask()
    club.at(clock.now() + timedelta(hours=26))
    [due] = dunning.changes_due(now=clock.now())
    for again in (lambda: lifecycle.perform(due, processor=get_processor(), now=clock.now()), ask):
        with pytest.raises(lifecycle.PreviewExpired):
            again()
    assert (PlanChange.objects.get().status, club.row().plan_version.plan_id) == ("withdrawn", "pro")
    assert [kind for kind, *_ in club.invoices()] == ["subscribe"]
    assert club.change("max").status == "done"


def test_an_upgrade_whose_answer_was_lost_is_found_made_the_next_day(club: Club) -> None:
    club.subscribe()
    club.sandbox.lose_next_answer("^/v1/invoices$")  # asked for when the change was made
    with pytest.raises(ProcessorUnavailable):
        club.change("max", key="one")
    club.at(clock.now() + timedelta(hours=26))
    assert lifecycle.perform(PlanChange.objects.get().pk, processor=get_processor(), now=clock.now()).status == "done"
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
    notice = Notice.objects.get(kind="flow_class_changed")
    mail.outbox.clear()
    notices.send(notice.pk, now=clock.now())
    [sent] = mail.outbox
    assert "39.6 Flows stand for one US dollar. That is the standard value" in sent.body
    assert "Why: Your paid plan has ended." in sent.body
    assert "your plan, its price and its Flows stay" not in sent.body
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


def test_an_end_in_the_dashboard_whose_news_were_lost_is_found_within_a_day(club: Club) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "cancel")
    club.at(clock.now() + timedelta(hours=23))
    assert dunning.due(now=clock.now()) == []
    club.at(clock.now() + timedelta(hours=1, minutes=1))
    assert dunning.due(now=clock.now()) == [row.pk]
    club.look_after(row)
    assert (club.row().status, club.plan()) == ("ended", "free")
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


def test_what_was_paid_back_of_a_second_plan_is_no_difference_in_the_days_comparison(club: Club) -> None:
    first, second = club.start("pro"), club.start("max")
    for row in (first, second):
        assert club.sandbox.pay(row.session_id).ok
        club.settle(row)
    club.look_after(Subscription.objects.get(status="duplicate"))
    work()
    paid = Refund.objects.get().sent_minor
    day = clock.now().astimezone(UTC).date()
    Reconciliation.objects.create(day=day, due_at=clock.now())
    found = reconcile.run(day, processor=get_processor(), now=clock.now())
    assert (found.compared["payments"], found.compared["refunds"]) == (2, 1)
    assert not Difference.objects.exists()

    Refund.objects.update(sent_minor=1, requested_minor=1)  # as nobody may
    reconcile.run(day, processor=get_processor(), now=clock.now())
    assert [one.kind for one in Difference.objects.all()] == ["refund_differs"]
    Refund.objects.update(sent_minor=paid, requested_minor=paid)
