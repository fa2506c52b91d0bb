"""What refund terms come to, in two worked examples and one with tax (J16, J17, C13). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from refunds import quote_plan
from refunds.quote_plan import Lines, Paid, Used

STANDARD: Final = Decimal("39.6")
"""Flows for a dollar in the worked examples (C03)."""
_PAYMENT: Final = UUID(int=1)


@dataclass(frozen=True, slots=True)
class Example:
    """A plan that is given back in time. Amounts in cents, tax included in what was paid."""

    code: str
    plan: str
    paid_minor: int
    flows: int
    refunded_minor: int = 0
    tax_minor: int = 0

    def lines(self, *, fee_rate: Decimal, fee_of_paid: bool, refund_tax: bool) -> Lines:
        """What it comes to under such terms, in cents."""
        return quote_plan.compute(
            [Paid(_PAYMENT, self.paid_minor, self.tax_minor, self.refunded_minor)],
            [Used(Decimal(self.flows), STANDARD)],
            fee_rate=fee_rate,
            fee_of_paid=fee_of_paid,
            refund_tax=refund_tax,
        )


EXAMPLES: Final = (
    Example("J16", "Pro", 2000, 100),
    Example("J17", "Max", 10000, 900, refunded_minor=1000),
    Example("J16", "Pro", 2400, 100, tax_minor=400),
)
