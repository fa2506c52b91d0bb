"""Disputes: what the bank takes back is frozen once, and comes back once or is gone (04-payments 4.5, case 20).

`record` is the one door. The unspent part of the disputed amount leaves the payment's grant, the spent part becomes
overdraft; won, the same sum comes back and pays the overdraft first; lost, it leaves the books to the provider.
Of a payment that gave no credit, as for a plan, it comes out of its revenue instead, and the customer owes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.errors import InvalidRequest
from billing.payments import benefits, dispute_booking, dispute_payments, flags, settling, topups
from billing.payments.dispute_payments import Disputed
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute
from billing.payments.processor import PaymentProcessor, UnknownAtProcessor
from billing.payments.processor_disputes import DisputeState

log = logging.getLogger(__name__)

State = Dispute.State
Status = TopUp.Status
CHECK_EVERY: Final = timedelta(hours=6)
# The provider's words. The list is open: an unknown one is kept and flagged, and changes nothing.
STATES: Final[Mapping[str, str]] = {
    "warning_needs_response": State.INQUIRY,
    "warning_under_review": State.INQUIRY,
    "warning_closed": State.CLOSED,
    "needs_response": State.OPEN,
    "under_review": State.OPEN,
    "won": State.WON,
    "lost": State.LOST,
    "prevented": State.PREVENTED,
}


def find_payment(
    payment_intent_id: str, *, processor: PaymentProcessor, now: datetime
) -> TopUp | tuple[str, UUID] | None:
    """What a payment paid: an order, credited first if its own news was lost, or what else somebody sells here."""
    if not payment_intent_id:
        return None
    order: TopUp | None = TopUp.objects.filter(payment_intent_id=payment_intent_id).first()
    if order is None:
        other = dispute_payments.known(payment_intent_id)
        if other is not None:
            return other
        try:
            state = processor.payment(payment_intent_id)
        except UnknownAtProcessor:
            return None
        order = TopUp.objects.filter(number=state.order).first() if state.order else None
        if order is None:
            return dispute_payments.ask(state, processor=processor, now=now)
    if order.status not in TopUp.SETTLED and order.status != Status.PAID:
        order = settling.settle(order.pk, processor=processor, now=now)
    return order


def fetch(dispute_id: str, *, processor: PaymentProcessor, now: datetime) -> Dispute | None:
    """Ask the provider what is true now and apply it; None when the payment is none of ours."""
    return apply(processor.dispute(dispute_id), processor=processor, now=now)


def apply(state: DisputeState, *, processor: PaymentProcessor, now: datetime) -> Dispute | None:
    """A state that was just read at the provider."""
    found = find_payment(state.payment_intent_id, processor=processor, now=now)
    if found is None:
        log.error(
            "ALERT dispute %s is of a payment that is none of ours: %s", state.dispute_id, state.payment_intent_id
        )
        return None
    if isinstance(found, TopUp):
        return record(found.pk, state, now=now)
    return record_other(*found, state, now=now)


def record(order_id: UUID, state: DisputeState, *, now: datetime) -> Dispute:
    """Apply what the provider said, under the wallet's lock. An older answer never takes a step back."""
    with transaction.atomic():
        return _record(topups.locked(order_id), state, now=now)


def record_other(of: str, payment_id: UUID, state: DisputeState, *, now: datetime) -> Dispute:
    """The same for a payment that gave no credit."""
    with transaction.atomic():
        return _record(dispute_payments.other(of, payment_id), state, now=now)


