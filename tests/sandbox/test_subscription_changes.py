"""Changing a subscription: proration, pending updates, previews, cancellation."""

from datetime import UTC, datetime, timedelta

import pytest
import stripe

from config import clock

DECLINING = "4000000000000341"


def fetched(sandbox, subscription_id):
    return sandbox.client.v1.subscriptions.retrieve(subscription_id, {"expand": ["latest_invoice"]})


def item_of(subscription):
    return subscription["items"].data[0]


def price_of(subscription):
    return item_of(subscription).price.id


def lines(invoice):
    return [(line.amount, line.pricing.price_details.price) for line in invoice.lines.data]


def types_since(sandbox, count):
    return [event["type"] for event in sandbox.events()[count:]]


class Shop:
    def __init__(self, sandbox):
        self.sandbox, self.api = sandbox, sandbox.client.v1
        self.small, self.large = sandbox.price(2000, name="Small"), sandbox.price(10000, name="Large")
        self.bought = sandbox.subscribe(self.small)
        item = item_of(self.bought)
        self.start, self.end = item.current_period_start, item.current_period_end
        self.half = (self.start + self.end) // 2

    def decline(self):
        bad = self.sandbox.keep_card(self.bought.customer, DECLINING)
        self.api.subscriptions.update(self.bought.id, {"default_payment_method": bad})

    def to(self, price, **more):
        params = {"items": [{"id": item_of(self.bought).id, "price": price}], **more}
        return self.api.subscriptions.update(self.bought.id, params)

    def upgrade(self, **more):
        asked = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
        return self.to(self.large, proration_date=self.half, **asked, **more)


@pytest.fixture
def shop(sandbox):
    return Shop(sandbox)


def test_an_upgrade_credits_the_unused_time_and_charges_the_remaining_at_once(sandbox, shop):
    so_far = len(sandbox.events())
    changed = shop.upgrade()

    assert (price_of(changed), changed.status, changed.pending_update) == (shop.large, "active", None)
    assert item_of(changed).id == item_of(shop.bought).id
    assert item_of(changed).current_period_end == shop.end
    invoice = fetched(sandbox, changed.id).latest_invoice
    assert lines(invoice) == [(-1000, shop.small), (5000, shop.large)]
    assert (invoice.billing_reason, invoice.status, invoice.amount_paid) == ("subscription_update", "paid", 4000)
    assert invoice.parent.subscription_details.subscription_proration_date == shop.half
    credit, charge = (line.parent.subscription_item_details for line in invoice.lines.data)
    assert (credit.proration, charge.proration) == (True, True)
    assert credit.proration_details.credited_items.invoice == shop.bought.latest_invoice
    assert charge.proration_details.credited_items is None
    assert types_since(sandbox, so_far) == [
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
        "customer.subscription.updated",
    ]


def test_the_renewal_after_an_upgrade_charges_the_new_price(sandbox, shop):
    shop.upgrade()
    sandbox.run_due(datetime.fromtimestamp(shop.end, UTC))
    assert fetched(sandbox, shop.bought.id).latest_invoice.amount_paid == 10000


def test_a_declined_upgrade_leaves_the_old_price_and_waits_for_its_payment(sandbox, shop):
    shop.decline()
    so_far = len(sandbox.events())
    waiting = shop.upgrade(metadata={"plan": "large"})

    assert (price_of(waiting), waiting.status) == (shop.small, "active")
    assert "plan" not in waiting.metadata
    assert waiting.pending_update.subscription_items[0].price.id == shop.large
    assert abs(waiting.pending_update.expires_at - (clock.now() + timedelta(hours=23)).timestamp()) < 60
    assert fetched(sandbox, waiting.id).latest_invoice.status == "open"
    assert types_since(sandbox, so_far)[-3:] == [
        "invoice.updated",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ]

    good = sandbox.keep_card(waiting.customer)
    shop.api.invoices.pay(waiting.latest_invoice, {"payment_method": good})
    now = fetched(sandbox, waiting.id)
    assert (price_of(now), now.pending_update, now.metadata["plan"]) == (shop.large, None, "large")
    assert types_since(sandbox, so_far)[-2:] == [
        "customer.subscription.updated",
        "customer.subscription.pending_update_applied",
    ]


