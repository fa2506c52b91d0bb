"""What a provider tells of disputes and early fraud warnings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DisputeLine:
    """What a dispute did to our balance at the provider. Negative: taken from us. The fee is a cost of ours."""

    line_id: str
    amount_minor: int
    fee_minor: int
    currency: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DisputeState:
    """What is true of a dispute now. `status` is the provider's word; an unknown one is kept."""

    dispute_id: str
    payment_intent_id: str
    charge_id: str
    amount_minor: int
    currency: str
    reason: str
    status: str
    at: datetime
    due_by: datetime | None = None
    has_evidence: bool = False
    lines: tuple[DisputeLine, ...] = ()
    livemode: bool = False

    @property
    def withdrawn(self) -> bool:
        """Money was taken from us, now or before."""
        return any(line.amount_minor < 0 for line in self.lines)


@dataclass(frozen=True, slots=True)
class WarningState:
    """An early fraud warning as it is now."""

    warning_id: str
    payment_intent_id: str
    charge_id: str
    fraud_type: str
    actionable: bool
    at: datetime
    livemode: bool = False


class Disputes(Protocol):
    """Disputes and warnings are only read: evidence is given in the provider's dashboard."""

    def dispute(self, dispute_id: str) -> DisputeState:
        """What is true of a dispute now."""
        ...

    def disputes_since(self, since: datetime) -> Iterator[DisputeState]:
        """Disputes made at the provider since then."""
        ...

    def fraud_warning(self, warning_id: str) -> WarningState:
        """What is true of a warning now."""
        ...

    def fraud_warnings_since(self, since: datetime) -> Iterator[WarningState]:
        """Warnings made since then."""
        ...
