"""What a provider's own records say of a time: payments, refunds, disputes, movements of our balance there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ChargeTaken:
    """A payment that succeeded. Amounts in the smallest unit of `currency`."""

    charge_id: str
    payment_intent_id: str
    order: str
    amount_minor: int
    currency: str
    balance_line: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RefundMade:
    """A refund in whatever state it is."""

    refund_id: str
    payment_intent_id: str
    amount_minor: int
    currency: str
    status: str
    at: datetime
    marks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DisputeOpened:
    """A dispute in whatever state it is, and what it moved."""

    dispute_id: str
    payment_intent_id: str
    amount_minor: int
    currency: str
    status: str
    at: datetime
    balance_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BalanceLine:
    """One movement of our balance at the provider. Amounts are signed."""

    line_id: str
    type: str
    source: str
    amount_minor: int
    fee_minor: int
    currency: str
    at: datetime


class ProviderBooks(Protocol):
    """The provider's records from `since` (inclusive) until `until` (exclusive), by when they were made."""

    def charges_taken(self, since: datetime, until: datetime) -> Iterator[ChargeTaken]:
        """Payments that succeeded."""
        ...

    def refunds_made(self, since: datetime, until: datetime) -> Iterator[RefundMade]:
        """All refunds, ours and those made in the provider's dashboard."""
        ...

    def disputes_opened(self, since: datetime, until: datetime) -> Iterator[DisputeOpened]:
        """All disputes."""
        ...

    def balance_lines(self, since: datetime, until: datetime) -> Iterator[BalanceLine]:
        """All movements of the balance."""
        ...