def test_an_upgrade_that_is_not_paid_in_23_hours_is_forgotten(sandbox, shop):
    shop.decline()
    waiting = shop.upgrade()
    so_far = len(sandbox.events())
    sandbox.run_due(clock.now() + timedelta(hours=24))
    now = fetched(sandbox, waiting.id)
    assert (price_of(now), now.pending_update, now.status) == (shop.small, None, "active")
    assert now.latest_invoice.status == "void"
    assert types_since(sandbox, so_far) == [
        "payment_intent.canceled",
        "invoice.updated",
        "invoice.voided",
        "customer.subscription.updated",
        "customer.subscription.pending_update_expired",
    ]


def test_voiding_its_invoice_takes_a_pending_update_back(sandbox, shop):
    shop.decline()
    waiting = shop.upgrade()
    shop.api.invoices.void_invoice(waiting.latest_invoice)
    assert fetched(sandbox, waiting.id).pending_update is None


def test_a_declined_upgrade_can_be_refused_as_a_whole(sandbox, shop):
    shop.decline()
    with pytest.raises(stripe.CardError) as refused:
        shop.to(shop.large, proration_behavior="always_invoice", payment_behavior="error_if_incomplete")
    assert refused.value.http_status == 402
    now = fetched(sandbox, shop.bought.id)
    assert (price_of(now), now.latest_invoice.id) == (shop.small, shop.bought.latest_invoice)
    assert len(sandbox.objects("invoice")) == 1


def test_a_declined_upgrade_can_be_in_force_and_past_due(sandbox, shop):
    shop.decline()
    now = shop.to(shop.large, proration_behavior="always_invoice")
    assert (price_of(now), now.status) == (shop.large, "past_due")


def test_prorations_wait_for_the_next_invoice_where_they_are_not_invoiced_at_once(sandbox, shop):
    changed = shop.to(shop.large, proration_date=shop.half)
    assert changed.latest_invoice == shop.bought.latest_invoice
    sandbox.run_due(datetime.fromtimestamp(shop.end, UTC))
    invoice = fetched(sandbox, changed.id).latest_invoice
    assert lines(invoice) == [(-1000, shop.small), (5000, shop.large), (10000, shop.large)]
    assert invoice.amount_paid == 14000


def test_a_change_without_proration_costs_nothing_until_the_renewal(sandbox, shop):
    shop.to(shop.large, proration_behavior="none")
    sandbox.run_due(datetime.fromtimestamp(shop.end, UTC))
    assert lines(fetched(sandbox, shop.bought.id).latest_invoice) == [(10000, shop.large)]


def test_what_a_downgrade_gives_back_is_credit_for_the_next_invoices(sandbox, shop):
    shop.upgrade()
    shop.to(shop.small, proration_behavior="always_invoice", proration_date=shop.half)
    invoice = fetched(sandbox, shop.bought.id).latest_invoice
    assert (invoice.total, invoice.amount_due, invoice.status, invoice.ending_balance) == (-4000, 0, "paid", -4000)
    assert shop.api.customers.retrieve(shop.bought.customer).balance == -4000
    sandbox.run_due(datetime.fromtimestamp(shop.end, UTC))
    assert shop.api.customers.retrieve(shop.bought.customer).balance == -2000
    assert fetched(sandbox, shop.bought.id).latest_invoice.amount_paid == 0


def test_a_new_billing_cycle_can_begin_now(sandbox, shop):
    moved = int(sandbox.move_clock("+10d").timestamp())
    now = shop.to(shop.large, billing_cycle_anchor={"type": "now"})
    assert abs(item_of(now).current_period_start - moved) < 60
    assert now.billing_cycle_anchor == item_of(now).current_period_start
    invoice = fetched(sandbox, now.id).latest_invoice
    assert [line.amount for line in invoice.lines.data][1] == 10000
    assert invoice.lines.data[0].amount < 0


