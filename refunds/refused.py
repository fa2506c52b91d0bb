"""Payments that staff did not accept, after a hold or a review, go back by themselves: nothing was given for them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import User
from billing.payments import holds, reviews
from billing.payments.models_risk import RiskAssessment
from billing.waking import wake
from refunds import lifecycle
from refunds.models import Refund


def pay_back(order_id: UUID, *, now: datetime) -> Refund | None:
    """The refund of a refused payment, made once; None when it does not want one (any more)."""
    row = RiskAssessment.objects.select_related("decided_by", "top_up").filter(pk=order_id).first()
    if row is None or row.state != RiskAssessment.State.REFUND_WANTED or row.top_up.in_review:
        return None
    reason = row.decision or "refused after a risk check"
    return lifecycle.return_uncredited(order_id, reason=reason, actor=row.decided_by, now=now)


@holds.when_refund_wanted
def wake_up(order_id: UUID) -> None:
    """Called after the refusal's commit; the sweep finds what this does not reach."""
    from refunds.tasks import pay_back_refused  # the tasks import the operations

    wake(pay_back_refused, str(order_id))


@reviews.pays_back
def pay_back_reviewed(order_id: UUID, *, actor: User, reason: str, now: datetime) -> None:
    """In the transaction of the decision: the refund's row is the job, and after the commit it is sent."""
    from refunds.tasks import submit_refund

    refund = lifecycle.return_uncredited(order_id, reason=reason, actor=actor, now=now)
    transaction.on_commit(lambda: wake(submit_refund, str(refund.pk)), robust=True)
