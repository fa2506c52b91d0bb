"""A day at the provider held against orders and books: real client, sandbox, and differences made by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

from billing.errors import InvalidRequest, InvalidTransition
from billing.payments import reconcile, tasks
from billing.payments.models import PaymentAttempt, TopUp
from billing.payments.models_reconciling import Difference, Reconciliation
from billing.payments.models_risk import AttemptTrace
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from sandbox.models import StoredObject
from sandbox.resources import balance_transactions
from sandbox.store import Moment
from tests import factories
from tests.billing.payments.conftest import Shop

pytestmark = pytest.mark.django_db(transaction=True)
State = Difference.State


def today() -> date:
    return clock.now().astimezone(UTC).date()


def compare(day: date | None = None) -> Reconciliation:
    day = day or today()
    Reconciliation.objects.get_or_create(day=day, defaults={"due_at": clock.now()})
    return reconcile.run(day, processor=get_processor(), now=clock.now())


def paid(shop: Shop, usd: str = "20") -> TopUp:
    order = shop.order(usd)
    assert shop.sandbox.pay(order.checkout_session_id).ok
    return shop.settle(order)


def kinds() -> list[str]:
    return list(Difference.objects.filter(state=State.OPEN).order_by("kind").values_list("kind", flat=True))


def test_a_day_in_which_all_was_credited_has_no_difference_and_says_what_was_compared(shop: Shop) -> None:
    paid(shop), paid(shop, "7.50")
    shop.sandbox.pay(shop.order().checkout_session_id, "4000000000009995")

    row = compare()

    assert kinds() == []
    assert row.state == Reconciliation.State.DONE
    assert row.compared == {"payments": 2, "balance: charge": 2}
    assert row.totals["USD"]["payments"] == row.totals["USD"]["balance: charge"] == 2750


def test_a_payment_whose_event_was_lost_is_found_and_gone_once_it_is_credited(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)

    compare()
    [found] = Difference.objects.all()
    assert (found.kind, found.top_up, found.provider_minor, found.state) == ("charge_not_credited", order, 2000, "open")

    shop.settle(order)
    compare()
    found.refresh_from_db()
    assert found.state == State.RESOLVED
    assert found.ended_by is None


def test_a_payment_that_no_order_knows_is_a_difference(shop: Shop) -> None:
    session = shop.sandbox.client.v1.checkout.sessions.create(shop.sandbox.session_params(amount=1234))
    shop.sandbox.pay(session.id)
    compare()
    [found] = Difference.objects.all()
    assert (found.kind, found.provider_minor, found.currency) == ("charge_without_order", 1234, "USD")


def test_another_amount_than_the_order_s_is_a_difference(shop: Shop) -> None:
    paid(shop)
    charge = StoredObject.objects.get(kind="charge")
    charge.data["amount_captured"] = 1999
    charge.save()
    compare()
    assert kinds() == ["charge_amount"]
    assert "19.99 USD were taken" in Difference.objects.get().detail


def test_an_order_paid_twice_is_a_difference(shop: Shop) -> None:
    paid(shop)
    first = StoredObject.objects.get(kind="charge")
    second = dict(first.data, id=first.object_id + "b", balance_transaction=None)
    StoredObject.objects.create(
        object_id=second["id"], kind="charge", created=first.created, payment_intent=first.payment_intent, data=second
    )
    compare()
    assert kinds() == ["charged_twice"]


def test_credit_without_a_payment_is_a_difference(shop: Shop) -> None:
    order = paid(shop)
    AttemptTrace.objects.all().delete()
    PaymentAttempt.objects.filter(top_up=order).delete()
    StoredObject.objects.filter(kind__in=["charge", "balance_transaction"]).delete()
    compare()
    assert kinds() == ["credited_without_charge"]


def test_a_payment_that_the_provider_does_not_name_is_a_difference(shop: Shop) -> None:
    paid(shop)
    StoredObject.objects.filter(kind__in=["charge", "balance_transaction"]).delete()
    compare()
    assert kinds() == ["credited_without_charge"]


def test_a_journal_entry_that_was_tampered_with_is_a_difference(shop: Shop) -> None:
    paid(shop)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_journalentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE billing_journalentry SET delta = delta + 1 WHERE kind = 'topup'")
        try:
            compare()
        finally:
            cursor.execute("UPDATE billing_journalentry SET delta = delta - 1 WHERE kind = 'topup'")
            cursor.execute("ALTER TABLE billing_journalentry ENABLE TRIGGER USER")
    assert kinds() == ["credit_differs"]


def test_a_movement_of_the_balance_without_a_cause_is_a_difference_and_a_payout_is_not(shop: Shop) -> None:
    moment = Moment(clock.now())
    balance_transactions.book("payment_reversal", -500, "usd", "py_strange", moment)
    balance_transactions.book("payout", -900, "usd", "po_1", moment)
    compare()
    [found] = Difference.objects.all()
    assert (found.kind, found.provider_minor) == ("balance_unexplained", -500)


def test_a_payment_begun_before_midnight_and_moved_after_it_differs_on_neither_day(shop: Shop) -> None:
    order = paid(shop)
    yesterday = clock.now() - timedelta(days=1)
    row = StoredObject.objects.get(kind="charge")
    row.created, row.data["created"] = yesterday, int(yesterday.timestamp())
    row.save()
    PaymentAttempt.objects.filter(top_up=order).update(at=yesterday)
    compare()
    compare(yesterday.astimezone(UTC).date())
    assert kinds() == []


def test_the_provider_s_silence_leaves_the_day_due_and_a_repeat_finds_the_same(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    Reconciliation.objects.create(day=today(), due_at=clock.now())
    shop.sandbox.fail_next("^/v1/balance_transactions", status=500, times=3)
    with pytest.raises(ProcessorUnavailable):
        compare()
    assert Reconciliation.objects.get().state == Reconciliation.State.DUE
    assert kinds() == ["charge_not_credited"]
    compare()
    assert kinds() == ["charge_not_credited"]


def test_days_that_are_over_are_planned_once_and_days_with_something_open_again() -> None:
    now = datetime(2026, 3, 1, 3, tzinfo=UTC)
    reconcile.plan(now=now)
    reconcile.plan(now=now)
    days = list(Reconciliation.objects.order_by("day").values_list("day", flat=True))
    assert (days[0], days[-1], len(days)) == (date(2026, 2, 22), date(2026, 2, 28), 7)

    Reconciliation.objects.update(state="done", finished_at=now)
    Difference.objects.create(
        day_id=days[0], kind="charge_without_order", reference="ch_1", detail="x", found_at=now, seen_at=now
    )
    later = now + timedelta(days=1, minutes=1)
    reconcile.plan(now=later)
    assert list(Reconciliation.objects.filter(state="due").order_by("day").values_list("day", flat=True)) == [
        days[0],
        date(2026, 3, 1),
    ]


def test_a_day_is_claimed_by_one_sweep_only() -> None:
    now = clock.now()
    Reconciliation.objects.create(day=date(2026, 1, 1), due_at=now)
    assert reconcile.claim_due(now=now) == [date(2026, 1, 1)]
    assert reconcile.claim_due(now=now) == []


def test_the_sweep_compares_what_is_due(shop: Shop) -> None:
    tasks.sweep_reconciliations()
    assert set(Reconciliation.objects.values_list("state", flat=True)) == {"due", "done"}


def test_a_difference_is_taken_accepted_with_a_reason_and_stays_accepted(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    compare()
    found, staff, now = Difference.objects.get(), factories.user(), clock.now()

    reconcile.take(found.pk, actor=staff, reason="mine", now=now)
    with pytest.raises(InvalidRequest):
        reconcile.accept(found.pk, actor=staff, reason=" ", now=now)
    reconcile.accept(found.pk, actor=staff, reason="A test of the shop", now=now)
    with pytest.raises(InvalidTransition):
        reconcile.accept(found.pk, actor=staff, reason="again", now=now)

    compare()
    found.refresh_from_db()
    assert (found.state, found.owner, found.answer) == (State.ACCEPTED, staff, "A test of the shop")


@pytest.mark.parametrize("was", list(Difference.NEXT))
@pytest.mark.parametrize("wanted", list(Difference.NEXT))
def test_every_pair_of_states_follows_the_table(was: str, wanted: str) -> None:
    row = Difference(state=was)
    if wanted in Difference.NEXT[was]:
        row.move_to(wanted, now=clock.now())
        assert row.state == wanted
    else:
        with pytest.raises(InvalidTransition):
            row.move_to(wanted, now=clock.now())


def test_a_day_that_is_not_over_cannot_be_asked_for() -> None:
    with pytest.raises(InvalidRequest):
        reconcile.ask_for(today(), actor=factories.user(), reason="look", now=clock.now())
    assert not Reconciliation.objects.exists()
