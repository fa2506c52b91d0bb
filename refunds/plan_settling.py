"""What a plan refund does by itself after it was asked for: the row is the job, and every step can be taken again.

renewal off -> open calls end, or their time is over -> the amounts are computed once more -> one refund per payment is
sent -> their outcomes come through the one door -> the plan ends at the provider, or its renewal is switched on again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.errors import InvalidRequest
from billing.money import USD, from_minor_units, round_charge
from billing.payments.processor import PaymentProcessor
from config.ids import uuid7
from refunds import eligibility, facts, plan_lifecycle, quote_plan, sending
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.outcomes import FIRST_CHECK, book_new, number_of
from refunds.quote_plan import Lines, Part
from subscriptions import giving_back

Status = PlanRefund.Status
LOOK_AGAIN: Final = timedelta(seconds=5)
"""While calls are under way."""
LONGEST_WAIT: Final = timedelta(minutes=10)
ON_ITS_WAY: Final = timedelta(minutes=5)
"""Longer than asking the provider three things takes, each with all the tries of its client."""


def go_on(refund_id: UUID, *, processor: PaymentProcessor, now: datetime) -> PlanRefund:
    """Do what is to be done next, as far as it can be done now. Safe to call again at any point.

    `ProcessorUnavailable` leaves everything as it stands; the sweep goes on.
    """
    refund = PlanRefund.objects.get(pk=refund_id)
    if _may_stop_renewing(refund, now=now):
        giving_back.stop_renewing(refund.subscription_id, key=_key(refund), processor=processor, now=now)
        _note(refund, "renewal_off_at", now)
        refund.refresh_from_db()
        if refund.status in (Status.FAILED, Status.CANCELLED):
            # It ended while the provider was asked, and whoever ended it found the renewal on: it is off only now.
            PlanRefund.objects.filter(pk=refund.pk).update(renewal_on_at=None)
            refund.renewal_on_at = None
    if refund.status == Status.SETTLING:
        refund = settle(refund_id, now=now)
    if refund.status == Status.SUBMITTED:
        for part in list(Refund.objects.filter(plan_refund=refund, status__in=_TO_SEND).order_by("pk")):
            sending.check(part.pk, processor=processor, now=now)
        refund.refresh_from_db()
    if _plan_is_alive_there(refund):
        giving_back.end_at_provider(refund.subscription_id, processor=processor, now=now)
        _note(refund, "plan_ended_at", now)
    elif refund.status in (Status.FAILED, Status.CANCELLED) and _renewal_is_off(refund):
        giving_back.renew_again(
            refund.subscription_id, key=_key(refund), since=refund.created_at, processor=processor, now=now
        )
        if not _may_still_be_switched_off(refund, now=now):
            _note(refund, "renewal_on_at", now)
    return _rest(refund_id)


def go_on_by_hand(
    refund_id: UUID, *, actor: User, reason: str, processor: PaymentProcessor, now: datetime
) -> PlanRefund:
    """Staff have the next step taken now, and the provider asked about what has gone, with the reason in the audit
    (I12). The answers decide, not the person: calls are waited for as long as ever. Raises ProcessorUnavailable."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    before = str(PlanRefund.objects.values_list("status", flat=True).get(pk=refund_id))
    refund = go_on(refund_id, processor=processor, now=now)
    gone = Refund.objects.filter(plan_refund=refund, status=Refund.Status.SUCCEEDED).order_by("pk")
    for part_id in list(gone.values_list("pk", flat=True)):
        sending.ask(part_id, processor=processor, now=now)
    refund = PlanRefund.objects.select_related("account").get(pk=refund_id)
    audit.record(
        actor=actor, action="plan_refund_go_on", subject=refund, now=now, reason=reason.strip(),
        before={"status": before}, after={"status": str(refund.status)},
    )  # fmt: skip
    return refund


_TO_SEND: Final = (Refund.Status.APPROVED, Refund.Status.SUBMITTED)


def _key(refund: PlanRefund) -> str:
    return f"plan_refund:{refund.pk}:renewal"


def _may_stop_renewing(refund: PlanRefund, *, now: datetime) -> bool:
    """The intent is kept first, and only while the refund is open: whoever ends it knows what may be on its way."""
    if not refund.renewed_before or refund.renewal_off_at is not None:
        return False
    here = PlanRefund.objects.filter(pk=refund.pk, status__in=PlanRefund.OPEN)
    return bool(here.update(renewal_off_asked_at=now))


def _may_still_be_switched_off(refund: PlanRefund, *, now: datetime) -> bool:
    """Whether somebody asked for it and never said that it was done: they are on their way, or dead."""
    refund.refresh_from_db(fields=["renewal_off_asked_at", "renewal_off_at"])
    asked = refund.renewal_off_asked_at
    return asked is not None and refund.renewal_off_at is None and now < asked + ON_ITS_WAY


