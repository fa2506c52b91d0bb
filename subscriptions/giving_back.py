"""A plan that goes back while its money does: calls stop, the renewal too, and at the end the plan ends or goes on
(C14, C15). The operations that a refund needs of a subscription; it says nothing of money.

Who calls those that take a row holds the wallet's lock. Those that ask the provider hold none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import api_keys
from accounts.models import ApiKey
from billing.errors import Conflict
from billing.payments.processor import PaymentProcessor
from billing.payments.processor_subscriptions import SubscriptionProgress
from subscriptions import performing, settling
from subscriptions.models import Invoice, PlanChange, QuotaWindow, Subscription

_GONE: Final = frozenset({SubscriptionProgress.ENDED, SubscriptionProgress.EXPIRED})


class RefundUnderWay(Conflict):
    """Nothing about a plan is changed while its refund is decided."""

    code = "refund_under_way"
    title = _("The plan is being refunded. Wait until that is decided, or cancel the refund.")


def refuse_while_paused(row: Subscription) -> None:
    """Raises RefundUnderWay."""
    if row.paused_at is not None:
        raise RefundUnderWay


def pause(row: Subscription, *, now: datetime) -> None:
    """From now on the plan admits no call. Under the wallet's lock, so that a call was either admitted before or is
    refused."""
    row.paused_at = now
    row.save(update_fields=["paused_at"])


def resume(row: Subscription) -> None:
    """The plan goes on: nothing was refunded."""
    row.paused_at = None
    row.save(update_fields=["paused_at"])


def periods_of(row: Subscription) -> list[QuotaWindow]:
    """The windows of its present billing period, newest first: more than one when the plan was changed within it."""
    found: list[QuotaWindow] = []
    last = QuotaWindow.objects.filter(subscription=row, kind=QuotaWindow.Kind.PERIOD).order_by("-ends_at", "-starts_at")
    one = last.first()
    while one is not None:
        found.append(one)
        one = one.follows
    return found


def payments_of(row: Subscription) -> list[Invoice]:
    """What was paid for its present billing period, newest first (C13)."""
    paid = Invoice.objects.filter(subscription=row, status=Invoice.Status.PAID, paid_minor__gt=0)
    # Whole seconds: the provider's clock knows no finer ones.
    since = row.period_start.replace(microsecond=0) if row.period_start else row.created_at
    return list(paid.filter(at__gte=since).order_by("-at", "-pk"))


def stop_renewing(subscription_id: UUID, *, key: str, processor: PaymentProcessor, now: datetime) -> None:
    """Let the provider renew no more, whatever was to begin with the next period (C15). Repeats change nothing."""
    row = Subscription.objects.get(pk=subscription_id)
    if not row.in_force:
        return
    state = processor.subscription(row.provider_id)
    alive = state.progress not in _GONE  # else there is nothing to renew, and what is true is recorded below
    if alive and state.schedule_id:
        processor.withdraw_change(state.schedule_id)
    if alive and not state.cancel_at_period_end:
        processor.renew(row.provider_id, on=False, idempotency_key=f"{key}:off")
    settling.settle(subscription_id, processor=processor, now=now)


def renew_again(
    subscription_id: UUID, *, key: str, since: datetime, processor: PaymentProcessor, now: datetime
) -> None:
    """Take that back, with the smaller plan that was to begin with the next period. Repeats change nothing.

    `since` is when the renewal was switched off: what was withdrawn from then on was withdrawn for it.
    """
    row = Subscription.objects.get(pk=subscription_id)
    if not row.in_force:
        return
    state = processor.subscription(row.provider_id)
    if state.progress not in _GONE and state.cancel_at_period_end:
        processor.renew(row.provider_id, on=True, idempotency_key=f"{key}:on")
    row = settling.settle(subscription_id, processor=processor, now=now)
    wish = _smaller_plan_again(row, key=key, since=since, now=now)
    if wish is not None:
        performing.perform(wish.pk, processor=processor, now=now)


def _smaller_plan_again(row: Subscription, *, key: str, since: datetime, now: datetime) -> PlanChange | None:
    """The wish as a row of its own, committed before the provider is asked for it again."""
    with transaction.atomic():
        row = settling.locked(row.pk)
        made: PlanChange | None = PlanChange.objects.filter(
            account_id=row.account_id, client_key=f"{key}:again"
        ).first()
        if made is not None:
            return made
        rows = PlanChange.objects.filter(subscription=row, kind=PlanChange.Kind.DOWNGRADE)
        lost = rows.filter(status=PlanChange.Status.WITHDRAWN, status_at__gte=since).order_by("-created_at").first()
        waiting = PlanChange.objects.filter(subscription=row, status__in=PlanChange.WAITING).exists()
        if lost is None or waiting or not row.in_force:
            return None
        return PlanChange.objects.create(
            account=row.account,
            subscription=row,
            kind=lost.kind,
            status_at=now,
            from_version=row.plan_version,
            to_version=lost.to_version,
            at=now,
            created_at=now,
            created_by=lost.created_by,
            client_key=f"{key}:again",
        )


def end(row: Subscription, *, now: datetime) -> None:
    """Free at once, and the keys of the plan stop (F095, C15). Again, or after the plan ended by itself: the keys."""
    row.paused_at = None
    if row.in_force:
        settling.end_here(row, at=now, reason=settling.REFUNDED, now=now)
    else:
        row.save(update_fields=["paused_at"])
    keys = ApiKey.objects.filter(account_id=row.account_id, kind=ApiKey.Kind.SUBSCRIPTION, disabled_at=None)
    for key_id in list(keys.order_by("pk").values_list("pk", flat=True)):
        api_keys.disable(key_id, now=now, actor=None, reason="the plan was refunded")


def end_at_provider(subscription_id: UUID, *, processor: PaymentProcessor, now: datetime) -> None:
    """The provider shall forget it, too. Repeats change nothing."""
    row = Subscription.objects.get(pk=subscription_id)
    processor.end_subscription(row.provider_id, idempotency_key=f"subscription:{row.pk}:refunded:end:v1")
    settling.settle(subscription_id, processor=processor, now=now)
