"""Case 20 of the payments design: what a dispute takes is frozen once and comes back once, whatever the order."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import AuditRecord
from billing.books.models import CreditGrant, LedgerAccount, Posting, System, Wallet
from billing.errors import InvalidTransition, RiskBlocked
from billing.models import Notice
from billing.payments import disputes, flags, fraud_warnings, topups
from billing.payments.models_disputes import EarlyFraudWarning, RiskFlag
from tests import factories
from tests.billing.payments.disputing import (
    BACK,
    NOON,
    OUT,
    credited,
    entries,
    gift,
    money,
    refund,
    spend,
    state,
    the,
    warning,
)
from tests.flush import broken_books

pytestmark = pytest.mark.django_db(transaction=True)


def say(order: Any, *states: Any) -> None:
    for one in states:
        disputes.record(order.pk, one, now=NOON)
    order.refresh_from_db()


def in_ledger(code: str) -> Decimal:
    rows = Posting.objects.filter(ledger_id=System.id_of(code)).values_list("side", "amount")
    return -sum((side * amount for side, amount in rows), Decimal(0))


def test_a_dispute_freezes_what_is_unspent_and_makes_what_is_spent_an_overdraft():
    order = credited()
    spend(order, "7")
    say(order, state(order, "needs_response", OUT))
    assert money(order) == (0, 7, -7)
    row = the()
    assert (row.from_grant, row.from_overdraft, row.fee_minor) == (13, 7, 1500)
    assert (order.status, order.disputed_minor) == ("disputed", 2000)
    assert in_ledger(System.CHARGEBACK) == 20
    assert not broken_books()


def test_a_dispute_won_gives_the_same_sum_back_and_the_order_is_credited_again():
    order = credited()
    spend(order, "7")
    say(order, state(order, "needs_response", OUT), state(order, "won", OUT, BACK))
    assert money(order) == (13, 0, 13)
    assert (order.status, order.disputed_minor) == ("credited", 0)
    assert in_ledger(System.CHARGEBACK) == 0
    assert not broken_books()


def test_what_a_later_top_up_paid_of_the_overdraft_comes_back_as_usable_credit():
    order = credited()
    spend(order, "7")
    say(order, state(order, "needs_response", OUT))
    gift(order, "10")
    assert money(order)[1:] == (0, 3)
    say(order, state(order, "won", OUT, BACK))
    assert money(order) == (20, 0, 23)
    assert not broken_books()


def test_what_does_not_fit_into_the_grant_is_credit_of_its_own():
    order = credited()
    spend(order, "7")
    say(order, state(order, "needs_response", OUT))
    gift(order, "10")
    CreditGrant.objects.filter(pk=order.grant_id).update(amount=15)  # as if five of it had been taken back
    say(order, state(order, "won", OUT, BACK))
    assert money(order) == (15, 0, 23)
    assert CreditGrant.objects.get(source="dispute:dp_1").remaining == 5
    CreditGrant.objects.filter(pk=order.grant_id).update(amount=20)


def test_a_dispute_lost_is_final():
    order = credited()
    spend(order, "7")
    say(order, state(order, "needs_response", OUT), state(order, "lost", OUT), state(order, "won", OUT, BACK))
    assert money(order) == (0, 7, -7)
    assert (order.status, order.disputed_minor, the().state) == ("disputed", 2000, "lost")
    assert the().flagged
    assert in_ledger(System.PROCESSOR_STRIPE) == 0  # the payment came in, and went back
    assert entries(order) == ["dispute_opened", "dispute_lost"]
    assert not broken_books()


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed"])
def test_an_inquiry_leaves_the_wallet_untouched(status: str):
    order = credited()
    say(order, state(order, status))
    assert money(order) == (20, 0, 20)
    assert (order.status, order.disputed_minor, entries(order)) == ("credited", 0, [])
    assert not RiskFlag.objects.exists()


def test_an_inquiry_that_becomes_a_dispute_freezes_then():
    order = credited()
    say(order, state(order, "warning_needs_response"), state(order, "needs_response", OUT))
    assert money(order) == (0, 0, 0)


def test_a_dispute_over_one_hundred_after_a_refund_of_nineteen_hundred_freezes_one_hundred():
    order = refund(credited(), 1900)
    say(order, state(order, "needs_response", OUT))
    assert (the().counted_minor, order.disputed_minor, money(order)) == (100, 100, (0, 0, 0))
    assert order.status == "disputed"
    say(order, state(order, "won", OUT, BACK))
    assert (order.status, money(order)) == ("partially_refunded", (1, 0, 1))


def test_two_disputes_of_one_payment_never_take_more_than_it_was():
    order = credited()
    say(order, state(order, "needs_response", -1500, amount=1500), state(order, "needs_response", OUT, name="dp_2"))
    assert (the().counted_minor, the("dp_2").counted_minor, order.disputed_minor) == (1500, 500, 2000)
    say(order, state(order, "won", -1500, 1500, amount=1500))
    # The bank still holds the whole payment for the other dispute.
    assert (order.status, order.disputed_minor, money(order)) == ("disputed", 2000, (0, 0, 0))
    say(order, state(order, "won", OUT, BACK, name="dp_2"))
    assert (order.status, order.disputed_minor, money(order)) == ("credited", 0, (20, 0, 20))
    assert not broken_books()


def test_no_money_moves_before_funds_are_withdrawn_but_the_order_is_disputed():
    order = credited()
    say(order, state(order, "needs_response"))
    assert (order.status, order.disputed_minor, money(order)) == ("disputed", 2000, (20, 0, 20))
    say(order, state(order, "prevented"))
    assert (order.status, order.disputed_minor, entries(order)) == ("credited", 0, [])


def test_a_dispute_that_is_prevented_after_the_withdrawal_gives_all_back():
    order = credited()
    say(order, state(order, "needs_response", OUT), state(order, "prevented", OUT, BACK))
    assert money(order) == (20, 0, 20)
    assert not broken_books()


STEPS = [("needs_response", ()), ("needs_response", (OUT,)), ("under_review", (OUT,))]


@pytest.mark.parametrize("ending", ["won", "lost"])
def test_all_orders_of_the_states_freeze_once_and_end_once(ending: str):
    """Answers that were read early and applied late: no order of them takes a step back."""
    ends = [(ending, (OUT,)), (ending, (OUT, BACK) if ending == "won" else (OUT,))]
    for number, steps in enumerate(dict.fromkeys(itertools.permutations([*STEPS, *ends]))):
        order = credited(number=str(number))
        spend(order, "7")
        name = f"dp_{number}"
        say(order, *(state(order, status, *lines, name=name) for status, lines in steps))
        kinds = entries(order)
        assert len(kinds) == len(set(kinds))
        if ending == "won":
            assert kinds in ([], ["dispute_opened", "dispute_won"]), steps
            assert (money(order), order.status, order.disputed_minor) == ((13, 0, 13), "credited", 0), steps
        else:
            assert kinds == ["dispute_opened", "dispute_lost"], steps
            assert (money(order), order.status, order.disputed_minor) == ((0, 7, -7), "disputed", 2000), steps
    assert not broken_books()


def test_an_unknown_status_is_kept_and_flagged_and_moves_nothing():
    order = credited()
    say(order, state(order, "arbitration", OUT))
    assert (the().provider_status, the().flagged, money(order)) == ("arbitration", True, (20, 0, 20))


def test_a_dispute_in_another_currency_waits_for_a_person():
    order = credited()
    say(order, state(order, "needs_response", OUT, currency="EUR"))
    assert the().flagged
    assert money(order) == (20, 0, 20)


def test_a_warning_freezes_the_unspent_credit_once_and_staff_release_it():
    order = credited()
    spend(order, "7")
    for _ in range(2):
        row = fraud_warnings.record(order.pk, warning(order), now=NOON)
    assert (row.state, row.frozen_usd, money(order)) == ("frozen", 13, (0, 0, 0))
    assert RiskFlag.objects.count() == 1
    assert in_ledger(System.FROZEN) == 13
    fraud_warnings.release(row.pk, actor=factories.user(), reason="They called.", now=NOON)
    assert money(order) == (13, 0, 13)
    assert entries(order) == ["credit_frozen", "credit_released"]
    assert AuditRecord.objects.filter(action="fraud_warning_release", reason="They called.").exists()
    with pytest.raises(InvalidTransition):
        fraud_warnings.release(row.pk, actor=factories.user(), reason="Again.", now=NOON)
    assert not broken_books()


def test_a_dispute_uses_first_what_a_warning_froze():
    order = credited()
    spend(order, "7")
    fraud_warnings.record(order.pk, warning(order), now=NOON)
    say(order, state(order, "needs_response", OUT))
    row = the()
    assert (row.from_frozen, row.from_grant, row.from_overdraft) == (13, 0, 7)
    assert EarlyFraudWarning.objects.get().state == "used"
    assert money(order) == (0, 7, -7)
    say(order, state(order, "won", OUT, BACK))
    assert money(order) == (13, 0, 13)
    assert not broken_books()


def test_a_small_dispute_leaves_the_rest_of_what_was_frozen_for_staff():
    order = credited()
    fraud_warnings.record(order.pk, warning(order), now=NOON)
    say(order, state(order, "needs_response", -500, amount=500))
    row = EarlyFraudWarning.objects.get()
    assert (row.state, row.held) == ("frozen", 15)
    fraud_warnings.release(row.pk, actor=factories.user(), reason="Only one was wrong.", now=NOON)
    assert money(order) == (15, 0, 15)
    assert not broken_books()


def test_a_warning_after_a_dispute_finds_nothing_and_after_one_that_was_won_freezes_nothing():
    order = credited()
    say(order, state(order, "needs_response", OUT))
    assert fraud_warnings.record(order.pk, warning(order), now=NOON).state == "noted"
    say(order, state(order, "won", OUT, BACK))
    assert fraud_warnings.record(order.pk, warning(order, "issfr_2"), now=NOON).state == "noted"
    assert money(order) == (20, 0, 20)


def test_people_are_told_of_each_step_once():
    order = credited()
    fraud_warnings.record(order.pk, warning(order), now=NOON)
    say(order, *[state(order, "needs_response", OUT)] * 2, *[state(order, "lost", OUT)] * 2)
    kinds = Notice.objects.filter(account_id=order.account_id).values_list("kind", flat=True)
    assert sorted(kinds) == ["credit_frozen", "dispute_lost", "dispute_opened"]


def test_a_flagged_account_that_is_blocked_cannot_top_up_until_staff_clear_it():
    order = credited()
    say(order, state(order, "needs_response", OUT))
    actor = factories.user()
    flags.decide(order.account_id, blocks_top_ups=True, clear=False, actor=actor, reason="Stolen card", now=NOON)
    place = {"method": "card", "client_key": "next", "actor": None, "locale": "en", "now": NOON}
    with pytest.raises(RiskBlocked):
        topups.place(order.account_id, Decimal(20), **place)
    flags.decide(order.account_id, blocks_top_ups=False, clear=True, actor=actor, reason="Settled", now=NOON)
    assert topups.place(order.account_id, Decimal(20), **place).status == "created"


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("spend"), st.integers(1, 1500)),
        st.tuples(st.just("gift"), st.integers(1, 1500)),
        st.tuples(st.just("refund"), st.integers(1, 900)),
        st.tuples(st.just("warn"), st.integers(1, 3)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(
            st.sampled_from(["needs_response", "under_review", "won", "lost", "prevented", "warning_needs_response"]),
            st.integers(1, 2),
        ),
    ),
    max_size=14,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_whatever_happens_the_books_balance_and_nothing_is_frozen_or_released_twice(moves: Any):
    order = credited(factories.account(now=NOON), number="h")
    actor, names = factories.user(), f"dp_{order.number[-12:]}"
    for step, (what, how) in enumerate(moves):
        key, usd = f"{what}{step}", str(Decimal(how) / 100)
        order.refresh_from_db()
        if what == "spend":
            spend(order, usd, key=key)
        elif what == "gift":
            gift(order, usd, key=key)
        elif what == "refund":
            left = order.amount_minor - order.refunded_minor - order.disputed_minor
            if how <= left and money(order)[0] >= Decimal(usd):
                refund(order, how, key=key)
        elif what == "warn":
            fraud_warnings.record(order.pk, warning(order, f"issfr_{order.number[-12:]}_{how}"), now=NOON)
        elif what == "release":
            for row in EarlyFraudWarning.objects.filter(top_up=order, state="frozen"):
                fraud_warnings.release(row.pk, actor=actor, reason="Looked at.", now=NOON)
        else:
            lines = [] if what.startswith("warning") else [OUT, BACK] if what in ("won", "prevented") else [OUT]
            say(order, state(order, what, *lines, name=f"{names}_{how}"))
        wallet = Wallet.objects.get(pk=order.account_id)
        assert wallet.balance >= 0
        assert wallet.overdraft >= 0
        assert order.refunded_minor + order.disputed_minor <= order.amount_minor
    assert not broken_books()
    for name in (f"{names}_1", f"{names}_2"):
        for kind in ("opened", "won", "lost"):
            found = Posting.objects.filter(
                account_id=order.account_id, entry__key=f"dispute:{name}:{order.number}:{kind}"
            )
            assert found.values("entry").distinct().count() <= 1
    assert LedgerAccount.objects.filter(code=System.FROZEN).exists()
