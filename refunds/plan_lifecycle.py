"""A customer gives a plan back: quote, submit, cancel; and what staff decide where they must (F093, F095, C09, C14).

The request is a row: it freezes the plan in the same transaction, under the wallet's lock. What follows, the provider
included, is `plan_settling`'s.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books import ledger
from billing.errors import IdempotencyConflict, InvalidRequest, InvalidTransition, NotFound, SecondPersonNeeded
from billing.payments.numbers import PREFIX, order_number
from config.ids import uuid7
from refunds import eligibility, facts, plan_telling, quotes
from refunds.errors import NotRefundable
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.quotes import Quote
from subscriptions import giving_back, settling
from subscriptions.models import Subscription

Status = PlanRefund.Status


def preview(account_id: UUID, *, now: datetime) -> Quote:
    """What giving the plan back would come to now, and whether it may be. Changes nothing."""
    return quotes.make(account_id, now=now)


def submit(
    account_id: UUID,
    token: str,
    *,
    client_key: str,
    reason: str = "",
    actor: User | None,
    label: str = "",
    now: datetime,
) -> PlanRefund:
    """Ask for the refund as quoted. From here on the plan admits no call. The same `client_key`: the same refund.

    The hours count until now, not until it is processed (C12). Raises NotRefundable with all reasons, and
    RefundQuoteExpired, also when something was paid since the quote.
    """
    with transaction.atomic():
        wallet = ledger.lock_wallet(account_id)
        again = PlanRefund.objects.filter(account_id=wallet.account_id, client_key=client_key).first()
        if again is not None:
            return _same(again, token)
        if Refund.objects.filter(account_id=wallet.account_id, client_key=client_key).exists():
            raise IdempotencyConflict  # the same key, for a top-up
        agreed = quotes.read(token, now=now)
        row = Subscription.objects.select_related("account", "plan_version__plan")
        subscription = row.filter(pk=agreed.subscription_id, account_id=account_id).first()
        if subscription is None:
            raise NotFound
        told = facts.read(subscription, now=now)
        against = eligibility.reasons(told)
        if against:
            raise NotRefundable(
                against[0].text,
                reason=against[0].code,
                reasons=[{"code": one.code, "text": one.text, **one.evidence} for one in against],
            )
        if told.lines.paid != agreed.lines.paid:  # an upgrade was paid since, and would be given up for nothing
            raise quotes.RefundQuoteExpired
        row_id = uuid7()
        refund = PlanRefund(
            id=row_id,
            number="refund_" + order_number(row_id).removeprefix(PREFIX),
            account=subscription.account,
            subscription=subscription,
            plan_version=subscription.plan_version,
            policy=told.policy,
            created_at=now,
            requested_by=actor,
            reason=reason.strip()[:500],
            client_key=client_key,
            status=Status.REQUESTED if told.restricted else Status.SETTLING,
            status_at=now,
            approval="restricted" if told.restricted else "",
            quoted=agreed.lines.told(),
            quoted_at=agreed.at,
            final_minor=min(agreed.lines.final, told.lines.final),
            fee_minor=min(agreed.lines.fee, told.lines.fee),
            settle_by=None if told.restricted else now + told.policy.settling,
            renewed_before=subscription.renews,
            check_at=now,
        )
        refund.save(force_insert=True)
        giving_back.pause(subscription, now=now)
        audit.record(
            actor=actor, actor_label=label, action="plan_refund_submitted", subject=refund, now=now,
            reason=refund.reason, after={"status": str(refund.status), "final": f"{refund.final:.2f}"},
        )  # fmt: skip
        plan_telling.submitted(refund, now=now)
    return refund


def _same(again: PlanRefund, token: str) -> PlanRefund:
    """A repeat answers the same, also when the quote is too old by now; another quote under the key is a mistake."""
    agreed = quotes.read_any_age(token)
    if agreed.subscription_id != again.subscription_id or agreed.lines.told() != again.quoted:
        raise IdempotencyConflict(refund=again.number)
    return again


def locked(refund_id: UUID) -> PlanRefund:
    """The wallet first, then everything that belongs to it."""
    ledger.lock_wallet(PlanRefund.objects.values_list("account_id", flat=True).get(pk=refund_id))
    rows = PlanRefund.objects.select_related("account", "subscription", "plan_version__plan", "policy", "requested_by")
    found: PlanRefund = rows.get(pk=refund_id)
    return found


def cancel(refund_id: UUID, *, actor: User | None, reason: str = "", label: str = "", now: datetime) -> PlanRefund:
    """The customer changed their mind, or staff for them, while nothing was sent: the plan goes on. Again: the same."""
    return _stop(refund_id, "plan_refund_cancelled", actor=actor, reason=reason, label=label, now=now)


def reject(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> PlanRefund:
    """Staff say no; the customer reads the reason, and the plan goes on."""
    _require(reason)
    return _stop(refund_id, "plan_refund_rejected", actor=actor, reason=reason, label="", now=now)


def approve(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> PlanRefund:
    """Staff let a refund go on that waits for their decision (C09). Nobody approves a request of their own.

    Above the limit the first yes is kept, and a second person's lets it go on (07-reliability 7.2).
    """
    _require(reason)
    with transaction.atomic():
        refund = locked(refund_id)
        if refund.decided_by_id == actor.pk and refund.status not in (Status.REQUESTED, Status.CANCELLED):
            return refund
        if refund.status != Status.REQUESTED:
            raise InvalidTransition(refund=refund.number, current=str(refund.status), wanted="settling")
        if actor.pk in (refund.requested_by_id, refund.first_approved_by_id):
            raise SecondPersonNeeded(refund=refund.number)
        if refund.first_approved_by_id is None and refund.final > settings.SECOND_PERSON_ABOVE_USD:
            refund.first_approved_by = actor
            refund.save(update_fields=["first_approved_by"])
            audit.record(
                actor=actor, action="plan_refund_first_approval", subject=refund, now=now, reason=reason.strip(),
                before={"status": "requested"}, after={"status": "requested"},
            )  # fmt: skip
            return refund
        refund.move_to(Status.SETTLING, now=now)
        refund.decided_by, refund.decided_at, refund.answer = actor, now, reason.strip()[:500]
        refund.settle_by = now + refund.policy.settling
        refund.check_at = now
        refund.save()
        audit.record(
            actor=actor, action="plan_refund_approved", subject=refund, now=now, reason=reason.strip(),
            before={"status": "requested"}, after={"status": str(refund.status)},
        )  # fmt: skip
    return refund


def _stop(refund_id: UUID, action: str, *, actor: User | None, reason: str, label: str, now: datetime) -> PlanRefund:
    with transaction.atomic():
        refund = locked(refund_id)
        if refund.status == Status.CANCELLED:
            return refund
        if not refund.may_cancel:
            raise InvalidTransition(
                _("It is at the payment provider already and cannot be stopped."),
                refund=refund.number,
                current=str(refund.status),
                wanted="cancelled",
            )
        before = str(refund.status)
        if action == "plan_refund_rejected":
            refund.decided_by, refund.decided_at, refund.answer = actor, now, reason.strip()[:500]
        close(refund, Status.CANCELLED, why="rejected" if refund.answer else "cancelled", now=now)
        audit.record(
            actor=actor, actor_label=label, action=action, subject=refund, now=now, reason=reason.strip(),
            before={"status": before}, after={"status": "cancelled"},
        )  # fmt: skip
    return refund


def close(refund: PlanRefund, status: str, *, why: str, now: datetime) -> None:
    """Nothing (more) goes: the plan is kept, calls are admitted again, and the renewal comes back (C15). Kept and told.

    The caller holds the wallet's lock.
    """
    refund.move_to(status, now=now)
    refund.failure_reason = why[:300]
    refund.check_at = now  # the renewal, at the provider
    refund.save()
    subscription = settling.locked(refund.subscription_id)
    if subscription.paused_at is not None:
        giving_back.resume(subscription)
    plan_telling.outcome(refund, now=now)


def dismiss_flag(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> PlanRefund:
    """Somebody has looked; what was flagged stands in the audit."""
    _require(reason)
    with transaction.atomic():
        refund = locked(refund_id)
        why = refund.flag_reason
        if refund.flagged:
            refund.flagged, refund.flag_reason = False, ""
            refund.save(update_fields=["flagged", "flag_reason"])
            audit.record(
                actor=actor, action="plan_refund_looked", subject=refund, now=now, reason=f"{reason.strip()} ({why})"
            )
    return refund


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