def _record(payment: Disputed, state: DisputeState, *, now: datetime) -> Dispute:
    row = Dispute.objects.filter(provider_id=state.dispute_id).first()
    wanted = STATES.get(state.status)
    first = row is None
    if row is None:
        row = Dispute(
            provider_id=state.dispute_id,
            **dispute_payments.reference(payment),
            number="" if isinstance(payment, TopUp) else payment.number,
            account_id=payment.account_id,
            amount_minor=state.amount_minor,
            currency=state.currency,
            state=State.INQUIRY,
            state_at=now,
            opened_at=state.at,
            seen_at=now,
        )
    before = row.state
    stale = not first and wanted is not None and wanted != row.state and wanted not in Dispute.NEXT[row.state]
    if not stale:
        _copy(row, state)
    if wanted is None:
        _flag(row, f"the provider's status {state.status!r} is unknown")
    elif wrong := _mismatch(row, payment, state):
        _flag(row, wrong)
    elif not stale:
        _follow(row, payment, wanted, now=now)
    elif row.state in (State.WON, State.LOST) and wanted in (State.WON, State.LOST):
        _flag(row, f"it was {row.state}, and the provider now says {state.status}")
    open_end = row.state in Dispute.WAITING or (row.state in (State.WON, State.CLOSED) and _unfinished(row))
    row.check_at = now + CHECK_EVERY if open_end else None
    row.save()
    _count(payment, changed=row if row.state != before else None, now=now)
    row.refresh_from_db()
    return row


def _copy(row: Dispute, state: DisputeState) -> None:
    row.charge_id, row.reason, row.provider_status = state.charge_id, state.reason[:80], state.status[:60]
    row.due_by, row.has_evidence = state.due_by, state.has_evidence
    kept = {line["id"]: line for line in row.balance_lines}
    for line in state.lines:
        kept[line.line_id] = {
            "id": line.line_id,
            "amount": line.amount_minor,
            "fee": line.fee_minor,
            "currency": line.currency,
            "at": line.at.isoformat(),
        }
    row.balance_lines = sorted(kept.values(), key=lambda line: (line["at"], line["id"]))
    row.fee_minor = sum(line["fee"] for line in row.balance_lines)
    row.fee_currency = row.balance_lines[0]["currency"] if row.balance_lines else ""


def _flag(row: Dispute, why: str) -> None:
    if not row.flagged or row.flag_reason != why[:300]:
        row.flagged, row.flag_reason = True, why[:300]
        log.error("ALERT dispute %s needs a person: %s", row.provider_id, why)


def _mismatch(row: Dispute, payment: Disputed, state: DisputeState) -> str:
    if not dispute_payments.is_of(row, payment):
        return f"it now names the payment of something else, {payment.number}"
    if state.currency != payment.currency:
        return f"it is in {state.currency}, the payment in {payment.currency}"
    if state.livemode != settings.STRIPE_LIVEMODE:
        return f"it has livemode={state.livemode}"
    return ""


def _withdrawn(row: Dispute) -> int:
    """What it has moved at the provider so far; below zero while our money is away."""
    return sum(line["amount"] for line in row.balance_lines)


def _unfinished(row: Dispute) -> bool:
    """Won, and the money is not back at the provider yet."""
    return _withdrawn(row) < 0


def _follow(row: Dispute, payment: Disputed, wanted: str, *, now: datetime) -> None:
    """Step to the wanted state, and book what it means."""
    if row.state != wanted:
        if row.state == State.CLOSED and wanted in Dispute.COUNTED and row.ended_at is not None:
            dispute_booking.begin_again(row)
        if row.state not in Dispute.COUNTED:
            row.counted_minor = 0  # refunds may have gone since it was counted
        row.move_to(wanted)
        row.state_at = now
        if wanted in Dispute.COUNTED:
            what = f"dispute {row.provider_id} of {_called(payment)}"
            flags.set_flag(payment.account_id, what, now=now)
            log.error("ALERT %s is %s: %s", what, wanted, row.provider_status)
    if wanted in Dispute.COUNTED:
        dispute_booking.count(row, payment)
        if row.frozen_at is None and _booked(payment) and _withdrawn(row) < 0:
            dispute_booking.take(row, payment, now=now)
        if isinstance(payment, TopUp) and not _booked(payment):
            _review(payment)
    if row.frozen_at is not None and row.ended_at is None:
        if wanted == State.LOST:
            dispute_booking.lose(row, payment, now=now)
        elif wanted in (State.WON, State.CLOSED, State.PREVENTED):
            dispute_booking.give_back(row, payment, now=now)


