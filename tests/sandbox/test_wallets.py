"""The pages of Alipay, WeChat Pay and 3-D Secure, and the switches that change what becomes of them."""

from __future__ import annotations

import re

import pytest

from tests.sandbox.helpers import Sandbox

pytestmark = pytest.mark.django_db(transaction=True)


def opened(sandbox: Sandbox, *methods: str) -> str:
    params = sandbox.session_params(amount=36500, currency="cny", allowed_payment_method_types=list(methods))
    return sandbox.client.v1.checkout.sessions.create(params).id


def test_each_app_has_a_page_of_its_own_without_inline_script(sandbox: Sandbox) -> None:
    session = opened(sandbox, "alipay", "wechat_pay")
    with sandbox._browser("en") as browser:
        first = browser.get(f"/sandbox/checkout/{session}").text
        pages = [browser.get(f"/sandbox/checkout/{session}/{name}").text for name in ("alipay", "wechat-pay")]
        picture = browser.get(f"/sandbox/checkout/{session}/qr.svg")
    assert f"/sandbox/checkout/{session}/alipay" in first
    for page in (first, *pages):
        assert "365.00 CNY" in page
        assert not re.search(r"<script|\sstyle=|\son[a-z]+=", page)
    assert picture.headers["Content-Type"].startswith("image/svg")
    assert picture.text.count("<rect") > 200


def test_a_closed_session_leads_back_to_its_page(sandbox: Sandbox) -> None:
    session = opened(sandbox, "alipay")
    assert sandbox.pay_by_wallet(session, "alipay").ok
    with sandbox._browser("en") as browser:
        assert browser.get(f"/sandbox/checkout/{session}/alipay").status_code == 302
        assert browser.get(f"/sandbox/checkout/{session}/wechat-pay").status_code == 302
        assert browser.get(f"/sandbox/checkout/{session}/3ds").status_code == 302


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("fail", "payment_method_provider_decline"),
        ("cancel", "payment_method_customer_decline"),
        ("expire", "payment_intent_payment_attempt_expired"),
    ],
)
def test_a_refusal_of_the_app_leaves_the_session_open(sandbox: Sandbox, outcome: str, code: str) -> None:
    session = opened(sandbox, "wechat_pay")
    assert sandbox.pay_by_wallet(session, "wechat_pay", outcome).status == 402
    [intent] = sandbox.objects("payment_intent")
    assert (intent["last_payment_error"]["code"], intent["status"]) == (code, "requires_payment_method")
    assert sandbox.pay_by_wallet(session, "wechat_pay").ok


def test_the_switch_delays_or_takes_away_what_is_approved(sandbox: Sandbox) -> None:
    sandbox.switch(wallets="away")
    session = opened(sandbox, "alipay")
    assert not sandbox.pay_by_wallet(session, "alipay").ok
    sandbox.switch(wallets="delayed")
    assert sandbox.pay_by_wallet(session, "alipay").ok
    assert sandbox.objects("payment_intent")[0]["status"] == "processing"
    for bad in ({"wallets": "never"}, {"three_d_secure": "maybe"}):
        with pytest.raises(ValueError, match="is not a switch"):
            sandbox.switch(**bad)


def test_the_bank_asks_and_the_holder_confirms(sandbox: Sandbox) -> None:
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params()).id
    asked = sandbox.pay(session, "4000002760003184")
    assert (asked.status, asked.url) == (303, f"/sandbox/checkout/{session}/3ds")
    [intent] = sandbox.objects("payment_intent")
    assert (intent["status"], intent["next_action"]["type"]) == ("requires_action", "redirect_to_url")
    assert sandbox.objects("charge") == []

    assert sandbox.confirm(session).ok
    [charge] = sandbox.objects("charge")
    assert charge["payment_method_details"]["card"]["three_d_secure"]["result"] == "authenticated"
    assert sandbox.objects("payment_intent")[0]["status"] == "succeeded"
    assert len(sandbox.events("payment_intent.requires_action")) == 1


def test_the_holder_refuses_or_leaves_and_another_card_pays(sandbox: Sandbox) -> None:
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params()).id
    sandbox.pay(session, "4000000000003220")
    refused = sandbox.confirm(session, "fail")
    assert (refused.status, "authenticate" in refused.message) == (402, True)
    [intent] = sandbox.objects("payment_intent")
    assert intent["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert sandbox.objects("charge") == []

    sandbox.pay(session, "4000000000003220")  # and walks away from the bank's page
    assert sandbox.pay(session).ok
    assert sandbox.objects("payment_intent")[0]["status"] == "succeeded"


def test_a_confirmed_card_may_still_be_declined_and_an_unanswered_one_expires(sandbox: Sandbox) -> None:
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params()).id
    sandbox.pay(session, "4000008400001629")
    assert sandbox.confirm(session).status == 402
    sandbox.pay(session, "4000002760003184")
    sandbox.expire(session)
    assert sandbox.objects("payment_intent")[0]["status"] == "canceled"


def test_the_switch_asks_every_card_or_none(sandbox: Sandbox) -> None:
    sandbox.switch(three_d_secure="always")
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params()).id
    assert sandbox.pay(session).url.endswith("/3ds")
    sandbox.switch(three_d_secure="never")
    assert sandbox.pay(session, "4000002760003184").url.startswith("http")
