"""What of a plan's payments goes back (F091, F092, C09, C10, C13, C14, J16-J19). Pure.

    paid, without tax - actual usage - already refunded = difference;  - fee = final;  + its share of the tax

Everything is whole cents; each is rounded once, half up. Fee and what is sent always add up to what was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from uuid import UUID

from billing.money import EXACT
from refunds.quote import fee_of

CENTS: Final = Decimal(100)
ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment of the period, in cents: what was paid, the tax in it, what went back or is on its way, and what a
    bank disputes."""

    invoice: UUID
    paid_minor: int
    tax_minor: int = 0
    refunded_minor: int = 0
    disputed_minor: int = 0

    @property
    def net_minor(self) -> int:
        """Without tax."""
        return self.paid_minor - self.tax_minor

    @property
    def left_minor(self) -> int:
        """What could still go back of it."""
        return max(0, self.paid_minor - self.refunded_minor - self.disputed_minor)

    @property
    def net_refunded_minor(self) -> int:
        """What went back of it, without the tax that went with it."""
        return share(self.net_minor, self.refunded_minor, self.paid_minor)


@dataclass(frozen=True, slots=True)
class Used:
    """Flows at what one was worth when their calls were admitted: `flows / per_usd` dollars (C09)."""

    flows: Decimal
    per_usd: Decimal


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a quote, in cents. `usage` are calls that have ended, `pending` what open ones hold at most.

    `final` is what goes back, tax included, when the open calls come to nothing: it is never exceeded. `least` is what
    goes back when each comes to what it holds.
    """

    paid: int
    usage: int
    pending: int
    refunded: int
    difference: int
    fee: int
    tax: int
    final: int
    least: int

    def told(self) -> dict[str, int]:
        """As it is kept and signed."""
        return asdict(self)

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Lines:
        """The same, from what was kept."""
        return cls(**{name: int(kept[name]) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Part:
    """What goes back of one payment, in cents."""

    invoice: UUID
    requested: int
    fee: int

    @property
    def sent(self) -> int:
        """What the provider is asked to send."""
        return self.requested - self.fee


def half_up(cents: Decimal) -> int:
    """A whole number of cents."""
    return int(cents.quantize(ONE, rounding=ROUND_HALF_UP, context=EXACT))


def share(whole: int, part: int, of: int) -> int:
    """`part / of` of a whole, half up; nothing of nothing."""
    return half_up(EXACT.divide(Decimal(whole * part), Decimal(of))) if of else 0


def worth(used: Iterable[Used]) -> Decimal:
    """USD, not rounded yet."""
    total = Decimal(0)
    for one in used:
        total = EXACT.add(total, EXACT.divide(one.flows, one.per_usd))
    return total


def compute(
    payments: Sequence[Paid],
    used: Iterable[Used],
    pending: Iterable[Used] = (),
    *,
    fee_rate: Decimal,
    fee_of_paid: bool = False,
    refund_tax: bool = True,
) -> Lines:
    """Every line. A difference or a final amount of zero or less means that nothing can be refunded."""
    usage = EXACT.multiply(worth(used), CENTS)
    at_most = EXACT.add(usage, EXACT.multiply(worth(pending), CENTS))
    rest = _Rest(payments, fee_rate, fee_of_paid=fee_of_paid, refund_tax=refund_tax)
    now, later = half_up(usage), half_up(at_most)
    difference, fee, tax, final = rest.after(now)
    return Lines(
        paid=rest.paid,
        usage=now,
        pending=later - now,
        refunded=rest.refunded,
        difference=difference,
        fee=fee,
        tax=tax,
        final=final,
        least=max(0, rest.after(later)[3]),
    )


class _Rest:
    """What is left of payments after so much usage."""

    def __init__(self, payments: Sequence[Paid], fee_rate: Decimal, *, fee_of_paid: bool, refund_tax: bool) -> None:
        self.paid = sum(one.net_minor for one in payments)
        self.refunded = sum(one.net_refunded_minor for one in payments)
        self.tax = sum(one.tax_minor for one in payments) if refund_tax else 0
        self.tax_refunded = sum(one.refunded_minor - one.net_refunded_minor for one in payments)
        self.left = sum(one.left_minor for one in payments)
        self.fee_rate, self.fee_of_paid = fee_rate, fee_of_paid

    def after(self, usage: int) -> tuple[int, int, int, int]:
        """Difference, fee, tax and what goes back, in cents."""
        difference = self.paid - usage - self.refunded
        if difference <= 0:
            return difference, 0, 0, 0
        fee = fee_of(self.paid if self.fee_of_paid else difference, self.fee_rate)
        net = difference - fee
        if net <= 0:
            return difference, fee, 0, 0
        # The tax follows the price: of what is sent back its share, and with the rest no more than came in.
        tax = max(0, min(share(self.tax, net, self.paid), self.tax - self.tax_refunded, self.left - difference))
        return difference, fee, tax, net + tax


def never_more(lines: Lines, agreed: Lines) -> Lines:
    """What is refunded once the calls are settled: no more than was agreed to, whatever became better since (C14)."""
    return lines if lines.final <= agreed.final else agreed


def parts(lines: Lines, payments: Sequence[Paid]) -> list[Part]:
    """How it is sent: of the newest payment first, of each no more than is left of it, the fee in the same proportion.

    Every part sends at least a cent. What they send is `final`; with the fee it is `difference + tax`, unless so
    little is left that a payment for each cent would be too many.
    """
    asked, fee = lines.difference + lines.tax, lines.fee
    taken: list[list[Any]] = []
    for one in payments:
        take = min(one.left_minor, asked)
        if take <= 0:
            continue
        kept = min(share(fee, take, asked), take - 1)
        taken.append([one.invoice, take, kept])
        asked, fee = asked - take, fee - kept
    if asked:
        raise ValueError("more goes back than is left of the payments")
    for part in taken:  # a cent of the fee that the last one was too small for
        more = min(fee, part[1] - part[2] - 1)
        part[2], fee = part[2] + more, fee - more
    # Each sends a single cent now, and that is still too much: the fewest cents are sent, of the newest payments.
    del taken[len(taken) - fee :]
    return [Part(*part) for part in taken]
