"""Disputes: what the bank takes back is frozen once, and comes back once or is gone (04-payments 4.5, case 20).

`record` is the one door. The unspent part of the disputed amount leaves the payment's grant, the spent part becomes
overdraft; won, the same sum comes back and pays the overdraft first; lost, it leaves the books to the provider.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
from billing import notices
from billing.books import credits, ledger
from billing.books.models import CreditGrant, JournalEntry, LedgerAccount, System, Wallet
from billing.errors import InvalidRequest
from billing.money import LEDGER_QUANTUM, Money, from_minor_units
from billing.payments import benefits, flags, fraud_warnings, settling, topups
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute
from billing.payments.processor import PaymentProcessor, UnknownAtProcessor
from billing.payments.processor_disputes import DisputeState

log = logging.getLogger(__name__)

State = Dispute.State
Status = TopUp.Status
Kind = JournalEntry.Kind
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


def find_order(payment_intent_id: str, *, processor: PaymentProcessor, now: datetime) -> TopUp | None:
    """The order that a payment paid, credited first if its own news was lost."""
    if not payment_intent_id:
        return None
    order: TopUp | None = TopUp.objects.filter(payment_intent_id=payment_intent_id).first()
    if order is None:
        try:
            number = processor.payment(payment_intent_id).order
        except UnknownAtProcessor:
            return None
        order = TopUp.objects.filter(number=number).first() if number else None
    if order is not None and order.status not in TopUp.SETTLED and order.status != Status.PAID:
        order = settling.settle(order.pk, processor=processor, now=now)
    return order


def fetch(dispute_id: str, *, processor: PaymentProcessor, now: datetime) -> Dispute | None:
    """Ask the provider what is true now and apply it; None when the payment is none of our top-ups."""
    return apply(processor.dispute(dispute_id), processor=processor, now=now)


def apply(state: DisputeState, *, processor: PaymentProcessor, now: datetime) -> Dispute | None:
    """A state that was just read at the provider."""
    order = find_order(state.payment_intent_id, processor=processor, now=now)
    if order is None:
        log.error("ALERT dispute %s is of a payment that is no top-up: %s", state.dispute_id, state.payment_intent_id)
        return None
    return record(order.pk, state, now=now)


def record(order_id: UUID, state: DisputeState, *, now: datetime) -> Dispute:
    """Apply what the provider said, under the wallet's lock. An older answer never takes a step back."""
    with transaction.atomic():
        order = topups.locked(order_id)
        row = Dispute.objects.filter(provider_id=state.dispute_id).first()
        wanted = STATES.get(state.status)
        first = row is None
        if row is None:
            row = Dispute(
                provider_id=state.dispute_id,
                top_up=order,
                account_id=order.account_id,
                amount_minor=state.amount_minor,
                currency=state.currency,
                state=State.INQUIRY,
                state_at=now,
                opened_at=state.at,
                seen_at=now,
            )
        stale = not first and wanted is not None and wanted != row.state and wanted not in Dispute.NEXT[row.state]
        if not stale:
            _copy(row, state)
        if wanted is None:
            _flag(row, f"the provider's status {state.status!r} is unknown")
        elif wrong := _mismatch(row, order, state):
            _flag(row, wrong)
        elif not stale:
            _follow(row, order, wanted, state, now=now)
        elif row.state in (State.WON, State.LOST) and wanted in (State.WON, State.LOST):
            _flag(row, f"it was {row.state}, and the provider now says {state.status}")
        open_end = row.state in Dispute.WAITING or (row.state in (State.WON, State.CLOSED) and _unfinished(row))
        row.check_at = now + CHECK_EVERY if open_end else None
        row.save()
        _count(order, now=now)
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


def _mismatch(row: Dispute, order: TopUp, state: DisputeState) -> str:
    if row.top_up_id != order.pk:
        return f"it now names the payment of another order, {order.number}"
    if state.currency != order.currency:
        return f"it is in {state.currency}, the order in {order.currency}"
    if state.livemode != settings.STRIPE_LIVEMODE:
        return f"it has livemode={state.livemode}"
    return ""


def _unfinished(row: Dispute) -> bool:
    """Won, and the money is not back at the provider yet."""
    return bool(row.balance_lines) and sum(line["amount"] for line in row.balance_lines) < 0


def _follow(row: Dispute, order: TopUp, wanted: str, state: DisputeState, *, now: datetime) -> None:
    """Step to the wanted state, and book what it means."""
    if row.state != wanted:
        row.move_to(wanted)
        row.state_at = now
        if wanted in Dispute.COUNTED:
            if not row.counted_minor:
                row.counted_minor = _left(order, row, state.amount_minor)
            flags.set_flag(order.account_id, f"dispute {row.provider_id} of order {order.number}", now=now)
            log.error(
                "ALERT dispute %s of order %s is %s: %s", row.provider_id, order.number, wanted, row.provider_status
            )
    if wanted in Dispute.COUNTED and state.withdrawn and row.frozen_at is None and order.grant_id:
        _freeze(row, order, now=now)
    if wanted in Dispute.COUNTED and not order.grant_id and not order.in_review and order.status == Status.PAID:
        order.in_review, order.review_reason = True, "the payment is disputed before it was credited"
        order.save(update_fields=["in_review", "review_reason"])
    if row.frozen_at is not None and row.ended_at is None:
        if wanted == State.LOST:
            _lose(row, order, now=now)
        elif wanted in (State.WON, State.CLOSED, State.PREVENTED):
            _give_back(row, order, now=now)


