"""What follows a hold: staff release it or refuse it, or its time is over and the credit is given.

A refused payment goes back to the payer: its row says `refund_wanted`, and whoever makes refunds registers with
`when_refund_wanted`, finds what it was not told of with `waiting_for_refund`, and reports with `record_refund`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.errors import InvalidRequest, InvalidTransition
from billing.payments import auto_state, late, risk, settling, topups
from billing.payments.models import TopUp
from billing.payments.models_risk import RiskAssessment

State = RiskAssessment.State
Asked = Callable[[UUID], Any]
_asked: Final[list[Asked]] = []


def when_refund_wanted(asked: Asked) -> Asked:
    """Register who pays back a payment that staff refused; called with the order's id after the commit."""
    if asked not in _asked:
        _asked.append(asked)
    return asked


def waiting_for_refund(*, order_id: UUID | None = None, limit: int = 100) -> list[UUID]:
    """Orders whose payment is to go back and has not, oldest first; of one order, whether it is among them.

    One whose refund did not succeed is in review: a person looks at it and tries again (`reviews.pay_back`).
    """
    rows = RiskAssessment.objects.filter(state=State.REFUND_WANTED, top_up__in_review=False).order_by("state_at")
    if order_id is not None:
        rows = rows.filter(pk=order_id)
    return list(rows.values_list("pk", flat=True)[:limit])


def release(order_id: UUID, *, actor: User, reason: str, now: datetime) -> TopUp:
    """Staff let a held payment through: it is credited at once."""
    return _release(order_id, actor=actor, reason=said(reason), now=now)


def release_in_time(order_id: UUID, *, now: datetime) -> TopUp:
    """Nobody decided before the hold's end: it is credited. Safe to call again; nothing that was decided changes."""
    with transaction.atomic():
        order = topups.locked(order_id)
        row = RiskAssessment.objects.get(pk=order_id)
        if row.state != State.HELD or row.held_until is None or row.held_until > now or order.in_review:
            return order
        return _let_through(order, row, now=now)


def due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Held payments whose time is over."""
    rows = RiskAssessment.objects.filter(state=State.HELD, held_until__lte=now, top_up__in_review=False)
    return list(rows.order_by("held_until").values_list("pk", flat=True)[:limit])


def refuse(order_id: UUID, *, actor: User, reason: str, now: datetime) -> TopUp:
    """Staff do not accept a held payment: nothing is credited, and the money goes back to the payer."""
    why = said(reason)
    with transaction.atomic():
        order = topups.locked(order_id)
        row = _held(order_id)
        row.move_to(State.REFUND_WANTED, now=now)
        _decided(row, actor, why, now=now)
        audit.record(
            actor=actor,
            action="top_up_refuse",
            subject=order,
            now=now,
            reason=why,
            before={"risk": State.HELD.value},
            after={"risk": State.REFUND_WANTED.value},
        )
        risk.tell(order, "topup_not_accepted", now=now)
        if order.automatic:
            auto_state.not_accepted(order, now=now)
        for asked in _asked:
            transaction.on_commit(lambda asked=asked: asked(order_id), robust=True)  # type: ignore[misc]
    return order


def record_refund(order_id: UUID, *, now: datetime) -> TopUp:
    """The provider has paid back what staff refused: the order ends without ever having been credited."""
    with transaction.atomic():
        order = topups.locked(order_id)
        row = RiskAssessment.objects.get(pk=order_id)
        if row.state == State.REFUNDED:
            return order
        row.move_to(State.REFUNDED, now=now)
        row.save(update_fields=["state", "state_at"])
        if order.status != TopUp.Status.REFUNDED:  # whoever made the refund may have said so of the order itself
            order.move_to(TopUp.Status.REFUNDED, now=now)
            order.refunded_minor = order.amount_minor
            order.save(update_fields=["status", "status_at", "refunded_minor"])
    return order


def _release(order_id: UUID, *, actor: User, reason: str, now: datetime) -> TopUp:
    with transaction.atomic():
        order = topups.locked(order_id)
        row = _held(order_id)
        if order.in_review:
            raise InvalidTransition(_("The payment differs from the order; that must be settled first."))
        _decided(row, actor, reason, now=now)
        order = _let_through(order, row, now=now)
        audit.record(
            actor=actor,
            action="top_up_release",
            subject=order,
            now=now,
            reason=reason,
            before={"risk": State.HELD.value},
            after={"risk": State.RELEASED.value, "status": str(order.status)},
        )
    return order


def _let_through(order: TopUp, row: RiskAssessment, *, now: datetime) -> TopUp:
    row.move_to(State.RELEASED, now=now)
    row.save(update_fields=["state", "state_at"])
    settling.credit_paid(order, now=now)
    if order.paid_at is not None and row.held_until is not None:
        # A hold is nobody's lateness while it lasts; what comes after its end is ours.
        held = min(now, row.held_until) - order.paid_at
        late.notice(order, paid_at=order.paid_at, held=held, now=now)
    return order


def _held(order_id: UUID) -> RiskAssessment:
    row = RiskAssessment.objects.filter(pk=order_id).first()
    if row is None or row.state != State.HELD:
        raise InvalidTransition(_("This payment is not on hold."))
    return row


def _decided(row: RiskAssessment, actor: User, reason: str, *, now: datetime) -> None:
    row.decided_by, row.decided_at, row.decision = actor, now, reason[:500]
    row.save()


def said(reason: str) -> str:
    """The reason that a decision needs, tidied; `InvalidRequest` without one (I12)."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    return reason.strip()
