"""The top-up page and an order's page, as customers of every role meet them."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import translation

from accounts.models import Membership
from billing.payments import failures, settling, timeline
from billing.payments.cards import card_text
from billing.payments.models import TopUp
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/billing/top-up"


def form(shop: Shop, **values: str) -> dict[str, str]:
    """What the page's form sends."""
    return {
        "account": str(shop.account.pk),
        "token": uuid4().hex,
        "method": "card",
        "preset": "20",
        "other": "",
    } | values


@pytest.fixture
def portal(shop: Shop, client: Client) -> Client:
    client.force_login(shop.owner)
    return client


def test_the_page_names_the_account_the_rate_and_the_advice_to_start_small(shop: Shop, portal: Client) -> None:
    page = portal.get(PAGE).content.decode()
    assert "Northwind Labs" in page
    assert str(shop.account.pk)[:8] in page
    assert "1 USD = 7.3" in page
    assert "Start small" in page
    assert "No top-up yet" in page
    assert not re.search(r"\sstyle=|\son[a-z]+=", page)


def test_the_form_leads_to_the_providers_page_and_a_second_click_to_the_same_one(shop: Shop, portal: Client) -> None:
    sent = form(shop, preset="50")
    answers = [portal.post(PAGE, sent), portal.post(PAGE, sent)]

    order = TopUp.objects.get()
    assert [answer.status_code for answer in answers] == [302, 302]
    assert {answer.headers["Location"] for answer in answers} == {order.checkout_url}
    assert (order.amount_usd, order.account, order.created_by) == (Decimal(50), shop.account, shop.owner)
    assert "https://checkout.stripe.com" in answers[0].headers["Content-Security-Policy"]


BAD_AMOUNTS = ["0", "-5", "4.99", "1e12", "10000.01", "20.005", "NaN", "Infinity", "twenty", "", "١٠٠٠٠٠", "9" * 39]


def test_a_bad_amount_is_explained_and_nothing_is_written(shop: Shop, portal: Client) -> None:
    for bad in BAD_AMOUNTS:
        answer = portal.post(PAGE, form(shop, preset="", other=bad))
        assert answer.status_code == 422, bad
        assert 'role="alert"' in answer.content.decode()
    assert not TopUp.objects.exists()


def test_a_form_that_is_not_ours_is_refused(shop: Shop, portal: Client) -> None:
    for bad in ({"method": "cash"}, {"token": "x"}, {"preset": "21"}, {"method": ""}, {"quote": "x"}):
        assert portal.post(PAGE, form(shop, **bad)).status_code == 422, bad
    assert not TopUp.objects.exists()


def test_a_form_of_another_account_in_force_is_not_sent_on(shop: Shop, portal: Client) -> None:
    other = factories.account(shop.owner, now=clock.now() + timedelta(seconds=1))
    answer = portal.post(PAGE, form(shop, account=str(other.pk)))
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)
    assert not TopUp.objects.exists()


def test_a_role_that_may_not_pay_reads_and_cannot_order(shop: Shop, client: Client) -> None:
    order = shop.order()
    developer = factories.user()
    Membership.objects.create(
        user=developer, account=shop.account, role=Membership.Role.DEVELOPER, created_at=clock.now()
    )
    client.force_login(developer)

    assert "Your role may not top up" in client.get(PAGE).content.decode()
    assert client.post(PAGE, form(shop)).status_code == 403
    assert client.get(f"{PAGE}/{order.number}").status_code == 200
    client.post(f"{PAGE}/{order.number}/pay")
    assert TopUp.objects.count() == 1


def test_visitors_are_sent_to_sign_in_and_strangers_find_nothing(shop: Shop, client: Client) -> None:
    order = shop.order()
    paths = [f"{PAGE}/{order.number}{end}" for end in ("", "/status", "/pay", "/check")]
    for path in paths[:2]:
        assert client.get(path).status_code == 302
    client.force_login(factories.account(stranger := factories.user()) and stranger)
    assert [client.get(path).status_code for path in paths[:2]] == [404, 404]
    assert [client.post(path).status_code for path in paths[2:]] == [404, 404]
    assert client.get(f"{PAGE}/product_00000000000000000000000000").status_code == 404


def test_a_declined_card_is_explained_with_advice_and_can_be_tried_again(shop: Shop, portal: Client) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id, "4000000000009995")
    page = portal.get(f"{PAGE}/{order.number}?left=1").content.decode()

    told = failures.reason("insufficient_funds")
    assert str(told.title) in page
    assert "You were not charged." in page
    assert "Declined" in page
    assert "4242" not in page
    assert "•••• 9995" in page
    assert "Try again" in page
    again = portal.post(f"{PAGE}/{order.number}/pay")
    assert again.headers["Location"] == TopUp.objects.get().checkout_url
    assert str(told.title) in portal.get(PAGE).content.decode()


def test_the_code_of_a_stolen_card_is_shown_to_staff_only(shop: Shop, portal: Client) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id, "4000000000009979")
    page = portal.get(f"{PAGE}/{order.number}?left=1").content.decode()

    assert "stolen" not in page
    assert str(failures.reason("declined").title) in page
    assert order.attempts.get().decline_code == "stolen_card"


OUTCOMES = {
    "rule_cards_per_device": "too_many_cards_on_device",
    "rule_declines_per_email": "many_declines_on_email",
    "rule_card_first_seen": "card_first_seen",
    "rule_authorization_rate_email": "low_authorisation_rate",
    "rule_name_mismatch": "name_mismatch",
    "transaction_not_allowed": "channel_not_activated",
    "expired_card": "card_expired_or_frozen",
    "incorrect_number": "wrong_number",
    "incorrect_cvc": "wrong_security_code",
}


