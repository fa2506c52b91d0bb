"""What credit jobs do: settle an order that fails, give credit on a date, compensate credit that came late."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books import ledger, proposals
from billing.books.models import CreditGrant
from billing.errors import BillingError, InvalidRequest
from billing.money import Money
from billing.payments import jobs, late, settling
from billing.payments.jobs import Done, Later
from billing.payments.models import TopUp
from billing.payments.models_jobs import CreditJob, LateCredit
from billing.payments.processor import PaymentProcessor, ProcessorUnavailable

Kind = CreditJob.Kind


def take_over(order: TopUp, error: Exception, *, now: datetime) -> CreditJob:
    """The sweep cannot settle this order: from now on a job tries, where staff see it."""
    text = f"{error.code}: {error}" if isinstance(error, BillingError) else f"{type(error).__name__}: {error}"
    with transaction.atomic():
        ledger.lock_wallet(order.account_id)
        job = jobs.schedule(
            Kind.CREDIT_ORDER,
            account_id=order.account_id,
            key=f"order:{order.number}:settle",
            due_at=now + jobs.BACKOFF[0],
            top_up=order,
            now=now,
        )
        CreditJob.objects.filter(pk=job.pk, last_error="").update(last_error=text[:500])
        TopUp.objects.filter(pk=order.pk).update(check_at=None)
    return job


@jobs.asks(Kind.CREDIT_ORDER)
def settle_order(job: CreditJob, *, processor: PaymentProcessor | None, now: datetime) -> Done | Later:
    """Ask the provider about the order until it has come to an end; paid is credited once, whoever asks (I5)."""
    if processor is None:
        raise ProcessorUnavailable
    if job.top_up is None:
        raise InvalidRequest(field="top_up")
    order = settling.check(job.top_up.pk, processor=processor, now=now)
    if order.status in TopUp.OPEN:
        return Later(now + settling.LONGEST_WAIT, f"still {order.status}")
    return Done("in review" if order.in_review else str(order.status), order.grant)


# --- On a date ----------------------------------------------------------------------------------------------------


def give_on(
    account_id: UUID,
    amount: Decimal,
    *,
    due_at: datetime,
    actor: User,
    reason: str,
    key: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> CreditJob:
    """Staff: give this credit then. A large sum becomes a proposal for a second person when its time has come."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    money = Money(amount)
    if money.amount <= 0:
        raise InvalidRequest(_("The amount must be above zero."), field="amount")
    if due_at <= now:
        raise InvalidRequest(_("The date lies in the past."), field="due")
    if expires_at is not None and expires_at <= due_at:
        raise InvalidRequest(_("The credit would expire before it is given."), field="expires")
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        known = CreditJob.objects.filter(key=key).exists()
        job = jobs.schedule(
            Kind.SCHEDULED_CREDIT,
            account_id=account_id,
            key=key,
            due_at=due_at,
            payload={
                "amount": f"{money.amount.normalize():f}",
                "reason": reason.strip()[:500],
                "expires_at": expires_at.isoformat() if expires_at else "",
            },
            created_by=actor,
            now=now,
        )
        if not known:
            audit.record(
                actor=actor,
                action="credit_scheduled",
                subject=job,
                now=now,
                reason=reason.strip(),
                after={"amount": str(money.amount), "due_at": due_at.isoformat()},
            )
    return job


@jobs.performs(Kind.SCHEDULED_CREDIT)
def give_scheduled(job: CreditJob, *, processor: PaymentProcessor | None, now: datetime) -> Done:
    """Give it, as the person who scheduled it would now: above the limit it waits for another person's word."""
    if job.created_by is None:
        raise InvalidRequest(field="created_by")
    given = proposals.give_or_propose(
        job.account_id,
        Decimal(job.payload["amount"]),
        actor=job.created_by,
        reason=job.payload["reason"],
        key=f"manual:job:{job.pk}",
        now=now,
        expires_at=parse_datetime(job.payload["expires_at"]) if job.payload["expires_at"] else None,
    )
    if isinstance(given, CreditGrant):
        return Done("given", given)
    return Done("proposed to a second person")


# --- Late through our fault ---------------------------------------------------------------------------------------


@jobs.performs(Kind.COMPENSATE_LATE)
def compensate(job: CreditJob, *, processor: PaymentProcessor | None, now: datetime) -> Done:
    """What the policy promises, unless a person was quicker."""
    row = LateCredit.objects.get(pk=UUID(job.payload["late_credit"]))
    if row.state == LateCredit.State.DISMISSED:
        return Done("dismissed by staff")
    row = late.issue_by_policy(row.pk, now=now)
    return Done("issued", row.grant)
