"""The payment sandbox in tests: the real `StripeClient` against the real server, over HTTP.

    def test_a_paid_session_sends_a_signed_event(sandbox):
        session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params(amount=2000))
        paid = sandbox.pay(session.id)                          # the hosted page, as a browser would
        assert paid.ok and paid.url == "http://…/return?session=cs_test_…"
        assert sandbox.deliver() == 5                           # POSTs the signed events to /webhooks/stripe

`sandbox` is a fixture of every test (tests/conftest.py names this module as a plugin). It starts one ASGI server for
the session on a free port, needs a transactional database by itself, points PUBLIC_URL, STRIPE_API_BASE and
SANDBOX_WEBHOOK_URL at the server, and begins every test with the switches at normal and events held: nothing is sent
until the test says `deliver()`. What it offers:

    client, url                         a StripeClient without retries (client_with(retries=2) is another); PUBLIC_URL
    session_params(amount=…, **more)    parameters of a checkout session that work
    pay(id, card=…, outcome=…)          fill in the card form; `Paid.ok`, `.url`, `.message`, `.status`
    pay_by_wallet(id, "alipay", …)      outcome "succeed", "fail", "cancel", "expire", "delayed_succeed", "delayed_fail"
    confirm(id, "succeed"|"fail")       the bank's page, after a card that asks for 3-D Secure
    expire(id)                          press "let this page expire"
    deliver()                           send all that waits (also what is delayed), in its planned order
    send(event, …)                      POST one event by itself: `times`, `secrets`, `age`, `tamper`, `header`
    forge(type, object, **envelope)     an event of our own making: unknown types, `livemode=True`, old versions
    events(*types), deliveries()        what was written, and what became of the sendings
    settle(id, "succeeded"|"failed")    end a delayed payment or a refund; settle_due(after=…) lets time do it
    refund_in_dashboard(id, amount)     what a person does in the provider's own pages
    switch(**values)                    sandbox.switches: refunds="pending", disturb=["duplicate"], …
    lose_next_answer(regex, times=1)    the work is done, the connection is cut (with status=: answered by that error)
    fail_next(regex, status=500)        refused before any work
    price(2000, name="Pro")             a product with a monthly price; the price's id
    subscribe(price, card=…, …)         pay a subscription on the hosted page; the subscription
    keep_card(customer, number)         attach a card to a customer; its id
    run_due(now)                        let everything happen that is due at `now`, renewal after renewal
    move_clock("+31d")                  move the installation's clock to this offset from the real time, and run_due
    renew(id)                           let a subscription's period end now
    in_dashboard(id, action)            "renew", "fail_next_payment", "pay_again", "cancel", "unknown_price"
    objects(kind), refunds()            what the provider holds
    forget_idempotency_keys()           as the provider does after a day
    bad_requests_expected()             this test means to send requests that the API refuses

At the end of every test each request, answer and event is checked against the schema of the installed SDK, where the
checker (tools/stripe_check) stands beside the repository; tests/contract says so where it does not.
"""

import html
import importlib
import json
import re
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import stripe
from django.conf import settings as django_settings
from django.db import connections, transaction

from config import clock
from sandbox import (
    API_VERSION,
    cards,
    checkout,
    dashboard,
    dashboard_subscriptions,
    delivery,
    idempotency,
    settling,
    store,
    switches,
)
from sandbox.models import Delivery, Event, RequestLog, StoredObject
from sandbox.resources import refunds
from sandbox.store import Moment
from tests.contract import conformance
from tests.live import serving

Json = dict[str, Any]
FAR = timedelta(days=400)


@dataclass(frozen=True)
class Paid:
    """What the customer sees after a click: back at the shop (`ok`, `url`), or the page again with a `message`."""

    status: int
    url: str = ""
    message: str = ""
    page: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        return self.status == 303


