"""Manual credit: one person up to the limit, two above it, and each intent once."""

import itertools
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from accounts.models import AuditRecord
from billing.books import proposals
from billing.books.models import CreditGrant, CreditProposal, Wallet
from billing.errors import IdempotencyConflict, InvalidRequest, InvalidTransition, SecondPersonNeeded
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db
State = CreditProposal.State


@pytest.fixture
def account():
    return factories.account()


@pytest.fixture
def ann():
    return factories.user("ann@example.com")


@pytest.fixture
def bob():
    return factories.user("bob@example.com")


def give(account, usd, actor, key="manual:1", now=NOON, **terms):
    return proposals.give_or_propose(account.pk, Decimal(usd), actor=actor, reason="why", key=key, now=now, **terms)


def balance(account):
    return Wallet.objects.get(pk=account.pk).balance


def test_up_to_the_limit_is_given_at_once_and_once(account, ann):
    first, second = give(account, "500", ann), give(account, "500", ann)

    assert isinstance(first, CreditGrant)
    assert first == second
    assert balance(account) == 500
    assert AuditRecord.objects.filter(action="manual_credit", reason="why").count() == 1


def test_above_the_limit_nothing_is_given_until_a_second_person_approves(account, ann, bob):
    proposal = give(account, "500.01", ann)
    before = balance(account)

    done = proposals.approve(proposal.pk, actor=bob, reason="checked", now=NOON)

    assert before == 0
    assert balance(account) == Decimal("500.01")
    assert (done.state, done.decided_by, done.grant.amount) == (State.GIVEN, bob, Decimal("500.01"))
    assert done.grant.source.startswith("manual:")
    assert set(AuditRecord.objects.values_list("action", "actor__email")) >= {
        ("credit_proposed", "ann@example.com"),
        ("credit_approved", "bob@example.com"),
        ("manual_credit", "bob@example.com"),
    }


def test_whoever_proposed_it_cannot_approve_it(account, ann):
    proposal = give(account, "600", ann)

    with pytest.raises(SecondPersonNeeded):
        proposals.approve(proposal.pk, actor=ann, reason="I am sure", now=NOON)

    proposal.refresh_from_db()
    assert proposal.state == State.PROPOSED
    assert balance(account) == 0


def test_the_database_holds_to_the_second_person_as_well(account, ann):
    proposal = give(account, "600", ann)
    grant = factories.credit(account, "1")

    with pytest.raises(IntegrityError), transaction.atomic():
        CreditProposal.objects.filter(pk=proposal.pk).update(state="given", decided_by=ann, grant=grant)


def test_approving_twice_gives_once_and_a_third_person_comes_too_late(account, ann, bob):
    proposal = give(account, "600", ann)
    cat = factories.user("cat@example.com")
    proposals.approve(proposal.pk, actor=bob, reason="checked", now=NOON)

    proposals.approve(proposal.pk, actor=bob, reason="checked", now=NOON)
    with pytest.raises(InvalidTransition):
        proposals.approve(proposal.pk, actor=cat, reason="me too", now=NOON)

    assert balance(account) == 600


def test_a_rejected_proposal_gives_nothing_ever(account, ann, bob):
    proposal = give(account, "600", ann)
    proposals.reject(proposal.pk, actor=bob, reason="no contract", now=NOON)

    with pytest.raises(InvalidTransition):
        proposals.approve(proposal.pk, actor=bob, reason="changed my mind", now=NOON)

    assert balance(account) == 0
    assert AuditRecord.objects.get(action="credit_rejected").reason == "no contract"


def test_a_large_sum_is_not_given_in_small_ones(account, ann, bob):
    give(account, "300", ann, key="manual:1")

    assert isinstance(give(account, "201", ann, key="manual:2"), CreditProposal)
    assert isinstance(give(account, "200", ann, key="manual:3"), CreditGrant)
    assert isinstance(give(account, "400", bob, key="manual:4"), CreditGrant)
    tomorrow = NOON + timedelta(hours=24, seconds=1)
    assert isinstance(give(account, "500", ann, key="manual:5", now=tomorrow), CreditGrant)


def test_what_somebody_approved_does_not_count_against_them(account, ann, bob):
    proposal = give(account, "900", ann)
    proposals.approve(proposal.pk, actor=bob, reason="checked", now=NOON)

    assert isinstance(give(account, "500", bob, key="manual:2"), CreditGrant)


def test_the_same_key_with_another_amount_is_a_conflict(account, ann):
    give(account, "600", ann)

    with pytest.raises(IdempotencyConflict):
        give(account, "700", ann)


@pytest.mark.parametrize("usd", ["0", "-1"])
def test_an_amount_is_above_zero(account, ann, usd):
    with pytest.raises(InvalidRequest):
        give(account, usd, ann)


def test_a_reason_is_required_everywhere(account, ann, bob):
    proposal = give(account, "600", ann)

    for operation in (proposals.approve, proposals.reject):
        with pytest.raises(InvalidRequest):
            operation(proposal.pk, actor=bob, reason=" ", now=NOON)
    with pytest.raises(InvalidRequest):
        proposals.give_or_propose(account.pk, Decimal(1), actor=ann, reason=" ", key="manual:9", now=NOON)


def test_an_expiry_that_has_passed_is_refused_also_at_the_approval(account, ann, bob):
    proposal = give(account, "600", ann, expires_at=NOON + timedelta(days=1))

    with pytest.raises(InvalidRequest):
        give(account, "1", ann, key="manual:2", expires_at=NOON)
    with pytest.raises(InvalidRequest):
        proposals.approve(proposal.pk, actor=bob, reason="late", now=NOON + timedelta(days=2))


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State.values, State.values)))
def test_the_table_of_states_is_kept_for_every_pair(account, ann, bob, before, after):
    proposal = CreditProposal(account=account, amount=1, state=before, proposed_by=ann, created_at=NOON)

    if after in CreditProposal.NEXT[before]:
        proposal.move_to(after, by=bob, now=NOON)
        assert (proposal.state, proposal.decided_by) == (after, bob)
    else:
        with pytest.raises(InvalidTransition):
            proposal.move_to(after, by=bob, now=NOON)
