"""Topping up by itself: the real client, the sandbox over HTTP, signed webhooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail

from accounts.models import Account, AuditRecord
from billing.books.models import Wallet
from billing.errors import AccountSuspended, Conflict, InvalidRequest
from billing.models_notices import Notice
from billing.payments import auto_setting, auto_topup, saved, settling, tasks, tasks_saved
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.models_saved import AutoTopUpRun, Consent
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop, inbox, work
from tests.billing.payments.saving import ALWAYS_DECLINED, ASKS_ALWAYS, NO_FUNDS, Saver

pytestmark = pytest.mark.django_db(transaction=True)
INTENTS = "/v1/payment_intents$"


@pytest.fixture
def saver(shop: Shop) -> Saver:
    return Saver(shop)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_balance_below_the_threshold_is_topped_up_once_and_one_above_it_is_not(saver: Saver) -> None:
    saver.on()
    factories.credit(saver.shop.account, "5", now=clock.now())
    assert saver.run() is None
    saver.spend("0.000001")

    order = saver.run()

    assert order is not None
    assert (order.status, order.automatic, order.amount_usd, order.method) == ("credited", True, 10, "card")
    assert saver.net == Decimal("14.999999")
    assert saver.run() is None
    assert len(saver.charges()) == len(saver.shop.credits()) == AutoTopUpRun.objects.count() == 1
    [intent] = saver.shop.sandbox.objects("payment_intent")
    assert intent["metadata"]["order"] == order.number
    run = AutoTopUpRun.objects.get()
    assert (run.balance_usd, run.threshold_usd, run.amount_usd) == (Decimal("4.999999"), 5, 10)


def test_a_gap_is_closed_in_one_charge_of_a_multiple(saver: Saver) -> None:
    saver.on()
    factories.credit(saver.shop.account, "0.02", now=clock.now())
    saver.spend("23.22")
    assert saver.net == Decimal("-23.20")

    order = saver.run()

    assert order is not None
    assert order.amount_usd == 30
    assert saver.net == Decimal("6.80")
    assert len(saver.charges()) == 1


def test_the_sweep_finds_a_call_that_lowered_the_balance_and_a_worker_charges(saver: Saver) -> None:
    saver.on()
    factories.credit(saver.shop.account, "6", now=clock.now())
    tasks_saved.sweep_auto_top_ups()
    assert work() == 1  # the mail that it is on
    saver.spend("2")

    tasks_saved.sweep_auto_top_ups()
    tasks_saved.sweep_auto_top_ups()  # claimed: nothing is sent twice
    work()

    assert saver.net == 14
    assert len(saver.charges()) == 1


def test_a_broker_that_is_away_makes_it_late_and_not_lost(saver: Saver, broker_away: Any) -> None:
    saver.on()
    with broker_away():
        tasks_saved.sweep_auto_top_ups()
    assert saver.net == 0
    assert auto_topup.claim_due(now=clock.now()) == []
    assert auto_topup.claim_due(now=clock.now() + auto_topup.LEASE + timedelta(seconds=1)) == [saver.shop.account.pk]
    tasks_saved.run_auto_top_up(str(saver.shop.account.pk))
    assert saver.net == 10


def test_an_answer_lost_after_the_charge_is_asked_again_under_the_same_key(saver: Saver) -> None:
    saver.on()
    saver.shop.sandbox.lose_next_answer(INTENTS, times=3, status=500)
    with pytest.raises(ProcessorUnavailable):
        saver.run()
    assert (len(saver.charges()), saver.net) == (1, 0)

    order = saver.run()

    assert order is not None
    assert (order.status, saver.net, len(saver.charges())) == ("credited", 10, 1)


@pytest.mark.parametrize("hours", [2, 25])
def test_an_answer_lost_after_the_charge_is_found_by_our_number_when_the_key_may_be_forgotten(
    saver: Saver, hours: int
) -> None:
    saver.on()
    saver.shop.sandbox.lose_next_answer(INTENTS, times=3, status=500)
    with pytest.raises(ProcessorUnavailable):
        saver.run()
    saver.shop.sandbox.forget_idempotency_keys()

    order = saver.run(now=clock.now() + timedelta(hours=hours))

    assert order is not None
    assert (order.status, saver.net, len(saver.charges())) == ("credited", 10, 1)


def test_a_charge_that_never_reached_the_provider_is_given_up_after_an_hour_and_made_anew(saver: Saver) -> None:
    saver.on()
    saver.shop.sandbox.fail_next(INTENTS, times=3)
    with pytest.raises(ProcessorUnavailable):
        saver.run()

    later = clock.now() + timedelta(hours=2)
    first = saver.run(now=later)
    assert first is not None
    assert (first.status, saver.row.pending_order, saver.row.status, len(saver.charges())) == ("expired", None, "on", 0)
    second = saver.run(now=later)
    assert second is not None
    assert (second.status, len(saver.charges())) == ("credited", 1)


def test_turning_it_off_while_the_provider_is_silent_makes_no_new_charge(saver: Saver) -> None:
    saver.on()
    saver.shop.sandbox.fail_next(INTENTS, times=3)
    with pytest.raises(ProcessorUnavailable):
        saver.run()
    auto_setting.turn_off(saver.shop.account.pk, actor=saver.shop.owner, label="", now=clock.now())

    [account_id] = auto_topup.claim_due(now=clock.now() + timedelta(minutes=2))
    assert account_id == saver.shop.account.pk
    order = saver.run()

    assert order is not None
    assert (order.status, saver.charges(), saver.row.pending_order) == ("expired", [], None)


def test_the_webhook_before_the_answer_credits_once(saver: Saver) -> None:
    saver.on()
    saver.shop.sandbox.lose_next_answer(INTENTS, times=3, status=500)
    with pytest.raises(ProcessorUnavailable):
        saver.run()

    saver.shop.tell()

    assert (saver.net, TopUp.objects.get().status, saver.row.pending_order) == (10, "credited", None)
    assert saver.run() is None
    saver.shop.tell()
    assert len(saver.shop.credits()) == 1
    assert not PaymentEvent.objects.filter(flagged=True).exists()


def test_events_in_any_number_after_the_answer_change_nothing(saver: Saver) -> None:
    saver.on()
    saver.run()
    saver.shop.tell()
    [event] = saver.shop.sandbox.events("payment_intent.succeeded")
    saver.shop.sandbox.send(event["id"], times=3)
    work()
    assert (saver.net, len(saver.shop.credits())) == (10, 1)
    assert {state for _, state in inbox()} <= {"processed", "ignored"}


@pytest.mark.parametrize(
    ("number", "reason", "says"),
    [
        (ALWAYS_DECLINED, "declined", "Your bank declined the card"),
        (NO_FUNDS, "declined", "insufficient funds"),
        (ASKS_ALWAYS, "authentication", "wants you to confirm"),
    ],
)
def test_a_refused_charge_stops_it_with_one_mail_and_the_card_is_not_asked_again(
    saver: Saver, number: str, reason: str, says: str
) -> None:
    saver.on(saver.card(number))
    saver.shop.tell()
    mail.outbox.clear()

    order = saver.run()
    saver.shop.tell()
    for hours in range(1, 4):
        assert saver.run(now=clock.now() + timedelta(hours=hours)) is None
    tasks_saved.sweep_auto_top_ups()
    tasks.sweep_receipts()
    saver.shop.tell()

    assert order is not None
    assert (order.status, saver.row.status, saver.row.stopped_reason) == ("failed", "stopped", reason)
    assert len(saver.shop.sandbox.objects("charge")) == 1
    [told] = mail.outbox
    assert "has stopped" in told.subject
    assert says in told.body
    assert f"/billing/top-up/{order.number}" in told.body
    assert saver.net == 0


def test_the_decline_told_by_the_webhook_first_stops_it_with_the_same_one_mail(saver: Saver) -> None:
    saver.on(saver.card(ALWAYS_DECLINED))
    saver.shop.tell()
    mail.outbox.clear()
    saver.shop.sandbox.lose_next_answer(INTENTS, times=3, status=500)
    with pytest.raises(ProcessorUnavailable):
        saver.run()
    saver.shop.tell()
    saver.run()
    saver.shop.tell()

    assert saver.row.stopped_reason == "declined"
    assert ["has stopped" in one.subject for one in mail.outbox] == [True]


def test_after_another_card_and_resuming_it_goes_on(saver: Saver) -> None:
    saver.on(saver.card(ALWAYS_DECLINED))
    saver.run()
    saver.on(saver.card())
    order = saver.run()
    assert order is not None
    assert (order.status, saver.row.status, saver.row.stopped_order) == ("credited", "on", None)


def test_resuming_with_the_same_card_charges_again_and_only_then(saver: Saver) -> None:
    saver.on(saver.card(ALWAYS_DECLINED))
    saver.run()
    auto_setting.resume(saver.shop.account.pk, actor=saver.shop.owner, label="", now=clock.now())
    with pytest.raises(Conflict):
        auto_setting.resume(saver.shop.account.pk, actor=saver.shop.owner, label="", now=clock.now())
    saver.run()
    assert len(saver.shop.sandbox.objects("charge")) == 2
    assert Notice.objects.filter(kind="auto_top_up_stopped").count() == 2


def test_removing_its_card_stops_it_with_a_mail_and_nothing_is_charged(saver: Saver) -> None:
    card = saver.card()
    saver.on(card)
    saved.remove(saver.shop.account.pk, card.pk, actor=saver.shop.owner, now=clock.now())
    assert saver.run() is None
    assert (saver.row.stopped_reason, Notice.objects.filter(kind="auto_top_up_stopped").count()) == ("card_removed", 1)
    assert saver.charges() == []


def test_a_card_detached_at_the_provider_a_moment_ago_stops_it_as_refused(saver: Saver) -> None:
    card = saver.card()
    saver.on(card)
    saver.shop.sandbox.client.v1.payment_methods.detach(card.provider_id)
    saver.shop.sandbox.bad_requests_expected()
    order = saver.run()
    assert order is not None
    assert (order.status, saver.row.stopped_reason, saver.row.pending_order) == ("failed", "refused", None)


def test_a_suspended_account_is_not_charged_and_goes_on_when_it_is_active_again(saver: Saver) -> None:
    saver.on()
    Account.objects.update(status="suspended")
    assert saver.run() is None
    with pytest.raises(AccountSuspended):
        saver.on()
    Account.objects.update(status="active")
    later = clock.now() + auto_topup.SUSPENDED_WAIT
    assert auto_topup.claim_due(now=later) == [saver.shop.account.pk]
    assert saver.run(now=later) is not None


def test_a_disputed_automatic_charge_stops_it(saver: Saver) -> None:
    saver.on()
    order = saver.run()
    assert order is not None
    saver.spend("8")
    TopUp.objects.filter(pk=order.pk).update(status="disputed", status_at=clock.now())
    assert saver.run() is None
    assert saver.row.stopped_reason == "disputed"


def test_a_day_has_its_charges_and_midnight_in_utc_brings_new_ones(saver: Saver, settings: Any) -> None:
    settings.TOPUP_MAX_USD = Decimal(10)
    evening = at("2031-03-31T23:59:59.999999")
    saver.on(threshold="100", amount="10", count=2, daily="60", monthly="600", now=evening)
    assert [saver.run(now=evening) is not None for _ in range(4)] == [True, True, False, False]
    row = saver.row
    assert (row.capped_by, row.look_at) == ("daily_count", at("2031-04-01T00:00:00"))
    assert auto_topup.claim_due(now=evening) == []
    assert auto_topup.claim_due(now=at("2031-04-01T00:00:00")) == [saver.shop.account.pk]
    assert saver.run(now=at("2031-04-01T00:00:00")) is not None
    assert Notice.objects.filter(kind="auto_top_up_capped").count() == 1


def test_the_amounts_of_a_day_and_of_a_month_are_limits_and_a_smaller_multiple_may_fit(saver: Saver) -> None:
    day = at("2031-03-30T12:00:00")
    saver.on(threshold="100", amount="10", count=9, daily="30", monthly="50", now=day)
    first = saver.run(now=day)
    assert first is not None
    assert first.amount_usd == 30  # ten would be needed, three fit into the day
    assert (saver.run(now=day), saver.row.capped_by) == (None, "daily_amount")
    second = saver.run(now=day + timedelta(days=1))
    assert second is not None
    assert second.amount_usd == 20  # two are left of the month
    assert (saver.run(now=day + timedelta(days=1)), saver.row.capped_by) == (None, "monthly_amount")
    assert saver.row.look_at == at("2031-04-01T00:00:00")
    third = saver.run(now=at("2031-04-01T00:00:00"))
    assert third is not None
    assert third.amount_usd == 30


def test_raising_the_limit_ends_the_waiting(saver: Saver, settings: Any) -> None:
    settings.TOPUP_MAX_USD = Decimal(10)
    card = saver.card()
    saver.on(card, threshold="100", count=1)
    saver.run()
    saver.run()
    assert saver.row.capped_by == "daily_count"
    saver.on(card, threshold="100", count=2)
    assert auto_topup.claim_due(now=clock.now()) == [saver.shop.account.pk]
    assert saver.run() is not None


def test_an_amount_that_differs_at_the_provider_is_not_credited_and_nothing_more_is_charged(saver: Saver) -> None:
    saver.on()
    saver.shop.sandbox.lose_next_answer(INTENTS, times=3, status=500)
    with pytest.raises(ProcessorUnavailable):
        saver.run()
    TopUp.objects.update(amount_minor=999)
    saver.shop.tell()
    order = TopUp.objects.get()
    assert (order.in_review, order.status, saver.net) == (True, "paid", 0)
    assert saver.run() is None
    TopUp.objects.update(amount_minor=1000)


def test_an_automatic_order_never_gets_a_payment_page(saver: Saver) -> None:
    saver.on()
    saver.shop.sandbox.fail_next(INTENTS, times=3)
    with pytest.raises(ProcessorUnavailable):
        saver.run()
    order = TopUp.objects.get()
    for now in (clock.now(), clock.now() + timedelta(hours=3)):
        settling.check(order.pk, processor=get_processor(), now=now)
        settling.refresh(order.pk, processor=get_processor(), now=now)
    assert [one["mode"] for one in saver.shop.sandbox.objects("checkout.session")] == ["setup"]
    assert TopUp.objects.get().status == "created"


def test_every_change_has_its_audit_and_its_consent(saver: Saver) -> None:
    card = saver.card()
    saver.on(card)
    saver.on(card, threshold="7")
    auto_setting.stop_by_hand(saver.shop.account.pk, actor=saver.shop.owner, reason="asked by phone", now=clock.now())
    auto_setting.resume(saver.shop.account.pk, actor=saver.shop.owner, label="", now=clock.now())
    auto_setting.turn_off(saver.shop.account.pk, actor=saver.shop.owner, label="", now=clock.now())
    records = AuditRecord.objects.filter(subject_type="autotopup").order_by("at", "pk")
    assert [one.action for one in records] == [
        "auto_top_up_on",
        "auto_top_up_on",
        "auto_top_up_stop",
        "auto_top_up_resume",
        "auto_top_up_off",
    ]
    assert [one.after["status"] for one in records] == ["on", "on", "stopped", "on", "off"]
    assert records[1].before["threshold"], records[1].after["threshold"] == ("5.00", "7.00")
    assert Consent.objects.filter(purpose="auto_top_up").count() == 2
    assert saver.run() is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "0"), ("amount", "-5"), ("amount", "1e12"), ("amount", "10.001"), ("amount", "NaN"),
        ("threshold", "0"), ("threshold", "x"), ("threshold", "1e99"), ("threshold", "5.001"),
        ("daily_count", "0"), ("daily_count", "25"), ("daily_count", "x"), ("daily_count", "1.5"),
        ("daily_amount", "9"), ("daily_amount", ""), ("monthly_amount", "9"), ("monthly_amount", "Infinity"),
    ],
)  # fmt: skip
def test_terms_that_make_no_sense_are_refused_with_the_field_named(field: str, value: str) -> None:
    good = {"threshold": "5", "amount": "10", "daily_count": "3", "daily_amount": "60", "monthly_amount": "600"}
    assert auto_setting.parse_terms(good).amount == 10
    with pytest.raises(InvalidRequest) as refused:
        auto_setting.parse_terms(good | {field: value})
    assert refused.value.evidence["field"] == field


def test_a_hold_of_a_running_call_does_not_set_it_off(saver: Saver) -> None:
    saver.on()
    factories.credit(saver.shop.account, "6", now=clock.now())
    factories.hold(saver.shop.account, factories.price(), "5.5", now=clock.now())
    assert Wallet.objects.get(pk=saver.shop.account.pk).available < 5
    assert saver.run() is None
