"""Refuse before the page opens, hold after the money arrived, and what becomes of a hold: by staff and by time."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from django.core import mail
from django.db import connection
from django.test import Client

from accounts.models import AuditRecord
from billing.errors import InvalidRequest, InvalidTransition
from billing.payments import failures, holds, risk, tasks, topups
from billing.payments.models import TopUp
from billing.payments.models_risk import AttemptTrace, RiskAssessment, RiskRule
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import tasks as refund_tasks
from sandbox.models import RequestLog
from tests import factories, staff
from tests.billing.payments.conftest import Shop

pytestmark = pytest.mark.django_db(transaction=True)
S = RiskAssessment.State
ELEVATED = "4000000000009235"
TWENTY = Decimal(20)


@pytest.fixture
def desk_of_finance() -> Client:
    return staff.desk("finance")


def held(shop: Shop, usd: str = "20") -> TopUp:
    """An order whose payment the provider calls risky; told by its event."""
    order = shop.order(usd)
    assert shop.sandbox.pay(order.checkout_session_id, ELEVATED).ok
    shop.tell()
    order.refresh_from_db()
    return order


def device() -> bytes:
    return risk.new_device()[1]


LEGAL = {
    (S.OPEN, S.PASSED),
    (S.OPEN, S.HELD),
    (S.OPEN, S.REFUSED),
    (S.HELD, S.RELEASED),
    (S.HELD, S.REFUND_WANTED),
    (S.REFUND_WANTED, S.REFUNDED),
}


@pytest.mark.parametrize(("current", "wanted"), list(product(S, S)))
def test_a_check_moves_exactly_where_the_table_lets_it(current: Any, wanted: Any) -> None:
    row = RiskAssessment(state=current)
    if (current, wanted) in LEGAL:
        row.move_to(wanted, now=factories.NOON)
        assert (row.state, row.state_at) == (wanted, factories.NOON)
    else:
        with pytest.raises(InvalidTransition):
            row.move_to(wanted, now=factories.NOON)


# --- Passing ----------------------------------------------------------------------------------------------------------


def test_a_payment_that_passes_is_credited_at_once_and_leaves_a_trace(shop: Shop) -> None:
    order = shop.order(device=device())
    shop.sandbox.pay(order.checkout_session_id)
    shop.tell()
    order.refresh_from_db()

    trace = AttemptTrace.objects.get()
    assert (order.status, order.risk.state, shop.balance()) == ("credited", "passed", TWENTY)
    assert (trace.holder, trace.risk_level, trace.failed) == ("Pat Payer", "normal", False)
    assert trace.fingerprint == shop.sandbox.objects("charge")[0]["payment_method_details"]["card"]["fingerprint"]
    assert shop.owner.email.encode() not in bytes(trace.email)
    assert len(bytes(trace.device)) == 32
    asked = {one["rule"] for one in order.risk.findings if one["stage"] == "after"}
    assert {"cards_per_device", "declines_per_email", "new_card", "provider_risk"} <= asked


# --- Refusing -------------------------------------------------------------------------------------------------------


def test_too_many_cards_on_a_device_refuse_the_next_order_before_the_provider_is_asked(shop: Shop) -> None:
    one_device, order = device(), None
    RiskRule.objects.filter(pk="cards_per_device").update(refuse_at=3)
    order = shop.order(device=one_device)
    for card in ("4000000000000002", "4000000000009995", "4000000000009987"):
        shop.sandbox.pay(order.checkout_session_id, card)
    shop.settle(order)
    RequestLog.objects.all().delete()

    refused = shop.order(device=one_device)

    assert (refused.status, refused.failure, refused.checkout_session_id) == (
        "failed",
        "too_many_cards_on_device",
        None,
    )
    assert refused.reason == failures.reason("too_many_cards_on_device")
    assert refused.risk.state == "refused"
    assert not RequestLog.objects.exists()
    assert shop.order(device=device()).may_pay  # another device
    assert shop.order(device=one_device, method="alipay").may_pay  # no card is tried there


def test_many_declines_of_an_e_mail_address_refuse_on_every_device_until_the_window_is_over(shop: Shop) -> None:
    RiskRule.objects.filter(pk="declines_per_email").update(refuse_at=2)
    order = shop.order(device=device())
    for _ in range(2):
        shop.sandbox.pay(order.checkout_session_id, "4000000000000002")
    shop.settle(order)

    assert shop.order(device=device()).failure == "many_declines_on_email"
    later = clock.now() + timedelta(hours=25)
    terms: dict[str, Any] = {"method": "card", "actor": shop.owner, "locale": "en"}
    assert topups.place(shop.account.pk, TWENTY, client_key="later", now=later, **terms).failure == ""
    stranger = factories.user()
    theirs = factories.account(stranger, now=clock.now() + timedelta(seconds=1))
    assert shop.order(account=theirs, actor=stranger).may_pay


def test_a_low_authorisation_rate_refuses(shop: Shop) -> None:
    RiskRule.objects.filter(pk="authorisation_rate").update(least=3)
    order = shop.order()
    for _ in range(3):
        shop.sandbox.pay(order.checkout_session_id, "4000000000000002")
    shop.settle(order)
    assert shop.order().failure == "low_authorisation_rate"


def test_the_page_tells_a_refusal_with_advice_and_that_nothing_was_charged(shop: Shop, client: Client) -> None:
    RiskRule.objects.filter(pk="declines_per_email").update(refuse_at=0)
    client.force_login(shop.owner)
    form = {"account": str(shop.account.pk), "token": "a" * 32, "method": "card", "preset": "20", "other": ""}
    answer = client.post("/billing/top-up", form, follow=True)

    page = answer.content.decode()
    told = failures.reason("many_declines_on_email")
    assert str(told.title) in page
    assert "You were not charged." in page
    assert shop.sandbox.objects("checkout.session") == []


# --- Holding --------------------------------------------------------------------------------------------------------


def test_a_held_payment_is_paid_not_credited_and_the_customer_is_told_once(shop: Shop, client: Client) -> None:
    order = held(shop)
    for _ in range(3):
        shop.settle(order)
    tasks.release_holds()
    shop.tell()

    order.refresh_from_db()
    assert (order.status, order.risk.state, shop.balance(), shop.credits()) == ("paid", "held", 0, [])
    assert order.risk.held_until == order.risk.state_at + timedelta(hours=24)
    [told] = mail.outbox
    assert (told.to, "is being checked" in told.subject) == ([shop.owner.email], True)
    client.force_login(shop.owner)
    page = client.get(f"/billing/top-up/{order.number}").content.decode()
    assert "Your payment has arrived and is being checked" in page
    assert "less than 24 hours" in page
    assert "elevated" not in page
    assert "hx-trigger" not in page


def test_staff_release_a_hold_with_a_reason_and_it_is_credited_once(shop: Shop, desk_of_finance: Client) -> None:
    order = held(shop)
    path = staff.action_of(order.risk, "release")
    [stat] = [one for one in desk_of_finance.get("/admin/").context["board"].stats if one.label == "Payments on hold"]
    assert order.number in desk_of_finance.get(stat.url).content.decode()
    form = desk_of_finance.get(path).content.decode()
    assert "paid 20.00 USD" in form
    assert "Without a decision, the order is credited when the hold ends." in form
    for _ in range(2):
        desk_of_finance.post(path, {"token": "b" * 32, "reason": "known customer"})
    shop.tell()

    order = TopUp.objects.get()
    assert (order.status, order.risk.state, shop.balance(), len(shop.credits())) == ("credited", "released", TWENTY, 1)
    assert order.risk.decision == "known customer"
    [audit] = AuditRecord.objects.filter(action="top_up_release")
    assert (audit.reason, audit.before, audit.subject_id) == ("known customer", {"risk": "held"}, str(order.pk))
    assert [one.subject for one in mail.outbox][-1].startswith("$20.00")


def test_nobody_decides_and_the_credit_comes_when_the_hold_is_over(shop: Shop) -> None:
    order = held(shop)
    end = order.risk.held_until
    assert holds.due(now=end - timedelta(seconds=1)) == []
    assert holds.due(now=end) == [order.pk]
    for _ in range(2):
        holds.release_in_time(order.pk, now=end)

    order.refresh_from_db()
    assert (order.status, shop.balance(), len(shop.credits())) == ("credited", TWENTY, 1)
    assert not AuditRecord.objects.exists()


def test_staff_refuse_a_hold_nothing_is_credited_and_the_money_is_marked_to_go_back(
    shop: Shop, desk_of_finance: Client, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[UUID] = []
    monkeypatch.setattr(holds, "_asked", [])
    holds.when_refund_wanted(asked.append)
    order = held(shop)
    staff.act(desk_of_finance, staff.action_of(order.risk, "refuse"), reason="stolen card, says the bank")
    shop.settle(order)
    shop.tell()

    order = TopUp.objects.get()
    assert (order.status, order.risk.state, shop.balance()) == ("paid", "refund_wanted", 0)
    assert (asked, holds.waiting_for_refund()) == ([order.pk], [order.pk])
    assert holds.due(now=clock.now() + timedelta(days=9)) == []
    assert "was not accepted" in mail.outbox[-1].subject
    client.force_login(shop.owner)
    page = client.get(f"/billing/top-up/{order.number}").content.decode()
    assert "We could not accept this payment" in page
    assert "stolen" not in page

    for _ in range(2):
        refund_tasks.pay_back_refused(str(order.pk))
    shop.tell()
    order = TopUp.objects.get()
    assert (order.status, order.risk.state, order.refunded_minor, order.grant) == ("refunded", "refunded", 2000, None)
    assert shop.settle(order).status == "refunded"
    assert "Refunded" in client.get(f"/billing/top-up/{order.number}").content.decode()


def test_without_a_reason_or_a_hold_nothing_is_decided(shop: Shop) -> None:
    person = staff.person("finance")
    order = held(shop)
    for decide in (holds.release, holds.refuse):
        with pytest.raises(InvalidRequest):
            decide(order.pk, actor=person, reason="  ", now=clock.now())
    holds.release(order.pk, actor=person, reason="ok", now=clock.now())
    for decide in (holds.release, holds.refuse):
        with pytest.raises(InvalidTransition):
            decide(order.pk, actor=person, reason="again", now=clock.now())
    assert len(shop.credits()) == 1
    assert AuditRecord.objects.filter(action="top_up_refuse").count() == 0


def test_release_refuse_and_the_end_of_the_hold_at_once_have_one_winner(shop: Shop) -> None:
    person = staff.person("finance")
    order = held(shop)
    end = order.risk.held_until
    start = threading.Barrier(6)

    def run(act: Any) -> None:
        try:
            start.wait()
            act()
        except InvalidTransition:
            pass
        finally:
            connection.close()

    acts = [
        lambda: holds.release(order.pk, actor=person, reason="ok", now=end),
        lambda: holds.refuse(order.pk, actor=person, reason="no", now=end),
        lambda: holds.release_in_time(order.pk, now=end),
    ] * 2
    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    state = RiskAssessment.objects.get().state
    assert (state, len(shop.credits())) in [("released", 1), ("refund_wanted", 0)]


def test_a_new_card_with_a_large_amount_waits_and_once_known_does_not(shop: Shop) -> None:
    first = shop.order("1500")
    shop.sandbox.pay(first.checkout_session_id)
    shop.tell()
    first.refresh_from_db()
    assert (first.status, first.risk.state) == ("paid", "held")

    AttemptTrace.objects.update(at=clock.now() - timedelta(hours=2))
    second = shop.order("1500")
    shop.sandbox.pay(second.checkout_session_id)
    shop.tell()
    second.refresh_from_db()
    assert (second.status, second.risk.state) == ("credited", "passed")


def test_a_name_that_differs_is_noted_and_holds_only_a_large_payment(shop: Shop) -> None:
    shop.owner.nickname = "Li Na"
    shop.owner.save()
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    shop.tell()
    order = TopUp.objects.get()
    found = {one["rule"]: one for one in order.risk.findings if one["stage"] == "after"}
    assert (order.status, found["name_mismatch"]["verdict"], found["name_mismatch"]["value"]) == (
        "credited",
        "note",
        "Pat Payer",
    )


def test_a_payment_app_is_not_asked_about_cards(shop: Shop) -> None:
    RiskRule.objects.filter(pk__in=["cards_per_device", "new_card", "name_mismatch"]).update(hold_at=0)
    order = shop.order(method="wechat_pay", device=device())
    shop.sandbox.pay_by_wallet(order.checkout_session_id, "wechat_pay")
    shop.tell()
    order.refresh_from_db()
    assert (order.status, order.risk.state) == ("credited", "passed")


def test_a_payment_in_review_is_not_released_by_time_or_staff(shop: Shop) -> None:
    order = held(shop)
    TopUp.objects.filter(pk=order.pk).update(in_review=True)
    assert holds.due(now=order.risk.held_until) == []
    holds.release_in_time(order.pk, now=order.risk.held_until)
    with pytest.raises(InvalidTransition):
        holds.release(order.pk, actor=staff.person("finance"), reason="ok", now=clock.now())
    assert shop.credits() == []


# --- Devices and thresholds -----------------------------------------------------------------------------------------


def test_the_devices_cookie_is_signed_hashed_at_rest_and_kept(shop: Shop, client: Client) -> None:
    client.force_login(shop.owner)
    answer = client.get("/billing/top-up")
    cookie = answer.cookies[risk.COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Lax", risk.COOKIE_SECONDS)
    assert risk.COOKIE not in client.get("/billing/top-up").cookies

    form = {"account": str(shop.account.pk), "token": "a" * 32, "method": "card", "preset": "20", "other": ""}
    client.post("/billing/top-up", form)
    kept = bytes(TopUp.objects.get().risk.device)
    assert kept == risk.device_of(cookie.value)
    assert cookie.value.partition(":")[0].encode() not in kept

    for forged in ("", "x", cookie.value + "x", cookie.value.replace(cookie.value[0], "f", 1) + "0"):
        assert risk.device_of(forged) is None
        client.cookies[risk.COOKIE] = forged
        assert client.get("/billing/top-up").cookies[risk.COOKIE].value != forged


def test_operations_change_a_rule_with_a_reason_and_finance_may_not(shop: Shop) -> None:
    rule = RiskRule.objects.get(pk="new_card")
    path = staff.action_of(rule, "change-thresholds")
    page = staff.desk("support").get(staff.page_of(rule))
    assert (page.status_code, "Change thresholds" in page.content.decode()) == (200, False)
    fields = {"enabled": "on", "hold_at": "250", "refuse_at": "", "window_minutes": "120", "least": "0"}
    assert staff.desk("finance").get(path).status_code == 403
    staff.act(staff.desk("operations"), path, **fields, reason="large payments with new cards")
    rule.refresh_from_db()
    assert (rule.hold_at, rule.refuse_at, rule.window_minutes, rule.enabled) == (250, None, 120, True)
    [audit] = AuditRecord.objects.filter(action="risk_rule_change")
    assert audit.before["hold_at"] == "1000.0000"

    order = shop.order("300")
    shop.sandbox.pay(order.checkout_session_id)
    assert shop.settle(order).status == "paid"


def test_an_order_of_before_there_were_rules_is_checked_when_it_is_paid(shop: Shop) -> None:
    order = shop.order()
    RiskAssessment.objects.all().delete()
    shop.sandbox.pay(order.checkout_session_id)
    shop.tell()
    assert (TopUp.objects.get().status, RiskAssessment.objects.get().state) == ("credited", "passed")


def test_a_declined_confirmation_and_then_a_card_keep_both_tries(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id, "4000002760003184")
    assert shop.settle(order).status == "awaiting_payment"
    assert not shop.sandbox.confirm(order.checkout_session_id, "fail").ok
    assert shop.settle(order).failure == "not_confirmed"
    shop.sandbox.pay(order.checkout_session_id, "4000002760003184")
    assert shop.sandbox.confirm(order.checkout_session_id).ok
    shop.tell()
    order.refresh_from_db()
    assert (order.status, shop.balance()) == ("credited", TWENTY)
    assert sorted(one.outcome for one in order.attempts.all()) == ["failed", "succeeded"]
    assert get_processor().checkout(order.checkout_session_id).progress == "paid"
