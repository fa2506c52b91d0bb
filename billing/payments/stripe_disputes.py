"""Disputes and early fraud warnings at Stripe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import stripe

from billing.payments.processor_disputes import DisputeLine, DisputeState, WarningState
from billing.payments.stripe_client import StripeClient, our_errors

PAGE: Final = 100


class Disputes(StripeClient):
    """`processor_disputes.Disputes` over Stripe's client."""

    def dispute(self, dispute_id: str) -> DisputeState:
        """One dispute."""
        with our_errors():
            return _dispute(self._client.v1.disputes.retrieve(dispute_id))

    def disputes_since(self, since: datetime) -> Iterator[DisputeState]:
        """Newest first, page by page."""
        with our_errors():
            found = self._client.v1.disputes.list({"created": {"gte": int(since.timestamp())}, "limit": PAGE})
            for one in found.auto_paging_iter():
                yield _dispute(one)

    def fraud_warning(self, warning_id: str) -> WarningState:
        """One warning."""
        with our_errors():
            return self._warning(self._client.v1.radar.early_fraud_warnings.retrieve(warning_id))

    def fraud_warnings_since(self, since: datetime) -> Iterator[WarningState]:
        """Newest first, page by page."""
        with our_errors():
            found = self._client.v1.radar.early_fraud_warnings.list(
                {"created": {"gte": int(since.timestamp())}, "limit": PAGE}
            )
            for one in found.auto_paging_iter():
                yield self._warning(one)

    def _warning(self, one: stripe.radar.EarlyFraudWarning) -> WarningState:
        intent = _id(one.payment_intent) if "payment_intent" in one else ""
        return WarningState(
            warning_id=one.id,
            payment_intent_id=intent,
            charge_id=_id(one.charge),
            fraud_type=str(one.fraud_type),
            actionable=bool(one.actionable),
            at=_time(one.created),
            livemode=bool(one.livemode),
        )


def _dispute(one: stripe.Dispute) -> DisputeState:
    due_by = one.evidence_details.due_by
    return DisputeState(
        dispute_id=one.id,
        payment_intent_id=_id(one.payment_intent),
        charge_id=_id(one.charge),
        amount_minor=one.amount,
        currency=one.currency.upper(),
        reason=str(one.reason),
        status=str(one.status),
        at=_time(one.created),
        due_by=_time(due_by) if due_by else None,
        has_evidence=bool(one.evidence_details.has_evidence),
        lines=tuple(
            DisputeLine(line.id, line.amount, line.fee, line.currency.upper(), _time(line.created))
            for line in one.balance_transactions
        ),
        livemode=bool(one.livemode),
    )


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _id(reference: Any) -> str:
    if reference is None:
        return ""
    return reference if isinstance(reference, str) else str(reference.id)
