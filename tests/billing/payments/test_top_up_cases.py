"""The cases that must hold: the real client, the sandbox over HTTP, signed webhooks (case numbers: payments design)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from psycopg import sql

from billing.errors import IdempotencyConflict, NotFound
from billing.payments import settling, tasks, webhooks
from billing.payments.models import PaymentAttempt, PaymentEvent, TopUp
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from sandbox.models import IdempotentRequest, RequestLog, StoredObject
from tests import factories
from tests.billing.payments.conftest import Shop, inbox, work
from tests.services import database_url

pytestmark = pytest.mark.django_db(transaction=True)
TWENTY = Decimal(20)
COMPLETED = "checkout.session.completed"


def event_of(shop: Shop, type_: str) -> dict[str, Any]:
    [event] = shop.sandbox.events(type_)
    return event


def change_at_provider(kind: str, **values: Any) -> None:
    """Something happens at the provider that our code did not ask for."""
    row = StoredObject.objects.get(kind=kind)
    row.data.update(values)
    row.save()


def test_case_1_three_parallel_deliveries_of_one_event_credit_once(shop: Shop) -> None:
    order = shop.order()
    assert shop.sandbox.pay(order.checkout_session_id).ok

    answers = shop.sandbox.send(event_of(shop, COMPLETED)["id"], times=3)
    work()

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert inbox() == [(COMPLETED, "processed")]
    assert shop.balance() == TWENTY
    assert len(shop.credits()) == 1


def test_case_2_two_events_and_two_visits_of_the_return_page_credit_once(shop: Shop, client: Client) -> None:
    order = shop.order()
    back = shop.sandbox.pay(order.checkout_session_id).url
    path = back.removeprefix(shop.sandbox.url)
    client.force_login(shop.owner)

    shop.sandbox.send(event_of(shop, COMPLETED)["id"])
    session = shop.sandbox.objects("checkout.session")[0]
    shop.sandbox.send(shop.sandbox.forge("checkout.session.async_payment_succeeded", session))
    pages = [client.get(path), client.get(path)]
    work()

    assert [page.status_code for page in pages] == [200, 200]
    assert "Credited to the balance" in pages[1].content.decode()
    assert shop.balance() == TWENTY
    assert len(shop.credits()) == 1
    assert {state for _, state in inbox()} == {"processed"}


def test_case_3_a_forged_or_unsigned_event_is_refused_and_not_kept(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    event = event_of(shop, COMPLETED)["id"]

    answers = [
        *shop.sandbox.send(event, tamper=True),
        *shop.sandbox.send(event, secrets=["whsec_of_somebody_else"]),
        *shop.sandbox.send(event, header=""),
        *shop.sandbox.send(event, header="t=1,v1=nonsense"),
        *shop.sandbox.send(event, age=301),
    ]

    assert [answer.status_code for answer in answers] == [400] * 5
    assert inbox() == []
    assert shop.balance() == 0


@pytest.mark.parametrize("known", [["whsec_new"], ["whsec_other", "whsec_old"]])
def test_case_4_a_rolled_secret_is_accepted_from_either_side(shop: Shop, settings: Any, known: list[str]) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    settings.STRIPE_WEBHOOK_SECRETS = known

    [answer] = shop.sandbox.send(event_of(shop, COMPLETED)["id"], secrets=["whsec_old", "whsec_new"])

    assert answer.status_code == 200
    assert len(inbox()) == 1


def test_case_4_a_header_with_one_of_our_two_secrets_is_accepted(shop: Shop, settings: Any) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_old", "whsec_new"]

    [answer] = shop.sandbox.send(event_of(shop, COMPLETED)["id"], secrets=["whsec_new"])

    assert answer.status_code == 200


def test_case_5_an_unknown_type_is_kept_flagged_and_changes_nothing(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    session = shop.sandbox.objects("checkout.session")[0]
    [answer] = shop.sandbox.send({**shop.sandbox.forge("checkout.session.reconsidered", session)})
    work()

    event = PaymentEvent.objects.get()
    assert (answer.status_code, event.state, event.flagged) == (200, "ignored", True)
    assert (shop.balance(), TopUp.objects.get().status) == (0, "awaiting_payment")


def test_case_5_a_known_type_whose_object_has_an_unknown_status_is_kept_flagged_and_changes_nothing(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    event = event_of(shop, COMPLETED)
    event["data"]["object"]["payment_status"] = "paid_in_kind"
    change_at_provider("checkout.session", payment_status="paid_in_kind")
    [answer] = shop.sandbox.send(event)
    work()

    kept = PaymentEvent.objects.get()
    assert (answer.status_code, kept.state, kept.flagged) == (200, "ignored", True)
    assert "paid_in_kind" in kept.last_error
    assert (shop.balance(), TopUp.objects.get().status) == (0, "awaiting_payment")
    RequestLog.objects.all().delete()  # the schema check at the end knows no such status either


def test_case_5_a_live_event_at_a_test_installation_is_quarantined(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    session = shop.sandbox.objects("checkout.session")[0]
    [answer] = shop.sandbox.send(shop.sandbox.forge(COMPLETED, session, livemode=True))
    work()

    event = PaymentEvent.objects.get()
    assert (answer.status_code, event.state, event.flagged) == (200, "quarantined", True)
    assert shop.balance() == 0


def test_case_6_with_the_database_away_the_answer_asks_to_be_sent_again(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    with connection.cursor() as cursor:  # the inbox cannot be written while this name is taken away
        cursor.execute("ALTER TABLE billing_paymentevent RENAME TO billing_paymentevent_away")
    try:
        [answer] = shop.sandbox.send(event_of(shop, COMPLETED)["id"])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE billing_paymentevent_away RENAME TO billing_paymentevent")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    [again] = shop.sandbox.send(event_of(shop, COMPLETED)["id"])
    work()
    assert (again.status_code, shop.balance()) == (200, TWENTY)


def test_case_6_a_database_that_refuses_connections_keeps_nothing_and_redelivery_is_processed_once(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    event = event_of(shop, COMPLETED)
    with connections_refused():
        [answer] = shop.sandbox.send(event)
    assert answer.status_code >= 500
    assert answer.headers["Retry-After"]
    assert inbox() == []

    deadline = time.monotonic() + 60
    while shop.sandbox.send(event)[0].status_code != 200:  # the provider sends until it is taken
        assert time.monotonic() < deadline
    shop.sandbox.send(event)
    work()
    assert inbox() == [(COMPLETED, "processed")]
    assert (shop.balance(), len(shop.credits())) == (TWENTY, 1)


@contextmanager
def connections_refused() -> Iterator[None]:
    """Every connection to the database but this thread's is cut, and no new one is taken."""
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = cursor.fetchone()[0]
    with psycopg.connect(database_url(), dbname="postgres", autocommit=True) as outside:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        outside.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            outside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> %s AND backend_type = 'client backend'",
                [name, own],
            )
            yield
        finally:
            outside.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
            # The pool waits longer and longer between its tries to connect: the next tests get one that has not failed.
            connection.close()
            connection.close_pool()