@dataclass
class Sandbox:
    url: str
    settings: Any  # the fixture: what it changes is undone after the test
    _bad_requests_expected: bool = False

    @property
    def client(self) -> stripe.StripeClient:
        return self.client_with(retries=0)

    def client_with(self, *, retries: int = 0, key: str = "") -> stripe.StripeClient:
        return stripe.StripeClient(
            key or django_settings.STRIPE_SECRET_KEY,
            base_addresses={"api": django_settings.STRIPE_API_BASE},
            max_network_retries=retries,
        )

    def session_params(self, *, amount: int = 2000, currency: str = "usd", **more: Any) -> Any:
        return {
            "mode": "payment",
            "success_url": f"{self.url}/return?session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{self.url}/canceled",
            "client_reference_id": "order-7",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {"currency": currency, "unit_amount": amount, "product_data": {"name": "Top-up"}},
                }
            ],
            **more,
        }

    # --- the hosted page ------------------------------------------------------------------------------------------
    def page(self, session_id: str, *, language: str = "en") -> httpx.Response:
        with self._browser(language) as browser:
            return browser.get(f"/sandbox/checkout/{session_id}")

    def pay(
        self,
        session_id: str,
        card: str = "4242424242424242",
        *,
        outcome: str = "",
        email: str = "payer@example.com",
        expiry: str = "12/34",
        cvc: str = "123",
        language: str = "en",
    ) -> Paid:
        form = {"number": card, "expiry": expiry, "cvc": cvc, "email": email, "name": "Pat Payer", "outcome": outcome}
        return self._submit(session_id, "card", form, language)

    def pay_by_wallet(self, session_id: str, kind: str, outcome: str = "succeed") -> Paid:
        return self._submit(session_id, "wallet", {"kind": kind, "outcome": outcome}, "en")

    def confirm(self, session_id: str, outcome: str = "succeed") -> Paid:
        """Answer the bank's question (3-D Secure): "succeed" or "fail"."""
        return self._submit(session_id, "3ds", {"outcome": outcome}, "en")

    def expire(self, session_id: str) -> Paid:
        return self._submit(session_id, "expire", {}, "en")

    def _submit(self, session_id: str, button: str, form: dict[str, str], language: str) -> Paid:
        address = f"/sandbox/checkout/{session_id}"
        with self._browser(language) as browser:
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(address).text)
            posted = {**form, "csrfmiddlewaretoken": token[1] if token else ""}
            answer = browser.post(f"{address}/{button}", data=posted, headers={"Referer": self.url + address})
        said = re.search(r'data-message="([^"]*)"', answer.text)
        message = html.unescape(said[1]) if said else ""
        return Paid(answer.status_code, answer.headers.get("Location", ""), message, answer.text)

    def _browser(self, language: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Accept-Language": language}, timeout=20)

    # --- subscriptions --------------------------------------------------------------------------------------------
    def price(self, amount: int = 2000, *, name: str = "Pro", interval: str = "month", **more: Any) -> str:
        """A new product with a price per month; the id of the price."""
        product = self.client.v1.products.create({"name": name})
        params: Any = {"currency": "usd", "unit_amount": amount, "product": product.id, **more}
        return self.client.v1.prices.create({**params, "recurring": {"interval": interval}}).id

    def subscription_params(self, price: str, **more: Any) -> Any:
        """Parameters of a checkout session in subscription mode that work."""
        return {
            "mode": "subscription",
            "success_url": f"{self.url}/return?session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{self.url}/canceled",
            "line_items": [{"price": price, "quantity": 1}],
            **more,
        }

    def subscribe(self, price: str, card: str = "4242424242424242", **more: Any) -> stripe.Subscription:
        """Buy a subscription on the hosted page; it must be paid. `more` are parameters of the session."""
        session = self.client.v1.checkout.sessions.create(self.subscription_params(price, **more))
        paid = self.pay(session.id, card)
        assert paid.ok, paid.message
        session = self.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
        assert isinstance(session.subscription, stripe.Subscription)
        return session.subscription

    def keep_card(self, customer: str, number: str = "4242424242424242") -> str:
        """Attach a card to a customer, as a setup page does; the id of the payment method."""
        with transaction.atomic():
            return dashboard_subscriptions.keep_card(customer, number, Moment(clock.now())).object_id

    def run_due(self, now: datetime) -> int:
        """Let everything happen that is due at `now`, each thing at its own time; how many things happened."""
        return settling.settle_due(now)

    def move_clock(self, offset: str) -> datetime:
        """Move the clock of the installation, and with it of the provider, and let happen what is due then."""
        self.settings.DEBUG = True  # the clock can only be moved in development
        self.settings.CLOCK_OFFSET = offset
        self.run_due(clock.now())
        return clock.now()

    def renew(self, subscription_id: str) -> Json:
        return self.in_dashboard(subscription_id, "renew")

    def in_dashboard(self, subscription_id: str, action: str) -> Json:
        """What the control page's buttons do to a subscription."""
        return dashboard_subscriptions.act(subscription_id, action, clock.now()).data

    # --- events ---------------------------------------------------------------------------------------------------
    def deliver(self) -> int:
        """Send everything that waits, however late it was planned, in the planned order; how many were sent."""
        return delivery.deliver_pending(clock.now() + FAR)

    def send(
        self,
        event: str | Json,
        *,
        times: int = 1,
        secrets: list[str] | None = None,
        age: int = 0,
        tamper: bool = False,
        header: str | None = None,
    ) -> list[httpx.Response]:
        """POST one event to the webhook route, signed as asked, `times` in parallel; the answers."""
        body = event if isinstance(event, dict) else Event.objects.get(event_id=event).body
        payload = json.dumps(body, indent=2).encode()
        if header is None:
            at = int(time.time()) - age
            signed = [
                delivery.signature(payload, key, at) for key in secrets or django_settings.STRIPE_WEBHOOK_SECRETS[:1]
            ]
            header = ",".join([signed[0], *(one.split(",", 1)[1] for one in signed[1:])])
        if tamper:
            payload = payload.replace(b'"created"', b'"created" ', 1)
        answers: list[httpx.Response] = []

        def post() -> None:
            headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": header}
            if not header:
                del headers["Stripe-Signature"]
            answers.append(
                httpx.post(django_settings.SANDBOX_WEBHOOK_URL, content=payload, headers=headers, timeout=20)
            )

        threads = [threading.Thread(target=post) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def forge(self, type: str, object: Json, **envelope: Any) -> Json:
        now = clock.now()
        return {
            "id": store.new_id("event", now),
            "object": "event",
            "api_version": API_VERSION,
            "created": store.seconds(now),
            "data": {"object": object},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": type,
            **envelope,
        }

    def events(self, *types: str) -> list[Json]:
        rows = Event.objects.order_by("pk")
        return [row.body for row in (rows.filter(type__in=types) if types else rows)]

    def deliveries(self) -> list[Delivery]:
        return list(Delivery.objects.select_related("event").order_by("pk"))

    # --- switches -------------------------------------------------------------------------------------------------
    def switch(self, **values: Any) -> None:
        switches.set_switches(**values)

    def lose_next_answer(self, path_regex: str, times: int = 1, *, status: int | None = None) -> None:
        switches.add_fault("lose", path_regex, times=times, status=status)

    def fail_next(self, path_regex: str, status: int = 500, times: int = 1) -> None:
        switches.add_fault("fail", path_regex, times=times, status=status)

    def forget_idempotency_keys(self) -> None:
        idempotency.forget()

    # --- what the provider holds ----------------------------------------------------------------------------------
    def objects(self, kind: str) -> list[Json]:
        return [row.data for row in StoredObject.objects.filter(kind=kind).order_by("pk")]

    def refunds(self) -> list[Json]:
        return self.objects("refund")

    def settle(self, object_id: str, outcome: str = "succeeded") -> None:
        moment = Moment(clock.now())
        with transaction.atomic():
            if object_id.startswith("re_"):
                refunds.settle(store.get("refund", object_id, lock=True), outcome, moment)
            else:
                intent = store.get("payment_intent", object_id, lock=True)
                ending = cards.SUCCESS if outcome == "succeeded" else checkout.PROVIDER_DECLINE
                checkout.settle(intent, ending, moment)

    def refund_in_dashboard(self, payment_intent: str, amount: int | None = None) -> Json:
        return dashboard.refund(payment_intent, amount, clock.now())

    def settle_due(self, after: timedelta = timedelta(minutes=1)) -> int:
        return settling.settle_due(clock.now() + after)

    # --- conformance ----------------------------------------------------------------------------------------------
    def bad_requests_expected(self) -> None:
        self._bad_requests_expected = True

    def problems(self) -> list[str]:
        """What the checker finds in this test's requests, answers and events."""
        checker = conformance.checker()
        if checker is None:
            return []
        found = []
        for entry in RequestLog.objects.order_by("pk"):
            if not self._bad_requests_expected:
                found += checker.request(entry.method, entry.path, entry.query)
            if entry.status == 200 and not entry.replayed:
                found += checker.answer(entry.method, entry.path, entry.answer)
        for event in Event.objects.order_by("pk"):
            found += checker.event(event.body)
        return found


@pytest.fixture(scope="session")
def stack() -> Iterator[str]:
    """The whole product on a free port of this machine, in this process; its URL."""
    with warnings.catch_warnings():
        # WhiteNoise warns when static files are not collected; in development it finds them where they are.
        warnings.filterwarnings("ignore", "No directory at", UserWarning)
        importlib.import_module("config.asgi")
    with serving() as url:
        yield url


@pytest.fixture
def sandbox(stack: str, transactional_db: None, settings: Any) -> Iterator[Sandbox]:
    """The sandbox behind the real `StripeClient`; the module's docstring says what it offers."""
    settings.PUBLIC_URL = stack
    settings.STRIPE_API_BASE = f"{stack}/sandbox"
    settings.SANDBOX_WEBHOOK_URL = f"{stack}/webhooks/stripe"
    switches.reset()
    switches.set_switches(hold=True)
    box = Sandbox(stack, settings)
    yield box
    problems = box.problems()
    connections.close_all()
    assert not problems, "against the SDK's schema:\n" + "\n".join(problems[:20])
