"""`/billing/auto-top-up` and its API: say what will happen, ask who it is, and do it once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys
from accounts.models import Membership
from billing.payments.models import TopUp
from billing.payments.models_saved import AutoTopUp, CardSetup, Consent, PaymentMethod
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop, work
from tests.billing.payments.saving import ALWAYS_DECLINED, VISA, Saver

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/billing/auto-top-up"
TERMS = {"threshold": "5", "amount": "20", "daily_count": "3", "daily_amount": "60", "monthly_amount": "300"}


@pytest.fixture
def saver(shop: Shop) -> Saver:
    return Saver(shop)


def browser(user: Any, *, fresh: bool = True) -> Client:
    client = Client()
    client.force_login(user)
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - (0 if fresh else 10**6)}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return client


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_from_a_new_card_to_the_first_charge_through_the_pages_alone(saver: Saver) -> None:
    client, account = browser(saver.shop.owner), str(saver.shop.account.pk)
    assert "First save a card" in text(client.get(URL))
    form = {"account": account, "token": "a" * 32, "agree": "1"}

    away = client.post(f"{URL}/cards", form)
    assert away.status_code == 302
    assert client.post(f"{URL}/cards", form)["Location"] == away["Location"]  # a second click
    setup = CardSetup.objects.get()
    back = saver.give(setup).url.removeprefix(saver.shop.sandbox.url)
    page = client.get(back, follow=True)
    assert "Visa …4242 is saved." in text(page)
    card = PaymentMethod.objects.get()

    preview = client.get(f"{URL}/on", TERMS | {"payment_method": str(card.pk)})
    assert "When the balance falls below $5.00, we charge $20.00 to Visa …4242, without asking again." in text(preview)
    assert "at most 3 times and $60.00 a day, and $300.00 a month" in text(preview)
    assert "The first charge comes at once" in text(preview)
    assert not AutoTopUp.objects.exists()
    unticked = client.post(f"{URL}/on", TERMS | {"payment_method": str(card.pk), "account": account})
    assert unticked.status_code == 422
    assert not AutoTopUp.objects.exists()
    on = client.post(
        f"{URL}/on", TERMS | {"payment_method": str(card.pk), "account": account, "agree": "1"}, follow=True
    )
    assert "Auto top-up is on." in text(on)
    work()

    shown = text(client.get(URL))
    assert saver.net == 20
    assert "Credited" in shown
    consent = Consent.objects.get(purpose="auto_top_up")
    assert consent.text.startswith("When the balance falls below $5.00, we charge $20.00 to Visa …4242")
    assert (consent.user, consent.version) == (saver.shop.owner, "2026-11")
    off = client.post(f"{URL}/off", {"account": account}, follow=True)
    assert "Auto top-up is off." in text(off)
    assert AutoTopUp.objects.get().status == "off"


def test_turning_on_and_resuming_ask_again_who_it_is_and_turning_off_does_not(saver: Saver) -> None:
    saver.shop.owner.set_password(factories.PASSWORD)
    saver.shop.owner.save()
    saver.on(saver.card(ALWAYS_DECLINED))
    saver.run()
    client, account = browser(saver.shop.owner, fresh=False), str(saver.shop.account.pk)
    assert "reauthenticate" in client.get(f"{URL}/on", TERMS)["Location"]
    assert "reauthenticate" in client.post(f"{URL}/resume", {"account": account})["Location"]
    assert AutoTopUp.objects.get().status == "stopped"
    assert client.post(f"{URL}/off", {"account": account})["Location"] == URL
    assert AutoTopUp.objects.get().status == "off"


def test_a_stop_is_told_with_its_reason_and_the_failed_order_can_be_paid_on_session(saver: Saver) -> None:
    saver.on(saver.card(ALWAYS_DECLINED))
    order = saver.run()
    assert order is not None
    client, account = browser(saver.shop.owner), str(saver.shop.account.pk)
    shown = text(client.get(URL))
    assert "Your bank declined the card" in shown
    assert "Turn on again" in shown
    again = client.post(f"/billing/top-up/{order.number}/pay")
    assert again["Location"].startswith(f"{saver.shop.sandbox.url}/sandbox/checkout/")
    new = TopUp.objects.exclude(pk=order.pk).get()
    assert not new.automatic
    assert saver.shop.sandbox.pay(new.checkout_session_id, VISA).ok
    saver.shop.tell()
    assert saver.net == 10
    assert AutoTopUp.objects.get().status == "stopped"
    client.post(f"{URL}/resume", {"account": account})
    assert AutoTopUp.objects.get().status == "on"


def test_a_developer_reads_and_changes_nothing(saver: Saver) -> None:
    card = saver.card()
    saver.on(card)
    developer = factories.user()
    Membership.objects.create(user=developer, account=saver.shop.account, role="developer", created_at=clock.now())
    client = browser(developer)
    shown = text(client.get(URL))
    assert "Visa …4242" in shown
    assert "Turn off" not in shown
    for path in ("/off", "/resume", "/on", "/cards", f"/cards/{card.pk}/default", f"/cards/{card.pk}/remove"):
        assert client.post(URL + path).status_code == 403


def test_wrong_terms_come_back_with_the_field_marked_and_write_nothing(saver: Saver) -> None:
    card = saver.card()
    answer = browser(saver.shop.owner).get(f"{URL}/on", TERMS | {"payment_method": str(card.pk), "daily_amount": "1"})
    assert answer.status_code == 422
    assert "must be between" in text(answer)
    assert not AutoTopUp.objects.exists()


def test_removing_a_card_says_first_that_auto_top_up_stops(saver: Saver) -> None:
    card = saver.card()
    saver.on(card)
    client = browser(saver.shop.owner)
    assert "Auto top-up charges this card and stops" in text(client.get(f"{URL}/cards/{card.pk}/remove"))
    client.post(f"{URL}/cards/{card.pk}/remove")
    work()
    card.refresh_from_db()
    assert card.state == "removed"
    assert card.detached_at
    assert client.get(f"{URL}/cards/{card.pk}/remove").status_code == 404


def test_another_account_in_force_changes_nothing(saver: Saver) -> None:
    saver.on()
    client = browser(saver.shop.owner)
    client.post(f"{URL}/off", {"account": str(factories.account().pk)})
    assert AutoTopUp.objects.get().status == "on"


def test_the_history_is_paged(saver: Saver) -> None:
    saver.on()
    saver.run()
    client = browser(saver.shop.owner)
    assert client.get(URL, {"before": "nonsense"}).status_code == 200
    assert "No automatic charge yet" in text(client.get(URL, {"before": "00000000-0000-0000-0000-000000000000"}))


# --- API ------------------------------------------------------------------------------------------------------------


class Api:
    def __init__(self, shop: Shop, role: str = "admin") -> None:
        _, secret = api_keys.issue_management_key(shop.account, name="t", role=role, now=clock.now(), actor=None)
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.http = Client()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        send = getattr(self.http, method)
        if body is None:
            return send(f"/api/v1/{path}", headers=self.headers)
        return send(f"/api/v1/{path}", body, content_type="application/json", headers=self.headers)


BODY = {**TERMS, "daily_count": 3, "enabled": True, "consent": True}


def test_a_program_reads_turns_on_and_off_and_removes_the_card(saver: Saver) -> None:
    api = Api(saver.shop)
    assert api.call("get", "auto-top-up").json()["status"] == "off"
    card = saver.card()
    [listed] = api.call("get", "payment-methods").json()["results"]
    assert (listed["id"], listed["brand"], listed["last_four"], listed["type"]) == (
        str(card.pk),
        "visa",
        "4242",
        "card",
    )

    on = api.call("put", "auto-top-up", BODY)
    assert on.status_code == 200, on.content
    assert (on.json()["status"], on.json()["amount"]) == ("on", "20.00")
    assert on.json()["says"][0].startswith("When the balance falls below $5.00")
    work()
    assert api.call("get", "auto-top-up").json()["used"] == {
        "count_today": 1,
        "amount_today": "20.00",
        "amount_month": "20.00",
    }
    assert Consent.objects.get(purpose="auto_top_up").label.startswith("management key")
    assert api.call("put", "auto-top-up", {"enabled": False}).json()["status"] == "off"
    assert api.call("delete", f"payment-methods/{card.pk}").status_code == 204
    assert api.call("get", "payment-methods").json()["results"] == []
    assert api.call("delete", f"payment-methods/{card.pk}").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"consent": False}, "consent"),
        ({"amount": "0"}, "amount"),
        ({"amount": "1e12"}, "amount"),
        ({"amount": "5.001"}, "amount"),
        ({"daily_amount": "5"}, "daily_amount"),
        ({"payment_method": "00000000-0000-0000-0000-000000000000"}, "payment_method"),
        ({"threshold": None}, "threshold"),
        ({"amount": 20}, "amount"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_body_that_makes_no_sense_is_a_problem_that_names_the_field(
    saver: Saver, change: dict[str, Any], field: str
) -> None:
    saver.card()
    answer = Api(saver.shop).call("put", "auto-top-up", BODY | change)
    assert answer.status_code == 422
    assert field in answer.content.decode()
    assert not AutoTopUp.objects.exists()


def test_a_portal_session_signed_in_long_ago_may_not_turn_it_on_by_the_api(saver: Saver) -> None:
    saver.card()
    client = browser(saver.shop.owner, fresh=False)
    client.cookies["csrftoken"] = "x"
    answer = client.put("/api/v1/auto-top-up", BODY, content_type="application/json")
    assert answer.status_code == 403
    assert not AutoTopUp.objects.exists()
