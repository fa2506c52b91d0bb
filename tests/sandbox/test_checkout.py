"""A checkout session from its creation to its events, through the hosted page."""

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
import stripe

from config import clock
from sandbox import cards, settling
from tests import factories


def opened(sandbox, **more):
    return sandbox.client.v1.checkout.sessions.create(sandbox.session_params(**more))


def fetched(sandbox, session_id):
    expand = {"expand": ["payment_intent.latest_charge"]}
    return sandbox.client.v1.checkout.sessions.retrieve(session_id, expand)


def types(sandbox):
    return [event["type"] for event in sandbox.events()]


def test_a_card_payment_leads_back_to_the_shop_and_writes_its_events(sandbox):
    session = opened(sandbox)
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert session.url == f"{sandbox.url}/sandbox/checkout/{session.id}"

    paid = sandbox.pay(session.id)

    assert paid.ok
    assert paid.url == f"{sandbox.url}/return?session={session.id}"
    session = fetched(sandbox, session.id)
    assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
    assert session.payment_intent.amount_received == 2000
    assert session.payment_intent.latest_charge.outcome.type == "authorized"
    assert types(sandbox) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
        "checkout.session.completed",
    ]


def test_a_reader_in_another_zone_is_told_the_time_that_the_page_says_it_is(sandbox, client):
    session = opened(sandbox)
    client.force_login(factories.user(time_zone="Asia/Shanghai"))
    page = client.get(f"/sandbox/checkout/{session.id}").content.decode()
    until = datetime.fromtimestamp(session.expires_at, UTC)
    assert f"{until:%Y-%m-%d %H:%M} UTC" in page


def test_the_session_shows_back_what_it_was_given(sandbox):
    session = opened(
        sandbox,
        metadata={"order": "7"},
        payment_intent_data={"metadata": {"order": "7"}, "description": "Top-up 7", "receipt_email": "r@example.com"},
        allowed_payment_method_types=["card", "alipay"],
        payment_method_options={"wechat_pay": {"client": "web"}},
        locale="zh",
    )
    assert session.payment_method_types == ["card", "alipay"]
    assert session.metadata.order == "7"
    sandbox.pay(session.id)
    intent = fetched(sandbox, session.id).payment_intent
    assert (intent.metadata.order, intent.description) == ("7", "Top-up 7")
    assert intent.latest_charge.metadata.order == "7"


@pytest.mark.parametrize("card", cards.CARDS, ids=lambda card: card.number)
def test_each_test_card_does_what_its_line_says(sandbox, card):
    session = opened(sandbox)
    paid = sandbox.pay(session.id, card.number)
    if card.challenge:
        paid = sandbox.confirm(session.id)
    assert paid.ok is card.outcome.succeeds
    session = fetched(sandbox, session.id)
    charge = session.payment_intent.latest_charge
    assert charge.payment_method_details.card.last4 == card.number[-4:]
    if card.outcome.succeeds:
        assert session.payment_status == "paid"
        assert charge.outcome.risk_level == card.outcome.risk_level
        return
    assert paid.status == 402
    assert paid.message == card.outcome.message
    assert (session.status, session.payment_status) == ("open", "unpaid")
    error = session.payment_intent.last_payment_error
    assert (error.code, error.decline_code) == (card.outcome.code, card.outcome.decline_code)
    assert (charge.status, charge.paid, charge.balance_transaction) == ("failed", False, None)
    asked = ["payment_intent.requires_action"] if card.challenge else []
    assert types(sandbox) == ["payment_intent.created", *asked, "charge.failed", "payment_intent.payment_failed"]


def test_a_blocked_payment_says_what_the_risk_checks_said(sandbox):
    session = opened(sandbox)
    sandbox.pay(session.id, "4100000000000019")
    outcome = fetched(sandbox, session.id).payment_intent.latest_charge.outcome
    assert (outcome.type, outcome.risk_level, outcome.reason) == ("blocked", "highest", "highest_risk_level")
    assert outcome.network_status == "not_sent_to_network"


@pytest.mark.parametrize("outcome", ["transaction_not_allowed", "rule_cards_per_device"])
def test_an_outcome_can_be_chosen_whatever_the_card(sandbox, outcome):
    session = opened(sandbox)
    assert not sandbox.pay(session.id, outcome=outcome).ok
    charge = fetched(sandbox, session.id).payment_intent.latest_charge
    assert outcome in (charge.outcome.reason, charge.outcome.to_dict().get("rule"))


def test_after_a_decline_the_customer_may_try_again(sandbox):
    session = opened(sandbox)
    sandbox.pay(session.id, "4000000000009995")
    declined = fetched(sandbox, session.id).payment_intent
    assert sandbox.pay(session.id).ok
    paid = fetched(sandbox, session.id).payment_intent
    assert paid.id == declined.id
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    charges = sandbox.client.v1.charges.list({"payment_intent": paid.id}).data
    assert [(charge.status, charge.failure_code) for charge in charges] == [
        ("succeeded", None),
        ("failed", "card_declined"),
    ]


