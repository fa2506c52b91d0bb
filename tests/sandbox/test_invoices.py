"""Invoices and their payments through the API; products and prices that they are made of."""

import pytest
import stripe


def test_an_invoice_says_who_owes_what_for_what(sandbox):
    customer = sandbox.client.v1.customers.create({"email": "payer@example.com", "name": "Pat Payer"})
    bought = sandbox.subscribe(sandbox.price(2000, name="Pro"), customer=customer.id)
    expand = {"expand": ["payments.data.payment.payment_intent", "customer"]}
    invoice = sandbox.client.v1.invoices.retrieve(bought.latest_invoice, expand)
    assert (invoice.customer.id, invoice.customer_email) == (customer.id, "payer@example.com")
    assert (invoice.total, invoice.amount_due, invoice.amount_paid, invoice.amount_remaining) == (2000, 2000, 2000, 0)
    assert invoice.number == f"{customer.id[-8:].upper()}-0001"
    assert invoice.status_transitions.finalized_at <= invoice.status_transitions.paid_at
    assert invoice.lines.data[0].description == "1 × Pro (at 20.00 USD / month)"
    assert invoice.hosted_invoice_url == f"{sandbox.url}/sandbox/invoices/{invoice.id}"
    payment = invoice.payments.data[0]
    assert (payment.status, payment.is_default, payment.amount_paid) == ("paid", True, 2000)
    assert payment.payment.payment_intent.status == "succeeded"
    assert payment.payment.payment_intent.description == "Subscription creation"


def test_invoices_are_listed_by_subscription_customer_and_status(sandbox):
    api, price = sandbox.client.v1, sandbox.price(2000)
    first, second = sandbox.subscribe(price), sandbox.subscribe(price)
    assert [one.id for one in api.invoices.list().data] == [second.latest_invoice, first.latest_invoice]
    assert [one.id for one in api.invoices.list({"subscription": first.id}).data] == [first.latest_invoice]
    assert [one.id for one in api.invoices.list({"customer": second.customer}).data] == [second.latest_invoice]
    assert api.invoices.list({"status": "open"}).data == []
    assert len(api.invoices.list({"status": "paid"}).data) == 2


def test_a_payment_is_found_by_its_invoice_and_an_invoice_by_its_payment(sandbox):
    api = sandbox.client.v1
    bought = sandbox.subscribe(sandbox.price(2000))
    sandbox.subscribe(sandbox.price(3000))
    [payment] = api.invoice_payments.list({"invoice": bought.latest_invoice}).data
    intent = payment.payment.payment_intent
    asked = {"payment": {"type": "payment_intent", "payment_intent": intent}}
    [found] = api.invoice_payments.list(asked).data
    assert (found.id, found.invoice) == (payment.id, bought.latest_invoice)
    assert api.invoice_payments.retrieve(payment.id).status_transitions.paid_at is not None


def test_an_open_invoice_can_be_paid_after_a_decline(sandbox):
    api = sandbox.client.v1
    customer = api.customers.create({"email": "payer@example.com"}).id
    made = api.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": sandbox.price(2000)}],
            "default_payment_method": sandbox.keep_card(customer, "4000000000000341"),
        }
    )
    assert made.status == "incomplete"
    with pytest.raises(stripe.CardError) as refused:
        api.invoices.pay(made.latest_invoice)
    assert (refused.value.code, refused.value.error.decline_code) == ("card_declined", "generic_decline")
    assert api.invoices.retrieve(made.latest_invoice).attempt_count == 2
    assert api.invoices.pay(made.latest_invoice, {"payment_method": sandbox.keep_card(customer)}).status == "paid"
    assert api.subscriptions.retrieve(made.id).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        api.invoices.pay(made.latest_invoice)


def test_a_subscription_that_must_be_paid_at_once_leaves_nothing_behind_when_it_is_not(sandbox):
    api = sandbox.client.v1
    customer = api.customers.create({"email": "payer@example.com"}).id
    params = {"customer": customer, "items": [{"price": sandbox.price(2000)}]}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.subscriptions.create(params)
    assert refused.value.code == "resource_missing"
    api.customers.update(
        customer, {"invoice_settings": {"default_payment_method": sandbox.keep_card(customer, "4000000000000341")}}
    )
    with pytest.raises(stripe.CardError):
        api.subscriptions.create({**params, "payment_behavior": "error_if_incomplete"})
    assert sandbox.objects("subscription") == sandbox.objects("invoice") == []


