"""Early fraud warnings: the payment's unspent credit is frozen once, and released by staff or used by a dispute."""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing import notices
from billing.books import credits, ledger
from billing.books.models import CreditGrant, JournalEntry, System
from billing.errors import InvalidRequest, InvalidTransition
from billing.money import Money
from billing.payments import dispute_payments, flags, giving_back, topups
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute, EarlyFraudWarning
from billing.payments.processor_disputes import WarningState

log = logging.getLogger(__name__)
State = EarlyFraudWarning.State
Kind = JournalEntry.Kind


def record(order_id: UUID, state: WarningState, *, now: datetime) -> EarlyFraudWarning:
    """Flag the account and freeze what is unspent of this payment, once. Later news only change what is shown."""
    with transaction.atomic():
        order = topups.locked(order_id)
        row = EarlyFraudWarning.objects.filter(provider_id=state.warning_id).first()
        if row is not None:
            row.actionable, row.fraud_type = state.actionable, state.fraud_type[:60]
            row.save(update_fields=["actionable", "fraud_type"])
            return row
        # A payment whose dispute was won has been looked at by its bank already.
        decided = Dispute.objects.filter(top_up=order, state=Dispute.State.WON).exists()
        grant = CreditGrant.objects.filter(pk=order.grant_id).first() if order.grant_id else None
        amount = grant.remaining if grant is not None and not decided else Decimal(0)
        row = EarlyFraudWarning.objects.create(
            provider_id=state.warning_id,
            charge_id=state.charge_id,
            top_up=order,
            account_id=order.account_id,
            fraud_type=state.fraud_type[:60],
            actionable=state.actionable,
            state=State.FROZEN if amount else State.NOTED,
            frozen_usd=amount,
            at=state.at,
            seen_at=now,
        )
        flags.set_flag(order.account_id, f"early fraud warning {row.provider_id} of order {order.number}", now=now)
        log.error("ALERT early fraud warning %s of order %s: %s frozen", row.provider_id, order.number, amount)
        if grant is not None and amount:
            ledger.post(
                Kind.CREDIT_FROZEN,
                ledger.debit(grant.pk, Money(amount)),
                ledger.credit(System.FROZEN, Money(amount)),
                account_id=order.account_id,
                key=f"fraud_warning:{row.provider_id}:{order.number}:frozen",
                now=now,
                meta={"order": order.number, "fraud_warning": row.provider_id},
            )
            _tell(row, order, "credit_frozen", amount, now=now)
        elif order.status == TopUp.Status.PAID and not order.in_review:
            order.in_review, order.review_reason = True, "an early fraud warning came before the credit"
            order.save(update_fields=["in_review", "review_reason"])
        return row


def record_other(of: str, payment_id: UUID, state: WarningState, *, now: datetime) -> EarlyFraudWarning:
    """A payment that gave no credit has nothing to freeze: the account is flagged once, and staff see it."""
    with transaction.atomic():
        payment = dispute_payments.other(of, payment_id)
        row = EarlyFraudWarning.objects.filter(provider_id=state.warning_id).first()
        if row is not None:
            row.actionable, row.fraud_type = state.actionable, state.fraud_type[:60]
            row.save(update_fields=["actionable", "fraud_type"])
            return row
        row = EarlyFraudWarning.objects.create(
            provider_id=state.warning_id,
            charge_id=state.charge_id,
            of=of,
            of_id=payment.pk,
            number=payment.number,
            account_id=payment.account_id,
            fraud_type=state.fraud_type[:60],
            actionable=state.actionable,
            state=State.NOTED,
            at=state.at,
            seen_at=now,
        )
        what = f"early fraud warning {row.provider_id} of {of} {payment.number}"
        flags.set_flag(payment.account_id, what, now=now)
        log.error("ALERT %s: nothing to freeze", what)
        dispute_payments.warn(payment, row)
        return row


def use(order: TopUp, amount: Decimal, *, now: datetime) -> Decimal:
    """Let a dispute have what is frozen of this payment; how much that is. The caller holds the lock and books it."""
    used = Decimal(0)
    for row in EarlyFraudWarning.objects.filter(top_up=order, state=State.FROZEN).order_by("pk"):
        part = min(row.frozen_usd - row.used_usd - row.released_usd, amount - used)
        row.used_usd += part
        used += part
        if row.used_usd + row.released_usd == row.frozen_usd:
            row.state, row.ended_at = State.USED, now
        row.save(update_fields=["used_usd", "state", "ended_at"])
    return used


def release(warning_id: UUID, *, actor: User, reason: str, now: datetime) -> EarlyFraudWarning:
    """Staff give the frozen credit back, with the reason in the audit (I12). It pays an overdraft first."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        order_id = EarlyFraudWarning.objects.values_list("top_up_id", flat=True).get(pk=warning_id)
        if order_id is None:
            raise InvalidTransition(_("Nothing is frozen any more."), current=str(State.NOTED))
        order = topups.locked(order_id)
        row = EarlyFraudWarning.objects.get(pk=warning_id)
        if State.RELEASED not in EarlyFraudWarning.NEXT[row.state]:
            raise InvalidTransition(_("Nothing is frozen any more."), current=str(row.state))
        amount = row.frozen_usd - row.used_usd - row.released_usd
        source = f"fraud_warning:{row.provider_id}"
        row.released_usd += amount
        row.state, row.ended_at, row.ended_by = State.RELEASED, now, actor
        row.save(update_fields=["released_usd", "state", "ended_at", "ended_by"])
        ledger.post(
            Kind.CREDIT_RELEASED,
            ledger.debit(System.FROZEN, Money(amount)),
            *giving_back.lines(order, amount, source=source, now=now),
            account_id=order.account_id,
            key=f"fraud_warning:{row.provider_id}:{order.number}:released",
            now=now,
            meta={"order": order.number, "fraud_warning": row.provider_id},
        )
        credits.refresh_next_expiry(order.account_id, now)
        audit.record(
            actor=actor,
            action="fraud_warning_release",
            subject=row,
            now=now,
            reason=reason.strip(),
            after={"released": str(amount)},
        )
        _tell(row, order, "credit_released", amount, now=now)
        return row


def _tell(row: EarlyFraudWarning, order: TopUp, kind: str, amount: Decimal, *, now: datetime) -> None:
    notices.tell(
        order.account_id,
        kind,
        key=f"{kind}:{row.provider_id}",
        context={"order": order.number, "amount_usd": str(amount)},
        now=now,
    )