def test_each_reason_of_the_provider_comes_to_its_text(shop: Shop) -> None:
    order = shop.order()
    for count, (outcome, key) in enumerate(OUTCOMES.items(), start=1):
        shop.sandbox.pay(order.checkout_session_id, outcome=outcome)
        order = shop.settle(order)
        assert (order.failure, order.status) == (key, "awaiting_payment")
        attempt = order.attempts.order_by("at", "pk").last()
        assert attempt.failure_class == failures.reason(key).failure_class
        assert order.attempts.count() == count


def test_an_expired_order_is_tried_again_as_one_new_order(shop: Shop, portal: Client) -> None:
    order = shop.order("33")
    shop.sandbox.expire(order.checkout_session_id)
    shop.settle(order)

    answers = [portal.post(f"{PAGE}/{order.number}/pay") for _ in range(2)]

    new = TopUp.objects.exclude(pk=order.pk).get()
    assert (new.amount_usd, new.status) == (Decimal(33), "awaiting_payment")
    assert {answer.headers["Location"] for answer in answers} == {new.checkout_url}


def test_an_order_that_nobody_pays_any_more_names_its_amount_and_asks_for_nothing(shop: Shop, portal: Client) -> None:
    order = shop.order("33")
    page = f"{PAGE}/{order.number}"
    assert "<dt>To pay</dt>" in portal.get(page).content.decode()

    shop.sandbox.expire(order.checkout_session_id)
    shop.settle(order)

    shown = portal.get(page).content.decode()
    assert "<dt>Amount</dt>" in shown
    assert "To pay" not in shown


def test_a_credited_order_whose_refund_is_on_its_way_says_so_in_its_timeline(shop: Shop, portal: Client) -> None:
    order = shop.order()
    assert shop.sandbox.pay(order.checkout_session_id).ok
    order = shop.settle(order)
    assert "To the API keys" in portal.get(f"{PAGE}/{order.number}").content.decode()

    order.refunded_minor = 700
    assert [(step["title"], step["note"], step["state"]) for step in timeline.shown(order).steps][-1] == (
        "Refund on its way",
        "$7.00",
        "active",
    )


@pytest.mark.parametrize(
    ("brand", "shown"),
    [
        ("visa", "Visa •••• 4242"),
        ("amex", "American Express •••• 4242"),
        ("cartes_bancaires", "Cartes Bancaires •••• 4242"),
        ("unknown", "•••• 4242"),
        ("a_new_one", "A New One •••• 4242"),
    ],
)
def test_a_card_is_named_as_its_holder_knows_it(brand: str, shown: str) -> None:
    assert card_text(brand, "4242") == shown
    assert card_text(brand, "") == ""


def test_the_page_follows_an_open_order_and_stops_at_its_end(shop: Shop, portal: Client) -> None:
    order = shop.order()
    status = f"{PAGE}/{order.number}/status"
    assert 'hx-trigger="every' in portal.get(status).content.decode()
    shop.sandbox.pay(order.checkout_session_id)

    # Polling asks the provider, but not each time: the question is claimed for some seconds.
    assert "hx-trigger" in portal.get(status).content.decode()
    TopUp.objects.filter(pk=order.pk).update(checked_at=clock.now() - timedelta(minutes=1))
    page = portal.get(status).content.decode()

    assert "hx-trigger" not in page
    assert "were credited to" in page
    assert shop.balance() == Decimal(20)


def test_check_now_asks_the_provider_at_most_every_few_seconds(shop: Shop, portal: Client) -> None:
    order = shop.order()
    first = portal.post(f"{PAGE}/{order.number}/check", follow=True).content.decode()
    second = portal.post(f"{PAGE}/{order.number}/check", follow=True).content.decode()
    assert "has not arrived yet" in first
    assert "wait a few seconds" in second


def test_a_silent_provider_leaves_a_page_that_says_so(shop: Shop, portal: Client) -> None:
    shop.sandbox.fail_next("/v1/checkout/sessions", times=3)
    answer = portal.post(PAGE, form(shop))
    assert answer.status_code == 503
    assert "does not answer" in answer.content.decode()
    order = TopUp.objects.get()
    shop.sandbox.fail_next("/v1/", times=0 + 3)
    page = portal.get(f"{PAGE}/{order.number}?left=1")
    assert page.status_code == 200
    assert "could not ask the payment provider" in page.content.decode()


def test_the_pages_speak_chinese_where_the_user_does(shop: Shop, portal: Client) -> None:
    shop.owner.locale = "zh-hans"
    shop.owner.save()
    order = shop.order(locale="zh-hans")
    shop.sandbox.pay(order.checkout_session_id, "4000000000009995")
    page = portal.get(f"{PAGE}/{order.number}?left=1").content.decode()
    with translation.override("zh-hans"):
        assert str(failures.reason("insufficient_funds").title) in page
    assert 'lang="zh-hans"' in page
    assert shop.sandbox.objects("checkout.session")[0]["locale"] == "zh"


def test_a_closed_account_takes_no_money(shop: Shop, portal: Client) -> None:
    shop.account.status = "suspended"
    shop.account.save()
    answer = portal.post(PAGE, form(shop))
    assert answer.status_code == 403
    assert not TopUp.objects.exists()
    assert settling.claim_due(now=clock.now() + timedelta(days=1)) == []