@pytest.mark.parametrize(
    "wrong", [{"card": "4242"}, {"card": "abc"}, {"expiry": "13/30"}, {"expiry": "01/20"}, {"cvc": "1"}, {"email": "x"}]
)
def test_a_form_filled_in_badly_is_shown_again_and_nothing_is_tried(sandbox, wrong):
    session = opened(sandbox)
    assert sandbox.pay(session.id, **wrong).status == 422
    assert types(sandbox) == []


def test_two_clicks_at_once_pay_once(sandbox):
    session = opened(sandbox)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(sandbox.pay(session.id).status)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [303, 409, 409, 409, 409]
    assert len(sandbox.objects("charge")) == 1
    assert types(sandbox).count("checkout.session.completed") == 1


@pytest.mark.parametrize("kind", ["alipay", "wechat_pay"])
def test_a_wallet_pays_or_refuses(sandbox, kind):
    session = opened(sandbox, currency="cny", amount=14600)
    refused = sandbox.pay_by_wallet(session.id, kind, "fail")
    assert (refused.status, bool(refused.message)) == (402, True)
    assert fetched(sandbox, session.id).payment_intent.last_payment_error.code == "payment_method_provider_decline"
    assert sandbox.pay_by_wallet(session.id, kind).ok
    charge = fetched(sandbox, session.id).payment_intent.latest_charge
    assert charge.payment_method_details.type == kind
    assert charge.currency == "cny"


@pytest.mark.parametrize(
    ("outcome", "event", "status"),
    [
        ("delayed_succeed", "checkout.session.async_payment_succeeded", "paid"),
        ("delayed_fail", "checkout.session.async_payment_failed", "unpaid"),
    ],
)
def test_a_delayed_payment_completes_unpaid_and_ends_later(sandbox, outcome, event, status):
    session = opened(sandbox)
    assert sandbox.pay_by_wallet(session.id, "alipay", outcome).ok
    waiting = fetched(sandbox, session.id)
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    assert (waiting.payment_intent.status, waiting.payment_intent.latest_charge.status) == ("processing", "pending")
    assert settling.settle_due(clock.now()) == 0

    assert sandbox.settle_due() == 1

    assert fetched(sandbox, session.id).payment_status == status
    assert types(sandbox)[-1] == event
    assert sandbox.settle_due() == 0


def test_an_expired_session_takes_no_payment(sandbox):
    session = opened(sandbox)
    sandbox.pay(session.id, "4000000000009995")
    sandbox.client.v1.checkout.sessions.expire(session.id)
    assert sandbox.pay(session.id).status in (403, 409)
    after = fetched(sandbox, session.id)
    assert (after.status, after.url, after.payment_intent.status) == ("expired", None, "canceled")
    assert types(sandbox)[-1] == "checkout.session.expired"
    sandbox.bad_requests_expected()
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.client.v1.checkout.sessions.expire(session.id)


def test_a_session_expires_by_the_button_and_by_itself(sandbox):
    first, second = opened(sandbox), opened(sandbox)
    sandbox.expire(first.id)
    assert sandbox.settle_due(timedelta(hours=23)) == 0
    assert sandbox.settle_due(timedelta(hours=25)) == 1
    assert [fetched(sandbox, session.id).status for session in (first, second)] == ["expired", "expired"]


def test_a_saved_card_belongs_to_the_customer(sandbox):
    v1 = sandbox.client.v1
    customer = v1.customers.create({"email": "a@example.com"})
    session = opened(sandbox, customer=customer.id, payment_intent_data={"setup_future_usage": "off_session"})
    sandbox.pay(session.id)
    (method,) = v1.customers.payment_methods.list(customer.id).data
    assert v1.payment_methods.list({"customer": customer.id, "type": "card"}).data[0].id == method.id
    assert "payment_method.attached" in types(sandbox)


def test_the_page_shows_what_is_paid_for_without_inline_code(sandbox):
    session = opened(sandbox)
    answer = sandbox.page(session.id)
    assert answer.status_code == 200
    assert "20.00 USD" in answer.text
    assert "order-7" in answer.text
    assert "Sandbox" in answer.text
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", answer.text)
    assert "form-action" in answer.headers["Content-Security-Policy"]


def test_the_shop_may_live_at_another_origin(sandbox):
    session = opened(sandbox, success_url="https://shop.example/done?x={CHECKOUT_SESSION_ID}")
    policy = sandbox.page(session.id).headers["Content-Security-Policy"]
    assert "https://shop.example" in policy.split("form-action", 1)[1].split(";", 1)[0]
    assert sandbox.pay(session.id).url == f"https://shop.example/done?x={session.id}"


def test_the_page_speaks_the_language_of_the_session(sandbox):
    assert 'lang="zh-hans"' in sandbox.page(opened(sandbox, locale="zh").id).text
    assert 'lang="en"' in sandbox.page(opened(sandbox, locale="en").id, language="zh-hans").text
    assert 'lang="zh-hans"' in sandbox.page(opened(sandbox).id, language="zh-hans").text


def test_an_unknown_session_has_no_page(sandbox):
    assert sandbox.page("cs_test_nothing").status_code == 404


def test_a_post_without_the_token_is_refused(sandbox):
    import httpx

    session = opened(sandbox)
    answer = httpx.post(f"{sandbox.url}/sandbox/checkout/{session.id}/card", data={"number": "4242424242424242"})
    assert answer.status_code == 403
    assert types(sandbox) == []
