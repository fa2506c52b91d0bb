"""How much of a payment goes back: what is held out of the credit, the fee, what is sent (02-domain 2.8). Pure.

The fee is taken of the requested minor units, half up, so that fee and what is sent always add up to the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Final

from billing.money import CNY, EXACT, USD, ZERO, from_minor_units, round_charge, round_minor, to_minor_units

CENT: Final = Decimal("0.01")
ROUNDED: Final = 50
"""Fen by which earlier refunds of the payment may have been rounded up, half a fen each, before it is a mistake."""


@dataclass(frozen=True, slots=True)
class Paid:
    """The payment as the order keeps it."""

    amount_usd: Decimal
    amount_minor: int
    currency: str
    cny_per_usd: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """A refund in full: US dollars for the books, minor units of the order's currency for the provider."""

    requested_usd: Decimal
    fee_usd: Decimal
    sent_usd: Decimal
    currency: str
    requested_minor: int
    fee_minor: int
    sent_minor: int
    fee_rate: Decimal


def fee_of(requested_minor: int, rate: Decimal) -> int:
    """The fee in minor units, half up."""
    return int((Decimal(requested_minor) * rate).quantize(Decimal(1), rounding=ROUND_HALF_UP, context=EXACT))


def quote(requested_usd: Decimal, paid: Paid, *, left_minor: int, fee_rate: Decimal) -> Quote:
    """What a request for this many dollars (whole cents) comes to, of a payment with `left_minor` not yet refunded.

    In yuan at the order's own rate (C01); the last refund takes what is left, so that rounding never asks for more
    than was paid. ValueError for what is not a whole cent, not above zero, or more than was paid.
    """
    if requested_usd <= 0 or requested_usd != requested_usd.quantize(CENT, context=EXACT):
        raise ValueError("a refund is a whole number of cents above zero")
    if requested_usd > paid.amount_usd or not 0 <= left_minor <= paid.amount_minor:
        raise ValueError("more than was paid")
    if requested_usd == paid.amount_usd:
        asked = paid.amount_minor
    elif paid.currency == USD:
        asked = to_minor_units(requested_usd, USD)
    elif paid.currency == CNY:
        asked = to_minor_units(round_minor(EXACT.multiply(requested_usd, paid.cny_per_usd), CNY), CNY)
    else:
        raise ValueError(f"no rate for {paid.currency}")
    if asked > left_minor + (0 if paid.currency == USD else ROUNDED):
        raise ValueError("more than is left of the payment")
    requested_minor = min(asked, left_minor)
    if requested_minor <= 0:
        raise ValueError("nothing is left of the payment")
    fee_minor = fee_of(requested_minor, fee_rate)
    if fee_minor >= requested_minor:
        raise ValueError("the fee takes all of it")
    fee_usd = share(requested_usd, fee_minor, requested_minor)
    return Quote(
        requested_usd=round_charge(requested_usd),
        fee_usd=fee_usd,
        sent_usd=round_charge(requested_usd) - fee_usd,
        currency=paid.currency,
        requested_minor=requested_minor,
        fee_minor=fee_minor,
        sent_minor=requested_minor - fee_minor,
        fee_rate=fee_rate,
    )


def share(amount: Decimal, part: int, whole: int) -> Decimal:
    """`part` of `whole` of an amount, as ledger money."""
    return round_charge(EXACT.divide(EXACT.multiply(amount, Decimal(part)), Decimal(whole))) if part else ZERO


def most(unused_usd: Decimal, paid: Paid, left_minor: int) -> Decimal:
    """Whole cents that can go back: what is unused, and no more than is left of the payment after earlier refunds."""
    if left_minor <= 0:
        return Decimal(0)
    if left_minor >= paid.amount_minor:
        return min(unused_usd, paid.amount_usd)
    rate = Decimal(1) if paid.currency == USD else paid.cny_per_usd
    cost = to_minor_units(round_minor(EXACT.multiply(unused_usd, rate), paid.currency), paid.currency)
    if cost <= left_minor + (0 if paid.currency == USD else ROUNDED):
        return unused_usd
    worth = EXACT.divide(from_minor_units(left_minor, paid.currency), rate)
    return worth.quantize(CENT, rounding=ROUND_FLOOR, context=EXACT)


@dataclass(frozen=True, slots=True)
class Lines:
    """A request from the payment down to what arrives, in minor units of what was paid. Each line is exact:

    paid - used - refunded - disputed = unused, unused - kept = requested, requested - fee = sent. `used` holds calls
    under way and parts of a cent, too; `kept` is what stays as credit.
    """

    paid: int
    used: int
    refunded: int
    disputed: int
    unused: int
    kept: int
    requested: int
    fee: int
    sent: int


def lines(paid_minor: int, refunded_minor: int, disputed_minor: int, whole: Quote, asked: Quote) -> Lines:
    """The lines of a request for `asked`, where at most `whole` may be asked for."""
    return Lines(
        paid=paid_minor,
        used=paid_minor - refunded_minor - disputed_minor - whole.requested_minor,
        refunded=refunded_minor,
        disputed=disputed_minor,
        unused=whole.requested_minor,
        kept=whole.requested_minor - asked.requested_minor,
        requested=asked.requested_minor,
        fee=asked.fee_minor,
        sent=asked.sent_minor,
    )


def refundable(remaining: Decimal, spendable: Decimal) -> Decimal:
    """Whole cents of a grant that may go back: what is unused of it, and not promised to calls under way."""
    least = max(min(remaining, spendable), Decimal(0))
    return least.quantize(CENT, rounding=ROUND_FLOOR, context=EXACT)
