"""What nobody told us: renewals, payments and ends that are overdue are asked for; the grace ends; a second
subscription is undone (04-payments 4.2, case 23)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing import notices
from billing.errors import InvalidRequest
from billing.payments.processor import PaymentProcessor
from subscriptions import settling
from subscriptions.models import Invoice, PlanChange, Subscription

Status = Subscription.Status
ASK_AGAIN: Final = timedelta(minutes=10)
ASK_ANYWAY: Final = timedelta(days=1)
FIRST_ASK: Final = timedelta(minutes=1)
PAGE_LIVES: Final = timedelta(hours=25)


def due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Subscriptions that the provider has to be asked about: pages without news, periods that are over, unpaid
    renewals, and second ones that are not undone; then some of those in force that nobody asked about for a day, for
    the news that were lost."""
    asked_before = (
        Q(checked_at=None)
        | Q(checked_at__lte=now - ASK_AGAIN)
        | Q(grace_until__lte=now, checked_at__lt=F("grace_until"))  # over: written down by the next sweep
    )
    waiting = Subscription.objects.filter(
        (
            Q(status=Status.INCOMPLETE, created_at__lte=now - FIRST_ASK, created_at__gt=now - PAGE_LIVES)
            & ~Q(session_id="")
        )
        | Q(status=Status.ACTIVE, period_end__lte=now)
        | Q(status=Status.PAST_DUE)
        | Q(status=Status.DUPLICATE, undone_at=None)
    ).filter(asked_before)
    oldest = F("checked_at").asc(nulls_first=True)
    found = list(waiting.order_by(oldest, "pk").values_list("pk", flat=True)[:limit])
    quiet = Subscription.objects.filter(status=Status.ACTIVE, checked_at__lte=now - ASK_ANYWAY).exclude(pk__in=found)
    return found + list(quiet.order_by(oldest, "pk").values_list("pk", flat=True)[: limit // 5])


def changes_due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Changes of plan that were wished for and that the provider was perhaps not asked for."""
    rows = PlanChange.objects.filter(status=PlanChange.Status.REQUESTED, created_at__lte=now - FIRST_ASK)
    return list(rows.order_by("created_at").values_list("pk", flat=True)[:limit])


def look_after(subscription_id: UUID, *, processor: PaymentProcessor, now: datetime) -> Subscription:
    """Ask, record, and do what follows: end an unpaid one whose grace is over, undo a second one."""
    row = settling.settle(subscription_id, processor=processor, now=now)
    if row.status == Status.PAST_DUE and row.grace_until is not None and row.grace_until <= now:
        processor.end_subscription(row.provider_id, idempotency_key=f"subscription:{row.pk}:unpaid:end:v1")
        row = settling.settle(row.pk, processor=processor, now=now)
    if row.status == Status.DUPLICATE and row.undone_at is None:
        row = undo_duplicate(row.pk, processor=processor, now=now)
    return row


def check_by_hand(
    subscription_id: UUID, *, actor: User, reason: str, processor: PaymentProcessor, now: datetime
) -> Subscription:
    """Ask the provider because somebody on the staff wants it, with the reason in the audit."""
    if not reason.strip():
        raise InvalidRequest(_("Say why."), field="reason")
    row = Subscription.objects.select_related("account").get(pk=subscription_id)
    with transaction.atomic():
        audit.record(
            actor=actor, action="subscription_checked", subject=row, account=row.account, now=now, reason=reason
        )
    return look_after(subscription_id, processor=processor, now=now)


def undo_duplicate(subscription_id: UUID, *, processor: PaymentProcessor, now: datetime) -> Subscription:
    """End a second subscription and send back all that was paid for it, without a fee. Repeats change nothing."""
    row = Subscription.objects.get(pk=subscription_id)
    if row.status != Status.DUPLICATE or row.undone_at is not None:
        return row
    processor.end_subscription(row.provider_id, idempotency_key=f"subscription:{row.pk}:duplicate:end:v1")
    # Only now is nothing more charged for it: it may have renewed while nobody looked.
    settling.settle(subscription_id, processor=processor, now=now)
    paid = list(Invoice.objects.filter(subscription=row, status=Invoice.Status.PAID, paid_minor__gt=0))
    for invoice in paid:
        for pay_back in _payers_back:
            pay_back(invoice.pk, processor=processor, now=now)
    with transaction.atomic():
        row = settling.locked(subscription_id)
        if row.undone_at is not None:
            return row
        row.undone_at = now
        row.save(update_fields=["undone_at"])
        notices.tell(
            row.account_id,
            "subscription_duplicate",
            key=f"subscription:{row.pk}:duplicate",
            now=now,
            context={
                "plan": row.plan_version.plan.name,
                "paid_usd": f"{sum((one.paid_usd for one in paid), start=0):f}",
            },
        )
    return row


class PaysBack(Protocol):
    """Sends back what is left of an invoice, without a fee. Repeats change nothing."""

    def __call__(self, invoice_id: UUID, *, processor: PaymentProcessor, now: datetime) -> object: ...


_payers_back: Final[list[PaysBack]] = []


def pays_back(payer: PaysBack) -> PaysBack:
    """Register who sends money back; refunds are to the right of subscriptions."""
    if payer not in _payers_back:
        _payers_back.append(payer)
    return payer
