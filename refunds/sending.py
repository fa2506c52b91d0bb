"""Sending an approved refund to the provider, and asking what became of it. Safe to call again at any point.

The provider forgets idempotency keys after a day. An older try is therefore looked for by our mark among the refunds
of the payment before anything is sent again, so that a lost answer never becomes a second refund.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.errors import InvalidRequest
from billing.payments import disputes
from billing.payments.processor import PaymentProcessor, ProcessorRefused, UnknownAtProcessor
from billing.payments.processor_refunds import RefundRequest, RefundState
from refunds import external, lifecycle, outcomes, telling
from refunds.errors import NotRefundable
from refunds.models import Refund
from subscriptions import disputes as plan_disputes

log = logging.getLogger(__name__)

Status = Refund.Status
KEY_IS_KEPT: Final = timedelta(hours=23)
"""The provider promises 24 hours; an hour is for clocks that differ and for retries inside one call."""
LONGEST_WAIT: Final = timedelta(hours=1)


def submit(refund_id: UUID, *, processor: PaymentProcessor, now: datetime) -> Refund:
    """Commit the intent, send, record the outcome. A refund that has been sent already is asked about instead.

    `ProcessorUnavailable` leaves it submitted: whether the money goes is not known, and the sweep goes on.
    """
    with transaction.atomic():
        refund, wallet = outcomes.locked(refund_id)
        if refund.status == Status.APPROVED:
            try:
                _check_possible(refund, now=now)
            except NotRefundable as changed:  # it was possible when it was approved
                outcomes.close(refund, wallet, Status.CANCELLED, why=str(changed.evidence["reason"]), now=now)
                return refund
            refund.move_to(Status.SUBMITTED, now=now)
            refund.submitted_at, refund.check_at = now, now + outcomes.FIRST_CHECK
            refund.save(update_fields=["status", "status_at", "submitted_at", "check_at"])
        elif refund.status != Status.SUBMITTED:
            return refund
    # From here on no lock and no transaction is held.
    if refund.provider_refund_id is not None:
        return ask(refund_id, processor=processor, now=now)
    sent_at = refund.submitted_at or now
    if now - sent_at >= KEY_IS_KEPT:
        found = _ours(refund, processor.refunds_of(refund.payment_intent_id))
        if found is not None:
            return outcomes.record_outcome(refund_id, found, now=now)
    try:
        state = processor.create_refund(request_of(refund))
    except (ProcessorRefused, UnknownAtProcessor) as refusal:
        return _refused(refund, refusal, processor=processor, now=now)
    return outcomes.record_outcome(refund_id, state, now=now)


def _check_possible(refund: Refund, *, now: datetime) -> None:
    """It was possible when it was decided; raises NotRefundable when it no longer is."""
    if refund.top_up is not None:
        lifecycle.check_possible(refund.top_up, now=now)
        return
    # All payments of a plan: one part that stays leaves it with the plan and some of the money. By the disputes and not
    # by what they count, as this refund has left nothing to count.
    of_plan = (
        Refund.objects.filter(plan_refund=refund.plan_refund_id) if refund.plan_refund_id else Refund.objects.none()
    )
    if disputes.stands(plan_disputes.OF, {refund.payment.pk, *of_plan.values_list("invoice_id", flat=True)}):
        raise NotRefundable(_("This payment is disputed at the bank and cannot be refunded."), reason="disputed")
    others = Refund.objects.filter(plan_refund=refund.plan_refund_id).exclude(pk=refund.pk)
    if refund.plan_refund_id and others.filter(status__in=(Status.FAILED, Status.CANCELLED)).exists():
        raise NotRefundable(reason="another_part_failed")  # all of a plan, or as little of it as can be helped


def request_of(refund: Refund) -> RefundRequest:
    """From the row alone, so that a retry under the same key is the same request."""
    return RefundRequest(
        payment_intent_id=refund.payment_intent_id,
        amount_minor=refund.sent_minor,
        marks={
            "refund": str(refund.pk),
            "number": refund.number,
            "order": refund.of_number,
            "account": str(refund.account_id),
            "fee": str(refund.fee_minor),
        },
        idempotency_key=refund.idempotency_key,
    )


def _ours(refund: Refund, states: tuple[RefundState, ...]) -> RefundState | None:
    return next((one for one in states if one.marks.get("refund") == str(refund.pk)), None)


def _refused(
    refund: Refund, refusal: ProcessorRefused | UnknownAtProcessor, *, processor: PaymentProcessor, now: datetime
) -> Refund:
    """A definite no. Usually somebody refunded the payment in the dashboard: that is booked, and ours is not."""
    intent = refund.payment_intent_id
    try:
        states = processor.refunds_of(intent)
    except (ProcessorRefused, UnknownAtProcessor):
        states = ()
    found = _ours(refund, states)
    if found is not None:
        return outcomes.record_outcome(refund.pk, found, now=now)
    why = str(refusal.evidence.get("provider_code") or refusal.code)
    with transaction.atomic():
        row, wallet = outcomes.locked(refund.pk)
        if row.status == Status.SUBMITTED and row.provider_refund_id is None:
            outcomes.close(row, wallet, Status.FAILED, why=why, now=now)
        for state in states:
            external.apply(state, now=now)
    row.refresh_from_db()
    return row


def ask(refund_id: UUID, *, processor: PaymentProcessor, now: datetime) -> Refund:
    """What the provider says of a refund that it has named; one that it has not is left alone."""
    refund: Refund = Refund.objects.get(pk=refund_id)
    if refund.provider_refund_id is None:
        return refund
    return outcomes.record_outcome(refund_id, processor.refund(refund.provider_refund_id), now=now)


def check(refund_id: UUID, *, processor: PaymentProcessor, now: datetime) -> Refund:
    """What the sweep does with a refund that it claimed: go on with one on its way, ask about one that arrived."""
    refund: Refund = Refund.objects.get(pk=refund_id)
    if refund.status in (Status.APPROVED, Status.SUBMITTED):
        return submit(refund_id, processor=processor, now=now)
    return ask(refund_id, processor=processor, now=now)


def claim_due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Refunds that have waited too long for news; each is claimed for this sweep by moving its next check."""
    found = []
    due = Refund.objects.filter(check_at__lte=now).order_by("check_at").values_list("pk", "check_at", "checks")
    for refund_id, check_at, checks in due[:limit]:
        wait = min(outcomes.FIRST_CHECK * 2 ** min(checks, 10), LONGEST_WAIT)
        more = {"checks": F("checks") + 1} if checks < 30_000 else {}
        if Refund.objects.filter(pk=refund_id, check_at=check_at).update(check_at=now + wait, **more):
            found.append(refund_id)
    return found


def ask_by_hand(refund_id: UUID, *, actor: User, reason: str, processor: PaymentProcessor, now: datetime) -> Refund:
    """Staff ask the provider now, with the reason in the audit (I12). The answer decides, not the person."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    before = str(Refund.objects.values_list("status", flat=True).get(pk=refund_id))
    refund = check(refund_id, processor=processor, now=now)
    telling.record("refund_ask", refund, actor=actor, reason=reason, before=before, now=now)
    return refund
