"""The arithmetic of giving a plan back, pure (F091, F092, C09, C10, C13, C14, J16-J19)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refunds import quote_plan
from refunds.quote import fee_of
from refunds.quote_plan import Lines, Paid, Used

FIVE_PERCENT = Decimal("0.05")
STANDARD, INSIDER = Decimal("39.6"), Decimal(36)


def paid(cents: int, **more: int) -> Paid:
    return Paid(uuid4(), cents, **more)


def flows(number: str | int, per_usd: Decimal = STANDARD) -> Used:
    return Used(Decimal(number), per_usd)


def lines(payments: list[Paid], *used: Used, pending: tuple[Used, ...] = (), **terms: bool) -> Lines:
    return quote_plan.compute(payments, used, pending, fee_rate=FIVE_PERCENT, **terms)


def test_j16_pro_with_100_flows() -> None:
    found = lines([paid(2000)], flows(100))
    assert (found.paid, found.usage, found.refunded) == (2000, 253, 0)
    assert (found.difference, found.fee, found.final) == (1747, 87, 1660)
    assert lines([paid(2000)], flows(100), fee_of_paid=True).final == 1647


def test_j17_max_with_an_earlier_refund() -> None:
    found = lines([paid(10000, refunded_minor=1000)], flows(900))
    assert (found.usage, found.refunded) == (2273, 1000)
    assert (found.difference, found.fee, found.final) == (6727, 336, 6391)


def test_j18_ultra_of_an_insider() -> None:
    found = lines([paid(20000)], flows(4000, INSIDER))
    assert (found.usage, found.difference, found.fee, found.final) == (11111, 8889, 444, 8445)


def test_j19_more_used_than_a_coupon_left_to_pay() -> None:
    found = lines([paid(500)], flows(300))
    assert (found.usage, found.difference, found.fee, found.final) == (758, -258, 0, 0)


@pytest.mark.parametrize(("requested", "fee", "sent"), [(1, 0, 1), (10, 1, 9), (999, 50, 949)])
def test_the_fee_is_rounded_half_up_and_the_rest_is_sent(requested: int, fee: int, sent: int) -> None:
    found = lines([paid(requested)])
    assert (found.difference, found.fee, found.final) == (requested, fee, sent)
    assert fee_of(requested, FIVE_PERCENT) == fee


def test_usage_is_rounded_once_and_not_by_call() -> None:
    third = tuple(flows("0.132", STANDARD) for _ in range(3))  # a third of a cent each
    assert lines([paid(2000)], *third).usage == 1


def test_calls_of_several_values_add_up() -> None:
    assert lines([paid(20000)], flows(396), flows(360, INSIDER)).usage == 2000


def test_open_calls_are_a_band_between_nothing_and_what_they_hold() -> None:
    found = lines([paid(2000)], flows(100), pending=(flows("39.6"),))
    assert (found.usage, found.pending) == (253, 100)
    assert (found.final, found.least) == (1660, 1565)
    nothing = lines([paid(100)], pending=(flows(396),))
    assert (nothing.final, nothing.least) == (95, 0)


def test_tax_goes_back_in_proportion_and_is_a_line_of_its_own() -> None:
    found = lines([paid(2380, tax_minor=380)], flows(100))
    assert (found.paid, found.difference, found.fee) == (2000, 1747, 87)
    assert found.tax == 315  # 380 of 1660 / 2000, which is 315.4
    assert found.final == 1660 + 315
    assert lines([paid(2380, tax_minor=380)], flows(100), refund_tax=False).final == 1660


def test_an_upgrade_gives_back_of_both_payments_the_newest_first() -> None:
    upgrade, first = paid(8000), paid(2000)
    found = lines([upgrade, first], flows(100))
    parts = quote_plan.parts(found, [upgrade, first])
    assert [(part.invoice, part.requested) for part in parts] == [(upgrade.invoice, 8000), (first.invoice, 1747)]
    assert sum(part.fee for part in parts) == found.fee == 487
    assert sum(part.sent for part in parts) == found.final == 9260


def test_a_payment_that_is_enough_gives_back_alone() -> None:
    upgrade, first = paid(8000), paid(2000)
    parts = quote_plan.parts(lines([upgrade, first], flows(1000)), [upgrade, first])
    assert [(part.invoice, part.requested) for part in parts] == [(upgrade.invoice, 7475)]


def test_what_became_better_since_is_refunded_as_it_was_agreed() -> None:
    agreed = lines([paid(2000, refunded_minor=500)], flows(100))
    better, worse = lines([paid(2000)], flows(100)), lines([paid(2000, refunded_minor=500)], flows(200))
    assert quote_plan.never_more(better, agreed) == agreed
    assert quote_plan.never_more(worse, agreed) == worse


def test_lines_come_back_from_where_they_were_kept() -> None:
    found = lines([paid(2380, tax_minor=380)], flows(100), pending=(flows(7),))
    assert Lines.read(found.told()) == found


# --- Whatever was paid, used, taxed and refunded ---------------------------------------------------------------------
cents = st.integers(1, 500_000)
rates = st.decimals("0", "0.5", places=4, allow_nan=False)
used = st.lists(
    st.builds(Used, st.decimals("0", "9000", places=6, allow_nan=False), st.sampled_from([STANDARD, INSIDER])),
    max_size=4,
)


@st.composite
def payments(draw: st.DrawFn) -> list[Paid]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        whole = draw(cents)
        tax = draw(st.integers(0, whole // 4))
        found.append(Paid(UUID(int=len(found)), whole, tax, draw(st.integers(0, whole))))
    return found


@given(payments(), used, used, rates, st.booleans(), st.booleans())
def test_every_line_sums_and_nothing_is_ever_too_much(
    given_payments: list[Paid], calls: list[Used], pending: list[Used], rate: Decimal, of_paid: bool, tax: bool
) -> None:
    found = quote_plan.compute(given_payments, calls, pending, fee_rate=rate, fee_of_paid=of_paid, refund_tax=tax)
    assert found.paid - found.usage - found.refunded == found.difference
    assert 0 <= found.least <= found.final
    assert found.pending >= 0
    assert found.usage >= 0
    if found.difference <= 0 or found.final < 1:
        return
    assert found.difference - found.fee + found.tax == found.final
    assert min(found.fee, found.tax) >= 0

    parts = quote_plan.parts(found, given_payments)
    left = {one.invoice: one.left_minor for one in given_payments}
    assert len({part.invoice for part in parts}) == len(parts)
    for part in parts:
        assert part.fee + part.sent == part.requested <= left[part.invoice]
        assert part.sent >= 1
        assert part.fee >= 0
    assert sum(part.sent for part in parts) == found.final
    assert sum(part.requested for part in parts) <= found.difference + found.tax
    if found.final >= len(given_payments):
        assert sum(part.requested for part in parts) == found.difference + found.tax


def test_a_last_cent_is_not_sent_twice() -> None:
    two = [paid(5), paid(5)]
    found = quote_plan.compute(two, (), fee_rate=Decimal("0.9"))
    assert (found.difference, found.fee, found.final) == (10, 9, 1)
    [part] = quote_plan.parts(found, two)
    assert (part.invoice, part.requested, part.sent) == (two[0].invoice, 5, 1)


@given(payments(), used, used, rates)
def test_more_usage_never_sends_more(
    given_payments: list[Paid], calls: list[Used], more: list[Used], rate: Decimal
) -> None:
    first = quote_plan.compute(given_payments, calls, fee_rate=rate)
    later = quote_plan.compute(given_payments, [*calls, *more], fee_rate=rate)
    assert later.final <= first.final
    assert quote_plan.never_more(later, first) == later


@given(payments(), used, used, rates, st.booleans(), st.booleans(), st.data())
def test_what_was_agreed_can_be_sent_whatever_changed_since(
    before: list[Paid],
    calls: list[Used],
    more: list[Used],
    rate: Decimal,
    of_paid: bool,
    tax: bool,
    data: st.DataObject,
) -> None:
    """Refunds made by hand may have come to nothing since, or others have been made."""
    terms = {"fee_rate": rate, "fee_of_paid": of_paid, "refund_tax": tax}
    agreed = quote_plan.compute(before, calls, **terms)  # type: ignore[arg-type]
    now = [replace(one, refunded_minor=data.draw(st.integers(0, one.paid_minor))) for one in before]
    settled = quote_plan.compute(now, [*calls, *more], **terms)  # type: ignore[arg-type]
    if agreed.final < 1 or settled.final < 1:
        return
    lines = quote_plan.never_more(settled, agreed)
    assert lines.final <= min(agreed.final, settled.final)
    parts = quote_plan.parts(lines, now)
    assert sum(part.sent for part in parts) == lines.final
    left = {one.invoice: one.left_minor for one in now}
    assert all(part.requested <= left[part.invoice] for part in parts)
