"""Stripe's own records of a time, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import stripe

from billing.payments.processor_books import BalanceLine, ChargeTaken, DisputeOpened, RefundMade
from billing.payments.stripe_client import StripeClient, our_errors

PAGE: Final = 100


class Books(StripeClient):
    """`ProviderBooks` over Stripe's lists."""

    def charges_taken(self, since: datetime, until: datetime) -> Iterator[ChargeTaken]:
        """Charges that succeeded; declined and pending ones moved no money."""
        with our_errors():
            found = self._client.v1.charges.list({"created": _between(since, until), "limit": PAGE})
            for charge in found.auto_paging_iter():
                if charge.status == "succeeded":
                    yield ChargeTaken(
                        charge_id=charge.id,
                        payment_intent_id=_id(charge.payment_intent),
                        order=str((charge.metadata.to_dict() if charge.metadata else {}).get("order", "")),
                        amount_minor=charge.amount_captured,
                        currency=charge.currency.upper(),
                        balance_line=_id(charge.balance_transaction),
                        at=_time(charge.created),
                    )

    def refunds_made(self, since: datetime, until: datetime) -> Iterator[RefundMade]:
        """Refunds, whoever made them."""
        with our_errors():
            found = self._client.v1.refunds.list({"created": _between(since, until), "limit": PAGE})
            for refund in found.auto_paging_iter():
                yield RefundMade(
                    refund_id=refund.id,
                    payment_intent_id=_id(refund.payment_intent),
                    amount_minor=refund.amount,
                    currency=refund.currency.upper(),
                    status=str(refund.status or ""),
                    at=_time(refund.created),
                    marks={str(k): str(v) for k, v in (refund.metadata.to_dict() if refund.metadata else {}).items()},
                )

    def disputes_opened(self, since: datetime, until: datetime) -> Iterator[DisputeOpened]:
        """Disputes and inquiries."""
        with our_errors():
            found = self._client.v1.disputes.list({"created": _between(since, until), "limit": PAGE})
            for dispute in found.auto_paging_iter():
                yield DisputeOpened(
                    dispute_id=dispute.id,
                    payment_intent_id=_id(dispute.payment_intent),
                    amount_minor=dispute.amount,
                    currency=dispute.currency.upper(),
                    status=str(dispute.status),
                    at=_time(dispute.created),
                    balance_lines=tuple(line.id for line in dispute.balance_transactions),
                )

    def balance_lines(self, since: datetime, until: datetime) -> Iterator[BalanceLine]:
        """Balance transactions of every type."""
        with our_errors():
            found = self._client.v1.balance_transactions.list({"created": _between(since, until), "limit": PAGE})
            for line in found.auto_paging_iter():
                yield BalanceLine(
                    line_id=line.id,
                    type=str(line.type),
                    source=_id(line.source),
                    amount_minor=line.amount,
                    fee_minor=line.fee,
                    currency=line.currency.upper(),
                    at=_time(line.created),
                )


def _between(since: datetime, until: datetime) -> stripe.params.ChargeListParamsCreated:
    return {"gte": int(since.timestamp()), "lt": int(until.timestamp())}


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _id(reference: Any) -> str:
    """The id of something that may be expanded."""
    if reference is None:
        return ""
    return reference if isinstance(reference, str) else str(reference.id)
