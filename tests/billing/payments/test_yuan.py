"""Alipay and WeChat Pay: paid in yuan at a promised rate, credited in dollars (C01, J11, F005)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail

from billing.errors import InvalidRequest
from billing.payments import failures, fx, settling, topups
from billing.payments.fx import QuoteExpired, QuoteUsed
from billing.payments.models import FxQuote, PaymentAttempt, TopUp
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop

pytestmark = pytest.mark.django_db(transaction=True)
FIFTY = Decimal(50)
WALLETS = ["alipay", "wechat_pay"]


@pytest.mark.parametrize("method", WALLETS)
def test_fifty_dollars_are_paid_as_365_yuan_and_credited_as_fifty_dollars(shop: Shop, method: str) -> None:
    order = shop.order("50", method=method)
    [session] = shop.sandbox.objects("checkout.session")
    assert (order.currency, order.amount_minor, order.amount_usd) == ("CNY", 36500, FIFTY)
    assert (session["currency"], session["amount_total"], session["payment_method_types"]) == ("cny", 36500, [method])

    assert shop.sandbox.pay_by_wallet(order.checkout_session_id, method).ok
    shop.tell()
    order.refresh_from_db()

    assert (order.status, shop.balance(), len(shop.credits())) == ("credited", FIFTY, 1)
    assert order.grant.amount == FIFTY


@pytest.mark.parametrize("method", WALLETS)
@pytest.mark.parametrize("ending", ["succeeded", "failed"])
def test_a_payment_that_is_confirmed_later_is_processing_and_then_credited_or_failed(
    shop: Shop, method: str, ending: str
) -> None:
    order = shop.order("50", method=method)
    shop.sandbox.pay_by_wallet(order.checkout_session_id, method, "delayed_succeed")
    shop.tell()
    order.refresh_from_db()
    assert (order.status, shop.balance()) == ("processing", 0)

    shop.sandbox.settle(order.payment_intent_id, ending)
    shop.tell()
    order.refresh_from_db()

    if ending == "succeeded":
        assert (order.status, shop.balance()) == ("credited", FIFTY)
    else:
        assert (order.status, shop.balance(), order.failure) == ("failed", 0, "wallet_declined")
        shop.tell()
        assert str(failures.reason("wallet_declined").title) in mail.outbox[0].body


@pytest.mark.parametrize(
    ("outcome", "key"), [("fail", "wallet_declined"), ("cancel", "wallet_cancelled"), ("expire", "wallet_expired")]
)
def test_each_failure_of_a_payment_app_has_its_text_and_the_page_stays_open(shop: Shop, outcome: str, key: str) -> None:
    order = shop.order(method="wechat_pay")
    assert not shop.sandbox.pay_by_wallet(order.checkout_session_id, "wechat_pay", outcome).ok
    order = shop.settle(order)
    assert (order.status, order.failure, order.may_pay) == ("awaiting_payment", key, True)
    assert PaymentAttempt.objects.get().reason == failures.reason(key)

    assert shop.sandbox.pay_by_wallet(order.checkout_session_id, "wechat_pay").ok
    shop.tell()
    order.refresh_from_db()
    assert (order.status, order.failure, shop.balance()) == ("credited", "", Decimal(20))


def test_the_rate_changes_and_the_order_keeps_what_was_promised(shop: Shop, settings: Any) -> None:
    quote = fx.lock(shop.account.pk, now=clock.now())
    settings.FX_FIXED_USD_CNY = Decimal("8.1")
    promised = shop.order("50", method="alipay", quote_id=quote.pk)
    present = shop.order("50", method="alipay")
    assert (promised.amount_minor, present.amount_minor) == (36500, 40500)

    shop.sandbox.pay_by_wallet(promised.checkout_session_id, "alipay")
    shop.tell()
    promised.refresh_from_db()
    assert (promised.status, promised.fx_quote.rate, shop.balance()) == ("credited", Decimal("7.3"), FIFTY)


def test_who_pays_after_the_page_was_closed_still_gets_the_dollars(shop: Shop) -> None:
    order = shop.order("50", method="alipay")
    shop.sandbox.pay_by_wallet(order.checkout_session_id, "alipay", "delayed_succeed")
    shop.tell()
    TopUp.objects.filter(pk=order.pk).update(status="expired")
    shop.sandbox.settle(shop.sandbox.objects("payment_intent")[0]["id"], "succeeded")
    shop.tell()
    order.refresh_from_db()
    assert (order.status, shop.balance()) == ("credited", FIFTY)


def test_the_page_in_yuan_outlives_the_rate_by_what_the_provider_demands_and_no_more(shop: Shop) -> None:
    order = shop.order(method="alipay")
    assert order.expires_at <= order.fx_quote.expires_at + topups.SHORTEST_PAGE
    assert shop.order().expires_at > order.expires_at


def test_a_quote_that_is_nearly_over_still_opens_a_page(shop: Shop) -> None:
    made = clock.now() - fx.LOCKED_FOR + timedelta(seconds=20)
    quote = fx.lock(shop.account.pk, now=made)
    assert shop.order(method="alipay", quote_id=quote.pk).may_pay


def test_a_page_that_was_never_opened_is_not_opened_at_an_old_rate(shop: Shop) -> None:
    shop.sandbox.fail_next("/v1/checkout/sessions", times=3)
    with pytest.raises(ProcessorUnavailable):
        shop.order(method="alipay", key="k")
    order = TopUp.objects.get()
    later = order.fx_quote.expires_at

    with pytest.raises(QuoteExpired):
        topups.open_checkout(order.pk, processor=get_processor(), now=later)
    assert settling.check(order.pk, processor=get_processor(), now=later).status == "expired"
    assert shop.sandbox.objects("checkout.session") == []


def counts() -> tuple[int, int]:
    return TopUp.objects.count(), FxQuote.objects.count()


def test_a_quote_that_is_over_used_foreign_or_unknown_places_no_order(shop: Shop) -> None:
    now = clock.now()
    stranger = factories.account(factories.user(), now=now + timedelta(seconds=1))
    over = fx.lock(shop.account.pk, now=now - fx.LOCKED_FOR)
    foreign = fx.lock(stranger.pk, now=now)
    used = fx.lock(shop.account.pk, now=now)
    shop.order(method="alipay", quote_id=used.pk)
    before = counts()

    for quote_id, problem in (
        (over.pk, QuoteExpired),
        (used.pk, QuoteUsed),
        (foreign.pk, InvalidRequest),
        (stranger.pk, InvalidRequest),
    ):
        with pytest.raises(problem):
            shop.order(method="alipay", quote_id=quote_id)
    assert counts() == before


def test_the_same_intent_comes_back_to_its_order_after_its_quote_is_over(shop: Shop) -> None:
    quote = fx.lock(shop.account.pk, now=clock.now())
    first = shop.order(method="alipay", quote_id=quote.pk, key="k")
    again = shop.order(method="alipay", quote_id=quote.pk, key="k", now=clock.now() + timedelta(hours=1))
    assert first.pk == again.pk


def test_a_page_shows_one_promise_again_and_a_new_one_once_it_was_used(shop: Shop, settings: Any) -> None:
    now = clock.now()
    first = fx.offer(shop.account.pk, now=now)
    assert fx.offer(shop.account.pk, now=now + timedelta(minutes=1)).pk == first.pk
    assert fx.offer(shop.account.pk, now=now + fx.SHOWN_AGAIN_FOR).pk != first.pk
    newest = fx.offer(shop.account.pk, now=now + fx.SHOWN_AGAIN_FOR)
    settings.FX_FIXED_USD_CNY = Decimal("7.4")
    other = fx.offer(shop.account.pk, now=now + fx.SHOWN_AGAIN_FOR)
    assert (other.pk != newest.pk, other.rate) == (True, Decimal("7.4"))
    shop.order(method="alipay", quote_id=first.pk)
    assert fx.offer(shop.account.pk, now=now + timedelta(minutes=1)).pk != first.pk


def test_promises_that_nobody_used_are_forgotten_after_a_day_and_those_of_orders_never(shop: Shop) -> None:
    order = shop.order(method="alipay")
    for _ in range(3):
        fx.lock(shop.account.pk, now=clock.now())
    assert fx.forget_unused(now=clock.now() + timedelta(hours=20)) == 0
    assert fx.forget_unused(now=clock.now() + timedelta(hours=26)) == 3
    assert FxQuote.objects.get().pk == order.fx_quote_id
