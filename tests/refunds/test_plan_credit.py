"""Money that a bank returned after the plan had ended is given as credit: once, and above the limit by two people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from accounts.models import AuditRecord
from billing.books import proposals
from billing.books.models import CreditGrant, CreditProposal, Wallet
from config import clock
from refunds import external, plan_credit, plan_lifecycle, shown
from refunds.errors import CreditNotDue
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions.models import Invoice
from tests import factories
from tests.concurrency.helpers import at_once, in_thread, wait_until_blocked
from tests.flush import broken_books
from tests.refunds.plan_rows import failed, requested, returned, settling, submitted, succeeded
from tests.refunds.states import state_of
from tests.staff import act, action_of, at_desk, desk, page_of, person

pytestmark = pytest.mark.django_db


def give(refund: PlanRefund, actor: Any = None) -> CreditGrant | CreditProposal:
    actor = actor or factories.user(is_staff=True)
    return plan_credit.give(refund.pk, actor=actor, reason="the bank sent it back", now=clock.now())


def net(refund: PlanRefund) -> Decimal:
    return Wallet.objects.get(pk=refund.account_id).net


def refused(refund: PlanRefund) -> str:
    """Why; and that it wrote nothing."""
    before = (CreditGrant.objects.count(), CreditProposal.objects.count(), AuditRecord.objects.count())
    with pytest.raises(CreditNotDue) as refusal:
        give(refund)
    assert (CreditGrant.objects.count(), CreditProposal.objects.count(), AuditRecord.objects.count()) == before
    return str(refusal.value.evidence["reason"])


@pytest.mark.django_db(transaction=True)
def test_what_came_back_is_given_as_credit_and_noted_on_the_refund() -> None:
    refund = returned()
    client = desk("finance")
    form = client.get(action_of(refund, "give-as-credit")).content.decode()
    assert "$16.60 are given as credit" in form
    done = act(client, action_of(refund, "give-as-credit"), reason="its card was closed")
    assert done.status_code == 302

    refund.refresh_from_db()
    grant = refund.credit_grant
    assert grant is not None
    assert (grant.amount, net(refund)) == (Decimal("16.60"), Decimal("16.60"))
    record = AuditRecord.objects.get(action="plan_refund_credited")
    assert (record.subject_id, record.reason, record.after["grant"]) == (
        str(refund.pk), "its card was closed", str(grant.pk),
    )  # fmt: skip
    assert AuditRecord.objects.get(action="manual_credit").reason == f"{refund.number}: its card was closed"
    page = client.get(page_of(refund)).content.decode()
    assert page_of(grant) in page
    assert "/give-as-credit/" not in page
    assert [step["title"] for step in shown.steps(refund)][-2:] == ["Returned by the bank", "Given as credit"]
    assert broken_books() == []


def test_again_by_anybody_it_is_the_same_credit() -> None:
    refund = returned()
    first = give(refund)
    assert give(refund) == first
    assert net(refund) == Decimal("16.60")
    assert AuditRecord.objects.filter(action="plan_refund_credited").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_large_sum_is_proposed_and_given_when_a_second_person_approves() -> None:
    refund = returned("600")
    one, two = person("finance"), person("finance")
    answer = act(at_desk(one), action_of(refund, "give-as-credit"), reason="its card was closed")
    assert answer.status_code == 302
    refund.refresh_from_db()
    proposal = refund.credit_proposal
    assert proposal is not None
    assert (proposal.state, refund.credit_grant, net(refund)) == ("proposed", None, 0)
    assert give(refund, two) == proposal  # it waits, and is no second one
    page = at_desk(two).get(page_of(refund)).content.decode()
    assert page_of(proposal) in page
    assert "/give-as-credit/" not in page

    proposals.approve(proposal.pk, actor=two, reason="checked", now=clock.now())
    refund = PlanRefund.objects.get(pk=refund.pk)
    grant = refund.given_as_credit
    assert grant is not None
    assert net(refund) == grant.amount == refund.final
    assert give(refund) == grant
    assert shown.steps(refund)[-1]["title"] == "Given as credit"
    assert broken_books() == []


def test_after_a_rejected_proposal_it_may_be_asked_for_again() -> None:
    refund = returned("600")
    one, two = person("finance"), person("finance")
    first = give(refund, one)
    proposals.reject(first.pk, actor=two, reason="not by me", now=clock.now())
    assert "/give-as-credit/" in at_desk(two).get(page_of(refund)).content.decode()
    second = give(refund, two)
    assert isinstance(second, CreditProposal)
    assert (second != first, second.state) == (True, "proposed")
    proposals.approve(second.pk, actor=one, reason="after all", now=clock.now())
    assert net(refund) == refund.final


@pytest.mark.parametrize("make", [requested, settling, submitted, succeeded, failed])
def test_only_what_a_bank_returned_is_given(make: Callable[[], PlanRefund]) -> None:
    refund = make()
    assert refused(refund) == "not_returned"
    assert net(refund) == 0


def test_a_disputed_payment_is_not_given_as_credit_beside_its_dispute() -> None:
    refund = returned()
    Invoice.objects.update(disputed_minor=2000)
    assert refused(refund) == "disputed"
    form = desk("finance").get(action_of(refund, "give-as-credit")).content.decode()
    assert "A bank disputes the payment" in form


def test_what_went_back_in_the_dashboard_since_is_not_given_again() -> None:
    refund = returned()
    part = Refund.objects.get()
    sent = state_of(part, "succeeded", refund_id="re_dashboard", marks={}, amount_minor=1000)
    external.apply(sent, now=clock.now())
    assert plan_credit.due_minor(refund) == 660
    external.apply(state_of(part, "succeeded", refund_id="re_more", marks={}, amount_minor=660), now=clock.now())
    assert refused(refund) == "went_another_way"


# --- Two at once
def the_second_meets_the_first(refund: PlanRefund) -> tuple[CreditGrant | CreditProposal, Any]:
    """The first has given it, and that is not committed yet, when the second does the same."""
    one, two = factories.user(is_staff=True), factories.user(is_staff=True)
    with transaction.atomic():
        first = give(refund, one)
        with in_thread(lambda: give(refund, two)) as second:
            try:
                wait_until_blocked()
            finally:
                connection.connection.commit()
            return first, second()


@pytest.mark.django_db(transaction=True)
def test_of_two_people_at_once_one_gives_it_and_the_other_learns_of_it() -> None:
    refund = returned()
    first, second = the_second_meets_the_first(refund)
    assert first == second
    assert net(refund) == Decimal("16.60")
    assert AuditRecord.objects.filter(action="plan_refund_credited").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_people_at_once_one_gives_it() -> None:
    refund = returned()
    staff = [factories.user(is_staff=True) for _ in range(6)]
    found = at_once(6, lambda number: give(refund, staff[number]))
    assert {one.pk for one in found} == {CreditGrant.objects.get().pk}
    assert net(refund) == Decimal("16.60")
    assert AuditRecord.objects.filter(action="plan_refund_credited").count() == 1
    assert broken_books() == []


@contextmanager
def no_lock() -> Iterator[None]:
    def unlocked(refund_id: UUID) -> PlanRefund:
        found: PlanRefund = PlanRefund.objects.select_related("account").get(pk=refund_id)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_lifecycle, "locked", unlocked)
        yield


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_both_believe_that_they_gave_it() -> None:
    """The control: the key of the credit still makes it one, and the audit names two people for it."""
    refund = returned()
    with no_lock():
        first, second = the_second_meets_the_first(refund)
    assert first == second
    assert AuditRecord.objects.filter(action="plan_refund_credited").count() == 2
