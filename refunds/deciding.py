"""What people decide about a refund before it is sent: approve, reject, cancel, look (07-reliability 7.2)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books.models import Wallet
from billing.errors import InvalidRequest, InvalidTransition, SecondPersonNeeded
from refunds import booking, lifecycle, outcomes, telling
from refunds.errors import DecidedOnPlanRefund, RefundNotConfirmed
from refunds.models import Refund

Status = Refund.Status
BY_CUSTOMER: Final = "taken back by the customer"
"""The reason on record; pages say it in the reader's language."""
COUNTED_TOGETHER: Final = timedelta(hours=24)


def approve(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> Refund:
    """Let it be sent. Above the limit the first yes is kept, and a second person's sends it.

    What one person approved for one account within a day counts together. Nobody approves a request of their own, and
    a company's waits until its finance has confirmed where the money goes (F022).
    """
    return _approve(refund_id, None, actor=actor, reason=reason, now=now)


def approve_part(refund_id: UUID, amount_usd: Decimal, *, actor: User, reason: str, now: datetime) -> Refund:
    """Let less of it be sent than was asked for. The rest is credit again at once, and the customer reads the reason.

    The request is that small from now on: above the limit the second person decides about the part, or makes it
    less still.
    """
    return _approve(refund_id, amount_usd, actor=actor, reason=reason, now=now)


def _approve(refund_id: UUID, amount_usd: Decimal | None, *, actor: User, reason: str, now: datetime) -> Refund:
    _require(reason)
    with transaction.atomic():
        refund, wallet = outcomes.locked(refund_id)
        _refuse_part_of_plan(refund)
        mine = refund.decided_by_id == actor.pk and amount_usd in (None, refund.requested_usd)
        if mine and refund.status in (Status.APPROVED, Status.SUBMITTED, Status.SUCCEEDED):
            return refund
        if Status.APPROVED not in Refund.NEXT[refund.status]:
            raise InvalidTransition(refund=refund.number, current=str(refund.status), wanted="approved")
        if actor.pk in (refund.requested_by_id, refund.first_approved_by_id):
            raise SecondPersonNeeded(refund=refund.number)
        if refund.needs_confirmation:
            raise RefundNotConfirmed(refund=refund.number)
        if refund.top_up is not None:
            lifecycle.check_possible(refund.top_up, now=now)
        if amount_usd is not None:
            _reduce(refund, wallet, amount_usd, actor=actor, reason=reason, now=now)
        alone = _approved_lately(refund, actor, now) + refund.requested_usd <= settings.SECOND_PERSON_ABOVE_USD
        if refund.first_approved_by_id is None and not alone:
            refund.first_approved_by, refund.first_approved_at = actor, now
            refund.save(update_fields=["first_approved_by", "first_approved_at"])
            telling.record("refund_first_approval", refund, actor=actor, reason=reason, before="requested", now=now)
            return refund
        refund.move_to(Status.APPROVED, now=now)
        refund.decided_by, refund.decided_at, refund.answer = actor, now, reason.strip()[:500]
        refund.check_at = now + outcomes.FIRST_CHECK
        refund.save(update_fields=["status", "status_at", "decided_by", "decided_at", "answer", "check_at"])
        telling.record("refund_approve", refund, actor=actor, reason=reason, before="requested", now=now)
    return refund


def _reduce(refund: Refund, wallet: Wallet, amount_usd: Decimal, *, actor: User, reason: str, now: datetime) -> None:
    before = {"requested_usd": f"{refund.requested_usd:f}", "sent_usd": f"{refund.sent_usd:f}"}
    lifecycle.reduce(refund, wallet, amount_usd, reason=reason, now=now)
    refund.save(update_fields=lifecycle.REDUCED)
    booking.recount(refund, now=now)
    audit.record(
        actor=actor,
        action="refund_part",
        subject=refund,
        now=now,
        reason=reason.strip(),
        before=before,
        after={"requested_usd": f"{refund.requested_usd:f}", "sent_usd": f"{refund.sent_usd:f}"},
    )


def _refuse_part_of_plan(refund: Refund) -> None:
    if refund.plan_refund_id is not None:
        raise DecidedOnPlanRefund(refund=refund.number, plan_refund=str(refund.plan_refund_id))


def reject(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> Refund:
    """It is not sent; what was held is given back, and the customer reads the reason."""
    return _stop(refund_id, "refund_reject", actor=actor, reason=reason, now=now)


def cancel(refund_id: UUID, *, actor: User | None, reason: str, label: str = "", now: datetime) -> Refund:
    """The customer, or somebody for the customer, takes the request back before it was sent. Without an actor a
    program did, which `label` names."""
    return _stop(refund_id, "refund_cancel", actor=actor, reason=reason, label=label, now=now)


def take_back(refund_id: UUID, *, actor: User | None, reason: str, label: str = "", now: datetime) -> Refund:
    """`cancel` by the customer, of what the customer asked for. What we owe unasked goes back all the same."""
    with transaction.atomic():
        refund, _wallet = outcomes.locked(refund_id)
        if refund.external or refund.top_up is None or refund.top_up.grant_id is None:
            raise InvalidTransition(
                _("This refund goes back without a request of yours and cannot be cancelled."),
                refund=refund.number,
                current=str(refund.status),
                wanted="cancelled",
            )
        return cancel(refund_id, actor=actor, reason=reason, label=label, now=now)


def _stop(refund_id: UUID, action: str, *, actor: User | None, reason: str, label: str = "", now: datetime) -> Refund:
    _require(reason)
    with transaction.atomic():
        refund, wallet = outcomes.locked(refund_id)
        _refuse_part_of_plan(refund)
        before = str(refund.status)
        if refund.status == Status.CANCELLED and refund.decided_by_id == (actor.pk if actor else None):
            return refund
        if refund.status not in (Status.REQUESTED, Status.APPROVED):
            raise InvalidTransition(
                _("It is at the payment provider already and cannot be stopped."),
                refund=refund.number,
                current=before,
                wanted="cancelled",
            )
        refund.decided_by, refund.decided_at, refund.answer = actor, now, reason.strip()[:500]
        refund.save(update_fields=["decided_by", "decided_at", "answer"])
        outcomes.close(refund, wallet, Status.CANCELLED, why=action.removeprefix("refund_"), now=now)
        telling.record(action, refund, actor=actor, reason=reason, before=before, label=label, now=now)
    return refund


def dismiss_flag(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> Refund:
    """Somebody has looked; what was flagged stands in the audit."""
    _require(reason)
    with transaction.atomic():
        refund, _wallet = outcomes.locked(refund_id)
        why = refund.flag_reason
        if refund.flagged:
            refund.flagged, refund.flag_reason = False, ""
            refund.save(update_fields=["flagged", "flag_reason"])
            telling.record("refund_looked", refund, actor=actor, reason=f"{reason} ({why})", before="", now=now)
    return refund


def _approved_lately(refund: Refund, actor: User, now: datetime) -> Decimal:
    """USD that this person approved for this account within a day, without anyone else's word."""
    rows = Refund.objects.live().filter(
        account_id=refund.account_id,
        decided_by=actor,
        first_approved_by=None,
        decided_at__gt=now - COUNTED_TOGETHER,
        top_up__grant__isnull=False,
    )
    return rows.aggregate(total=Sum("requested_usd"))["total"] or Decimal(0)


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
