"""The inbox says why an event waits for a person, and which order it concerns; silence never parks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, transaction
from django.test import Client

from billing.payments import intake, webhooks
from billing.payments.models import PaymentEvent
from billing.payments.stripe_processor import get_processor
from config import clock
from sandbox.models import RequestLog
from tests import factories
from tests.billing.payments.conftest import Shop, work
from tests.concurrency.helpers import at_once

pytestmark = pytest.mark.django_db(transaction=True)
COMPLETED = "checkout.session.completed"


def test_eight_silences_and_one_error_do_not_park_an_event(shop: Shop) -> None:
    broken: list[bool] = []

    @webhooks.handles("invoice.paid")
    def of_another_app(event: PaymentEvent, *, processor: Any, now: datetime) -> bool:
        if broken:
            raise ValueError("a bug of that app")
        processor.checkout(session)
        return True

    session = str(shop.order().checkout_session_id)
    try:
        shop.sandbox.send(shop.sandbox.forge("invoice.paid", {"id": "in_1", "object": "invoice"}))
        event = PaymentEvent.objects.get()
        for _ in range(webhooks.PARK_AFTER):
            shop.sandbox.fail_next("/v1/checkout/sessions/", times=3)
            webhooks.process(event.pk, processor=get_processor(), now=clock.now())
        event.refresh_from_db()
        assert (event.state, event.attempts, event.silences) == ("received", 0, webhooks.PARK_AFTER)

        broken.append(True)
        webhooks.process(event.pk, processor=get_processor(), now=clock.now())
        event.refresh_from_db()
        assert (event.state, event.attempts, event.reason) == ("received", 1, "")
        assert event.due_at < clock.now() + timedelta(minutes=1)  # the first wait after an error, not the ninth
        for _ in range(webhooks.PARK_AFTER - 1):
            webhooks.process(event.pk, processor=get_processor(), now=clock.now())
        event.refresh_from_db()
        assert (event.state, event.reason) == ("parked", "failing")
    finally:
        del webhooks._handlers["invoice.paid"]


def test_each_kind_of_trouble_has_its_reason_and_names_the_order(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    session = shop.sandbox.objects("checkout.session")[0]
    other = {**session, "id": "cs_test_other"}
    sent = {
        "unknown_type": shop.sandbox.forge("checkout.session.abandoned", session),
        "unknown_status": shop.sandbox.forge(COMPLETED, {**session, "payment_status": "paid_in_kind"}),
        "second_checkout": shop.sandbox.forge(COMPLETED, other),
        "wrong_mode": shop.sandbox.forge(COMPLETED, session, livemode=True),
    }
    for reason, body in sent.items():
        [answer] = shop.sandbox.send(body)
        work()
        event = PaymentEvent.objects.get(event_id=body["id"])
        assert (answer.status_code, event.reason, event.flagged) == (200, reason, True)
        assert event.top_up == order, reason


def test_an_object_that_names_nothing_of_ours_is_flagged_as_foreign(shop: Shop) -> None:
    body = shop.sandbox.forge("payment_intent.succeeded", {"id": "pi_1", "object": "payment_intent", "metadata": {}})
    shop.sandbox.send(body)
    work()
    event = PaymentEvent.objects.get()
    assert (event.state, event.reason, event.top_up) == ("ignored", "foreign_object", None)


@pytest.mark.parametrize("trouble", [{"state": "parked"}, {"state": "quarantined"}, {"flagged": True}])
def test_no_event_that_needs_a_person_is_unexplained(shop: Shop, trouble: dict[str, Any]) -> None:
    [event_id] = webhooks.keep([_received()], now=clock.now())
    event = PaymentEvent.objects.get(pk=event_id)
    with pytest.raises(IntegrityError), transaction.atomic():
        PaymentEvent.objects.filter(pk=event.pk).update(**trouble)
    PaymentEvent.objects.filter(pk=event.pk).update(**trouble, reason="failing")


def test_the_desk_says_the_reason_and_leads_to_the_order(shop: Shop, client: Client) -> None:
    order = shop.order()
    body = shop.sandbox.forge(COMPLETED, {**shop.sandbox.objects("checkout.session")[0], "id": "cs_test_other"})
    shop.sandbox.send(body)
    work()
    event = PaymentEvent.objects.get()
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    desk = "/admin/billing/paymentevent/"
    for page in (f"{desk}?reason__exact=second_checkout", f"{desk}{event.pk}/change/"):
        told = client.get(page, follow=True).content.decode()
        assert "A second checkout names the same order" in told, page
        assert f"/admin/billing/topup/{order.pk}/change/" in told, page
    assert body["id"] not in client.get(f"{desk}?reason__exact=failing", follow=True).content.decode()


def _received() -> Any:
    from billing.payments.processor import ReceivedEvent

    return ReceivedEvent(
        event_id="evt_1", type="invoice.paid", api_version="", livemode=False, object_id="in_1", body={"data": {}}
    )


def test_an_event_that_tells_us_nothing_is_kept_at_once_and_wakes_nobody(shop: Shop) -> None:
    charge = {"id": "ch_1", "object": "charge", "metadata": {}}
    assert shop.sandbox.send(shop.sandbox.forge("charge.succeeded", charge))[0].status_code == 200
    event = PaymentEvent.objects.get()
    assert (event.state, event.flagged, event.reason) == ("ignored", False, "")
    assert work() == 0
    assert webhooks.claim_due(now=clock.now() + timedelta(days=1)) == []


def test_an_event_that_cannot_be_kept_is_alone_with_its_error(transactional_db: None) -> None:
    fine = _received()
    poisoned = replace(fine, event_id="evt_2", body={"data": "\x00"})
    other = replace(fine, event_id="evt_3")
    answers = intake.keep([fine, poisoned, other])
    assert [type(answer) for answer in answers] == [type(None), DataError, type(None)]
    assert intake.refused(answers[1])[0] == 503
    assert sorted(PaymentEvent.objects.values_list("event_id", flat=True)) == ["evt_1", "evt_3"]


def test_two_that_come_at_once_ask_the_provider_once(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    asked = RequestLog.objects.filter(method="GET", path__contains="/checkout/sessions/")
    before = asked.count()
    settled = at_once(4, lambda _: shop.settle(order).status)
    assert (settled, asked.count() - before, len(shop.credits())) == (["credited"] * 4, 1, 1)
