"""Who hears of a refund: the customer by e-mail, the audit when a person decided (I12)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from accounts import audit
from accounts.models import User
from billing import notices
from refunds.models import Refund

Status = Refund.Status
_NOTICES: Final = {
    Status.SUCCEEDED: "refund_succeeded",
    Status.FAILED: "refund_failed",
    Status.CANCELLED: "refund_cancelled",
}


def outcome(refund: Refund, *, now: datetime) -> None:
    """Let the account's people know how it ended, in the transaction of the end; a failure after a success is news."""
    kind = _NOTICES.get(Status(refund.status))
    if kind is None:
        return
    notices.tell(
        refund.account_id,
        kind,
        key=f"refund:{refund.pk}:{refund.status}",
        context={
            "refund": refund.number,
            "order": refund.of_number,
            "invoice": str(refund.invoice_id or ""),
            "currency": refund.currency,
            "requested": f"{refund.requested:.2f}",
            "asked": f"{refund.asked:.2f}" if refund.asked is not None else "",
            "part_reason": refund.part_reason,
            "fee": f"{refund.fee:.2f}" if refund.fee_minor > 0 else "",
            "sent": f"{refund.sent:.2f}",
            "credit_usd": f"{refund.requested_usd:f}",
            "external": "yes" if refund.external else "",
            "uncredited": "yes" if refund.top_up is not None and refund.top_up.grant_id is None else "",
            "returned": "yes" if refund.succeeded_at is not None else "",
            "answer": refund.answer if refund.status == Status.CANCELLED else "",
            "status_at": refund.status_at.isoformat(),
        },
        now=now,
    )


def record(
    action: str, refund: Refund, *, actor: User | None, reason: str, before: str, now: datetime, label: str = ""
) -> None:
    """A person's decision, with its reason; `label` names a program that acts for nobody in particular."""
    audit.record(
        actor=actor,
        actor_label=label,
        action=action,
        subject=refund,
        now=now,
        reason=reason.strip(),
        before={"status": before} if before else {},
        after={"status": str(refund.status), "requested_usd": f"{refund.requested_usd:f}"},
    )
