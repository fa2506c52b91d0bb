"""Staff approve less than was asked for: the rest is credit again at once, and the sums hold over time (I5, I6)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import AuditRecord
from billing.books import verify
from billing.books.models import CreditGrant, JournalEntry, Wallet
from billing.errors import IdempotencyConflict, InvalidRequest, InvalidTransition, SecondPersonNeeded
from billing.models_notices import Notice
from billing.payments.models import TopUp
from refunds import deciding, lifecycle, outcomes, quote
from refunds.errors import NotRefundable
from refunds.models import Refund
from tests import factories
from tests.factories import NOON
from tests.refunds.conftest import Desk
from tests.refunds.orders import credited
from tests.refunds.test_lifecycle import approve, ask, said, sent

pytestmark = pytest.mark.django_db


def part(refund: Refund, usd: str, actor: Any = None, reason: str = "half of it was used for a test") -> Refund:
    return deciding.approve_part(refund.pk, Decimal(usd), actor=actor or factories.user(), reason=reason, now=NOON)


def broken() -> list[str]:
    """What `verify_books` would complain of, asked inside the test's own transaction."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for check in verify._checks:
            cursor.execute(check.broken)
            found += [f"{check.sentence}: {row}" for (row,) in cursor.fetchall()]
    return found


def delivered(refund: Refund) -> Refund:
    return outcomes.record_outcome(sent(refund).pk, said(refund), now=NOON)


def test_a_part_is_sent_with_its_own_fee_and_the_rest_is_credit_at_once() -> None:
    order = credited("20")
    refund = ask(order)
    assert Wallet.objects.get().balance == 0
    refund = part(refund, "8")
    assert (refund.status, refund.requested_minor, refund.fee_minor, refund.sent_minor) == ("approved", 800, 40, 760)
    assert (refund.asked_usd, refund.asked_minor, refund.part_reason) == (20, 2000, "half of it was used for a test")
    order.refresh_from_db()
    grant = CreditGrant.objects.get(pk=order.grant_id)
    assert (grant.remaining, Wallet.objects.get().balance, order.refunded_minor) == (12, 12, 800)

    delivered(refund)
    order.refresh_from_db()
    assert (order.status, order.refunded_minor, Wallet.objects.get().balance) == ("partially_refunded", 800, 12)
    entries = JournalEntry.objects.filter(kind__startswith="refund").order_by("seq").values_list("kind", "delta")
    assert list(entries) == [("refund_hold", -20), ("refund_hold", 12), ("refund_paid", 0)]
    told = Notice.objects.get(kind="refund_succeeded").context
    assert (told["asked"], told["requested"], told["part_reason"]) == ("20.00", "8.00", refund.part_reason)
    assert broken() == []


def test_a_part_that_fails_at_the_provider_gives_the_part_back_and_no_more() -> None:
    order = credited("20")
    refund = part(ask(order), "8")
    outcomes.record_outcome(sent(refund).pk, said(refund, "failed"), now=NOON)
    order.refresh_from_db()
    assert (Wallet.objects.get().balance, order.status, order.refunded_minor) == (20, "credited", 0)
    assert broken() == []


def test_the_audit_says_what_was_asked_for_and_what_was_approved() -> None:
    refund = part(ask(credited("20")), "8")
    made = AuditRecord.objects.filter(subject_id=str(refund.pk)).exclude(action="refund_request").order_by("pk")
    assert [one.action for one in made] == ["refund_part", "refund_approve"]
    assert (Decimal(made[0].before["requested_usd"]), Decimal(made[0].after["requested_usd"])) == (20, 8)


@pytest.mark.parametrize("usd", ["20", "20.01", "0", "-1", "0.001", "7.999"])
def test_a_part_is_whole_cents_above_zero_and_less_than_was_asked_for(usd: str) -> None:
    refund = ask(credited("20"))
    with pytest.raises((InvalidRequest, NotRefundable)), transaction.atomic():
        part(refund, usd)
    refund.refresh_from_db()
    assert (refund.status, refund.requested_minor, refund.asked_usd) == ("requested", 2000, None)
    assert Wallet.objects.get().balance == 0
    assert not AuditRecord.objects.exclude(action="refund_request").exists()


