"""The one door by which the outcome of a refund comes in, whatever it gives back.

Answers, events and the sweep may come in any order and as often as they like. Every function takes the wallet's lock
first.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction

from billing.books import ledger
from billing.books.models import Wallet
from billing.money import minor_text, text
from billing.payments.numbers import PREFIX, order_number
from billing.payments.processor import UnrecognisedStatus
from billing.payments.processor_refunds import RefundProgress, RefundState
from refunds import booking, plan_outcome, telling
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
    refund: Refund = Refund.objects.select_related("account", "top_up", "invoice").get(pk=refund_id)
    return refund, wallet


def number_of(refund_id: UUID) -> str:
    """What people call it: the same signs as an order's number."""
    return "refund_" + order_number(refund_id).removeprefix(PREFIX)


def book_new(refund: Refund, *, now: datetime) -> Refund:
    """Keep a new one and set its money aside. The caller holds the wallet's lock."""
    wallet = ledger.lock_wallet(refund.account_id)
    refund.save(force_insert=True)
    booking.hold(refund, wallet)
    booking.recount(refund, now=now)
    return refund


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
            _changed(refund, now=now)
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
    _changed(refund, now=now)


def _changed(refund: Refund, *, now: datetime) -> None:
    """What follows an end: the payment's own sums, the request that it is a part of, the customer."""
    booking.recount(refund, now=now)
    if refund.plan_refund_id is not None:
        plan_outcome.follow(refund.plan_refund_id, now=now)
    else:
        telling.outcome(refund, now=now)
