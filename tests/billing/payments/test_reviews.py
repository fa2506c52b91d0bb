"""Orders in review have a way out: credited when all is as ordered, ended, or paid back; nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import AuditRecord
from billing.books.models import JournalEntry
from billing.errors import InvalidRequest, InvalidTransition
from billing.payments import disputes, fraud_warnings, holds, reviews, settling
from billing.payments.models import TopUp
from billing.payments.models_jobs import LateCredit
from billing.payments.models_risk import RiskAssessment
from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import refused
from refunds.models import Refund
from tests import factories
from tests.billing.payments.conftest import Shop, work
from tests.billing.payments.disputing import BACK, OUT, state, warning
from tests.billing.payments.test_top_up_cases import TWENTY, change_at_provider
from tests.staff import act, action_of, desk, page_of

pytestmark = pytest.mark.django_db(transaction=True)


def in_review(shop: Shop, **wrong: Any) -> TopUp:
    """Paid, and the provider's numbers differ from the order's."""
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    change_at_provider("checkout.session", **(wrong or {"amount_total": 1999}))
    shop.tell()
    order.refresh_from_db()
    assert (order.status, order.in_review, shop.balance()) == ("paid", True, 0)
    return order


def finish(order: TopUp, reason: str = "Looked at it.") -> TopUp:
    return reviews.finish(order.pk, actor=factories.user(), reason=reason, processor=get_processor(), now=clock.now())


def test_what_differs_stays_in_review_and_what_was_put_right_is_credited_once(shop: Shop) -> None:
    order = in_review(shop)
    with pytest.raises(InvalidTransition) as refusal:
        finish(order)
    assert "19.99 USD" in str(refusal.value.evidence)
    order.refresh_from_db()
    assert (order.in_review, shop.balance()) == (True, 0)

    change_at_provider("checkout.session", amount_total=2000)
    order = finish(order)
    assert (order.status, order.in_review, shop.balance(), len(shop.credits())) == ("credited", False, TWENTY, 1)
    with pytest.raises(InvalidTransition):
        finish(order)
    assert [row.reason for row in AuditRecord.objects.filter(action="top_up_review_finish")] == ["Looked at it."]
    assert not LateCredit.objects.exists()


def test_an_order_in_review_that_nobody_paid_ends_as_expired(shop: Shop) -> None:
    order = shop.order()
    change_at_provider("checkout.session", amount_total=1999)
    order = shop.settle(order)
    assert (order.status, order.in_review) == ("awaiting_payment", True)
    shop.sandbox.expire(order.checkout_session_id)
    order = finish(order)
    assert (order.status, order.in_review, shop.balance()) == ("expired", False, 0)


def test_a_payment_in_review_is_paid_back_in_full_once(shop: Shop) -> None:
    order = in_review(shop, currency="eur")
    person = factories.user()
    order = reviews.pay_back(order.pk, actor=person, reason="Wrong currency.", now=clock.now())
    reviews.pay_back(order.pk, actor=person, reason="Again.", now=clock.now())
    work()
    shop.tell()
    order.refresh_from_db()
    refund = Refund.objects.get()
    assert (refund.status, refund.fee_minor, refund.sent_minor) == ("succeeded", 0, 2000)
    assert [one["amount"] for one in shop.sandbox.refunds()] == [2000]
    assert (order.status, order.in_review, order.grant, shop.balance()) == ("refunded", False, None, 0)


def test_what_is_on_its_way_back_is_not_credited_as_well(shop: Shop) -> None:
    order = in_review(shop)
    change_at_provider("checkout.session", amount_total=2000)
    reviews.pay_back(order.pk, actor=factories.user(), reason="No.", now=clock.now())
    with pytest.raises(InvalidTransition, match="on its way back"):
        finish(order)
    work()
    order = shop.settle(order)
    assert (order.status, shop.balance()) == ("refunded", 0)


@pytest.mark.parametrize("ending", ["won", "lost"])
def test_a_payment_disputed_before_its_credit_is_credited_when_won_and_ends_as_disputed_when_lost(
    shop: Shop, ending: str
) -> None:
    order = held(shop)
    now = clock.now()
    disputes.record(order.pk, state(order, "needs_response", OUT), now=now)
    with pytest.raises(InvalidTransition, match="disputed"):
        finish(order)
    moved = (OUT, BACK) if ending == "won" else (OUT,)
    disputes.record(order.pk, state(order, ending, *moved), now=now)
    order = finish(order)
    if ending == "won":  # the hold goes on where it was: its desk decides
        assert (order.status, order.in_review, order.risk.state) == ("paid", False, "held")
    else:
        assert (order.status, order.in_review, order.grant) == ("disputed", False, None)
        assert settling.record_outcome(order.pk, get_processor().checkout(order.checkout_session_id), now=now) == order
    assert not JournalEntry.objects.filter(account=shop.account).exists()


def held(shop: Shop) -> TopUp:
    """Paid, and on hold by a risk rule."""
    order = shop.order()
    RiskAssessment.objects.filter(pk=order.pk).update(state="held", held_until=clock.now())
    shop.sandbox.pay(order.checkout_session_id)
    shop.tell()
    order.refresh_from_db()
    assert (order.status, order.in_review) == ("paid", False)
    return order


def test_a_refused_payment_whose_refund_fails_waits_for_a_person_who_tries_again(shop: Shop) -> None:
    order = held(shop)
    person = factories.user()
    shop.sandbox.switch(refunds="fail")
    holds.refuse(order.pk, actor=person, reason="Stolen.", now=clock.now())
    assert holds.waiting_for_refund() == [order.pk]
    work()
    shop.tell()
    order.refresh_from_db()
    assert (order.status, order.in_review, Refund.objects.get().status) == ("paid", True, "failed")
    assert holds.waiting_for_refund() == []
    assert refused.pay_back(order.pk, now=clock.now()) is None

    shop.sandbox.switch(refunds="succeed")
    reviews.pay_back(order.pk, actor=person, reason="The bank says it works now.", now=clock.now())
    work()
    shop.tell()
    order.refresh_from_db()
    assert (order.status, order.in_review, order.risk.state) == ("refunded", False, "refunded")
    assert sorted(Refund.objects.values_list("status", flat=True)) == ["failed", "succeeded"]


def test_a_payment_that_was_warned_of_before_its_credit_goes_on_when_a_person_says_so(shop: Shop) -> None:
    order = held(shop)
    fraud_warnings.record(order.pk, warning(order), now=clock.now())
    RiskAssessment.objects.filter(pk=order.pk).update(state="passed", held_until=None)
    order.refresh_from_db()
    assert order.in_review
    assert finish(order).status == "credited"
    assert shop.balance() == TWENTY


def test_a_reason_is_needed_and_an_order_that_is_not_in_review_is_refused(shop: Shop) -> None:
    order = in_review(shop)
    with pytest.raises(InvalidRequest):
        finish(order, " ")
    with pytest.raises(InvalidRequest):
        reviews.pay_back(order.pk, actor=factories.user(), reason="", now=clock.now())
    other = shop.order()
    with pytest.raises(InvalidTransition):
        finish(other)
    with pytest.raises(InvalidTransition):
        reviews.pay_back(other.pk, actor=factories.user(), reason="No.", now=clock.now())
    assert not Refund.objects.exists()


def test_finance_finds_both_ways_on_the_order_and_support_finds_neither(shop: Shop) -> None:
    order = in_review(shop)
    ways = ("finish-review", "pay-back")
    finance, support = desk("finance"), desk("support")
    for way in ways:
        assert action_of(order, way) in finance.get(page_of(order)).content.decode()
        assert action_of(order, way) not in support.get(page_of(order)).content.decode()
        assert support.post(action_of(order, way), {"reason": "x"}).status_code == 403
    refused = act(finance, action_of(order, "finish-review"), reason="Same as yesterday?")
    assert "19.99 USD" in refused.content.decode()
    change_at_provider("checkout.session", amount_total=2000)
    assert act(finance, action_of(order, "finish-review"), reason="Put right.").status_code == 302
    assert shop.balance() == TWENTY
    for way in ways:
        assert action_of(order, way) not in finance.get(page_of(order)).content.decode()