def test_the_same_decision_again_changes_nothing_and_another_one_is_refused() -> None:
    person = factories.user()
    refund = part(ask(credited("20")), "8", person)
    assert part(refund, "8", person).sent_minor == 760
    with pytest.raises(InvalidTransition):
        part(refund, "5", person)
    assert Wallet.objects.get().balance == 12


def test_the_form_that_asked_for_all_comes_back_to_the_refund_of_which_a_part_was_approved() -> None:
    order = credited("20")
    refund = part(ask(order, "20", client_key="k"), "8")
    assert ask(order, "20", client_key="k") == refund
    with pytest.raises(IdempotencyConflict):
        ask(order, "8", client_key="k")


def test_what_is_owed_is_paid_out_of_the_rest_first() -> None:
    order = credited("20")
    refund = ask(order)
    version = factories.price()
    factories.credit(order.account, "1")
    held = factories.hold(order.account, version, "1")
    factories.capture(held.id, input_tokens=4000)  # $4 of $1
    part(refund, "8")
    wallet = Wallet.objects.get()
    assert (wallet.balance, wallet.overdraft) == (9, 0)
    assert broken() == []


# --- The second person
def test_a_large_part_needs_a_second_person_who_may_make_it_less_still() -> None:
    first, second = factories.user(), factories.user()
    refund = part(ask(credited("1000")), "600", first)
    assert (refund.status, refund.requested_usd, Wallet.objects.get().balance) == ("requested", 600, 400)
    for again in (lambda: part(refund, "300", first), lambda: approve(refund, first)):
        with pytest.raises(SecondPersonNeeded):
            again()
    refund = part(refund, "100", second, "only the last month")
    assert (refund.status, refund.requested_usd, refund.asked_usd) == ("approved", 100, 1000)
    assert (refund.first_approved_by, refund.decided_by, refund.part_reason) == (first, second, "only the last month")
    assert Wallet.objects.get().balance == 900
    assert broken() == []


def test_parts_that_one_person_approves_within_a_day_count_together_as_what_they_became() -> None:
    account, person = factories.account(factories.user()), factories.user()
    first, second = (ask(credited("1000", account=account)) for _ in range(2))
    assert part(first, "300", person).status == "approved"
    assert part(second, "201", person).status == "requested"


def test_nobody_approves_a_part_of_a_request_of_their_own() -> None:
    asker = factories.user()
    with pytest.raises(SecondPersonNeeded):
        part(ask(credited("20"), actor=asker), "8", asker)


# --- Over time
def test_several_refunds_of_one_order_never_come_to_more_than_was_paid_or_is_unused() -> None:
    order = credited("20")
    delivered(part(ask(order, "15"), "4"))
    delivered(part(ask(order, "16"), "6.50"))
    with pytest.raises(NotRefundable) as refusal:
        ask(order, "9.51")
    assert refusal.value.evidence["reason"] == "more_than_unused"
    delivered(approve(ask(order)))
    order.refresh_from_db()
    assert (order.status, order.refunded_minor, Wallet.objects.get().balance) == ("refunded", 2000, 0)
    assert [one.requested_minor for one in Refund.objects.order_by("pk")] == [400, 650, 950]
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_a_part_goes_through_the_provider_and_the_next_one_too(desk: Desk) -> None:
    order = desk.paid("20")
    desk.spend("5")
    for usd in ("5", "2.50"):
        refund = desk.ask(order)
        deciding.approve_part(refund.pk, Decimal(usd), actor=desk.staff, reason="a part", now=refund.created_at)
        desk.submit(refund)
    assert [one["amount"] for one in sorted(desk.shop.sandbox.refunds(), key=lambda one: -one["amount"])] == [475, 237]
    assert (desk.order().refunded_minor, desk.net()) == (750, Decimal("7.5"))
    assert desk.entries() == ["refund_hold", "refund_hold", "refund_paid"] * 2


