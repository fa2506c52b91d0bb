"""What a provider says of a refund, for tests that need no provider."""

from __future__ import annotations

from typing import Any

from billing.payments.processor_refunds import RefundProgress, RefundState
from refunds.models import Refund


def state_of(refund: Refund, progress: str, **more: Any) -> RefundState:
    """Its outcome, as an answer or an event would tell it."""
    terms: dict[str, Any] = {
        "refund_id": f"re_{refund.pk.hex}",
        "payment_intent_id": refund.payment_intent_id,
        "progress": RefundProgress(progress),
        "status": progress,
        "amount_minor": refund.sent_minor,
        "currency": refund.currency,
        "marks": {"refund": str(refund.pk)},
    }
    return RefundState(**terms | more)
