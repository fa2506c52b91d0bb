"""The portal with a customer's cards and invoices, the page of an invoice, and subscriptions on the control page."""

from datetime import UTC, datetime

import httpx
import pytest

from tests.sandbox.test_control import press

DECLINING = "4000000000000341"
FORM = {"expiry": "12/34", "cvc": "123", "email": "payer@example.com", "name": "Pat Payer", "confirmed": "yes"}


@pytest.fixture
def browser(sandbox):
    with httpx.Client(base_url=sandbox.url, timeout=20) as browser:
        yield browser


@pytest.fixture
def control(sandbox):
    with httpx.Client(base_url=f"{sandbox.url}/sandbox", timeout=20) as browser:
        yield browser


def submit(browser, page, button, **form):
    """Post a form of a page, with the page's token."""
    shown = browser.get(page)
    token = shown.text.split('name="csrfmiddlewaretoken" value="', 1)[1].split('"', 1)[0]
    data = {**form, "csrfmiddlewaretoken": token}
    return browser.post(f"{page}{button}", data=data, headers={"Referer": str(shown.url)})


def opened(sandbox, customer, **more):
    params = {"customer": customer, "return_url": f"{sandbox.url}/back", **more}
    return sandbox.client.v1.billing_portal.sessions.create(params)


def fetched(sandbox, subscription_id):
    return sandbox.client.v1.subscriptions.retrieve(
        subscription_id, {"expand": ["latest_invoice", "default_payment_method"]}
    )


def past_due(sandbox):
    """A subscription whose renewal was declined."""
    bought = sandbox.subscribe(sandbox.price(2000))
    sandbox.in_dashboard(bought.id, "fail_next_payment")
    sandbox.run_due(datetime.fromtimestamp(bought["items"].data[0].current_period_end, UTC))
    return fetched(sandbox, bought.id)


def test_the_portal_lists_cards_and_invoices_and_leads_back(sandbox, browser):
    bought = sandbox.subscribe(sandbox.price(2000))
    session = opened(sandbox, bought.customer)
    assert session.url == f"{sandbox.url}/sandbox/portal/{session.id}"
    page = browser.get(session.url).text
    number = sandbox.objects("invoice")[0]["number"]
    for shown in ("•••• 4242", number, "20.00 USD", f"{sandbox.url}/back", "Sandbox"):
        assert shown in page
    assert browser.get("/sandbox/portal/bps_unknown").status_code == 404


def test_the_portal_speaks_the_language_of_its_session(sandbox, browser):
    customer = sandbox.client.v1.customers.create({"email": "a@example.com"}).id
    assert "账单" in browser.get(opened(sandbox, customer, locale="zh").url).text


def test_a_new_card_becomes_the_default_of_the_subscription(sandbox, browser):
    bought = sandbox.subscribe(sandbox.price(2000))
    page = f"/sandbox/portal/{opened(sandbox, bought.customer).id}"
    assert submit(browser, page, "/card", number="5555555555554444", **FORM).status_code == 302
    assert fetched(sandbox, bought.id).default_payment_method.card.last4 == "4444"
    old = bought.default_payment_method
    assert submit(browser, page, "/default", card=old).status_code == 302
    assert fetched(sandbox, bought.id).default_payment_method.id == old
    settings = sandbox.client.v1.customers.retrieve(bought.customer).invoice_settings
    assert settings.default_payment_method == old


def test_the_portal_refuses_a_card_that_the_bank_refuses_and_one_of_somebody_else(sandbox, browser):
    bought, other = sandbox.subscribe(sandbox.price(2000)), sandbox.subscribe(sandbox.price(3000))
    page = f"/sandbox/portal/{opened(sandbox, bought.customer).id}"
    assert submit(browser, page, "/card", number="4000000000000002", **FORM).status_code == 402
    assert submit(browser, page, "/card", number="42", **FORM).status_code == 422
    assert submit(browser, page, "/default", card=other.default_payment_method).status_code == 404
    assert fetched(sandbox, bought.id).default_payment_method.id == bought.default_payment_method


def test_an_open_invoice_is_paid_on_its_page(sandbox, browser):
    unpaid = past_due(sandbox)
    page = unpaid.latest_invoice.hosted_invoice_url.removeprefix(sandbox.url)
    refused = submit(browser, page, "/pay", card=unpaid.default_payment_method.id)
    assert (refused.status_code, 'data-message="Your card was declined."' in refused.text) == (402, True)
    good = sandbox.keep_card(unpaid.customer)
    assert submit(browser, page, "/pay", card=good).status_code == 303
    now = fetched(sandbox, unpaid.id)
    assert (now.status, now.latest_invoice.status, now.latest_invoice.attempt_count) == ("active", "paid", 3)
    assert "/pay" not in browser.get(page).text
    assert browser.get(f"{page}/pdf").headers["Location"] == page


def test_the_control_page_shows_subscriptions_and_acts_on_them(sandbox, control):
    bought = sandbox.subscribe(sandbox.price(2000, lookup_key="pro-monthly"))
    page = control.get("/control").text
    for shown in (bought.id, "pro-monthly", "20.00 USD", "•••• 4242"):
        assert shown in page
    press(control, f"/subscriptions/{bought.id}", action="fail_next_payment")
    assert fetched(sandbox, bought.id).default_payment_method.card.last4 == "0341"
    press(control, f"/subscriptions/{bought.id}", action="pay_again")
    assert fetched(sandbox, bought.id).default_payment_method.id == bought.default_payment_method
    press(control, f"/subscriptions/{bought.id}", action="unknown_price")
    assert fetched(sandbox, bought.id)["items"].data[0].price.unit_amount == 1234
    press(control, f"/subscriptions/{bought.id}", action="cancel")
    assert fetched(sandbox, bought.id).status == "canceled"
    assert press(control, f"/subscriptions/{bought.id}", action="cancel").status_code == 302


def test_subscriptions_are_acted_on_by_json(sandbox, control):
    bought = sandbox.subscribe(sandbox.price(2000))
    sandbox.move_clock("+3d")
    renewed = control.post("/control/subscriptions", json={"id": bought.id, "action": "renew"}).json()
    assert renewed["latest_invoice"] != bought.latest_invoice
    assert fetched(sandbox, bought.id).latest_invoice.billing_reason == "subscription_cycle"
    for wrong in ({"id": bought.id, "action": "dance"}, {"id": "sub_unknown", "action": "renew"}, {}, ["x"]):
        assert control.post("/control/subscriptions", json=wrong).status_code == 400
    assert control.post("/control/subscriptions", data={"id": bought.id, "action": "cancel"}).status_code == 400
