"""What time does to a subscription: renewals, dunning, an end with the period, a first payment that never came."""

from datetime import UTC, datetime, timedelta

import pytest

from sandbox.periods import end_of_period

DAY = timedelta(days=1)


def when(seconds):
    return datetime.fromtimestamp(seconds, UTC)


def period(subscription):
    item = subscription["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


def fetched(sandbox, subscription_id):
    return sandbox.client.v1.subscriptions.retrieve(subscription_id, {"expand": ["latest_invoice"]})


def types_since(sandbox, count):
    return [event["type"] for event in sandbox.events()[count:]]


def invoices(sandbox):
    return [(one["billing_reason"], one["status"], one["total"]) for one in sandbox.objects("invoice")]


@pytest.fixture
def bought(sandbox):
    return sandbox.subscribe(sandbox.price(2000))


def test_a_subscription_renews_at_its_period_end_and_charges_the_default_card(sandbox, bought):
    start, end = period(bought)
    so_far = len(sandbox.events())

    assert sandbox.run_due(when(end) - timedelta(seconds=1)) == 0
    assert sandbox.run_due(when(end)) == 1

    now = fetched(sandbox, bought.id)
    assert (now.status, period(now)) == ("active", (end, end_of_period(start, end, "month")))
    invoice = now.latest_invoice
    assert (invoice.billing_reason, invoice.status, invoice.amount_paid) == ("subscription_cycle", "paid", 2000)
    assert (invoice.created, invoice.period_start, invoice.period_end) == (end, start, end)
    assert (invoice.lines.data[0].period.start, invoice.lines.data[0].period.end) == period(now)
    assert invoice.number.endswith("-0002")
    assert types_since(sandbox, so_far) == [
        "customer.subscription.updated",
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
    ]


def test_a_clock_that_jumps_over_months_renews_for_each_of_them_in_turn(sandbox, bought):
    _start, end = period(bought)
    assert sandbox.run_due(when(end) + 64 * DAY) == 3
    created = [one["created"] for one in sandbox.objects("invoice")][1:]
    assert created[0] == end
    assert created == sorted(set(created))
    assert invoices(sandbox)[1:] == [("subscription_cycle", "paid", 2000)] * 3


def test_a_card_that_declines_is_tried_three_times_more_and_then_the_subscription_ends(sandbox, bought):
    bad = sandbox.keep_card(bought.customer, "4000000000000341")
    sandbox.client.v1.subscriptions.update(bought.id, {"default_payment_method": bad})
    _start, end = period(bought)
    so_far = len(sandbox.events())

    sandbox.run_due(when(end))
    now = fetched(sandbox, bought.id)
    assert (now.status, now.latest_invoice.status, now.latest_invoice.attempt_count) == ("past_due", "open", 1)
    assert now.latest_invoice.next_payment_attempt == end + 3 * 86400
    assert types_since(sandbox, so_far)[-3:] == [
        "invoice.updated",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ]

    sandbox.run_due(when(end) + 3 * DAY)
    assert fetched(sandbox, bought.id).latest_invoice.next_payment_attempt == end + 8 * 86400
    sandbox.run_due(when(end) + 14 * DAY)
    assert fetched(sandbox, bought.id).status == "past_due"
    sandbox.run_due(when(end) + 15 * DAY)
    gone = fetched(sandbox, bought.id)
    assert (gone.status, gone.ended_at) == ("canceled", end + 15 * 86400)
    assert gone.cancellation_details.reason == "payment_failed"
    assert (gone.latest_invoice.status, gone.latest_invoice.attempt_count) == ("open", 4)
    assert gone.latest_invoice.next_payment_attempt is None
    assert types_since(sandbox, so_far)[-1] == "customer.subscription.deleted"
    assert sandbox.run_due(when(end) + 90 * DAY) == 0


def test_another_card_pays_at_the_next_attempt_and_the_subscription_is_active_again(sandbox, bought):
    sandbox.in_dashboard(bought.id, "fail_next_payment")
    _start, end = period(bought)
    sandbox.run_due(when(end))
    assert fetched(sandbox, bought.id).status == "past_due"
    sandbox.in_dashboard(bought.id, "pay_again")
    sandbox.run_due(when(end) + 3 * DAY)
    now = fetched(sandbox, bought.id)
    assert (now.status, now.latest_invoice.status) == ("active", "paid")
    assert sandbox.events()[-1]["type"] == "customer.subscription.updated"
    assert sandbox.events()[-1]["data"]["previous_attributes"] == {"status": "past_due"}


def test_a_subscription_that_is_to_end_with_its_period_ends_then(sandbox, bought):
    asked = sandbox.client.v1.subscriptions.update(bought.id, {"cancel_at_period_end": True})
    _start, end = period(bought)
    assert (asked.cancel_at, asked.cancellation_details.reason) == (end, "cancellation_requested")
    sandbox.run_due(when(end) + DAY)
    gone = fetched(sandbox, bought.id)
    assert (gone.status, gone.ended_at) == ("canceled", end)
    assert sandbox.events()[-1]["type"] == "customer.subscription.deleted"
    assert len(sandbox.objects("invoice")) == 1


def test_a_wish_to_end_can_be_taken_back(sandbox, bought):
    sandbox.client.v1.subscriptions.update(bought.id, {"cancel_at_period_end": True})
    stays = sandbox.client.v1.subscriptions.update(bought.id, {"cancel_at_period_end": False})
    assert (stays.cancel_at, stays.canceled_at, stays.cancellation_details.reason) == (None, None, None)
    sandbox.run_due(when(period(bought)[1]))
    assert fetched(sandbox, bought.id).status == "active"


def test_a_renewal_can_be_brought_forward(sandbox, bought):
    start, _end = period(bought)
    moved = sandbox.move_clock("+10d")
    sandbox.renew(bought.id)
    now = fetched(sandbox, bought.id)
    assert period(now)[0] == int(moved.timestamp())
    assert period(now)[0] > start
    assert now.latest_invoice.billing_reason == "subscription_cycle"


def test_a_first_payment_that_does_not_come_in_23_hours_expires_the_subscription(sandbox):
    price, customer = sandbox.price(2000), sandbox.client.v1.customers.create({"email": "a@example.com"})
    made = sandbox.client.v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price}],
            "payment_behavior": "default_incomplete",
            "expand": ["latest_invoice.confirmation_secret"],
        }
    )
    assert (made.status, made.latest_invoice.status) == ("incomplete", "open")
    assert made.latest_invoice.confirmation_secret.type == "payment_intent"
    sandbox.run_due(when(made.created) + timedelta(hours=22, minutes=59))
    assert fetched(sandbox, made.id).status == "incomplete"
    sandbox.run_due(when(made.created) + timedelta(hours=23, seconds=1))
    gone = fetched(sandbox, made.id)
    assert (gone.status, gone.latest_invoice.status) == ("incomplete_expired", "void")


def test_the_card_for_an_open_invoice_can_be_given_by_hand(sandbox, bought):
    sandbox.in_dashboard(bought.id, "fail_next_payment")
    _start, end = period(bought)
    sandbox.run_due(when(end))
    invoice = fetched(sandbox, bought.id).latest_invoice
    good = sandbox.keep_card(bought.customer)
    paid = sandbox.client.v1.invoices.pay(invoice.id, {"payment_method": good})
    assert (paid.status, paid.amount_paid) == ("paid", 2000)
    assert fetched(sandbox, bought.id).status == "active"
