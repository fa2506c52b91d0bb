"""What the end of a payment's refund means for the plan that it is a part of: called by the one door, in its
transaction and under the wallet's lock (F095, C15)."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

from billing.waking import wake
from refunds import plan_lifecycle, plan_telling
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions import giving_back, settling

log = logging.getLogger(__name__)

Status = PlanRefund.Status
Part = Refund.Status


def follow(plan_refund_id: UUID, *, now: datetime) -> None:
    """All payments went: the plan ends. One did not: the plan is kept, and what went stays gone, for a person to see.
    A bank returns one later: what had succeeded has failed."""
    refund = plan_lifecycle.locked(plan_refund_id)
    parts = list(Refund.objects.filter(plan_refund=refund).order_by("pk"))
    refund.sent_minor = sum(part.sent_minor for part in parts if part.status == Part.SUCCEEDED)
    if refund.status == Status.SUBMITTED and not any(part.status in Refund.WAITING for part in parts):
        if all(part.status == Part.SUCCEEDED for part in parts):
            _succeed(refund, now=now)
        else:
            _fail(refund, parts, now=now)
    elif refund.status == Status.SUCCEEDED and any(part.status != Part.SUCCEEDED for part in parts):
        _reverse(refund, parts, now=now)
    else:
        refund.save(update_fields=["sent_minor"])
    from refunds.tasks import go_on_with_plan  # the tasks import the operations

    wake(go_on_with_plan, str(refund.pk))


def _succeed(refund: PlanRefund, *, now: datetime) -> None:
    refund.move_to(Status.SUCCEEDED, now=now)
    refund.succeeded_at, refund.checks, refund.check_at = now, 0, now
    refund.save()
    giving_back.end(settling.locked(refund.subscription_id), now=now)
    plan_telling.outcome(refund, now=now)


def _fail(refund: PlanRefund, parts: list[Refund], *, now: datetime) -> None:
    if refund.sent_minor:
        _flag(refund, f"only {refund.sent:.2f} of {refund.final:.2f} USD went back, and the plan goes on")
    plan_lifecycle.close(refund, Status.FAILED, why=_why(parts), now=now)


def _reverse(refund: PlanRefund, parts: list[Refund], *, now: datetime) -> None:
    """The plan is gone and so is its money: the customer is owed what came back, and a person has to find a way."""
    _flag(refund, f"the bank returned {refund.final - refund.sent:.2f} USD after the plan had ended")
    refund.move_to(Status.FAILED, now=now)
    refund.failure_reason = _why(parts)
    refund.check_at = now  # perhaps the provider has not ended the plan yet
    refund.save()
    plan_telling.outcome(refund, now=now)


def _why(parts: list[Refund]) -> str:
    """The failure before what was cancelled because of it."""
    ended = [part for status in (Part.FAILED, Part.CANCELLED) for part in parts if part.status == status]
    return next((part.failure_reason for part in ended), "") or "cancelled"


def _flag(refund: PlanRefund, why: str) -> None:
    log.error("ALERT plan refund %s is flagged: %s", refund.number, why)
    refund.flagged, refund.flag_reason = True, why[:300]
