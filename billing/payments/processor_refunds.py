"""What we ask of a payment provider about refunds and what it tells us, in our own nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class RefundProgress(StrEnum):
    """How far a refund is at the provider. UNKNOWN is a status that this version does not know."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Money to send back. Made from the stored row alone: a retry must be the same."""

    payment_intent_id: str
    amount_minor: int
    marks: Mapping[str, str]
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class RefundState:
    """What is true of a refund now. `marks` are ours, or empty when it was made in the provider's dashboard."""

    refund_id: str
    payment_intent_id: str
    progress: RefundProgress
    status: str
    amount_minor: int
    currency: str
    failure: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)


class RefundProcessor(Protocol):
    """Refunds of payments that were captured."""

    def create_refund(self, request: RefundRequest) -> RefundState:
        """Send money back. A definite no is `ProcessorRefused`; silence says nothing."""
        ...

    def refund(self, refund_id: str) -> RefundState:
        """What is true of a refund now."""
        ...

    def refunds_of(self, payment_intent_id: str) -> tuple[RefundState, ...]:
        """Every refund of a payment, whoever made it, oldest first."""
        ...
