"""Case 20 through the real client, the sandbox and signed webhooks."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.test import Client

from billing.books.models import JournalEntry, Wallet
from billing.payments import tasks_disputes
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.models_disputes import Dispute, EarlyFraudWarning, RiskFlag
from billing.payments.stripe_processor import get_processor
from config import clock
from sandbox import store, views_disputes
from sandbox.models import Delivery
from sandbox.store import Moment
from tests.billing.payments.conftest import Shop, inbox, work

pytestmark = pytest.mark.django_db(transaction=True)


def act(object_id: str, action: str) -> str:
    """A button of the sandbox's control page."""
    return views_disputes.do(object_id, action, Moment(clock.now())).object_id


def paid(shop: Shop, card: str = "4242424242424242") -> TopUp:
    order = shop.order()
    assert shop.sandbox.pay(order.checkout_session_id, card).ok
    shop.tell()
    order.refresh_from_db()
    return order


def charge(shop: Shop) -> str:
    return str(shop.sandbox.objects("charge")[-1]["id"])


def net(shop: Shop) -> Decimal:
    return Decimal(Wallet.objects.get(pk=shop.account.pk).net)


def kinds(shop: Shop) -> list[str]:
    rows = JournalEntry.objects.filter(account=shop.account).order_by("seq")
    return list(rows.values_list("kind", flat=True))


def test_case_20_a_dispute_is_frozen_once_and_won_money_comes_back_once(shop: Shop) -> None:
    order = paid(shop)
    dispute = act(charge(shop), "dispute")
    shop.tell()
    assert net(shop) == 0
    order.refresh_from_db()
    assert (order.status, order.disputed_minor) == ("disputed", 2000)

    act(dispute, "submit")
    act(dispute, "won")
    shop.tell()
    for event in shop.sandbox.events():
        if event["type"].startswith("charge.dispute"):
            shop.sandbox.send(event["id"])
    work()

    order.refresh_from_db()
    row = Dispute.objects.get()
    assert (net(shop), order.status, order.disputed_minor) == (20, "credited", 0)
    assert (row.state, row.fee_minor, len(row.balance_lines), row.has_evidence) == ("won", 1500, 2, True)
    assert kinds(shop) == ["topup", "dispute_opened", "dispute_won"]
    assert {state for type_, state in inbox() if "dispute" in type_} == {"processed"}


def test_case_20_every_order_of_the_events_leads_to_the_same_end(shop: Shop) -> None:
    """All events were written before the first arrives; each order of the five is one customer's."""
    for order_of in list(itertools.permutations(range(5)))[::12]:
        order = paid(shop)
        before = len(shop.sandbox.events())
        dispute = act(charge(shop), "dispute")
        for action in ("submit", "won"):
            act(dispute, action)
        events = shop.sandbox.events()[before:]
        assert len(events) == 5
        for index in order_of:
            shop.sandbox.send(events[index]["id"])
            work()
        Delivery.objects.filter(state="pending").delete()
        order.refresh_from_db()
        assert (order.status, order.disputed_minor) == ("credited", 0)
        assert order.grant.remaining == 20


def test_case_20_a_lost_dispute_is_final(shop: Shop) -> None:
    order = paid(shop, "4000000000000259")
    act(Dispute.objects.get().provider_id, "lost")
    shop.tell()
    order.refresh_from_db()
    assert (net(shop), order.status, Dispute.objects.get().state) == (0, "disputed", "lost")
    assert kinds(shop) == ["topup", "dispute_opened", "dispute_lost"]


def test_case_20_an_inquiry_leaves_the_wallet_untouched_until_it_becomes_a_dispute(shop: Shop) -> None:
    paid(shop, "4000000000001976")
    row = Dispute.objects.get()
    assert (row.state, net(shop), kinds(shop)) == ("inquiry", 20, ["topup"])
    act(row.provider_id, "escalate")
    shop.tell()
    assert (Dispute.objects.get().state, net(shop)) == ("open", 0)
    act(row.provider_id, "prevented")
    shop.tell()
    assert (Dispute.objects.get().state, net(shop)) == ("prevented", 20)


def test_case_20_an_early_fraud_warning_flags_once_and_freezes_what_is_unspent(shop: Shop) -> None:
    paid(shop, "4000000000005423")
    [event] = shop.sandbox.events("radar.early_fraud_warning.created")
    shop.sandbox.send(event["id"], times=2)
    work()
    row = EarlyFraudWarning.objects.get()
    assert (row.state, row.frozen_usd, net(shop)) == ("frozen", 20, 0)
    assert RiskFlag.objects.filter(account=shop.account, cleared_at=None).count() == 1
    act(charge(shop), "dispute")
    shop.tell()
    assert kinds(shop) == ["topup", "credit_frozen", "dispute_opened"]
    assert EarlyFraudWarning.objects.get().state == "used"


def test_lost_events_are_healed_by_the_sweep(shop: Shop) -> None:
    order = paid(shop)
    dispute = act(charge(shop), "dispute")
    Delivery.objects.filter(state="pending").delete()
    tasks_disputes.sweep_disputes()
    assert net(shop) == 0
    act(dispute, "won")
    Delivery.objects.filter(state="pending").delete()
    tasks_disputes.look(processor=get_processor(), now=clock.now() + timedelta(hours=7))
    order.refresh_from_db()
    assert (net(shop), order.status) == (20, "credited")


def test_a_dispute_whose_payment_was_never_told_of_credits_first_and_then_freezes(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id, "4000000000000259")
    [event] = shop.sandbox.events("charge.dispute.created")
    shop.sandbox.send(event["id"])
    work()
    assert kinds(shop) == ["topup", "dispute_opened"]
    assert net(shop) == 0


def test_a_status_that_we_do_not_know_is_kept_and_flagged(shop: Shop) -> None:
    paid(shop)
    dispute = act(charge(shop), "dispute")
    with transaction.atomic():
        row = store.get("dispute", dispute, lock=True)
        row.data["status"] = "appeal_under_review"
        row.save()
    [event] = shop.sandbox.events("charge.dispute.created")
    shop.sandbox.send(event["id"])
    work()
    assert Dispute.objects.get().flagged
    assert PaymentEvent.objects.get(type="charge.dispute.created").flagged
    assert net(shop) == 20
    with transaction.atomic():
        row.data["status"] = "needs_response"
        row.save()


def test_the_control_page_opens_and_ends_disputes(shop: Shop, client: Client) -> None:
    paid(shop)
    client.post(f"/sandbox/control/disputes/{charge(shop)}", {"action": "dispute"})
    dispute = shop.sandbox.objects("dispute")[0]
    assert dispute["status"] == "needs_response"
    assert dispute["id"] in client.get("/sandbox/control").content.decode()
    body = {"id": dispute["id"], "action": "lost"}
    answer = client.post("/sandbox/control/disputes", body, content_type="application/json")
    assert answer.json()["status"] == "lost"
    assert client.post("/sandbox/control/disputes", {"id": "x"}, content_type="application/json").status_code == 400
