"""Sweeps that heal lost events of disputes and early fraud warnings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from celery import shared_task

from billing.errors import BillingError
from billing.payments import disputes, fraud_warnings
from billing.payments.models import TopUp
from billing.payments.models_disputes import ProviderWatch
from billing.payments.processor import PaymentProcessor, ProcessorUnavailable
from billing.payments.processor_disputes import WarningState
from billing.payments.stripe_processor import get_processor
from config import clock

log = logging.getLogger(__name__)
FIRST_LOOK: Final = timedelta(days=30)
OVERLAP: Final = timedelta(hours=1)


def apply_warning(state: WarningState, *, processor: PaymentProcessor, now: datetime) -> bool:
    """Record a warning that was just read; whether its payment is one of ours."""
    found = disputes.find_payment(state.payment_intent_id, processor=processor, now=now)
    if found is None:
        log.error("ALERT early fraud warning %s is of a payment that is none of ours", state.warning_id)
        return False
    if isinstance(found, TopUp):
        fraud_warnings.record(found.pk, state, now=now)
    else:
        fraud_warnings.record_other(*found, state, now=now)
    return True


@shared_task
def sweep_disputes() -> None:
    """Ask about disputes that have waited too long, and for disputes and warnings that no event told of."""
    now = clock.now()
    try:
        look(processor=get_processor(), now=now)
    except ProcessorUnavailable as silence:
        log.warning("The payment provider does not answer (%r); disputes are asked for later", silence.__cause__)


def look(*, processor: PaymentProcessor, now: datetime) -> None:
    """One round. A refusal about one row does not keep the others from their turn."""
    for dispute_id in disputes.claim_due(now=now):
        try:
            disputes.fetch(dispute_id, processor=processor, now=now)
        except ProcessorUnavailable:
            raise
        except BillingError as refusal:
            log.error("ALERT dispute %s cannot be applied: %s %s", dispute_id, refusal.code, refusal.evidence)
    with _watch("disputes", now) as since:
        for dispute in processor.disputes_since(since):
            disputes.apply(dispute, processor=processor, now=now)
    with _watch("fraud_warnings", now) as since:
        for warning in processor.fraud_warnings_since(since):
            apply_warning(warning, processor=processor, now=now)


@contextmanager
def _watch(name: str, now: datetime) -> Iterator[datetime]:
    """Since when to look; only a look that went through to its end moves the mark."""
    row = ProviderWatch.objects.filter(pk=name).first()
    yield (row.seen_until if row else now - FIRST_LOOK) - OVERLAP
    ProviderWatch.objects.update_or_create(pk=name, defaults={"seen_until": now})
