"""Refunds that we did not send: somebody made them in the provider's dashboard. Booked once, without a fee.

The money has gone, so nothing is refused here: what had been spent already becomes overdraft, and a person is told.
"""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from billing.books import ledger
from billing.books.models import CreditGrant
from billing.money import from_minor_units, minor_text
from billing.payments import topups
from billing.payments.models import TopUp
from billing.payments.processor import UnrecognisedStatus
from billing.payments.processor_refunds import RefundProgress, RefundState
from config.ids import uuid7
from refunds import outcomes, quote
from refunds.models import Refund
from subscriptions.models import Invoice

log = logging.getLogger(__name__)

Status = Refund.Status


def apply(state: RefundState, *, now: datetime) -> Refund | None:
    """A refund at the provider, whoever made it: to ours its outcome, else booked. None: not a payment of ours."""
    known = _known(state)
    if known is not None:
        return outcomes.record_outcome(known.pk, state, now=now)
    payment = payment_of(state.payment_intent_id)
    if payment is None:
        return None
    if state.progress == RefundProgress.UNKNOWN:
        raise UnrecognisedStatus(payment=str(payment), statuses=f"refund.status is {state.status!r}")
    if state.progress in (RefundProgress.FAILED, RefundProgress.CANCELLED):
        return None  # it ended before we heard of it, and nothing went
    return _book(payment, state, now=now)


def payment_of(intent: str) -> TopUp | Invoice | None:
    """What of ours a payment paid: an order, or an invoice of a plan."""
    if not intent:
        return None
    order: TopUp | None = TopUp.objects.filter(payment_intent_id=intent).first()
    if order is not None:
        return order
    found: Invoice | None = Invoice.objects.filter(payment_intent_id=intent, status=Invoice.Status.PAID).first()
    return found


def _known(state: RefundState) -> Refund | None:
    """By the provider's name for it, or by our mark while the answer that names it is under way or lost."""
    known: Refund | None = Refund.objects.filter(provider_refund_id=state.refund_id).first()
    if known is not None:
        return known
    try:
        marked = UUID(state.marks.get("refund", ""))
    except ValueError:
        return None
    ours: Refund | None = Refund.objects.filter(pk=marked, provider_refund_id=None).first()
    if ours is None or ours.payment_intent_id != state.payment_intent_id:
        return None
    return ours if ours.status in (Status.APPROVED, Status.SUBMITTED) else None


def _book(payment: TopUp | Invoice, state: RefundState, *, now: datetime) -> Refund:
    with transaction.atomic():
        if isinstance(payment, TopUp):
            payment = topups.locked(payment.pk)
        ledger.lock_wallet(payment.account_id)
        known = _known(state)  # read again, under the lock
        if known is not None:
            return outcomes.record_outcome(known.pk, state, now=now)
        if state.currency != payment.currency or state.amount_minor <= 0:
            raise UnrecognisedStatus(
                payment=str(payment),
                statuses=f"a refund of {minor_text(state.amount_minor, state.currency)} on {payment.currency}",
            )
        _make_room(payment, state.amount_minor, now=now)
        row = _of_order(payment, state, now=now) if isinstance(payment, TopUp) else _of_plan(payment, state, now=now)
        refund = outcomes.book_new(row, now=now)
        return outcomes.record_outcome(refund.pk, state, now=now)


def _refunds_of(payment: TopUp | Invoice) -> Any:
    return Refund.objects.filter(**{"top_up" if isinstance(payment, TopUp) else "invoice": payment})


def _make_room(payment: TopUp | Invoice, amount_minor: int, *, now: datetime) -> None:
    """Requests that this leaves no money for, and that were not sent yet, end here; the newest first."""
    live = _refunds_of(payment).live()
    paid = payment.amount_minor if isinstance(payment, TopUp) else payment.paid_minor
    taken = live.aggregate(total=Sum("requested_minor"))["total"] or 0
    waiting = live.filter(external=False, status__in=[Status.REQUESTED, Status.APPROVED]).order_by("-pk")
    for refund_id in list(waiting.values_list("pk", flat=True)):
        if taken + amount_minor <= paid:
            return
        refund, wallet = outcomes.locked(refund_id)
        taken -= refund.requested_minor
        outcomes.close(refund, wallet, Status.CANCELLED, why="refunded_at_the_provider", now=now)


def _fee_back(payment: TopUp | Invoice, paid_minor: int, state: RefundState) -> int:
    """The customer had been charged all that was paid, and now gets more: that can only be a fee that we had kept."""
    gone = _refunds_of(payment).filter(status=Status.SUCCEEDED)
    sums = gone.aggregate(requested=Sum("requested_minor"), kept=Sum("fee_minor"))
    over = (sums["requested"] or 0) + state.amount_minor - paid_minor
    return max(0, min(over, sums["kept"] or 0))


def _of_order(order: TopUp, state: RefundState, *, now: datetime) -> Refund:
    fee_back = 0 if order.grant_id is None else _fee_back(order, order.amount_minor, state)
    requested_minor = state.amount_minor - fee_back
    requested_usd = quote.share(order.amount_usd, requested_minor, order.amount_minor)
    sent_usd = quote.share(order.amount_usd, state.amount_minor, order.amount_minor)
    overdrawn = Decimal(0)
    if order.grant is not None:
        overdrawn = max(Decimal(0), requested_usd - CreditGrant.objects.get(pk=order.grant_id).remaining)
    row = _new(
        order,
        state,
        now=now,
        top_up=order,
        requested_usd=requested_usd,
        fee_usd=requested_usd - sent_usd,
        sent_usd=sent_usd,
        overdrawn_usd=overdrawn,
        requested_minor=requested_minor,
        fee_minor=-fee_back,
    )
    if overdrawn and not row.flagged:
        outcomes.flag(row, f"{overdrawn:f} USD of it had been spent and became overdraft")
    return row


def _of_plan(invoice: Invoice, state: RefundState, *, now: datetime) -> Refund:
    """It came out of revenue and goes out of it; whether the plan should go on is for a person to say."""
    fee_back = _fee_back(invoice, invoice.paid_minor, state)
    requested_minor = state.amount_minor - fee_back
    row = _new(
        invoice,
        state,
        now=now,
        kind=Refund.Kind.SUBSCRIPTION,
        invoice=invoice,
        requested_usd=from_minor_units(requested_minor, invoice.currency),
        fee_usd=from_minor_units(-fee_back, invoice.currency),
        sent_usd=from_minor_units(state.amount_minor, invoice.currency),
        requested_minor=requested_minor,
        fee_minor=-fee_back,
    )
    if not row.flagged and invoice.subscription.in_force:
        outcomes.flag(row, "money of a plan went back in the dashboard, and the plan goes on")
    return row


def _new(payment: TopUp | Invoice, state: RefundState, *, now: datetime, **terms: Any) -> Refund:
    row_id = uuid7()
    row = Refund(
        id=row_id,
        number=outcomes.number_of(row_id),
        account=payment.account,
        created_at=now,
        reason="made in the payment provider's dashboard",
        external=True,
        currency=payment.currency,
        sent_minor=state.amount_minor,
        fee_rate=Decimal(0),
        status=Status.SUBMITTED,
        status_at=now,
        submitted_at=now,
        client_key=f"external:{state.refund_id}",
        idempotency_key=f"refund:{row_id}:v1",
        provider_refund_id=state.refund_id,
        **terms,
    )
    if "refund" in state.marks:
        outcomes.flag(row, f"it carries the mark of the refund {state.marks['refund']}, which has another one")
    return row
