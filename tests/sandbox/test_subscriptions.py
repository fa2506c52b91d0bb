"""A subscription from the hosted page to its first invoice, and from the API."""

DECLINED = "4000000000000002"
CHALLENGE = "4000002500003155"


def types(sandbox, *prefixes):
    kinds = [event["type"] for event in sandbox.events()]
    return [kind for kind in kinds if not prefixes or kind.startswith(prefixes)]


def opened(sandbox, price, **more):
    return sandbox.client.v1.checkout.sessions.create(sandbox.subscription_params(price, **more))


def test_a_subscription_bought_on_the_page_is_active_and_its_first_invoice_paid(sandbox):
    price = sandbox.price(2000)
    customer = sandbox.client.v1.customers.create({"email": "payer@example.com"})

    bought = sandbox.subscribe(price, customer=customer.id, subscription_data={"metadata": {"account": "7"}})

    expand = ["latest_invoice.payments", "default_payment_method", "items.data.price.product"]
    found = sandbox.client.v1.subscriptions.retrieve(bought.id, {"expand": expand})
    assert (found.status, found.customer, found.metadata["account"]) == ("active", customer.id, "7")
    assert found.default_payment_method.card.last4 == "4242"
    assert found["items"].data[0].price.product.name == "Pro"
    invoice = found.latest_invoice
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid) == ("paid", "subscription_create", 2000)
    assert invoice.parent.subscription_details.subscription == bought.id
    assert invoice.payments.data[0].status == "paid"
    intent = sandbox.client.v1.payment_intents.retrieve(
        invoice.payments.data[0].payment.payment_intent, {"expand": ["latest_charge.balance_transaction"]}
    )
    assert (intent.status, intent.latest_charge.balance_transaction.fee) == ("succeeded", 88)
    item, line = found["items"].data[0], invoice.lines.data[0]
    assert (line.period.start, line.period.end) == (item.current_period_start, item.current_period_end)
    assert line.parent.subscription_item_details.subscription_item == item.id
    assert types(sandbox)[3:] == [
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "payment_method.attached",
        "customer.subscription.updated",
        "checkout.session.completed",
    ]


def test_the_page_says_what_is_sold_and_for_how_much_a_month(sandbox):
    page = sandbox.page(opened(sandbox, sandbox.price(2000, name="Plan Pro")).id).text
    assert "Plan Pro" in page
    assert "20.00 USD" in page
    assert "per month" in page
    assert "Alipay" not in page


def test_a_declined_card_stays_on_the_page_and_another_pays_the_same_invoice(sandbox):
    session = opened(sandbox, sandbox.price(2000))
    refused = sandbox.pay(session.id, DECLINED)
    assert (refused.status, refused.message) == (402, "Your card was declined.")
    assert [one["status"] for one in sandbox.objects("subscription")] == ["incomplete"]
    assert sandbox.client.v1.checkout.sessions.retrieve(session.id).subscription is None

    assert sandbox.pay(session.id).ok

    [found], [invoice] = sandbox.objects("subscription"), sandbox.objects("invoice")
    assert (found["status"], invoice["attempt_count"]) == ("active", 2)
    done = sandbox.client.v1.checkout.sessions.retrieve(session.id)
    assert (done.subscription, done.invoice, done.payment_intent) == (found["id"], invoice["id"], None)
    assert done.customer == found["customer"]
    assert types(sandbox, "invoice.payment_failed", "invoice.paid") == ["invoice.payment_failed", "invoice.paid"]


def test_three_d_secure_comes_before_the_first_payment(sandbox):
    session = opened(sandbox, sandbox.price(2000))
    assert sandbox.pay(session.id, CHALLENGE).url.endswith("/3ds")
    assert not sandbox.confirm(session.id, "fail").ok
    assert sandbox.pay(session.id, CHALLENGE).url.endswith("/3ds")
    assert sandbox.confirm(session.id).ok
    assert sandbox.objects("subscription")[0]["status"] == "active"
    assert "invoice.payment_action_required" in types(sandbox)


def test_a_page_that_expires_ends_what_it_began(sandbox):
    session = opened(sandbox, sandbox.price(2000))
    sandbox.pay(session.id, DECLINED)
    sandbox.expire(session.id)
    assert sandbox.objects("subscription")[0]["status"] == "incomplete_expired"
    assert sandbox.objects("invoice")[0]["status"] == "void"
    assert sandbox.objects("payment_intent")[0]["status"] == "canceled"
    assert types(sandbox)[-1] == "checkout.session.expired"