def test_a_void_invoice_ends_the_subscription_that_waited_for_it(sandbox):
    api = sandbox.client.v1
    customer = api.customers.create({"email": "payer@example.com"}).id
    made = api.subscriptions.create(
        {"customer": customer, "items": [{"price": sandbox.price(2000)}], "payment_behavior": "default_incomplete"}
    )
    gone = api.invoices.void_invoice(made.latest_invoice)
    assert (gone.status, gone.status_transitions.voided_at is None) == ("void", False)
    assert api.subscriptions.retrieve(made.id).status == "incomplete_expired"
    assert [one["status"] for one in sandbox.objects("payment_intent")] == ["canceled"]
    with pytest.raises(stripe.InvalidRequestError):
        api.invoices.void_invoice(made.latest_invoice)


def test_subscriptions_are_listed_without_those_that_ended_unless_asked(sandbox):
    api, price = sandbox.client.v1, sandbox.price(2000)
    kept, gone = sandbox.subscribe(price), sandbox.subscribe(price)
    api.subscriptions.cancel(gone.id)
    assert [one.id for one in api.subscriptions.list().data] == [kept.id]
    assert [one.id for one in api.subscriptions.list({"status": "canceled"}).data] == [gone.id]
    assert len(api.subscriptions.list({"status": "all", "price": price}).data) == 2
    assert api.subscriptions.list({"customer": gone.customer}).data == []
    assert api.subscriptions.list({"price": sandbox.price(1)}).data == []


def test_products_and_prices_are_found_changed_and_retired(sandbox):
    api = sandbox.client.v1
    product = api.products.create({"name": "Pro", "metadata": {"plan": "pro"}})
    monthly = {"currency": "usd", "product": product.id, "recurring": {"interval": "month"}}
    old = api.prices.create({**monthly, "unit_amount": 2000, "lookup_key": "pro"})
    assert (old.type, old.recurring.interval_count, old.unit_amount) == ("recurring", 1, 2000)
    [found] = api.prices.list({"lookup_keys": ["pro"], "expand": ["data.product"]}).data
    assert (found.id, found.product.metadata["plan"]) == (old.id, "pro")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        api.prices.create({**monthly, "unit_amount": 2500, "lookup_key": "pro"})
    new = api.prices.create({**monthly, "unit_amount": 2500, "lookup_key": "pro", "transfer_lookup_key": True})
    assert [one.id for one in api.prices.list({"lookup_keys": ["pro"]}).data] == [new.id]
    assert api.prices.retrieve(old.id).lookup_key is None
    api.prices.update(old.id, {"active": False, "metadata": {"why": "dearer"}})
    assert [one.id for one in api.prices.list({"product": product.id, "active": True}).data] == [new.id]
    api.products.update(product.id, {"active": False, "name": "Pro 1"})
    assert [one.name for one in api.products.list({"active": False}).data] == ["Pro 1"]
    assert [event["type"] for event in sandbox.events()] == [
        "product.created",
        "price.created",
        "price.updated",
        "price.created",
        "price.updated",
        "product.updated",
    ]


def test_a_price_that_is_retired_or_not_recurring_cannot_be_subscribed_to(sandbox):
    sandbox.bad_requests_expected()
    api = sandbox.client.v1
    retired = sandbox.price(2000)
    api.prices.update(retired, {"active": False})
    product = api.products.create({"name": "Once"})
    once = api.prices.create({"currency": "usd", "unit_amount": 100, "product": product.id})
    for price, told in ((retired, "inactive"), (once.id, "one_time")):
        with pytest.raises(stripe.InvalidRequestError, match=told):
            api.checkout.sessions.create(sandbox.subscription_params(price))
    with pytest.raises(stripe.InvalidRequestError, match="recurring price"):
        api.checkout.sessions.create({**sandbox.subscription_params(sandbox.price(1000)), "mode": "payment"})
    bought = api.checkout.sessions.create(sandbox.session_params(line_items=[{"price": once.id, "quantity": 2}]))
    assert bought.amount_total == 200


def test_a_customer_looks_after_cards_and_invoices_in_the_portal(sandbox):
    bought = sandbox.subscribe(sandbox.price(2000))
    session = sandbox.client.v1.billing_portal.sessions.create(
        {"customer": bought.customer, "return_url": f"{sandbox.url}/back"}
    )
    assert session.url == f"{sandbox.url}/sandbox/portal/{session.id}"