def test_case_6_with_the_broker_away_the_event_is_kept_and_processed_once_later(shop: Shop, broker_away: Any) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)

    with broker_away():
        [answer] = shop.sandbox.send(event_of(shop, COMPLETED)["id"])
    assert answer.status_code == 200
    assert work() == 0
    assert inbox() == [(COMPLETED, "received")]
    assert shop.balance() == 0

    later = clock.now() + webhooks.SWEEP_AFTER + timedelta(seconds=1)
    for claims in (webhooks.claim_due(now=later), webhooks.claim_due(now=later)):
        for event_id in claims:
            webhooks.process(event_id, processor=get_processor(), now=later)

    assert inbox() == [(COMPLETED, "processed")]
    assert (shop.balance(), len(shop.credits())) == (TWENTY, 1)


@pytest.mark.parametrize("ending", ["succeeded", "failed"])
def test_case_7_a_delayed_payment_is_processing_and_then_paid_or_failed(shop: Shop, ending: str) -> None:
    order = shop.delayed_order()
    shop.sandbox.pay_by_wallet(order.checkout_session_id, "alipay", "delayed_succeed")
    shop.tell()
    order.refresh_from_db()
    assert (order.status, shop.balance()) == ("processing", 0)

    shop.sandbox.settle(order.payment_intent_id, ending)
    shop.tell()

    order.refresh_from_db()
    if ending == "succeeded":
        assert (order.status, shop.balance()) == ("credited", TWENTY)
    else:
        assert (order.status, shop.balance()) == ("failed", 0)
        assert order.reason is not None
        shop.tell()
        [told] = mail.outbox
        assert (told.to, str(order.reason.title) in told.body) == ([shop.owner.email], True)
        assert shop.delayed_order().may_pay


