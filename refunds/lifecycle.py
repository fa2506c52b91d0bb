"""A refund's way: request, approve, submit, and the one door by which its outcome comes in.

The row is the job: the intent is committed, then the provider is asked, then the outcome is recorded. Every function
takes the wallet's lock first. Answers, events and the sweep may come in any order and as often as they like.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.books import ledger
from billing.books.models import Wallet
from billing.errors import IdempotencyConflict, InvalidRequest
from billing.money import minor_text, text
from billing.payments import topups
from billing.payments.models import TopUp
from billing.payments.numbers import PREFIX, order_number
from billing.payments.processor import UnrecognisedStatus
from billing.payments.processor_refunds import RefundProgress, RefundState
from config.ids import uuid7
from refunds import booking, quote, telling
from refunds.errors import NotRefundable
from refunds.models import Refund

log = logging.getLogger(__name__)

Status = Refund.Status
FIRST_CHECK: Final = timedelta(minutes=2)
LATER_CHECKS: Final = tuple(timedelta(days=days) for days in (1, 3, 7, 14))
"""After a success: a bank may return the money days later, and the event that says so may be lost."""
_OUTCOME: Final = (
    "check_at",
    "checked_at",
    "checks",
    "failure_reason",
    "flag_reason",
    "flagged",
    "provider_refund_id",
    "provider_status",
    "status",
    "status_at",
    "submitted_at",
    "succeeded_at",
)


def locked(refund_id: UUID) -> tuple[Refund, Wallet]:
    """The wallet first, then everything that belongs to it."""
    wallet = ledger.lock_wallet(Refund.objects.values_list("account_id", flat=True).get(pk=refund_id))
    refund: Refund = Refund.objects.select_related("account", "top_up").get(pk=refund_id)
    return refund, wallet


# --- The request ----------------------------------------------------------------------------------------------------
def request(
    top_up_id: UUID,
    amount_usd: Decimal | None,
    *,
    reason: str,
    actor: User | None,
    client_key: str,
    now: datetime,
) -> Refund:
    """Ask for some of a top-up back (None: all that is unused) and hold it out of that payment's grant at once.

    The same `client_key` comes back to the same refund. Refused with `NotRefundable` before anything is written.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why you want the money back."), field="reason")
    with transaction.atomic():
        order = topups.locked(top_up_id)
        wallet = ledger.lock_wallet(order.account_id)
        before: Refund | None = Refund.objects.filter(account_id=order.account_id, client_key=client_key).first()
        if before is not None:
            if before.top_up_id != top_up_id or amount_usd not in (None, before.requested_usd):
                raise IdempotencyConflict(refund=before.number)
            return before
        if order.status not in TopUp.SETTLED or order.grant is None:
            raise NotRefundable(_("This order was not credited."), reason="not_credited", order=order.number)
        check_possible(order, now=now)
        spendable = wallet.balance - wallet.overdraft - wallet.held
        unused = quote.refundable(order.grant.remaining, spendable)
        if unused <= 0:
            raise NotRefundable(_("Nothing of this payment is left to refund."), reason="nothing_left")
        asked = unused if amount_usd is None else amount_usd
        if asked > unused:
            raise NotRefundable(
                _("Only $%(refundable)s of this payment is unused and can be refunded."),
                reason="more_than_unused",
                refundable=f"{unused:.2f}",
            )
        refund = _new(order, asked, settings.REFUND_FEE_RATE, reason=reason, actor=actor, key=client_key, now=now)
        refund.save(force_insert=True)
        booking.hold(refund, wallet)
        booking.recount(order.pk, now=now)
    return refund


