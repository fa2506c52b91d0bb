"""Stripe's refunds: make one, ask about one, list those of a payment."""

from __future__ import annotations

from typing import Final

import stripe

from billing.payments.processor_refunds import RefundProgress, RefundRequest, RefundState
from billing.payments.stripe_client import StripeClient, our_errors

# The enum is open: what is not named here is UNKNOWN.
_PROGRESS: Final = {
    "pending": RefundProgress.PENDING,
    "requires_action": RefundProgress.PENDING,
    "succeeded": RefundProgress.SUCCEEDED,
    "failed": RefundProgress.FAILED,
    "canceled": RefundProgress.CANCELLED,
}


class Refunds(StripeClient):
    """`RefundProcessor` over `stripe.StripeClient`."""

    def create_refund(self, request: RefundRequest) -> RefundState:
        """Send back `amount_minor` of a payment; the marks let a later look find the refund without its key."""
        with our_errors():
            made = self._client.v1.refunds.create(
                {
                    "payment_intent": request.payment_intent_id,
                    "amount": request.amount_minor,
                    "reason": "requested_by_customer",
                    "metadata": dict(request.marks),
                },
                {"idempotency_key": request.idempotency_key},
            )
        return _state(made)

    def refund(self, refund_id: str) -> RefundState:
        """What is true of a refund now."""
        with our_errors():
            return _state(self._client.v1.refunds.retrieve(refund_id))

    def refunds_of(self, payment_intent_id: str) -> tuple[RefundState, ...]:
        """All of them: a failed one is listed too."""
        with our_errors():
            listed = self._client.v1.refunds.list({"payment_intent": payment_intent_id, "limit": 100})
            found = [_state(one) for one in listed.auto_paging_iter()]
        return tuple(reversed(found))


def _state(refund: stripe.Refund) -> RefundState:
    intent = refund.payment_intent
    status = str(refund.status or "")
    return RefundState(
        refund_id=refund.id,
        payment_intent_id=intent if isinstance(intent, str) else (intent.id if intent else ""),
        progress=_PROGRESS.get(status, RefundProgress.UNKNOWN),
        status=status,
        amount_minor=refund.amount,
        currency=refund.currency.upper(),
        failure=(refund.failure_reason or "") if "failure_reason" in refund else "",
        marks={str(name): str(value) for name, value in refund.metadata.to_dict().items()} if refund.metadata else {},
    )