def test_case_7_events_in_reversed_order_never_take_a_step_back(shop: Shop) -> None:
    order = shop.delayed_order()
    shop.sandbox.pay_by_wallet(order.checkout_session_id, "alipay", "delayed_succeed")
    shop.sandbox.settle(shop.sandbox.objects("payment_intent")[0]["id"], "succeeded")
    seen = []
    for event in reversed(shop.sandbox.events()):
        shop.sandbox.send(event)
        work()
        order.refresh_from_db()
        seen.append(order.status)

    assert shop.balance() == TWENTY
    first = seen.index("credited")
    assert set(seen[first:]) == {"credited"}


def test_case_7_an_older_answer_that_arrives_late_changes_nothing(shop: Shop) -> None:
    order = shop.delayed_order()
    shop.sandbox.pay_by_wallet(order.checkout_session_id, "alipay", "delayed_succeed")
    older = get_processor().checkout(order.checkout_session_id)  # "processing", on its way for a while
    shop.sandbox.settle(older.payment_intent_id, "failed")
    assert shop.settle(order).status == "failed"

    assert settling.record_outcome(order.pk, older, now=clock.now()).status == "failed"


def test_case_8_paid_stays_paid_when_an_expiry_is_told_afterwards(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    shop.tell()
    session = shop.sandbox.objects("checkout.session")[0]
    shop.sandbox.send(shop.sandbox.forge("checkout.session.expired", session))
    work()

    order.refresh_from_db()
    assert (order.status, shop.balance()) == ("credited", TWENTY)


def test_case_8_only_an_expiry_ends_the_order_without_credit(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.expire(order.checkout_session_id)
    shop.tell()

    order.refresh_from_db()
    assert (order.status, shop.balance(), order.check_at) == ("expired", 0, None)


def test_case_9_somebody_elses_session_is_not_found_and_the_owner_is_credited_once(shop: Shop, client: Client) -> None:
    order = shop.order()
    path = shop.sandbox.pay(order.checkout_session_id).url.removeprefix(shop.sandbox.url)
    stranger = factories.user()
    theirs = shop.order(account=factories.account(stranger, now=clock.now()), actor=stranger)
    client.force_login(stranger)

    own_page = f"/billing/top-up/{theirs.number}?session_id={order.checkout_session_id}"
    assert client.get(path).status_code == 404
    assert client.get(own_page).status_code == 404
    assert client.get(f"/billing/top-up/{order.number}/status").status_code == 404
    assert shop.balance() == 0

    shop.tell()
    assert (shop.balance(), shop.balance(theirs.account), len(shop.credits())) == (TWENTY, 0, 1)


@pytest.mark.parametrize("wrong", [{"amount_total": 1999}, {"currency": "eur"}])
def test_case_10_another_amount_or_currency_is_not_credited_but_reviewed(
    shop: Shop, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    change_at_provider("checkout.session", **wrong)
    shop.tell()

    order.refresh_from_db()
    assert (order.status, order.in_review, shop.balance()) == ("paid", True, 0)
    assert order.review_reason
    assert any("ALERT" in record.message and order.number in record.message for record in caplog.records)
    assert shop.settle(order).in_review  # whoever asks again gets the same answer


def test_case_10_less_money_than_asked_is_not_credited_but_reviewed(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    change_at_provider("payment_intent", amount_received=100)
    shop.tell()

    order.refresh_from_db()
    assert (order.status, order.in_review, shop.balance()) == ("paid", True, 0)


def test_case_11_two_clicks_make_one_order_one_key_and_one_session(shop: Shop) -> None:
    orders: list[TopUp] = []

    def click() -> None:
        try:
            orders.append(shop.order(key="form:1"))
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(orders) == 2
    assert {order.pk for order in orders} == {TopUp.objects.get().pk}
    assert len(shop.sandbox.objects("checkout.session")) == 1
    assert len(shop.sandbox.objects("customer")) == 1
    assert {order.checkout_url for order in orders} == {shop.sandbox.objects("checkout.session")[0]["url"]}


def test_case_11_a_create_call_that_is_cut_after_the_work_comes_to_the_same_session(shop: Shop) -> None:
    shop.sandbox.lose_next_answer(
        "/v1/checkout/sessions", times=3, status=500
    )  # the first try and both retries of the SDK
    with pytest.raises(ProcessorUnavailable):
        shop.order(key="form:1")
    placed = TopUp.objects.get()
    assert (placed.status, placed.checkout_session_id) == ("created", None)

    order = shop.order(key="form:1")

    [session] = shop.sandbox.objects("checkout.session")
    assert (order.pk, order.checkout_session_id, order.status) == (placed.pk, session["id"], "awaiting_payment")
    keys = IdempotentRequest.objects.filter(key__startswith="topup:").values_list("key", flat=True)
    assert list(keys) == [f"topup:{order.number}:checkout:v1"]


def test_case_11_a_lost_page_that_was_paid_is_credited_by_its_event(shop: Shop) -> None:
    shop.sandbox.lose_next_answer("/v1/checkout/sessions", times=3, status=500)
    with pytest.raises(ProcessorUnavailable):
        shop.order()
    [session] = shop.sandbox.objects("checkout.session")
    shop.sandbox.pay(session["id"])
    shop.tell()

    order = TopUp.objects.get()
    assert (order.status, order.checkout_session_id, shop.balance()) == ("credited", session["id"], TWENTY)


def test_case_11_the_same_key_with_another_amount_is_a_conflict(shop: Shop) -> None:
    shop.order("20", key="form:1")
    with pytest.raises(IdempotencyConflict):
        shop.order("30", key="form:1")
    assert TopUp.objects.count() == 1


@pytest.mark.parametrize("order_of_events", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_case_12_decline_success_and_completion_in_any_order_credit_once_and_keep_the_decline(
    shop: Shop, order_of_events: tuple[int, ...]
) -> None:
    order = shop.order()
    assert not shop.sandbox.pay(order.checkout_session_id, "4000000000009995").ok
    assert shop.sandbox.pay(order.checkout_session_id).ok
    told = shop.sandbox.events("payment_intent.payment_failed", "payment_intent.succeeded", COMPLETED)
    for position in order_of_events:
        shop.sandbox.send(told[position])
        work()

    order.refresh_from_db()
    assert (order.status, shop.balance(), len(shop.credits())) == ("credited", TWENTY, 1)
    declined, paid = PaymentAttempt.objects.order_by("at", "pk")
    assert (declined.outcome, declined.decline_code, declined.failure) == (
        "failed",
        "insufficient_funds",
        "insufficient_funds",
    )
    assert (paid.outcome, order.failure) == ("succeeded", "")


def test_case_13_the_customer_returns_before_any_webhook_and_is_credited(shop: Shop, client: Client) -> None:
    order = shop.order()
    path = shop.sandbox.pay(order.checkout_session_id).url.removeprefix(shop.sandbox.url)
    client.force_login(shop.owner)
    page = client.get(path).content.decode()

    assert "$20.00 were credited to Northwind Labs" in page
    assert shop.balance() == TWENTY
    before = shop.credits()
    shop.tell()
    assert shop.credits() == before
    assert (shop.balance(), len(mail.outbox)) == (TWENTY, 1)


# --- what the cases above rest on ---------------------------------------------------------------------------------


def test_the_receipt_is_mailed_once_in_the_customers_language(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    shop.tell()
    shop.tell()
    tasks.sweep_receipts()

    [receipt] = mail.outbox
    assert receipt.to == [shop.owner.email]
    assert "$20.00" in receipt.subject
    assert order.number in receipt.body
    assert str(shop.account.pk) in receipt.body


def test_a_lost_event_is_made_good_by_the_sweep(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    now = order.created_at + timedelta(minutes=3)

    assert settling.claim_due(now=order.created_at + timedelta(minutes=1)) == []
    claimed = settling.claim_due(now=now)
    assert claimed == [order.pk]
    assert settling.claim_due(now=now) == []  # another sweep at the same time finds nothing
    settling.check(order.pk, processor=get_processor(), now=now)

    order.refresh_from_db()
    assert (order.status, shop.balance(), order.check_at) == ("credited", TWENTY, None)


def test_an_order_that_was_only_placed_goes_on_with_the_sweep_and_ends_in_time(shop: Shop) -> None:
    shop.sandbox.fail_next("/v1/checkout/sessions", times=3)
    with pytest.raises(ProcessorUnavailable):
        shop.order()
    order = TopUp.objects.get()

    assert settling.check(order.pk, processor=get_processor(), now=clock.now()).status == "awaiting_payment"

    shop.sandbox.fail_next("/v1/checkout/sessions", times=3)
    with pytest.raises(ProcessorUnavailable):
        shop.order()
    other = TopUp.objects.get(status="created")
    late = other.created_at + timedelta(hours=1, minutes=1)
    assert settling.check(other.pk, processor=get_processor(), now=late).status == "expired"


def test_a_refusal_of_the_provider_fails_the_order_and_says_so(shop: Shop) -> None:
    shop.sandbox.fail_next("/v1/checkout/sessions", status=400)
    order = shop.order()

    assert (order.status, order.failure, order.check_at) == ("failed", "refused_by_us", None)
    assert order.failure_code


def test_a_customer_deleted_at_the_provider_fails_one_order_and_is_made_anew_for_the_next(shop: Shop) -> None:
    shop.order()
    StoredObject.objects.filter(kind="customer").delete()

    assert shop.order().status == "failed"
    assert shop.order().status == "awaiting_payment"


def test_many_at_once_settle_one_order_once(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    shop.sandbox.send(event_of(shop, COMPLETED)["id"])
    event = PaymentEvent.objects.get()
    together, failed = threading.Barrier(8), []

    def run(number: int) -> None:
        try:
            together.wait(timeout=20)
            if number % 2:
                webhooks.process(event.pk, processor=get_processor(), now=clock.now())
            else:
                settling.settle(order.pk, processor=get_processor(), now=clock.now())
        except Exception as problem:
            failed.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert (shop.balance(), len(shop.credits())) == (TWENTY, 1)
    assert inbox() == [(COMPLETED, "processed")]


def test_an_event_that_keeps_failing_is_parked_and_can_be_replayed(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    healed: list[bool] = []

    @webhooks.handles("invoice.paid")
    def of_another_app(event: PaymentEvent, *, processor: Any, now: datetime) -> bool:
        if not healed:
            raise ValueError("a bug of that app")
        return True

    try:
        shop.sandbox.send(shop.sandbox.forge("invoice.paid", {"id": "in_1", "object": "invoice"}))
        work()
        event, now = PaymentEvent.objects.get(), clock.now()
        for _ in range(webhooks.PARK_AFTER - 1):
            webhooks.process(event.pk, processor=get_processor(), now=now)
        event.refresh_from_db()
        assert (event.state, event.attempts, event.reason) == ("parked", webhooks.PARK_AFTER, "failing")
        assert "a bug of that app" in event.last_error
        assert any("ALERT" in record.message for record in caplog.records)

        healed.append(True)
        webhooks.replay(event.pk, actor=factories.user(is_staff=True), reason="mended", now=now)
        webhooks.process(event.pk, processor=get_processor(), now=now)
        event.refresh_from_db()
        assert (event.state, event.reason) == ("processed", "")
    finally:
        del webhooks._handlers["invoice.paid"]


def test_silence_of_the_provider_delays_an_event_and_never_parks_it(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    shop.sandbox.send(event_of(shop, COMPLETED)["id"])
    event = PaymentEvent.objects.get()
    shop.sandbox.fail_next("/v1/checkout/sessions/", times=3)
    webhooks.process(event.pk, processor=get_processor(), now=clock.now())

    event.refresh_from_db()
    assert (event.state, event.attempts, event.silences) == ("received", 0, 1)
    assert event.due_at > clock.now()
    webhooks.process(event.pk, processor=get_processor(), now=clock.now())
    assert shop.balance() == TWENTY


def test_settling_by_hand_asks_the_provider_and_is_audited(shop: Shop) -> None:
    from accounts.models import AuditRecord

    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    staff = factories.user(is_staff=True)
    order = settling.settle_by_hand(
        order.pk, actor=staff, reason="customer wrote", processor=get_processor(), now=clock.now()
    )

    assert order.status == "credited"
    record = AuditRecord.objects.get(action="top_up_settle")
    assert (record.actor, record.before, record.after) == (
        staff,
        {"status": "awaiting_payment"},
        {"status": "credited"},
    )


def test_a_session_that_the_provider_made_for_another_order_is_not_ours(shop: Shop) -> None:
    one, other = shop.order(), shop.order()
    TopUp.objects.filter(pk=one.pk).update(checkout_session_id=None)
    with pytest.raises(NotFound):
        settling.settle(one.pk, processor=get_processor(), now=clock.now(), session_id=other.checkout_session_id)
    with pytest.raises(NotFound):
        settling.settle(one.pk, processor=get_processor(), now=clock.now(), session_id="cs_test_nothing")


def test_without_a_secret_the_webhook_route_does_not_exist(shop: Shop, settings: Any) -> None:
    from billing.payments.checks import webhook_secret

    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    settings.STRIPE_WEBHOOK_SECRETS = []

    [answer] = shop.sandbox.send(event_of(shop, COMPLETED)["id"], secrets=["whsec_sandbox"])

    assert answer.status_code == 404
    assert [found.id for found in webhook_secret(None)] == ["billing.E001"]
