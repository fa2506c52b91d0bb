"""Events about refunds that are not as usual."""

from __future__ import annotations

import pytest

from billing.payments.models import PaymentEvent
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import external
from refunds.models import Refund
from sandbox.models import RequestLog, StoredObject
from subscriptions.models import Invoice
from tests.flush import broken_books
from tests.refunds.conftest import Desk, work
from tests.subscriptions.conftest import Club, club

__all__ = ["club"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_unknown_status_is_kept_flagged_and_changes_nothing(desk: Desk) -> None:
    sandbox = desk.shop.sandbox
    sandbox.switch(refunds="pending")
    refund = desk.refunded(desk.paid())
    row = StoredObject.objects.get(kind="refund")
    row.data["status"] = "on_the_moon"
    row.save()
    sandbox.send(sandbox.forge("refund.updated", row.data))
    work()

    refund.refresh_from_db()
    event = PaymentEvent.objects.get(type="refund.updated")
    assert (refund.status, refund.flagged, desk.entries()) == ("submitted", True, ["refund_hold"])
    assert (event.state, event.flagged) == ("ignored", True)
    RequestLog.objects.all().delete()  # the schema check at the end knows no such status either


def test_a_refund_of_a_payment_that_is_not_ours_is_nobodys_business(desk: Desk) -> None:
    session = desk.shop.sandbox.client.v1.checkout.sessions.create(desk.shop.sandbox.session_params())
    desk.shop.sandbox.pay(session.id)
    intent = desk.shop.sandbox.client.v1.checkout.sessions.retrieve(session.id).payment_intent
    desk.shop.sandbox.refund_in_dashboard(intent)
    desk.shop.tell()

    assert Refund.objects.count() == 0
    assert set(PaymentEvent.objects.values_list("state", flat=True)) == {"ignored"}


@pytest.mark.parametrize("cents", [500, 2000])
def test_the_first_news_of_a_payment_may_be_that_of_its_refund(desk: Desk, cents: int) -> None:
    """The order knows its payment already, from a card that was declined before."""
    order = desk.shop.order()
    sandbox = desk.shop.sandbox
    assert not sandbox.pay(order.checkout_session_id, "4000000000009995").ok
    desk.shop.settle(order)
    assert sandbox.pay(order.checkout_session_id).ok
    sandbox.refund_in_dashboard(desk.order().payment_intent_id, cents)
    [event] = sandbox.events("refund.created")
    sandbox.send(event["id"])
    work()
    wanted = "partially_refunded" if cents < 2000 else "refunded"
    assert (desk.order().status, desk.order().refunded_minor, desk.net()) == (wanted, cents, 20 - cents // 100)
    desk.shop.tell()
    assert (desk.order().status, desk.net()) == (wanted, 20 - cents // 100)


@pytest.mark.parametrize("cents", [500, 2000])
def test_what_went_back_before_we_knew_that_it_was_paid_is_not_credited_as_well(desk: Desk, cents: int) -> None:
    """All of it is settled with that; of a part a person says what becomes of the rest."""
    order = desk.shop.order()
    sandbox = desk.shop.sandbox
    assert not sandbox.pay(order.checkout_session_id, "4000000000009995").ok
    desk.shop.settle(order)
    assert sandbox.pay(order.checkout_session_id).ok
    intent = desk.order().payment_intent_id
    sandbox.refund_in_dashboard(intent, cents)
    for state in get_processor().refunds_of(intent):
        external.apply(state, now=clock.now())
    order = desk.shop.settle(order)
    whole = cents == 2000
    assert (order.status, order.in_review, order.grant) == ("refunded" if whole else "paid", not whole, None)
    assert (order.check_at, desk.net()) == (None, 0)
    desk.shop.tell()
    assert (desk.order().status, desk.net()) == (order.status, 0)


def test_a_dashboard_refund_whose_news_comes_before_that_of_the_payment_finds_its_credit(desk: Desk) -> None:
    order = desk.shop.order()
    sandbox = desk.shop.sandbox
    assert sandbox.pay(order.checkout_session_id).ok
    intent = StoredObject.objects.get(kind="payment_intent").object_id
    sandbox.refund_in_dashboard(intent, 500)
    for type_ in ("refund.created", "charge.refunded", "checkout.session.completed"):
        [event] = sandbox.events(type_)
        sandbox.send(event["id"])
        work()

    assert (desk.order().status, desk.order().refunded_minor, desk.net()) == ("partially_refunded", 500, 15)
    assert Refund.objects.get().overdrawn_usd == 0


def test_a_cancelled_request_in_the_providers_pages_gives_back(desk: Desk) -> None:
    sandbox = desk.shop.sandbox
    sandbox.switch(refunds="requires_action")
    refund = desk.refunded(desk.paid())
    sandbox.client.v1.refunds.cancel(refund.provider_refund_id)
    desk.shop.tell()

    refund.refresh_from_db()
    assert (refund.status, desk.net()) == ("cancelled", 20)


def test_the_sweep_sends_what_nobody_was_woken_for_and_finds_lost_news(desk: Desk, clock_at) -> None:  # type: ignore[no-untyped-def]
    from refunds import tasks

    sandbox = desk.shop.sandbox
    sandbox.switch(refunds="pending")
    refund = desk.approve(desk.ask(desk.paid()))
    clock_at("+3m")
    tasks.sweep()
    [made] = sandbox.refunds()
    sandbox.settle(made["id"])
    clock_at("+3h")
    tasks.sweep()

    refund.refresh_from_db()
    assert refund.status == "succeeded"


def test_a_dashboard_refund_whose_news_comes_before_that_of_a_plans_payment_is_booked(club: Club) -> None:
    row = club.subscribe("pro")
    sandbox = club.sandbox
    sandbox.renew(row.provider_id)  # and nobody tells us
    charge = StoredObject.objects.filter(kind="charge").order_by("-pk")[0]
    sandbox.refund_in_dashboard(charge.payment_intent, 500)
    for type_ in ("refund.created", "charge.refunded"):
        [event] = sandbox.events(type_)
        sandbox.send(event["id"])
        work()

    invoice = Invoice.objects.get(payment_intent_id=charge.payment_intent)
    assert (invoice.kind, invoice.status, invoice.refunded_minor, invoice.paid_back_minor) == (
        "renewal", "paid", 500, 500,
    )  # fmt: skip
    assert Refund.objects.get().external
    assert broken_books() == []
