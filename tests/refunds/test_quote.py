"""The arithmetic of refunds, pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import from_minor_units, round_minor, to_minor_units
from refunds import quote
from refunds.models_policy import RefundPolicy

FIVE_PERCENT = Decimal("0.05")
RATE = Decimal("7.3")
cents = st.integers(1, 1_000_000)
rates = st.decimals("0", "0.99", places=6, allow_nan=False)


def usd(minor: int) -> Decimal:
    return from_minor_units(minor)


def paid(minor: int, currency: str = "USD") -> quote.Paid:
    amount = usd(minor)
    to_pay = minor if currency == "USD" else to_minor_units(round_minor(amount * RATE, "CNY"), "CNY")
    return quote.Paid(amount, to_pay, currency, RATE)


@pytest.mark.parametrize(
    ("requested", "fee", "sent"),
    [(1, 0, 1), (9, 0, 9), (10, 1, 9), (999, 50, 949), (1300, 65, 1235), (2000, 100, 1900)],
)
def test_the_fee_is_five_percent_of_the_requested_cents_half_up(requested: int, fee: int, sent: int) -> None:
    made = quote.quote(usd(requested), paid(5000), left_minor=5000, fee_rate=FIVE_PERCENT)
    assert (made.requested_minor, made.fee_minor, made.sent_minor) == (requested, fee, sent)
    assert (made.requested_usd, made.fee_usd, made.sent_usd) == (usd(requested), usd(fee), usd(sent))


def test_an_order_in_yuan_is_refunded_at_its_own_rate() -> None:
    made = quote.quote(Decimal(50), paid(10000, "CNY"), left_minor=73000, fee_rate=FIVE_PERCENT)
    assert (made.requested_minor, made.fee_minor, made.sent_minor) == (36500, 1825, 34675)
    assert (made.fee_usd, made.sent_usd) == (Decimal("2.5"), Decimal("47.5"))


def test_all_of_an_order_is_all_that_was_paid_for_it_whatever_the_rate_rounds_to() -> None:
    order = quote.Paid(Decimal("13.70"), 10000, "CNY", RATE)  # 13.70 x 7.3 would be 100.01
    assert quote.quote(Decimal("13.70"), order, left_minor=10000, fee_rate=Decimal(0)).sent_minor == 10000


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "20.01"])
def test_what_is_no_amount_of_the_payment_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match=r"refund|paid"):
        quote.quote(Decimal(amount), paid(2000), left_minor=2000, fee_rate=FIVE_PERCENT)


@given(cents, st.data(), st.sampled_from(["USD", "CNY"]), rates)
def test_fee_and_what_is_sent_are_the_request_and_none_is_negative(
    whole: int, data: st.DataObject, currency: str, rate: Decimal
) -> None:
    order = paid(whole, currency)
    requested = data.draw(st.integers(1, whole))
    try:
        made = quote.quote(usd(requested), order, left_minor=order.amount_minor, fee_rate=rate)
    except ValueError:
        asked = requested if currency == "USD" else to_minor_units(round_minor(usd(requested) * RATE, "CNY"), "CNY")
        assert quote.fee_of(asked, rate) >= asked  # nothing would be sent
        return
    assert made.fee_minor + made.sent_minor == made.requested_minor <= order.amount_minor
    assert made.fee_usd + made.sent_usd == made.requested_usd == usd(requested)
    assert min(made.fee_minor, made.fee_usd) >= 0
    assert min(made.sent_minor, made.sent_usd) > 0


@given(cents, st.data(), st.sampled_from(["USD", "CNY"]))
def test_all_refunds_of_a_payment_are_never_more_than_was_paid(whole: int, data: st.DataObject, currency: str) -> None:
    """Part after part until nothing is left: the parts are what was paid, to the last minor unit but rounding."""
    order, left_cents = paid(whole, currency), whole
    left_minor, parts = order.amount_minor, 0
    for _ in range(20):
        part = data.draw(st.integers(1, left_cents))
        made = quote.quote(usd(part), order, left_minor=left_minor, fee_rate=FIVE_PERCENT)
        left_cents, left_minor, parts = left_cents - part, left_minor - made.requested_minor, parts + 1
        assert left_minor >= 0
        if not left_cents or not left_minor:
            break
    if not left_cents:
        assert left_minor <= (0 if currency == "USD" else parts)


@pytest.mark.parametrize(
    ("remaining", "spendable", "whole"),
    [
        ("20", "20", "20"),
        ("13.123456", "13.123456", "13.12"),
        ("20", "4.999", "4.99"),
        ("20", "-3", "0"),
        ("0.009", "5", "0"),
    ],
)
def test_whole_cents_that_are_unused_and_not_promised_may_go_back(remaining: str, spendable: str, whole: str) -> None:
    assert quote.refundable(Decimal(remaining), Decimal(spendable)) == Decimal(whole)


@pytest.mark.parametrize(("method", "days"), [("alipay", 90), ("wechat_pay", 180)])
def test_the_end_of_a_wallets_time_is_exact_to_the_microsecond(method: str, days: int) -> None:
    at = datetime(2028, 2, 28, 12, tzinfo=UTC)  # a leap day lies within
    last = at + timedelta(days=days)
    assert RefundPolicy().too_old(method, at, last) is None
    assert RefundPolicy().too_old(method, at, last + timedelta(microseconds=1)) == timedelta(days=days)
    assert RefundPolicy().too_old("card", at, at + timedelta(days=4000)) is None
