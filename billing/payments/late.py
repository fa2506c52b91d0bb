"""Credit that came later than promised through our fault, and what the customer gets for it (F009, F010).

What is measured runs from the moment at which the provider had the money to our credit. A customer who pays late, a
method that takes its time, a payment that a check held and one that differed from its order are nobody's lateness.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing import notices
from billing.books import credits, ledger
from billing.books.models import JournalEntry, System
from billing.errors import InvalidRequest
from billing.payments import jobs
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.models_jobs import CreditJob, LateCredit

log = logging.getLogger(__name__)

Cause, State = LateCredit.Cause, LateCredit.State
TELL_OF_MONEY: Final = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "payment_intent.succeeded",
)
CENT: Final = Decimal("0.01")


def notice(
    order: TopUp, *, paid_at: datetime | None, now: datetime, held: timedelta = timedelta()
) -> LateCredit | None:
    """Keep that this order, credited now, was late through our fault. In the credit's transaction, under its lock.

    `paid_at` is when the provider had the money; `held` is how long a check of ours kept the credit back.
    """
    if paid_at is None or order.review_reason:
        return None
    delay = now - paid_at - held
    if delay <= settings.LATE_CREDIT_AFTER:
        return None
    row, made = LateCredit.objects.get_or_create(
        top_up=order,
        defaults={
            "account_id": order.account_id,
            "paid_at": paid_at,
            "credited_at": now,
            "delay_seconds": int(delay.total_seconds()),
            "cause": _cause(order, paid_at),
            "amount_usd": compensation(order.amount_usd),
            "created_at": now,
        },
    )
    if made:
        log.error("ALERT top-up %s was credited %s late: %s", order.number, delay, row.cause)
        if settings.LATE_CREDIT_POLICY == "issue":
            jobs.schedule(
                CreditJob.Kind.COMPENSATE_LATE,
                account_id=order.account_id,
                key=f"late:{order.number}",
                due_at=now,
                payload={"late_credit": str(row.pk)},
                top_up=order,
                now=now,
            )
    return row


def compensation(amount: Decimal) -> Decimal:
    """A sum for each late order or a share of it, whichever is more, up to a cap; whole cents."""
    share = amount * settings.LATE_CREDIT_COMPENSATION_PERCENT / 100
    most = max(settings.LATE_CREDIT_COMPENSATION_USD, share)
    return min(most, settings.LATE_CREDIT_COMPENSATION_CAP_USD).quantize(CENT, rounding=ROUND_HALF_UP)


def _cause(order: TopUp, paid_at: datetime) -> str:
    """Where the time went: the first event that told of the money came in time and waited, or late, or never."""
    objects = [one for one in (order.checkout_session_id, order.payment_intent_id) if one]
    first = (
        PaymentEvent.objects.filter(object_id__in=objects, type__in=TELL_OF_MONEY)
        .order_by("received_at")
        .values_list("received_at", flat=True)
        .first()
    )
    if first is None:
        return Cause.EVENT_LOST
    return Cause.INBOX_LATE if first - paid_at > settings.LATE_CREDIT_AFTER else Cause.WORKER_LATE


def issue(late_id: UUID, *, actor: User, reason: str, now: datetime) -> LateCredit:
    """Staff: give the compensation, once for ever, and write to the customer."""
    _require(reason)
    return _issue(late_id, by=actor, reason=reason.strip(), now=now)


def issue_by_policy(late_id: UUID, *, now: datetime) -> LateCredit:
    """The policy gives it; nobody is asked."""
    return _issue(late_id, by=None, reason="LATE_CREDIT_POLICY=issue", now=now)


def dismiss(late_id: UUID, *, actor: User, reason: str, now: datetime) -> LateCredit:
    """Staff: nothing is given, and the reason stays."""
    _require(reason)
    with transaction.atomic():
        row = _locked(late_id)
        if row.state == State.DISMISSED and row.decided_by_id == actor.pk:
            return row
        row.move_to(State.DISMISSED, by=actor, now=now)
        row.answer = reason.strip()[:500]
        row.save(update_fields=["state", "decided_by", "decided_at", "answer"])
        _audit(row, "late_credit_dismissed", actor=actor, now=now)
    return row


def _issue(late_id: UUID, *, by: User | None, reason: str, now: datetime) -> LateCredit:
    with transaction.atomic():
        row = _locked(late_id)
        if row.state == State.ISSUED:
            return row
        row.move_to(State.ISSUED, by=by, now=now)
        row.answer = reason[:500]
        row.grant = credits.give(
            row.account_id,
            row.amount_usd,
            kind=credits.Kind.COMPENSATION,
            entry_kind=JournalEntry.Kind.COMPENSATION,
            funded_by=System.EXPENSE_COMPENSATION,
            key=f"late:{row.top_up.number}",
            source=row.top_up.number,
            expires_at=now + settings.LATE_CREDIT_COMPENSATION_LASTS,
            now=now,
            meta={"order": row.top_up.number},
        )
        row.save(update_fields=["state", "decided_by", "decided_at", "answer", "grant"])
        _audit(row, "late_credit_issued", actor=by, now=now)
        notices.tell(
            row.account_id,
            "late_credit_compensation",
            key=f"late:{row.top_up.number}",
            context={
                "order": row.top_up.number,
                "amount_usd": f"{row.top_up.amount_usd:f}",
                "compensation_usd": f"{row.amount_usd:f}",
                "paid_at": row.paid_at.isoformat(),
                "credited_at": row.credited_at.isoformat(),
                "expires_at": row.grant.expires_at.isoformat() if row.grant.expires_at else "",
                "minutes": str(row.delay_seconds // 60),
                "cause": row.cause,
            },
            now=now,
        )
    return row


def _locked(late_id: UUID) -> LateCredit:
    """The wallet first, then what belongs to it."""
    ledger.lock_wallet(LateCredit.objects.values_list("account_id", flat=True).get(pk=late_id))
    return LateCredit.objects.select_related("account", "top_up").get(pk=late_id)


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")


def _audit(row: LateCredit, action: str, *, actor: User | None, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=row,
        now=now,
        reason=row.answer,
        before={"state": str(State.PROPOSED)},
        after={"state": str(row.state), "amount": str(row.amount_usd)},
    )
