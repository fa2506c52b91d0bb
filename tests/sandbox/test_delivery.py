"""Signed events on their way to the webhook route: a small receiver of our own stands at the other end."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe
from django.db import connection

from config import clock
from sandbox import delivery, switches
from sandbox.models import Delivery, Event


class Receiver:
    """Keeps what arrives and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[bytes, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(receiver.status)
                self.end_headers()
                self.wfile.write(b"said so")

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def types(self) -> list[str]:
        return [stripe.Webhook.construct_event(body, header, "whsec_sandbox").type for body, header in self.got]


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def box(sandbox, receiver, settings):
    settings.SANDBOX_WEBHOOK_URL = f"http://127.0.0.1:{receiver.server.server_port}/webhooks/stripe"
    return sandbox


def customers(box, count):
    for number in range(count):
        box.client.v1.customers.create({"name": f"C{number}"})


def test_events_arrive_signed_in_the_order_they_happened(box, receiver):
    session = box.client.v1.checkout.sessions.create(box.session_params())
    box.pay(session.id)
    assert box.deliver() == 5
    assert receiver.types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
        "checkout.session.completed",
    ]
    assert {row.state for row in box.deliveries()} == {"delivered"}
    assert box.deliver() == 0


def test_a_body_that_was_changed_does_not_verify(box, receiver):
    customers(box, 1)
    box.deliver()
    ((body, header),) = receiver.got
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body + b" ", header, "whsec_sandbox")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, "whsec_other")


def test_the_first_secret_signs(box, receiver, settings):
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", "whsec_sandbox"]
    customers(box, 1)
    box.deliver()
    ((body, header),) = receiver.got
    assert stripe.Webhook.construct_event(body, header, "whsec_new").type == "customer.created"


def test_the_event_says_which_request_made_it(box):
    made = box.client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    (event,) = box.events()
    assert event["request"] == {"id": made.last_response.headers["Request-Id"], "idempotency_key": "k"}
    assert event["livemode"] is False


def test_a_refused_sending_is_tried_again_later_and_at_last_given_up(box, receiver):
    receiver.status = 503
    customers(box, 1)
    now, attempts = clock.now(), len(delivery.BACKOFF) + 1
    assert delivery.deliver_pending(now) == 1
    (row,) = box.deliveries()
    assert (row.state, row.answer_status, row.answer_text) == ("pending", 503, "said so")
    assert row.due_at == now + delivery.BACKOFF[0]
    assert delivery.deliver_pending(now) == 0
    for _ in range(attempts - 1):
        now += timedelta(days=1)
        assert delivery.deliver_pending(now) == 1
    (row,) = box.deliveries()
    assert (row.state, row.attempts) == ("failed", attempts)


def test_a_receiver_that_is_away_is_tried_again(box, receiver, settings):
    settings.SANDBOX_WEBHOOK_URL = "http://127.0.0.1:9/webhooks/stripe"
    customers(box, 1)
    assert delivery.deliver_pending(clock.now()) == 1
    (row,) = box.deliveries()
    assert (row.state, row.answer_status) == ("pending", None)


def test_events_go_only_to_this_machine_and_to_the_public_url(box, settings):
    settings.SANDBOX_WEBHOOK_URL = "http://192.0.2.1/webhooks/stripe"
    customers(box, 1)
    assert delivery.deliver_pending(clock.now()) == 1
    (row,) = box.deliveries()
    assert "only to this machine" in row.answer_text


def test_a_sending_whose_deliverer_died_is_taken_again(box, receiver):
    customers(box, 1)
    now = clock.now()
    Delivery.objects.update(state="sending", claimed_at=now, attempts=1)
    assert delivery.deliver_pending(now) == 0
    assert delivery.deliver_pending(now + timedelta(seconds=61)) == 1


def test_two_deliverers_send_each_event_once(box, receiver):
    customers(box, 10)
    now = clock.now()

    def deliver() -> None:
        try:
            delivery.deliver_pending(now)
        finally:
            connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.got) == 10


def test_an_event_can_be_sent_again(box, receiver):
    customers(box, 1)
    box.deliver()
    delivery.send_again(Event.objects.get(), clock.now())
    assert box.deliver() == 1
    assert receiver.got[0][0] == receiver.got[1][0]


# --- Switches -----------------------------------------------------------------------------------------------------
def test_duplicates_carry_the_same_id(box, receiver):
    box.switch(disturb=["duplicate"], duplicates=3)
    customers(box, 1)
    assert box.deliver() == 3
    assert len({body for body, _header in receiver.got}) == 1


def test_delayed_events_wait(box, receiver):
    box.switch(disturb=["delayed"], delay_seconds=300)
    customers(box, 1)
    assert delivery.deliver_pending(clock.now()) == 0
    assert delivery.deliver_pending(clock.now() + timedelta(seconds=301)) == 1


def test_lost_events_are_never_sent_but_the_api_knows_them(box, receiver):
    box.switch(disturb=["lost"])
    customers(box, 2)
    assert box.deliver() == 0
    assert {row.state for row in box.deliveries()} == {"lost"}
    assert len(box.client.v1.events.list({"delivery_success": False}).data) == 2


def test_reordered_events_arrive_out_of_order(box, receiver):
    box.switch(disturb=["reordered"], seed=7)
    customers(box, 8)
    box.deliver()
    names = [stripe.Webhook.construct_event(*one, "whsec_sandbox").data.object.name for one in receiver.got]
    assert names != sorted(names)
    assert sorted(names) == [f"C{number}" for number in range(8)]


@pytest.mark.django_db
def test_a_share_of_events_is_disturbed_and_the_seed_repeats_it():
    plans = []
    for _ in range(2):
        switches.set_switches(disturb=list(switches.DISTURBANCES), percent=33, seed=11, duplicates=2)
        plans.append([switches.plan_delivery() for _ in range(100)])
    assert plans[0] == plans[1]
    normal = plans[0].count(([timedelta()], False))
    lost = plans[0].count(([timedelta()], True))
    twice = plans[0].count(([timedelta()] * 2, False))
    assert 55 <= normal <= 80
    assert lost > 3
    assert twice > 3


def test_events_are_found_by_type_and_id(box):
    session = box.client.v1.checkout.sessions.create(box.session_params())
    box.pay(session.id)
    v1 = box.client.v1
    (found,) = v1.events.list({"types": ["checkout.session.completed", "checkout.session.expired"]}).data
    assert found.data.object.id == session.id
    assert v1.events.retrieve(found.id).pending_webhooks == 1
    assert len(v1.events.list({"type": "charge.*"}).data) == 2
    box.deliver()
    assert v1.events.retrieve(found.id).pending_webhooks == 0
