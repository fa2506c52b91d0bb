"""Saved cards: through the provider's page, its signed events and the return page, whichever comes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from accounts.models import AuditRecord
from billing.errors import InvalidRequest, NotFound
from billing.payments import saved, tasks_saved
from billing.payments.models_saved import CardSetup, Consent, PaymentMethod
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from sandbox.models import StoredObject
from tests import factories
from tests.billing.payments.conftest import Shop, inbox, work
from tests.billing.payments.saving import ASKS_ALWAYS, Saver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def saver(shop: Shop) -> Saver:
    return Saver(shop)


def test_a_card_is_kept_by_its_signed_event_alone_with_the_words_that_were_agreed_to(saver: Saver) -> None:
    setup = saver.begin()
    assert saver.give(setup).ok

    saver.shop.tell()

    card = PaymentMethod.objects.get()
    assert (card.name, card.expiry, card.state, card.is_default) == ("Visa …4242", "12/34", "active", True)
    assert (card.consent.text, card.consent.user, card.consent.purpose) == (
        "Keep my card.",
        saver.shop.owner,
        "save_card",
    )
    assert CardSetup.objects.get().state == "saved"
    assert {state for _, state in inbox()} <= {"processed", "ignored"}
    assert AuditRecord.objects.filter(action="card_saved").count() == 1
    assert saver.charges() == []


def test_the_return_page_and_three_deliveries_keep_the_card_once(saver: Saver) -> None:
    setup = saver.begin()
    assert saver.give(setup).ok
    saved.finish(setup.pk, processor=get_processor(), now=clock.now(), session_id=setup.session_id or "")
    [event] = saver.shop.sandbox.events("checkout.session.completed")
    saver.shop.sandbox.send(event["id"], times=3)
    work()

    assert PaymentMethod.objects.count() == 1


def test_a_lost_answer_to_the_opening_of_the_page_makes_one_page(saver: Saver) -> None:
    saver.shop.sandbox.lose_next_answer("/v1/checkout/sessions", times=3, status=500)
    with pytest.raises(ProcessorUnavailable):
        saver.begin("k")
    setup = saver.begin("k")

    assert setup.session_id
    assert len(saver.shop.sandbox.objects("checkout.session")) == 1
    assert CardSetup.objects.count() == Consent.objects.count() == 1


def test_a_customer_who_refuses_at_the_bank_keeps_no_card_and_may_try_again(saver: Saver) -> None:
    setup = saver.begin()
    refused = saver.give(setup, ASKS_ALWAYS, confirmed="no")
    assert refused.status == 402
    assert saved.finish(setup.pk, processor=get_processor(), now=clock.now()).state == "open"
    assert PaymentMethod.objects.count() == 0

    assert saver.give(setup, ASKS_ALWAYS).ok
    assert saved.finish(setup.pk, processor=get_processor(), now=clock.now()).state == "saved"


def test_somebody_elses_page_is_not_found(saver: Saver) -> None:
    mine, other = saver.begin(), saver.begin()
    assert saver.give(other).ok
    with pytest.raises(NotFound):
        saved.finish(mine.pk, processor=get_processor(), now=clock.now(), session_id=other.session_id or "")


def test_the_sweep_keeps_a_card_whose_event_was_lost(saver: Saver) -> None:
    setup = saver.begin()
    assert saver.give(setup).ok
    CardSetup.objects.update(check_at=clock.now())

    tasks_saved.sweep_cards()

    assert PaymentMethod.objects.count() == 1


def test_a_page_that_expired_ends_without_a_card(saver: Saver) -> None:
    setup = saver.begin()
    saver.shop.sandbox.expire(setup.session_id or "")
    saver.shop.tell()
    assert CardSetup.objects.get().state == "ended"


def test_the_same_card_given_again_takes_the_place_of_the_older_one_in_auto_top_up_too(saver: Saver) -> None:
    first = saver.card()
    saver.on(first)
    second = saver.card()

    assert PaymentMethod.objects.get(pk=first.pk).state == "removed"
    assert (second.is_default, saver.row.payment_method_id, saver.row.status) == (True, second.pk, "on")
    tasks_saved.sweep_cards()  # it is not yet due: the detaching has a minute by itself
    assert saved.due_detaching(now=clock.now() + timedelta(minutes=2)) == [first.pk]


def test_a_removed_card_is_detached_at_the_provider_even_when_the_answer_is_lost(saver: Saver) -> None:
    card = saver.card()
    saved.remove(saver.shop.account.pk, card.pk, actor=saver.shop.owner, now=clock.now())
    saver.shop.sandbox.lose_next_answer("/detach$", times=3, status=500)
    saver.shop.sandbox.bad_requests_expected()
    with pytest.raises(ProcessorUnavailable):
        saved.detach(card.pk, processor=get_processor(), now=clock.now())
    assert saved.detach(card.pk, processor=get_processor(), now=clock.now()).detached_at

    [method] = saver.shop.sandbox.objects("payment_method")
    assert method["customer"] is None
    saver.shop.tell()
    assert {state for _, state in inbox()} <= {"processed", "ignored"}


def test_a_card_detached_in_the_dashboard_is_removed_here_and_stops_auto_top_up(saver: Saver) -> None:
    card = saver.card()
    saver.on(card)
    saver.shop.sandbox.client.v1.payment_methods.detach(card.provider_id)
    saver.shop.tell()

    card.refresh_from_db()
    assert (card.state, saver.row.stopped_reason) == ("removed", "card_removed")


def test_a_date_that_the_card_network_renews_is_kept(saver: Saver) -> None:
    card = saver.card()
    row = StoredObject.objects.get(kind="payment_method")
    row.data["card"]["exp_year"] = 2040
    row.save()
    event = saver.shop.sandbox.forge("payment_method.automatically_updated", row.data)
    event["data"]["previous_attributes"] = {"card": {"exp_year": 2034}}
    saver.shop.sandbox.send(event)
    work()

    card.refresh_from_db()
    assert (card.expiry, card.ends_on.isoformat()) == ("12/40", "2041-01-01")


def test_removing_the_default_makes_the_next_card_the_default(saver: Saver) -> None:
    first, second = saver.card(), saver.card("5555555555554444")
    assert (first.is_default, second.is_default) == (True, False)
    saved.remove(saver.shop.account.pk, first.pk, actor=saver.shop.owner, now=clock.now())
    second.refresh_from_db()
    assert second.is_default
    with pytest.raises(NotFound):
        saved.remove(saver.shop.account.pk, first.pk, actor=saver.shop.owner, now=clock.now())


def test_another_accounts_card_is_not_found(saver: Saver) -> None:
    card, other = saver.card(), factories.account()
    for change in (saved.remove, saved.make_default):
        with pytest.raises(NotFound):
            change(other.pk, card.pk, actor=None, now=clock.now())


def test_an_account_keeps_ten_cards_at_most(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST_CARDS", 1)
    saver.card()
    with pytest.raises(InvalidRequest):
        saver.begin()


@pytest.mark.parametrize(
    ("moment", "state", "mails"),
    [
        (datetime(2034, 11, 30, tzinfo=UTC), "active", []),
        (datetime(2034, 12, 2, tzinfo=UTC), "active", ["expires"]),
        (datetime(2034, 12, 31, 23, 59, 59, tzinfo=UTC), "active", ["expires"]),
        (datetime(2035, 1, 1, tzinfo=UTC), "expired", ["stopped"]),
    ],
)
def test_a_card_works_to_the_end_of_its_month_and_its_owner_hears_of_it_once(
    saver: Saver, moment: datetime, state: str, mails: list[str]
) -> None:
    saver.on()
    work()
    mail.outbox.clear()

    for _ in range(2):
        saved.watch_dates(now=moment)
    work()

    assert PaymentMethod.objects.get().state == state
    assert [
        next((word for word in ("expires", "stopped") if word in one.subject), one.subject) for one in mail.outbox
    ] == mails
    assert saver.row.stopped_reason == ("card_expired" if state == "expired" else "")


def test_what_is_kept_of_a_card_is_not_its_number(saver: Saver) -> None:
    card: Any = saver.card()
    [told] = saver.shop.sandbox.objects("payment_method")
    assert bytes(card.fingerprint_hash) not in (b"", told["card"]["fingerprint"].encode())
    assert "4242424242424242" not in str(PaymentMethod.objects.values().get())