steps = st.lists(
    st.tuples(st.integers(1, 2_500), st.one_of(st.none(), st.integers(1, 2_500)), st.booleans()), min_size=1, max_size=5
)


@settings(max_examples=15, deadline=None)
@given(steps, st.sampled_from(["USD", "CNY"]))
def test_fee_and_sent_are_the_request_and_all_refunds_are_no_more_than_was_captured(
    wanted: list[tuple[int, int | None, bool]], currency: str
) -> None:
    """Requests, parts and outcomes one after the other; what is refused changes nothing."""
    with transaction.atomic():
        order = credited("20", currency=currency)
        for asked, approved, succeeds in wanted:
            try:
                with transaction.atomic():
                    refund = ask(order, str(Decimal(asked) / 100), client_key=uuid4().hex)
                    refund = part(refund, str(Decimal(approved) / 100)) if approved else approve(refund)
            except (InvalidRequest, NotRefundable):
                continue
            outcomes.record_outcome(sent(refund).pk, said(refund, "succeeded" if succeeds else "failed"), now=NOON)
            row = Refund.objects.get(pk=refund.pk)
            assert row.fee_minor == quote.fee_of(row.requested_minor, row.fee_rate)
            assert row.fee_minor + row.sent_minor == row.requested_minor
            assert row.fee_usd + row.sent_usd == row.requested_usd
            live = Refund.objects.live().filter(top_up=order)
            order = TopUp.objects.get(pk=order.pk)
            grant = CreditGrant.objects.get(pk=order.grant_id)
            assert sum(one.requested_minor for one in live) == order.refunded_minor <= order.amount_minor
            assert sum(one.requested_usd for one in live) + grant.remaining == order.amount_usd
            assert grant.remaining == Wallet.objects.get(pk=order.account_id).balance
        assert broken() == []
        transaction.set_rollback(True)


@given(st.integers(100, 500_000), st.data(), st.sampled_from(["USD", "CNY"]))
def test_the_lines_of_a_request_add_up_to_the_last_minor_unit(whole: int, data: st.DataObject, currency: str) -> None:
    rate = Decimal("7.3")
    paid = quote.Paid(Decimal(whole) / 100, whole if currency == "USD" else (whole * 73 + 5) // 10, currency, rate)
    refunded = data.draw(st.integers(0, paid.amount_minor - 10))
    remaining = Decimal(data.draw(st.integers(1, whole))) / 100
    left = paid.amount_minor - refunded
    unused = quote.most(remaining, paid, left)
    if unused <= 0:
        return
    all_of_it = quote.quote(unused, paid, left_minor=left, fee_rate=Decimal("0.05"))
    asked_usd = Decimal(data.draw(st.integers(1, int(unused * 100)))) / 100
    asked = quote.quote(asked_usd, paid, left_minor=left, fee_rate=Decimal("0.05"))
    lines = quote.lines(paid.amount_minor, refunded, 0, all_of_it, asked)
    assert lines.paid - lines.used - lines.refunded - lines.disputed == lines.unused
    assert lines.unused - lines.kept == lines.requested
    assert lines.requested - lines.fee == lines.sent > 0
    assert min(lines.used, lines.kept, lines.fee) >= 0


def test_a_part_of_a_payment_in_yuan_goes_back_at_the_orders_own_rate() -> None:
    order = credited("50", currency="CNY")
    refund = part(ask(order, "30"), "20")
    assert (refund.requested_minor, refund.fee_minor, refund.sent_minor, refund.asked_minor) == (
        14600,
        730,
        13870,
        21900,
    )
    assert Wallet.objects.get().balance == 30


def test_a_plans_payment_is_not_made_less_here() -> None:
    with pytest.raises(InvalidTransition):
        lifecycle.reduce(Refund(number="refund_1", kind="subscription"), Wallet(), Decimal(1), reason="no", now=NOON)
