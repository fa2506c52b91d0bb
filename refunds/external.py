"""Refunds that we did not send: somebody made them in the provider's dashboard. Booked once, without a fee.

The money has gone, so nothing is refused here: what had been spent already becomes overdraft, and a person is told.
"""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from billing.books import ledger
from billing.books.models import CreditGrant, Wallet
from billing.money import minor_text
from billing.payments import topups
from billing.payments.models import TopUp
from billing.payments.numbers import PREFIX, order_number
from billing.payments.processor import UnrecognisedStatus
from billing.payments.processor_refunds import RefundProgress, RefundState
from config.ids import uuid7
from refunds import booking, lifecycle, quote
from refunds.models import Refund

log = logging.getLogger(__name__)

Status = Refund.Status


def apply(state: RefundState, *, now: datetime) -> Refund | None:
    """A refund at the provider, whoever made it: to ours its outcome, else booked. None: not a payment of ours."""
    known = _known(state)
    if known is not None:
        return lifecycle.record_outcome(known.pk, state, now=now)
    order = TopUp.objects.filter(payment_intent_id=state.payment_intent_id).first() if state.payment_intent_id else None
    if order is None:
        return None
    if state.progress == RefundProgress.UNKNOWN:
        raise UnrecognisedStatus(order=order.number, statuses=f"refund.status is {state.status!r}")
    if state.progress in (RefundProgress.FAILED, RefundProgress.CANCELLED):
        return None  # it ended before we heard of it, and nothing went
    return _book(order.pk, state, now=now)


def _known(state: RefundState) -> Refund | None:
    """By the provider's name for it, or by our mark while the answer that names it is under way or lost."""
    known: Refund | None = Refund.objects.filter(provider_refund_id=state.refund_id).first()
    if known is not None:
        return known
    try:
        marked = UUID(state.marks.get("refund", ""))
    except ValueError:
        return None
    ours: Refund | None = Refund.objects.filter(
        pk=marked, provider_refund_id=None, top_up__payment_intent_id=state.payment_intent_id
    ).first()
    return ours if ours is not None and ours.status in (Status.APPROVED, Status.SUBMITTED) else None


def _book(order_id: UUID, state: RefundState, *, now: datetime) -> Refund:
    with transaction.atomic():
        order = topups.locked(order_id)
        wallet = ledger.lock_wallet(order.account_id)
        known = _known(state)  # read again, under the lock
        if known is not None:
            return lifecycle.record_outcome(known.pk, state, now=now)
        if state.currency != order.currency or state.amount_minor <= 0:
            raise UnrecognisedStatus(
                order=order.number,
                statuses=f"a refund of {minor_text(state.amount_minor, state.currency)} on {order.currency}",
            )
        _make_room(order, state.amount_minor, now=now)
        wallet = ledger.lock_wallet(order.account_id)  # as it is after that
        refund = _row(order, wallet, state, now=now)
        refund.save(force_insert=True)
        booking.hold(refund, wallet)
        booking.recount(order.pk, now=now)
        return lifecycle.record_outcome(refund.pk, state, now=now)


def _make_room(order: TopUp, amount_minor: int, *, now: datetime) -> None:
    """Requests that this leaves no money for, and that were not sent yet, end here; the newest first."""
    live = Refund.objects.live().filter(top_up=order)
    taken = live.aggregate(total=Sum("requested_minor"))["total"] or 0
    waiting = live.filter(external=False, status__in=[Status.REQUESTED, Status.APPROVED]).order_by("-pk")
    for refund_id in list(waiting.values_list("pk", flat=True)):
        if taken + amount_minor <= order.amount_minor:
            return
        refund, wallet = lifecycle.locked(refund_id)
        taken -= refund.requested_minor
        lifecycle.close(refund, wallet, Status.CANCELLED, why="refunded_at_the_provider", now=now)


def _row(order: TopUp, wallet: Wallet, state: RefundState, *, now: datetime) -> Refund:
    gone = Refund.objects.filter(top_up=order, status=Status.SUCCEEDED)
    sums = gone.aggregate(requested=Sum("requested_minor"), kept=Sum("fee_minor"))
    # The customer had been charged all that was paid, and now gets more: that can only be a fee that we had kept.
    over = (sums["requested"] or 0) + state.amount_minor - order.amount_minor
    fee_back = 0 if order.grant_id is None else max(0, min(over, sums["kept"] or 0))
    requested_minor = state.amount_minor - fee_back
    requested_usd = quote.share(order.amount_usd, requested_minor, order.amount_minor)
    sent_usd = quote.share(order.amount_usd, state.amount_minor, order.amount_minor)
    overdrawn = Decimal(0)
    if order.grant is not None:
        overdrawn = max(Decimal(0), requested_usd - CreditGrant.objects.get(pk=order.grant_id).remaining)
    row_id = uuid7()
    row = Refund(
        id=row_id,
        number="refund_" + order_number(row_id).removeprefix(PREFIX),
        account=order.account,
        top_up=order,
        created_at=now,
        reason="made in the payment provider's dashboard",
        external=True,
        requested_usd=requested_usd,
        fee_usd=requested_usd - sent_usd,
        sent_usd=sent_usd,
        overdrawn_usd=overdrawn,
        currency=order.currency,
        requested_minor=requested_minor,
        fee_minor=-fee_back,
        sent_minor=state.amount_minor,
        fee_rate=Decimal(0),
        status=Status.SUBMITTED,
        status_at=now,
        submitted_at=now,
        client_key=f"external:{state.refund_id}",
        idempotency_key=f"refund:{row_id}:v1",
        provider_refund_id=state.refund_id,
    )
    if "refund" in state.marks:
        lifecycle.flag(row, f"it carries the mark of the refund {state.marks['refund']}, which has another one")
    elif overdrawn:
        lifecycle.flag(row, f"{overdrawn:f} USD of it had been spent and became overdraft")
    return row