def test_a_preview_says_what_the_upgrade_then_costs(sandbox, shop):
    details = {
        "items": [{"id": item_of(shop.bought).id, "price": shop.large}],
        "proration_behavior": "always_invoice",
        "proration_date": shop.half,
    }
    shown = shop.api.invoices.create_preview({"subscription": shop.bought.id, "subscription_details": details})
    assert (lines(shown), shown.amount_due) == ([(-1000, shop.small), (5000, shop.large)], 4000)
    assert len(sandbox.objects("invoice")) == 1
    shop.upgrade()
    assert fetched(sandbox, shop.bought.id).latest_invoice.total == shown.total


def test_previews_of_the_renewal_of_a_change_and_of_a_new_subscription(sandbox, shop):
    renewal = shop.api.invoices.create_preview({"customer": shop.bought.customer, "subscription": shop.bought.id})
    assert lines(renewal) == [(2000, shop.small)]
    assert renewal.lines.data[0].period.start == shop.end
    details = {
        "items": [{"id": item_of(shop.bought).id, "price": shop.large}],
        "proration_behavior": "create_prorations",
        "proration_date": shop.half,
    }
    change = shop.api.invoices.create_preview({"subscription": shop.bought.id, "subscription_details": details})
    assert [amount for amount, _price in lines(change)] == [-1000, 5000, 10000]
    first = shop.api.invoices.create_preview(
        {"customer": shop.bought.customer, "subscription_details": {"items": [{"price": shop.large}]}}
    )
    assert (lines(first), first.amount_due) == ([(10000, shop.large)], 10000)


def test_a_subscription_that_is_cancelled_is_gone_at_once(sandbox, shop):
    gone = shop.api.subscriptions.cancel(shop.bought.id)
    assert (gone.status, gone.cancellation_details.reason) == ("canceled", "cancellation_requested")
    assert gone.ended_at is not None
    assert sandbox.events()[-1]["type"] == "customer.subscription.deleted"
    assert sandbox.run_due(datetime.fromtimestamp(shop.end, UTC)) == 0
    sandbox.bad_requests_expected()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.api.subscriptions.cancel(shop.bought.id)
    assert refused.value.code == "resource_missing"


def test_a_cancellation_can_give_back_the_rest_of_the_period(sandbox, shop):
    shop.api.subscriptions.cancel(shop.bought.id, {"prorate": True, "invoice_now": True})
    last = sandbox.objects("invoice")[-1]
    assert (last["billing_reason"], last["status"]) == ("subscription_update", "paid")
    assert -2000 <= last["total"] < 0
    assert shop.api.customers.retrieve(shop.bought.customer).balance == last["total"]


def test_the_charge_of_a_subscription_is_refunded_like_any_other(sandbox, shop):
    payments = shop.api.invoice_payments.list({"invoice": shop.bought.latest_invoice})
    made = shop.api.refunds.create({"payment_intent": payments.data[0].payment.payment_intent, "amount": 500})
    assert (made.status, made.amount) == ("succeeded", 500)


@pytest.mark.parametrize(
    "params",
    [
        {"trial_end": "now"},
        {"items": [{"id": "si_unknown", "price": "price_unknown"}]},
        {"payment_behavior": "pending_if_incomplete", "description": "x"},
        {"proration_behavior": "sometimes"},
        {"default_payment_method": "pm_unknown"},
    ],
)
def test_what_the_sandbox_does_not_serve_is_refused(sandbox, shop, params):
    sandbox.bad_requests_expected()
    with pytest.raises(stripe.InvalidRequestError):
        shop.api.subscriptions.update(shop.bought.id, params)


def test_what_was_changed_in_the_dashboard_is_told_by_an_event(sandbox, shop):
    changed = sandbox.in_dashboard(shop.bought.id, "unknown_price")
    assert changed["items"]["data"][0]["price"]["id"] not in (shop.small, shop.large)
    event = sandbox.events("customer.subscription.updated")[-1]
    assert event["request"]["id"] is None
    assert event["data"]["previous_attributes"]["items"]["data"][0]["price"]["id"] == shop.small
    assert sandbox.in_dashboard(shop.bought.id, "cancel")["status"] == "canceled"
