"""The one door by which the outcome of a top-up comes in, and asking for it again.

Webhook, return page, "check now" and the sweep all enter by `settle`; repeats, delays and any order of events change
nothing (I5).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books import credits
from billing.books.models import JournalEntry, System
from billing.errors import InvalidRequest, NotFound
from billing.money import minor_text
from billing.payments import auto_state, benefits, dispute_booking, failures, late, risk, topups
from billing.payments.models import PaymentAttempt, TopUp
from billing.payments.processor import (
    PaymentProcessor,
    PaymentState,
    Progress,
    UnknownAtProcessor,
    UnrecognisedStatus,
)
from config import turns

log = logging.getLogger(__name__)

Status = TopUp.Status
LONGEST_WAIT: Final = timedelta(hours=1)
ASKING_TAKES: Final = 5.0
"""Seconds after which nobody waits any longer for somebody else's question to the provider."""
CHECK_NOW_EVERY: Final = timedelta(seconds=5)
"""How often a customer may have the provider asked about one order."""


def settle(order_id: UUID, *, processor: PaymentProcessor, now: datetime, session_id: str = "") -> TopUp:
    """The one door: ask the provider what is true of this order now, and record it. Repeats change nothing.

    `session_id` is what a webhook or a returning customer names; one that does not belong to the order is `NotFound`.
    """
    order: TopUp = TopUp.objects.get(pk=order_id)
    if session_id and order.checkout_session_id and session_id != order.checkout_session_id:
        raise NotFound
    if order.status in TopUp.SETTLED:
        return order
    # Several events tell of one payment, and the customer returns at the same moment: one of them asks.
    with turns.turn(f"settle:{order_id}", wait=ASKING_TAKES, lasts=ASKING_TAKES) as waited:
        if waited:
            order = TopUp.objects.get(pk=order_id)
            if order.status in TopUp.SETTLED:
                return order
        state = ask(order, processor=processor, session_id=session_id)
        return order if state is None else record_outcome(order_id, state, now=now)


def ask(order: TopUp, *, processor: PaymentProcessor, session_id: str = "") -> PaymentState | None:
    """What is true of this order at the provider now; None while nothing there belongs to it. No lock may be held."""
    if order.automatic:
        return _ask_charge(order, processor)
    known = order.checkout_session_id or session_id
    if not known:
        return None
    try:
        state = processor.checkout(known)
    except UnknownAtProcessor:
        if order.checkout_session_id:
            raise
        raise NotFound from None
    if state.order != order.number and not order.checkout_session_id:
        raise NotFound
    return state


def _ask_charge(order: TopUp, processor: PaymentProcessor) -> PaymentState | None:
    """An order that was charged to a saved card has no page: its payment is asked, or looked for by our number."""
    if order.payment_intent_id:
        return processor.payment(order.payment_intent_id)
    card = order.auto_run.payment_method
    return processor.find_payment(card.customer_id, order.number, since=order.created_at - timedelta(minutes=5))


def record_outcome(order_id: UUID, state: PaymentState, *, now: datetime) -> TopUp:
    """Apply what the provider said, under the wallet's lock: credit once, or keep the decline, or send to review.

    Money that was paid is credited whatever the order said before; an older answer never takes a step back. A status
    that we do not know changes nothing and raises `UnrecognisedStatus`.
    """
    if state.progress == Progress.UNKNOWN:
        raise UnrecognisedStatus(order=state.order, statuses=state.statuses)
    with transaction.atomic():
        order = topups.locked(order_id)
        if order.status in TopUp.SETTLED:
            return order
        if order.status == Status.CREATED:  # the answer that named the page was lost; the provider still knows it
            order.checkout_session_id = state.session_id or None
            order.move_to(Status.AWAITING_PAYMENT, now=now)
        elif not order.checkout_session_id:
            order.checkout_session_id = state.session_id or None
        order.checkout_url = state.url
        order.payment_intent_id = state.payment_intent_id
        order.checked_at = now
        _keep_attempts(order, state)
        if wrong := _mismatch(order, state):
            _send_to_review(order, wrong, paid=state.progress == Progress.PAID, now=now)
        elif state.progress == Progress.PAID:
            _take(order, now=now)
        elif state.progress in FOLLOWS and FOLLOWS[state.progress] in TopUp.NEXT[order.status]:
            order.move_to(FOLLOWS[state.progress], now=now)
        if order.status not in TopUp.OPEN:
            order.check_at = None
        order.save(update_fields=_OUTCOME)
        if order.credited_at == now:
            late.notice(order, paid_at=state.paid_at, now=now)
        if order.automatic:
            auto_state.follow(order, now=now)
        return order


