"""What a dispute of a plan's payment means for money that was to go back.

While it stands, nothing goes: a request that waits for staff is closed, so that the plan admits calls again. When it is
over, what was paid for a second subscription is sent back after all.
"""

from __future__ import annotations

from datetime import datetime

from billing.waking import wake
from refunds import plan_lifecycle
from refunds.models_plan import PlanRefund
from refunds.tasks import go_on_with_plan
from subscriptions import disputes, giving_back
from subscriptions.models import Invoice, Subscription


@disputes.follows
def follow(invoice: Invoice, *, now: datetime) -> None:
    """Called by the one door of disputes, under the wallet's lock. Repeats change nothing.

    A request whose calls are settled, or that was sent, is looked at again with each of its steps.
    """
    if invoice.disputed_minor:
        waiting = PlanRefund.objects.filter(
            subscription_id=invoice.subscription_id, status=PlanRefund.Status.REQUESTED
        ).first()
        if waiting is not None and invoice in giving_back.payments_of(waiting.subscription):
            refund = plan_lifecycle.locked(waiting.pk)
            plan_lifecycle.close(refund, PlanRefund.Status.CANCELLED, why="disputed", now=now)
            wake(go_on_with_plan, str(refund.pk))
        return
    # The row is the job: the sweep undoes it once more, which pays back what is left and repeats nothing else.
    Subscription.objects.filter(pk=invoice.subscription_id, status=Subscription.Status.DUPLICATE).update(undone_at=None)