def return_uncredited(order_id: UUID, *, reason: str, actor: User | None, now: datetime) -> Refund:
    """Send back in full, without a fee, a payment that arrived and was never credited (a refusal by risk rules).

    It needs no approval: nothing was given for the money. Again: the refund that is on its way already.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        order = topups.locked(order_id)
        wallet = ledger.lock_wallet(order.account_id)
        on_its_way: Refund | None = Refund.objects.live().filter(top_up=order).order_by("pk").first()
        if order.grant_id is None and on_its_way is not None:
            return on_its_way
        if order.status != TopUp.Status.PAID or order.grant_id is not None:
            raise NotRefundable(_("This is not a payment that waits for its credit."), reason="not_uncredited")
        check_possible(order, now=now)
        key = f"uncredited:{order.number}:{Refund.objects.filter(top_up=order).count() + 1}"
        refund = _new(order, order.amount_usd, Decimal(0), reason=reason, actor=actor, key=key, now=now)
        refund.move_to(Status.APPROVED, now=now)
        refund.decided_by, refund.decided_at, refund.answer = actor, now, reason.strip()
        refund.check_at = now + FIRST_CHECK
        refund.save(force_insert=True)
        booking.hold(refund, wallet)
        booking.recount(order.pk, now=now)
        telling.record("refund_return", refund, actor=actor, reason=reason, before="", now=now)
    return refund


def check_possible(order: TopUp, *, now: datetime) -> None:
    """Refuse what the provider would refuse, with the reason and before any call."""
    if not order.payment_intent_id:
        raise NotRefundable(_("There is no payment to refund."), reason="no_payment")
    if order.status == TopUp.Status.DISPUTED or 0 < order.disputed_minor >= order.amount_minor - order.refunded_minor:
        raise NotRefundable(_("This payment is disputed at the bank and cannot be refunded."), reason="disputed")
    limit = quote.too_old(order.method, order.paid_at or order.created_at, now)
    if limit is not None:
        raise NotRefundable(
            _("%(method)s payments can be refunded for %(days)s days; this one is older."),
            reason="too_old",
            method=str(order.get_method_display()),
            days=limit.days,
        )


def _new(
    order: TopUp, asked: Decimal, fee_rate: Decimal, *, reason: str, actor: User | None, key: str, now: datetime
) -> Refund:
    paid = quote.Paid(order.amount_usd, order.amount_minor, order.currency, order.fx_quote.rate)
    left = max(0, order.amount_minor - order.refunded_minor - order.disputed_minor)
    try:
        sums = quote.quote(asked, paid, left_minor=left, fee_rate=fee_rate)
    except ValueError as wrong:
        raise NotRefundable(
            _("That amount cannot be refunded: %(why)s."), reason="amount", why=str(wrong), field="amount"
        ) from wrong
    row_id = uuid7()
    return Refund(
        id=row_id,
        number="refund_" + order_number(row_id).removeprefix(PREFIX),
        account=order.account,
        top_up=order,
        created_at=now,
        requested_by=actor,
        reason=reason.strip()[:500],
        requested_usd=sums.requested_usd,
        fee_usd=sums.fee_usd,
        sent_usd=sums.sent_usd,
        currency=sums.currency,
        requested_minor=sums.requested_minor,
        fee_minor=sums.fee_minor,
        sent_minor=sums.sent_minor,
        fee_rate=sums.fee_rate,
        status_at=now,
        client_key=key,
        idempotency_key=f"refund:{row_id}:v1",
    )


# --- The outcome ----------------------------------------------------------------------------------------------------
def record_outcome(refund_id: UUID, state: RefundState, *, now: datetime) -> Refund:
    """The one door: what the provider said, by answer, event or question. Repeats and older answers change nothing.

    Pending is not done. A status that we do not know, and an outcome that the table forbids, are kept and flagged.
    """
    with transaction.atomic():
        refund, wallet = locked(refund_id)
        if not _is_about(refund, state, now=now):
            return refund
        was = refund.status
        refund.provider_refund_id, refund.provider_status = state.refund_id, state.status[:60]
        refund.checked_at = now
        if state.amount_minor != refund.sent_minor or state.currency != refund.currency:
            sent = minor_text(state.amount_minor, state.currency)
            flag(refund, f"the provider sent {sent}, we asked for {minor_text(refund.sent_minor, refund.currency)}")
        if state.progress == RefundProgress.UNKNOWN:
            flag(refund, f"unknown status {state.status}")
        elif state.progress != RefundProgress.PENDING:  # an older "pending" changes nothing
            _apply(refund, wallet, state, now=now)
        if refund.status == Status.SUBMITTED and refund.check_at is None:
            refund.check_at = now + FIRST_CHECK
        refund.save(update_fields=_OUTCOME)
        if refund.status != was:
            booking.recount(refund.top_up_id, now=now)
            telling.outcome(refund, now=now)
    if state.progress == RefundProgress.UNKNOWN:
        raise UnrecognisedStatus(refund=refund.number, statuses=f"refund.status is {state.status!r}")
    return refund


def _is_about(refund: Refund, state: RefundState, *, now: datetime) -> bool:
    """Whether the answer may be applied; another refund under our mark, or one that was never sent, is not ours."""
    if refund.provider_refund_id not in (None, state.refund_id):
        wrong = f"a second refund at the provider, {state.refund_id}, names this one"
    elif refund.provider_refund_id is None and refund.status == Status.APPROVED:
        refund.move_to(Status.SUBMITTED, now=now)  # it was sent, and the note of it was lost with a backup
        refund.submitted_at = now
        return True
    elif refund.submitted_at is None:
        wrong = f"the provider has a refund, {state.refund_id}, for a request that is {refund.status}"
    else:
        return True
    flag(refund, wrong)
    refund.save(update_fields=_OUTCOME)
    return False


_ENDS: Final = {
    RefundProgress.SUCCEEDED: Status.SUCCEEDED,
    RefundProgress.FAILED: Status.FAILED,
    RefundProgress.CANCELLED: Status.CANCELLED,
}


def _apply(refund: Refund, wallet: Wallet, state: RefundState, *, now: datetime) -> None:
    wanted = _ENDS[state.progress]
    if wanted == refund.status:
        if wanted == Status.SUCCEEDED:
            _look_later(refund, now=now)
        if refund.flag_reason.startswith("the provider says"):
            refund.flagged, refund.flag_reason = False, ""
        return
    if wanted not in Refund.NEXT[refund.status]:
        # Perhaps an answer that was overtaken on its way: the next question tells.
        flag(refund, f"the provider says {state.status}, the refund is {refund.status}")
        refund.check_at = now + FIRST_CHECK if refund.checks < len(LATER_CHECKS) else None
        return
    if wanted == Status.SUCCEEDED:
        refund.move_to(wanted, now=now)
        refund.succeeded_at, refund.checks = now, 0
        booking.pay(refund, wallet, now=now)
        _look_later(refund, now=now)
    else:
        end(refund, wallet, wanted, why=state.failure or state.status, now=now)


def _look_later(refund: Refund, *, now: datetime) -> None:
    at = refund.succeeded_at or now
    refund.check_at = next((at + wait for wait in LATER_CHECKS if at + wait > now), None)


def end(refund: Refund, wallet: Wallet, status: str, *, why: str, now: datetime) -> None:
    """Nothing goes, or what went came back: all is given back. In memory; the caller saves and recounts."""
    refund.move_to(status, now=now)
    booking.give_back(refund, wallet, now=now)
    refund.failure_reason, refund.check_at = why[:300], None
    if status == Status.FAILED:
        log.error("ALERT refund %s (%s USD) failed: %s", refund.number, text(refund.requested_usd), why)


def flag(refund: Refund, why: str) -> None:
    """A person should look; said once in the log."""
    if refund.flag_reason != why[:300]:
        log.error("ALERT refund %s is flagged: %s", refund.number, why)
    refund.flagged, refund.flag_reason = True, why[:300]


def close(refund: Refund, wallet: Wallet, status: str, *, why: str, now: datetime) -> None:
    """`end`, kept and told."""
    end(refund, wallet, status, why=why, now=now)
    refund.save(update_fields=_OUTCOME)
    booking.recount(refund.top_up_id, now=now)
    telling.outcome(refund, now=now)
