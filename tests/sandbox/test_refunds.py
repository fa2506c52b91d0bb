"""Refunds: how much, how they end, and what they do to the charge and the balance."""

import threading
from datetime import timedelta

import pytest
import stripe

from sandbox import store
from sandbox.models import StoredObject
from sandbox.resources import refunds


def paid(sandbox, *, card="4242424242424242", amount=2000):
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params(amount=amount))
    assert sandbox.pay(session.id, card).ok
    return sandbox.client.v1.checkout.sessions.retrieve(session.id).payment_intent


def paid_by(sandbox, kind):
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params())
    assert sandbox.pay_by_wallet(session.id, kind).ok
    return sandbox.client.v1.checkout.sessions.retrieve(session.id).payment_intent


def refund(sandbox, intent, **params):
    return sandbox.client.v1.refunds.create({"payment_intent": intent, **params})


def types(sandbox):
    """Types of the events after the payment's own."""
    names = [event["type"] for event in sandbox.events()]
    return names[names.index("checkout.session.completed") + 1 :]


def charge_of(sandbox, intent):
    return sandbox.client.v1.charges.list({"payment_intent": intent}).data[0]


def test_a_refund_less_the_fee_leaves_the_charge_not_fully_refunded(sandbox):
    intent = paid(sandbox)
    made = refund(sandbox, intent, amount=1900, reason="requested_by_customer", metadata={"fee": "100"})
    assert (made.status, made.amount, made.metadata.fee) == ("succeeded", 1900, "100")
    charge = charge_of(sandbox, intent)
    assert (charge.amount_refunded, charge.refunded) == (1900, False)
    assert types(sandbox) == ["charge.refunded", "refund.created", "refund.updated"]
    money = sandbox.client.v1.balance_transactions.list({"type": "refund"}).data
    assert [(one.amount, one.net, one.source) for one in money] == [(-1900, -1900, made.id)]


def test_a_refund_without_an_amount_gives_back_what_is_left(sandbox):
    intent = paid(sandbox)
    refund(sandbox, intent, amount=500)
    assert refund(sandbox, intent).amount == 1500
    assert charge_of(sandbox, intent).refunded is True
    listed = sandbox.client.v1.refunds.list({"payment_intent": intent})
    assert [one.amount for one in listed.data] == [1500, 500]


@pytest.mark.parametrize(
    ("before", "amount", "code"), [(0, 2001, None), (2000, 1, "charge_already_refunded"), (1500, 501, None)]
)
def test_more_than_was_paid_is_refused(sandbox, before, amount, code):
    intent = paid(sandbox)
    if before:
        refund(sandbox, intent, amount=before)
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        refund(sandbox, intent, amount=amount)
    assert refusal.value.code == code
    assert sum(one["amount"] for one in sandbox.refunds()) == before


def test_an_unpaid_intent_cannot_be_refunded(sandbox):
    session = sandbox.client.v1.checkout.sessions.create(sandbox.session_params())
    sandbox.pay(session.id, "4000000000009995")
    intent = sandbox.client.v1.checkout.sessions.retrieve(session.id).payment_intent
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        refund(sandbox, intent)
    assert refusal.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize(
    "params", [{}, {"payment_intent": "pi_nothing"}, {"charge": "ch_nothing"}, {"reason": "because"}]
)
def test_a_refund_names_what_it_refunds(sandbox, params):
    sandbox.bad_requests_expected()
    with pytest.raises(stripe.InvalidRequestError):
        sandbox.client.v1.refunds.create(params)