_OUTCOME: Final = (
    "check_at",
    "checked_at",
    "checkout_session_id",
    "checkout_url",
    "credited_at",
    "failure",
    "failure_code",
    "grant",
    "in_review",
    "paid_at",
    "payment_intent_id",
    "review_reason",
    "status",
    "status_at",
)
FOLLOWS: Final = {
    Progress.PROCESSING: Status.PROCESSING,
    Progress.FAILED: Status.FAILED,
    Progress.EXPIRED: Status.EXPIRED,
}


def _mismatch(order: TopUp, state: PaymentState) -> str:
    """What differs from the order, in English for staff; empty when all is as ordered."""
    asked = minor_text(order.amount_minor, order.currency)
    if state.order != order.number:
        return f"the checkout names the order {state.order or '(none)'}"
    if state.session_id != (order.checkout_session_id or ""):
        return f"another checkout ({state.session_id}) names this order"
    if state.amount_minor != order.amount_minor or state.currency != order.currency:
        return f"the checkout is for {minor_text(state.amount_minor, state.currency)}, the order for {asked}"
    if state.progress == Progress.PAID and state.received_minor not in (None, order.amount_minor):
        return f"{minor_text(state.received_minor, state.currency)} were received, the order is for {asked}"
    if state.livemode != settings.STRIPE_LIVEMODE:
        return f"the checkout has livemode={state.livemode}"
    return ""


def _send_to_review(order: TopUp, wrong: str, *, paid: bool, now: datetime) -> None:
    """No credit until a person has looked. What was paid is said to be paid."""
    if paid and Status.PAID in TopUp.NEXT[order.status]:
        order.move_to(Status.PAID, now=now)
        order.paid_at = now
    if not order.in_review:
        order.in_review, order.review_reason, order.check_at = True, wrong[:300], None
        log.error("ALERT top-up %s is in review: %s", order.number, wrong)


def _keep_attempts(order: TopUp, state: PaymentState) -> None:
    """The history of tries, and on the order the text of the latest decline while it is not paid."""
    failed: failures.Reason | None = None
    rows = []
    for attempt in state.attempts:
        failed = None
        if attempt.outcome == PaymentAttempt.Outcome.FAILED:
            failed = failures.classify(
                code=attempt.code,
                decline_code=attempt.decline_code,
                blocked=attempt.blocked,
                risk=attempt.risk,
                rule=attempt.rule,
            )
            order.failure, order.failure_code = failed.key, (attempt.decline_code or attempt.rule or attempt.code)[:80]
        rows.append(
            PaymentAttempt(
                top_up=order,
                reference=attempt.reference[:160],
                at=attempt.at,
                outcome=attempt.outcome,
                failure=failed.key if failed else "",
                failure_class=failed.failure_class if failed else "",
                code=attempt.code[:80],
                decline_code=attempt.decline_code[:80],
                risk=" ".join(filter(None, (attempt.risk, attempt.rule)))[:160],
                brand=attempt.brand[:30],
                last_four=attempt.last_four[:4],
            )
        )
    PaymentAttempt.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["top_up", "reference"],
        update_fields=["outcome", "failure", "failure_class", "code", "decline_code", "risk"],
    )
    risk.traces(order, state.attempts)
    if state.progress in (Progress.PAID, Progress.PROCESSING):
        order.failure = order.failure_code = ""


def _take(order: TopUp, *, now: datetime) -> None:
    """The money has arrived: credit it, unless a person must look first or our own rules hold it."""
    if order.in_review:
        return
    if order.refunded_minor:
        _gone_before(order, now=now)
        return
    if order.disputed_minor:
        _send_to_review(order, "the payment is disputed before it was credited", paid=True, now=now)
        return
    _arrived(order, now=now)
    if risk.may_credit(order, now=now):
        _credit(order, now=now)


def _arrived(order: TopUp, *, now: datetime) -> None:
    if order.status != Status.PAID:
        order.move_to(Status.PAID, now=now)
        order.paid_at = now
        order.checkout_url = ""