def _renewal_is_off(refund: PlanRefund) -> bool:
    """Perhaps asked for and never noted: the provider is asked, and answers for itself."""
    return refund.renewed_before and refund.renewal_on_at is None and refund.succeeded_at is None


def _plan_is_alive_there(refund: PlanRefund) -> bool:
    """It ended here with the success, also when a bank has returned the money since."""
    return refund.succeeded_at is not None and refund.plan_ended_at is None


def _note(refund: PlanRefund, field: str, now: datetime) -> None:
    PlanRefund.objects.filter(pk=refund.pk, **{field: None}).update(**{field: now})
    setattr(refund, field, now)


def _rest(refund_id: UUID) -> PlanRefund:
    """Nothing more to do: the sweep leaves it alone. Waiting for calls, a decision or the provider, it comes again.

    An outcome that came after the last step was taken leaves a step to take.
    """
    refund = PlanRefund.objects.get(pk=refund_id)
    left = _plan_is_alive_there(refund) or _renewal_is_off(refund)
    done = refund.status not in PlanRefund.OPEN and not left
    waits = refund.status == Status.REQUESTED
    if done or waits:
        # Only from the state that was just seen: an outcome that came meanwhile has something to do.
        PlanRefund.objects.filter(pk=refund_id, status=refund.status, check_at=refund.check_at).update(check_at=None)
        refund.refresh_from_db()
    return refund


def settle(refund_id: UUID, *, now: datetime) -> PlanRefund:
    """When no call is open any more, or none is waited for any longer: compute once more, and make what is sent (C14).

    Nothing is left: cancelled, and the plan is kept.
    """
    with transaction.atomic():
        refund = plan_lifecycle.locked(refund_id)
        if refund.status != Status.SETTLING:
            return refund
        told = facts.read(refund.subscription, now=now, policy=refund.policy)
        deadline = refund.settle_by or now
        if told.calls.open and now < deadline:
            refund.check_at = min(now + LOOK_AGAIN, deadline)
            refund.save(update_fields=["check_at"])
            return refund
        lines = quote_plan.never_more(told.lines_at_most, Lines.read(refund.quoted))
        against = _against(told, lines)
        if against:
            plan_lifecycle.close(refund, Status.CANCELLED, why=against, now=now)
            return refund
        parts = quote_plan.parts(lines, told.payments)
        refund.settled = lines.told()
        refund.final_minor = sum(part.sent for part in parts)
        refund.fee_minor = sum(part.fee for part in parts)
        refund.move_to(Status.SUBMITTED, now=now)
        refund.submitted_at, refund.check_at = now, now + FIRST_CHECK
        refund.save()
        for place, part in enumerate(parts):
            _make(refund, part, place, now=now)
    return refund


def _against(told: facts.Facts, lines: Lines) -> str:
    """Why nothing can be sent after all; what was asked in time stays in time (C12)."""
    if lines.difference <= 0 or lines.final < 1:
        return "used_up"
    found = [one.code for one in eligibility.payments(told)]
    if not found and not told.subscription.in_force:
        found = ["no_plan"]
    return found[0] if found else ""


def _make(refund: PlanRefund, part: Part, place: int, *, now: datetime) -> Refund:
    """One payment's part, approved: its sum leaves the revenue of subscriptions and lies in refunds payable."""
    row_id = uuid7()
    row = Refund(
        id=row_id,
        number=number_of(row_id),
        kind=Refund.Kind.SUBSCRIPTION,
        account=refund.account,
        invoice_id=part.invoice,
        plan_refund=refund,
        created_at=now,
        requested_by=refund.requested_by,
        reason=refund.reason or "the plan is given back",
        requested_usd=round_charge(from_minor_units(part.requested, USD)),
        fee_usd=round_charge(from_minor_units(part.fee, USD)),
        sent_usd=round_charge(from_minor_units(part.sent, USD)),
        currency=USD,
        requested_minor=part.requested,
        fee_minor=part.fee,
        sent_minor=part.sent,
        fee_rate=refund.policy.fee_rate,
        status=Refund.Status.APPROVED,
        status_at=now,
        client_key=f"plan:{refund.pk}:{place}",
        idempotency_key=f"refund:{row_id}:v1",
        check_at=now + FIRST_CHECK,
    )
    return book_new(row, now=now)


def claim_due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Plan refunds with something to do; each is claimed for this sweep by moving its next check."""
    found = []
    due = PlanRefund.objects.filter(check_at__lte=now).order_by("check_at").values_list("pk", "check_at", "checks")
    for refund_id, check_at, checks in due[:limit]:
        wait = min(LOOK_AGAIN * 2 ** min(checks, 10), LONGEST_WAIT)
        more = {"checks": F("checks") + 1} if checks < 30_000 else {}
        if PlanRefund.objects.filter(pk=refund_id, check_at=check_at).update(check_at=now + wait, **more):
            found.append(refund_id)
    return found