def _left(order: TopUp, row: Dispute, asked: int) -> int:
    """Of what is asked, no more than what was neither refunded nor is disputed already."""
    others = Dispute.objects.filter(top_up=order, state__in=Dispute.COUNTED).exclude(pk=row.pk)
    taken = order.refunded_minor + (others.aggregate(sum=Sum("counted_minor"))["sum"] or 0)
    return max(0, min(asked, order.amount_minor - taken))


def in_usd(order: TopUp, minor: int) -> Decimal:
    """A part of what was paid, as credit, at the order's own rate."""
    return (order.amount_usd * minor / order.amount_minor).quantize(LEDGER_QUANTUM)


def _key(row: Dispute, order: TopUp, what: str) -> str:
    return f"dispute:{row.provider_id}:{order.number}:{what}"


def _freeze(row: Dispute, order: TopUp, *, now: datetime) -> None:
    """Take the amount once: first what a warning froze, then unspent credit of this payment, the rest as overdraft."""
    row.frozen_at = now
    amount = in_usd(order, row.counted_minor)
    if amount <= 0:
        return
    wallet = Wallet.objects.get(pk=order.account_id)
    grant = CreditGrant.objects.get(pk=order.grant_id)
    row.from_frozen = fraud_warnings.use(order, amount, now=now)
    row.from_grant = min(grant.remaining, amount - row.from_frozen)
    row.from_overdraft = amount - row.from_frozen - row.from_grant
    lines = [
        ledger.debit(place, Money(part))
        for place, part in (
            (System.FROZEN, row.from_frozen),
            (grant.pk, row.from_grant),
            (wallet.overdraft_ledger_id, row.from_overdraft),
        )
        if part
    ]
    ledger.post(
        Kind.DISPUTE_OPENED,
        *lines,
        ledger.credit(System.CHARGEBACK, Money(amount)),
        account_id=order.account_id,
        key=_key(row, order, "opened"),
        now=now,
        meta={"order": order.number, "dispute": row.provider_id},
    )
    _tell(row, order, "dispute_opened", now=now)


def _give_back(row: Dispute, order: TopUp, *, now: datetime) -> None:
    """The same sum back: it pays what is owed now, fills this payment's grant, and is new credit beyond that."""
    row.ended_at = now
    amount = row.taken
    if amount <= 0:
        return
    wallet = Wallet.objects.get(pk=order.account_id)
    grant = CreditGrant.objects.get(pk=order.grant_id)
    owed = min(wallet.overdraft, amount)
    parts = [(wallet.overdraft_ledger_id, owed)]
    room = min(grant.amount - grant.remaining, amount - owed)
    parts.append((grant.pk, room))
    if more := amount - owed - room:
        # Calls that this credit paid were taken back meanwhile, so that its grant is full again.
        place = LedgerAccount.objects.create(account_id=order.account_id, kind=LedgerAccount.Kind.GRANT)
        CreditGrant.objects.create(
            ledger=place,
            account_id=order.account_id,
            kind=CreditGrant.Kind.CASH,
            paid=True,
            priority=grant.priority,
            amount=more,
            remaining=0,
            created_at=now,
            source=f"dispute:{row.provider_id}",
        )
        parts.append((place.pk, more))
    ledger.post(
        Kind.DISPUTE_WON,
        ledger.debit(System.CHARGEBACK, Money(amount)),
        *(ledger.credit(place, Money(part)) for place, part in parts if part),
        account_id=order.account_id,
        key=_key(row, order, "won"),
        now=now,
        meta={"order": order.number, "dispute": row.provider_id},
    )
    credits.refresh_next_expiry(order.account_id, now)
    _tell(row, order, "dispute_won", now=now)


def _lose(row: Dispute, order: TopUp, *, now: datetime) -> None:
    """Final: the money has left our balance at the provider, and the customer's credit stays down."""
    row.ended_at = now
    amount = row.taken
    if amount <= 0:
        return
    ledger.post(
        Kind.DISPUTE_LOST,
        ledger.debit(System.CHARGEBACK, Money(amount)),
        ledger.credit(System.PROCESSOR_STRIPE, Money(amount)),
        account_id=order.account_id,
        key=_key(row, order, "lost"),
        now=now,
        meta={"order": order.number, "dispute": row.provider_id},
    )
    _tell(row, order, "dispute_lost", now=now)


def _tell(row: Dispute, order: TopUp, kind: str, *, now: datetime) -> None:
    notices.tell(
        order.account_id,
        kind,
        key=f"{kind}:{row.provider_id}",
        context={
            "order": order.number,
            "paid": f"{from_minor_units(row.amount_minor, order.currency):.2f} {order.currency}",
            "amount_usd": str(row.taken),
        },
        now=now,
    )


def _count(order: TopUp, *, now: datetime) -> None:
    """What the order says of its disputes; refunds read this under the same lock."""
    rows = Dispute.objects.filter(top_up=order, state__in=Dispute.COUNTED)
    counted = rows.aggregate(sum=Sum("counted_minor"))["sum"] or 0
    status: str
    if rows.exists():
        status = Status.DISPUTED
    elif order.status != Status.DISPUTED:
        status = order.status
    elif not order.refunded_minor:
        status = Status.CREDITED
    else:
        whole = order.refunded_minor >= order.amount_minor
        status = Status.REFUNDED if whole else Status.PARTIALLY_REFUNDED
    order.disputed_minor = counted
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