def _called(payment: Disputed) -> str:
    return f"{'order' if isinstance(payment, TopUp) else payment.of} {payment.number}"


def _booked(payment: Disputed) -> bool:
    """Its money is in the books, so that there is something to take."""
    return not isinstance(payment, TopUp) or payment.grant_id is not None


def _review(order: TopUp) -> None:
    if not order.in_review and order.status == Status.PAID:
        order.in_review, order.review_reason = True, "the payment is disputed before it was credited"
        order.save(update_fields=["in_review", "review_reason"])


def recount(order_id: UUID, *, now: datetime) -> None:
    """A refund of this order began, failed or went: what its disputes take of it may be more now.

    The caller holds the wallet's lock.
    """
    order: TopUp = TopUp.objects.get(pk=order_id)
    if order.disputed_minor or order.status == Status.DISPUTED:
        _count(order, now=now)


def recount_other(of: str, payment_id: UUID, *, now: datetime) -> None:
    """The same for a payment that gave no credit."""
    if stands(of, [payment_id]):
        _count(dispute_payments.other(of, payment_id), now=now)


def stands(of: str, payment_ids: Collection[UUID]) -> bool:
    """Whether one of these payments is disputed now, or a dispute of it was lost, however little is left of it."""
    return Dispute.objects.filter(of=of, of_id__in=payment_ids, state__in=Dispute.COUNTED).exists()


def _count(payment: Disputed, *, changed: Dispute | None = None, now: datetime) -> None:
    """What the payment says of its disputes; refunds read this under the same lock."""
    rows = list(dispute_payments.rows_of(payment).filter(state__in=Dispute.COUNTED).order_by("pk"))
    for row in rows:
        dispute_booking.count(row, payment)
        if row.frozen_at is not None:
            dispute_booking.take(row, payment, now=now)
        row.save()
    if isinstance(payment, TopUp):
        _mark_order(payment, rows, now=now)
    else:
        dispute_payments.tell(payment, rows, changed=changed, now=now)


def _mark_order(order: TopUp, rows: Sequence[Dispute], *, now: datetime) -> None:
    gone = dispute_booking.refunded(order).gone_minor
    status: str
    if rows:
        status = Status.DISPUTED
    elif order.status != Status.DISPUTED:
        status = order.status
    elif not gone:
        status = Status.CREDITED
    else:
        whole = gone >= order.amount_minor
        status = Status.REFUNDED if whole else Status.PARTIALLY_REFUNDED
    order.disputed_minor = sum(row.counted_minor for row in rows)
    if status != order.status and order.grant_id and status in TopUp.NEXT[order.status]:
        order.move_to(status, now=now)
    order.save(update_fields=["disputed_minor", "status", "status_at"])
    if order.grant_id is not None:
        benefits.refresh(order.account_id, cause=benefits.Cause.DISPUTE, source=order.number, now=now)


def check_by_hand(dispute_id: UUID, *, actor: User, reason: str, processor: PaymentProcessor, now: datetime) -> Dispute:
    """Staff ask the provider now, with the reason in the audit (I12). The answer decides, not the person."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    row = Dispute.objects.get(pk=dispute_id)
    after = fetch(row.provider_id, processor=processor, now=now) or row
    audit.record(
        actor=actor,
        action="dispute_check",
        subject=row,
        now=now,
        reason=reason.strip(),
        before={"state": str(row.state)},
        after={"state": str(after.state)},
    )
    return after


def claim_due(*, now: datetime, limit: int = 100) -> list[str]:
    """Disputes that nobody told of for hours; each is claimed by moving its next check."""
    found = []
    due = Dispute.objects.filter(check_at__lte=now).order_by("check_at").values_list("provider_id", "check_at")
    for provider_id, check_at in due[:limit]:
        if Dispute.objects.filter(provider_id=provider_id, check_at=check_at).update(check_at=now + CHECK_EVERY):
            found.append(provider_id)
    return found
