"""Orders in review: the way out for a payment that a person has to look at (04-payments 4.5, case 10).

A payment comes here when it differs from its order, or was disputed or warned of before its credit, or when paying it
back failed. Staff have the provider asked again and finish the order, or pay the payment back. Who makes refunds
registers with `pays_back`.
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
from billing.errors import InvalidTransition
from billing.payments import auto_state, holds, settling, topups
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute
from billing.payments.models_risk import RiskAssessment
from billing.payments.processor import PaymentProcessor, PaymentState, Progress

Status = TopUp.Status
Payer = Callable[..., Any]
_payers: Final[list[Payer]] = []


def pays_back(payer: Payer) -> Payer:
    """Register who sends a payment back: called with the order's id, `actor`, `reason` and `now`, under the lock."""
    if payer not in _payers:
        _payers.append(payer)
    return payer


def finish(order_id: UUID, *, actor: User, reason: str, processor: PaymentProcessor, now: datetime) -> TopUp:
    """Staff have looked: the provider is asked, and what it says decides how the order ends (I12).

    A payment that is as ordered goes on to its credit, by the risk rules' leave; one that never came ends the order;
    one that the bank took back for good ends it as disputed. What differs, is disputed or goes back is
    `InvalidTransition`.
    """
    why = holds.said(reason)
    state = settling.ask(TopUp.objects.get(pk=order_id), processor=processor)
    if state is None:
        raise InvalidTransition(_("The provider knows no payment of this order."))
    with transaction.atomic():
        order = topups.locked(order_id)
        _must_be_in_review(order)
        before = str(order.status)
        order.in_review = False
        if order.status == Status.PAID and _lost(order):
            order.move_to(Status.DISPUTED, now=now)
            order.save(update_fields=["in_review", "status", "status_at"])
            auto_state.not_accepted(order, now=now)
        elif (unpaid := settling.FOLLOWS.get(state.progress)) and unpaid in TopUp.NEXT[order.status]:
            order.move_to(unpaid, now=now)
            order.save(update_fields=["in_review", "status", "status_at"])
            auto_state.follow(order, now=now)
        else:
            _check_clear(order, state)
            order.save(update_fields=["in_review"])
            order = settling.record_outcome(order_id, state, now=now)
            if order.in_review:
                raise InvalidTransition(_("It is still so: %(why)s."), why=order.review_reason)
        _record("top_up_review_finish", order, before, actor=actor, reason=why, now=now)
    return order


def pay_back(order_id: UUID, *, actor: User, reason: str, now: datetime) -> TopUp:
    """Staff send the whole payment back the way it was paid, without a fee; nothing was given for it."""
    why = holds.said(reason)
    with transaction.atomic():
        order = topups.locked(order_id)
        _must_be_in_review(order)
        if order.status != Status.PAID:
            raise InvalidTransition(_("Nothing has been paid for this order."))
        before = str(order.status)
        for payer in _payers:
            payer(order_id, actor=actor, reason=why, now=now)
        order.refresh_from_db()
        if order.automatic:
            auto_state.not_accepted(order, now=now)
        _record("top_up_review_pay_back", order, before, actor=actor, reason=why, now=now)
    return order


def _lost(order: TopUp) -> bool:
    """The bank has taken back all of it, for good."""
    states = set(Dispute.objects.filter(top_up=order, state__in=Dispute.COUNTED).values_list("state", flat=True))
    return states == {Dispute.State.LOST} and order.disputed_minor + order.refunded_minor >= order.amount_minor


def _check_clear(order: TopUp, state: PaymentState) -> None:
    """Refuse to credit what is disputed, on its way back, or was refused; say which."""
    if state.progress != Progress.PAID:
        return
    if order.disputed_minor:
        raise InvalidTransition(_("The payment is disputed at the bank; wait for the bank's decision."))
    if order.refunded_minor:
        raise InvalidTransition(_("The payment is on its way back to the payer."))
    check = RiskAssessment.objects.filter(pk=order.pk).first()
    if check is not None and check.state in (RiskAssessment.State.REFUND_WANTED, RiskAssessment.State.REFUNDED):
        raise InvalidTransition(_("The payment was refused after a risk check; it can only be paid back."))


def _must_be_in_review(order: TopUp) -> None:
    if not order.in_review:
        raise InvalidTransition(_("This order is not in review."), current=str(order.status))


def _record(action: str, order: TopUp, before: str, *, actor: User, reason: str, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=order,
        now=now,
        reason=reason,
        before={"status": before, "review": order.review_reason},
        after={"status": str(order.status)},
    )