def give_back_at_once(sandbox, intent, times):
    outcomes = []

    def give() -> None:
        try:
            outcomes.append(refund(sandbox, intent, amount=1500).status)
        except stripe.InvalidRequestError:
            outcomes.append("refused")

    threads = [threading.Thread(target=give) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


def test_two_refunds_at_once_never_give_more_than_was_paid(sandbox):
    intent = paid(sandbox)
    assert give_back_at_once(sandbox, intent, 4) == ["refused", "refused", "refused", "succeeded"]
    assert charge_of(sandbox, intent).amount_refunded == 1500


def test_control_without_the_lock_two_refunds_give_more_than_was_paid(sandbox, monkeypatch):
    intent, both_have_read = paid(sandbox), threading.Barrier(2)
    find, refundable = store.find, refunds._refundable

    def read_and_wait(*arguments):
        amount = refundable(*arguments)
        both_have_read.wait(timeout=10)
        return amount

    monkeypatch.setattr(store, "find", lambda kind, object_id, *, lock=False: find(kind, object_id))
    monkeypatch.setattr(refunds, "_refundable", read_and_wait)
    assert give_back_at_once(sandbox, intent, 2) == ["succeeded", "succeeded"]
    assert sum(one["amount"] for one in sandbox.refunds()) == 3000


@pytest.mark.parametrize(("outcome", "left"), [("succeeded", 1900), ("failed", 0), ("canceled", 0)])
def test_a_pending_refund_ends_as_told(sandbox, outcome, left):
    sandbox.switch(refunds="pending")
    intent = paid(sandbox)
    made = refund(sandbox, intent, amount=1900)
    assert (made.status, made.pending_reason) == ("pending", "processing")
    assert sandbox.settle_due() == 0
    if outcome == "canceled":
        assert sandbox.client.v1.refunds.cancel(made.id).status == "canceled"
    else:
        sandbox.settle(made.id, outcome)
    after = sandbox.client.v1.refunds.retrieve(made.id)
    assert after.status == outcome
    assert charge_of(sandbox, intent).amount_refunded == left
    assert ("refund.failed" in types(sandbox)) is (outcome == "failed")
    assert types(sandbox)[-1] == "refund.updated"
    if outcome != "succeeded":
        returned = sandbox.client.v1.balance_transactions.retrieve(after.failure_balance_transaction)
        assert returned.amount == 1900


def test_a_refund_fails_at_once_when_told_to(sandbox):
    sandbox.switch(refunds="fail")
    intent = paid(sandbox)
    made = refund(sandbox, intent, amount=1900)
    assert (made.status, made.failure_reason) == ("failed", "lost_or_stolen_card")
    sandbox.switch(refunds="succeed")
    assert refund(sandbox, intent).amount == 2000


def test_a_refund_that_succeeded_may_fail_days_later(sandbox):
    intent = paid(sandbox)
    made = refund(sandbox, intent, amount=1900)
    sandbox.settle(made.id, "failed")
    assert sandbox.client.v1.refunds.retrieve(made.id).status == "failed"
    assert charge_of(sandbox, intent).amount_refunded == 0


@pytest.mark.parametrize(
    ("card", "first", "last"),
    [("4000000000007726", "pending", "succeeded"), ("4000000000005126", "succeeded", "failed")],
)
def test_the_cards_for_refunds_behave_as_documented(sandbox, card, first, last):
    made = refund(sandbox, paid(sandbox, card=card))
    assert made.status == first
    assert sandbox.settle_due() == 1
    assert sandbox.client.v1.refunds.retrieve(made.id).status == last


@pytest.mark.parametrize(("kind", "days"), [("alipay", 90), ("wechat_pay", 180)])
def test_wallet_refunds_take_their_time_and_have_an_end(sandbox, kind, days):
    intent = paid_by(sandbox, kind)
    made = refund(sandbox, intent, amount=500)
    assert made.status == "pending"
    assert sandbox.settle_due() == 1
    assert sandbox.client.v1.refunds.retrieve(made.id).status == "succeeded"
    charge = StoredObject.objects.get(kind="charge")
    charge.created -= timedelta(days=days + 1)
    charge.save()
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        refund(sandbox, intent, amount=500)
    assert refusal.value.code == "charge_not_refundable"


def test_a_refund_whose_answer_was_lost_is_made_once(sandbox):
    intent = paid(sandbox)
    options = {"idempotency_key": "refund:1:v1"}
    sandbox.lose_next_answer("^/v1/refunds$")
    with pytest.raises(stripe.APIConnectionError):
        sandbox.client.v1.refunds.create({"payment_intent": intent, "amount": 1900}, options)
    again = sandbox.client.v1.refunds.create({"payment_intent": intent, "amount": 1900}, options)
    assert [one["id"] for one in sandbox.refunds()] == [again.id]


def test_metadata_of_a_refund_can_be_changed(sandbox):
    made = refund(sandbox, paid(sandbox), metadata={"a": "1"})
    changed = sandbox.client.v1.refunds.update(made.id, {"metadata": {"b": "2"}})
    assert changed.metadata.to_dict() == {"a": "1", "b": "2"}


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
def test_a_refund_that_waits_for_the_customer_ends_as_asked(sandbox, outcome):
    sandbox.switch(refunds="requires_action")
    made = refund(sandbox, paid(sandbox), amount=1900)
    assert made.status == "requires_action"
    sandbox.settle(made.id, outcome)
    assert sandbox.client.v1.refunds.retrieve(made.id).status == outcome


def test_a_refund_in_the_dashboard_has_no_request_and_no_marks(sandbox):
    intent = paid(sandbox)
    made = sandbox.refund_in_dashboard(intent, 500)
    assert (made["amount"], made["metadata"]) == (500, {})
    assert {event["request"]["id"] for event in sandbox.events("refund.created")} == {None}
    assert charge_of(sandbox, intent).amount_refunded == 500
