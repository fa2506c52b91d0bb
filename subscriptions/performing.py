"""Ask the provider for a change of plan that was wished for, and go by its answer (C26, case 22).

The wish is a row that was committed before; a repeat, by the customer or by the sweep, asks with the same key.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from billing.errors import Conflict
from billing.money import USD, to_minor_units
from billing.payments.processor import PaymentProcessor, ProcessorRefused, ProcessorUnavailable
from billing.payments.processor_subscriptions import ChangeRequest, PlanPriceRequest
from subscriptions import settling
from subscriptions.models import PlanChange, PlanPrice, PlanVersion

log = logging.getLogger(__name__)

WISH_GOOD_FOR: Final = timedelta(hours=1)
"""For how long an upgrade that was confirmed is asked for again, when the provider did not answer."""


class PreviewExpired(Conflict):
    """The price of a change holds for fifteen minutes."""

    code = "preview_expired"
    title = _("This preview is too old. Look at the present one and confirm again.")


class PaymentDeclined(Conflict):
    """The proration could not be paid: the old plan stays."""

    code = "payment_declined"
    title = _("The payment was declined. Your plan has not changed.")


def price_of(version: PlanVersion, *, processor: PaymentProcessor, now: datetime) -> str:
    """What the version is called at the provider; made there when nobody has subscribed to it before."""
    known = PlanPrice.objects.filter(pk=version.pk).first()
    if known is not None:
        return known.price_id
    price_id, product_id = processor.plan_price(
        PlanPriceRequest(
            lookup_key=f"meterhall:{version.plan_id}:v{version.number}",
            name=f"{settings.SITE_NAME} {version.plan.name}",
            plan=version.plan_id,
            amount_minor=to_minor_units(version.price_usd),
            currency=USD,
        )
    )
    PlanPrice.objects.get_or_create(
        version=version, defaults={"price_id": price_id, "product_id": product_id, "created_at": now}
    )
    return PlanPrice.objects.get(pk=version.pk).price_id


def perform(change_id: UUID, *, processor: PaymentProcessor, now: datetime) -> PlanChange:
    """Ask the provider for a change that was wished for, and record its answer. Repeats ask with the same key.

    An upgrade that is declined leaves everything as it was: a renewal that was cancelled stays cancelled, and a smaller
    plan that was to begin with the next period still does.
    """
    asked = PlanChange.objects.select_related("subscription", "to_version__plan").get(pk=change_id)
    if asked.status != PlanChange.Status.REQUESTED:
        return _decided(asked)
    row = asked.subscription
    if asked.kind == PlanChange.Kind.UPGRADE and asked.created_at < now - WISH_GOOD_FOR:
        return _too_late(asked, processor=processor, now=now)
    price_id = price_of(asked.to_version, processor=processor, now=now)
    state = processor.subscription(row.provider_id)
    try:
        if state.schedule_id and asked.kind == PlanChange.Kind.UPGRADE:
            processor.withdraw_change(state.schedule_id)
        resume = state.cancel_at_period_end
        if asked.kind == PlanChange.Kind.UPGRADE:
            changed = processor.change_now(
                ChangeRequest(row.provider_id, price_id, asked.at, str(asked.pk), asked.idempotency_key)
            )
            resume = resume and not changed.pending_price_id
        if resume:
            processor.renew(row.provider_id, on=True, idempotency_key=f"{asked.idempotency_key}:resume")
        if asked.kind == PlanChange.Kind.DOWNGRADE:
            schedule = processor.change_at_period_end(
                row.provider_id, price_id, change=str(asked.pk), idempotency_key=asked.idempotency_key
            )
            _scheduled(asked.pk, schedule, now=now)
    except ProcessorRefused:
        _declined(asked.pk, now=now)
    settling.settle(row.pk, processor=processor, now=now)
    asked.refresh_from_db()
    if asked.status == PlanChange.Status.DECLINED and state.next_price_id:
        _schedule_again(asked, state.next_price_id, processor=processor, now=now)
    return _decided(asked)


def _too_late(asked: PlanChange, *, processor: PaymentProcessor, now: datetime) -> PlanChange:
    """Nobody is charged for a wish of yesterday because the provider was away: unless it was made after all, it is
    withdrawn, and the customer decides anew."""
    settling.settle(asked.subscription_id, processor=processor, now=now)
    with transaction.atomic():
        row = settling.locked(asked.subscription_id)
        asked.refresh_from_db()
        if asked.status == PlanChange.Status.REQUESTED:
            asked.move_to(PlanChange.Status.WITHDRAWN, now=now)
            asked.save(update_fields=["status", "status_at"])
            audit.record(
                actor=None, action="plan_change_withdrawn", subject=row, account=row.account, now=now,
                reason="the provider did not answer in time", before={"plan": asked.to_version.plan_id},
                after={"plan": row.plan_version.plan_id},
            )  # fmt: skip
    return _decided(asked)


def _schedule_again(asked: PlanChange, price_id: str, *, processor: PaymentProcessor, now: datetime) -> None:
    """The smaller plan that was to begin with the next period, and that made way for an upgrade that was declined."""
    row = asked.subscription
    try:
        processor.change_at_period_end(
            row.provider_id, price_id, change=str(asked.pk), idempotency_key=f"{asked.idempotency_key}:again"
        )
    except ProcessorRefused:
        log.exception("ALERT subscription %s keeps its plan: the smaller one cannot be scheduled again", row.pk)
        return
    settling.settle(row.pk, processor=processor, now=now)


def _scheduled(change_id: UUID, schedule_id: str, *, now: datetime) -> None:
    with transaction.atomic():
        asked = PlanChange.objects.get(pk=change_id)
        settling.locked(asked.subscription_id)
        asked.refresh_from_db()
        if asked.status == PlanChange.Status.REQUESTED:
            asked.schedule_id = schedule_id
            asked.move_to(PlanChange.Status.SCHEDULED, now=now)
            asked.save(update_fields=["status", "status_at", "schedule_id"])


def _declined(change_id: UUID, *, now: datetime) -> None:
    with transaction.atomic():
        asked = PlanChange.objects.get(pk=change_id)
        settling.locked(asked.subscription_id)
        asked.refresh_from_db()
        if asked.status == PlanChange.Status.REQUESTED:
            asked.move_to(PlanChange.Status.DECLINED, now=now)
            asked.save(update_fields=["status", "status_at"])


def _decided(asked: PlanChange) -> PlanChange:
    if asked.status == PlanChange.Status.DECLINED:
        raise PaymentDeclined(plan=asked.to_version.plan_id)
    if asked.status == PlanChange.Status.WITHDRAWN and asked.kind == PlanChange.Kind.UPGRADE:
        raise PreviewExpired
    if asked.status == PlanChange.Status.REQUESTED:
        raise ProcessorUnavailable
    return asked
