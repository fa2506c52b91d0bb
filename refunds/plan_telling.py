"""Who hears of a plan refund: the customer by e-mail, when it is asked for and when it ends (F094, F095)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from billing import notices
from billing.money import USD, from_minor_units
from refunds.models_plan import PlanRefund

Status = PlanRefund.Status
_NOTICES: Final = {
    Status.SUCCEEDED: "plan_refund_succeeded",
    Status.FAILED: "plan_refund_failed",
    Status.CANCELLED: "plan_refund_cancelled",
}


def submitted(refund: PlanRefund, *, now: datetime) -> None:
    """It was asked for: what happens now."""
    _tell(refund, "plan_refund_submitted", now=now)


def outcome(refund: PlanRefund, *, now: datetime) -> None:
    """How it ended; a failure after a success is news."""
    _tell(refund, _NOTICES[Status(refund.status)], now=now)


def _tell(refund: PlanRefund, kind: str, *, now: datetime) -> None:
    notices.tell(
        refund.account_id,
        kind,
        key=f"plan_refund:{refund.pk}:{refund.status}",
        context={
            "refund": refund.number,
            "id": str(refund.pk),
            "plan": refund.plan_version.plan.name,
            "quoted_usd": f"{from_minor_units(refund.quoted['final'], USD):.2f}",
            "final_usd": f"{refund.final:.2f}",
            "sent_usd": f"{refund.sent:.2f}" if refund.sent_minor else "",
            "approval": refund.approval,
            "settle_minutes": str(refund.policy.settle_minutes),
            "returned": "yes" if refund.status == Status.FAILED and refund.succeeded_at is not None else "",
            "why": refund.failure_reason,
            "answer": refund.answer if refund.status == Status.CANCELLED else "",
            "renewed": "yes" if refund.renewed_before else "",
            "status_at": refund.status_at.isoformat(),
        },
        now=now,
    )