def _gone_before(order: TopUp, *, now: datetime) -> None:
    """Sent back in the provider's dashboard before we knew that it was paid: what goes back is not credited as well.

    All of it: settled when it has gone. A part: a person says what becomes of the rest.
    """
    if order.refunded_minor < order.amount_minor:
        _send_to_review(order, "a part of it was sent back before it was credited", paid=True, now=now)
        return
    _arrived(order, now=now)
    if dispute_booking.refunded(order).gone_minor >= order.amount_minor:
        order.move_to(Status.REFUNDED, now=now)


def credit_paid(order: TopUp, *, now: datetime) -> TopUp:
    """Credit a payment that arrived earlier and was kept back. The caller holds the wallet's lock, and knows how much
    of the time was a check of ours: whether the credit is late is for the caller to say."""
    _credit(order, now=now)
    order.save(update_fields=["checkout_url", "credited_at", "grant", "status", "status_at"])
    if order.automatic:
        auto_state.follow(order, now=now)
    return order


def _credit(order: TopUp, *, now: datetime) -> None:
    """Paid becomes credited in one transaction, under a key that lives as long as the books (I5)."""
    order.grant = credits.give(
        order.account_id,
        order.amount_usd,
        kind=credits.Kind.CASH,
        entry_kind=JournalEntry.Kind.TOPUP,
        funded_by=System.PROCESSOR_STRIPE,
        key=f"topup:{order.number}:credited",
        source=order.number,
        paid=True,
        now=now,
        meta={"order": order.number, "payment": order.payment_intent_id},
    )
    order.credited_at = now
    order.checkout_url = ""
    order.move_to(Status.CREDITED, now=now)
    benefits.credited(order, now=now)


# --- Asking again ---------------------------------------------------------------------------------------------------


def refresh(
    order_id: UUID, *, processor: PaymentProcessor, now: datetime, at_most_every: timedelta = timedelta(seconds=10)
) -> tuple[TopUp, bool]:
    """`settle`, unless somebody asked a moment ago; the order, and whether the provider was asked."""
    claimed = TopUp.objects.filter(pk=order_id, status__in=TopUp.OPEN).exclude(
        checked_at__gt=now - at_most_every, checked_at__lte=now
    )
    if not claimed.update(checked_at=now):
        return TopUp.objects.get(pk=order_id), False
    order: TopUp = TopUp.objects.get(pk=order_id)
    if order.status == Status.CREATED and not order.automatic:
        return topups.open_checkout(order_id, processor=processor, now=now), True
    return settle(order_id, processor=processor, now=now), True


def claim_due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Orders that have waited too long for news; each is claimed for this sweep by moving its next check."""
    found = []
    due = (
        TopUp.objects.filter(check_at__lte=now, in_review=False)
        .order_by("check_at")
        .values_list("pk", "check_at", "checks")
    )
    for order_id, check_at, checks in due[:limit]:
        wait = min(topups.FIRST_CHECK * 2 ** min(checks, 10), LONGEST_WAIT)
        if TopUp.objects.filter(pk=order_id, check_at=check_at).update(check_at=now + wait, checks=F("checks") + 1):
            found.append(order_id)
    return found


def check(order_id: UUID, *, processor: PaymentProcessor, now: datetime) -> TopUp:
    """What the sweep does with an order it claimed: go on with one that was only placed, ask about the others."""
    order: TopUp = TopUp.objects.select_related("fx_quote").get(pk=order_id)
    if order.status == Status.CREATED and not order.automatic:
        if now < topups.open_until(order):
            return topups.open_checkout(order_id, processor=processor, now=now)
        return _give_up(order_id, now=now)
    return settle(order_id, processor=processor, now=now)


def _give_up(order_id: UUID, *, now: datetime) -> TopUp:
    """No page was ever known for this order. If one was paid after all, its event still finds the order by number."""
    with transaction.atomic():
        order = topups.locked(order_id)
        if order.status == Status.CREATED:
            order.check_at = None
            order.move_to(Status.EXPIRED, now=now)
            order.save(update_fields=["check_at", "status", "status_at"])
        return order


def settle_by_hand(order_id: UUID, *, actor: User, reason: str, processor: PaymentProcessor, now: datetime) -> TopUp:
    """Staff ask the provider now, with the reason in the audit (I12). The answer decides, not the person."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    before = TopUp.objects.values_list("status", flat=True).get(pk=order_id)
    order = check(order_id, processor=processor, now=now)
    audit.record(
        actor=actor,
        action="top_up_settle",
        subject=order,
        now=now,
        reason=reason.strip(),
        before={"status": before},
        after={"status": str(order.status)},
    )
    return order
