"""A top-up's refund is asked for, and held out of its grant at once (F019-F022, 02-domain 2.8).

The row is the job: the intent is committed, then the provider is asked, then the outcome is recorded (`outcomes`).
Every function takes the wallet's lock first.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.books import ledger
from billing.errors import IdempotencyConflict, InvalidRequest
from billing.payments import topups
from billing.payments.models import TopUp
from config.ids import uuid7
from refunds import models_policy, quote, telling
from refunds.errors import NotRefundable
from refunds.models import Refund
from refunds.outcomes import FIRST_CHECK, book_new, number_of

Status = Refund.Status


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
        refund = _new(order, asked, fee_rate(order), reason=reason, actor=actor, key=client_key, now=now)
        book_new(refund, now=now)
    return refund


def return_uncredited(order_id: UUID, *, reason: str, actor: User | None, now: datetime) -> Refund:
    """Send back in full, without a fee, a payment that arrived and was never credited (a refusal by risk rules).

    It needs no approval: nothing was given for the money. Again: the refund that is on its way already.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        order = topups.locked(order_id)
        ledger.lock_wallet(order.account_id)
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
        book_new(refund, now=now)
        telling.record("refund_return", refund, actor=actor, reason=reason, before="", now=now)
    return refund


def check_possible(order: TopUp, *, now: datetime) -> None:
    """Refuse what the provider would refuse, with the reason and before any call."""
    if not order.payment_intent_id:
        raise NotRefundable(_("There is no payment to refund."), reason="no_payment")
    if order.status == TopUp.Status.DISPUTED or 0 < order.disputed_minor >= order.amount_minor - order.refunded_minor:
        raise NotRefundable(_("This payment is disputed at the bank and cannot be refunded."), reason="disputed")
    limit = models_policy.in_force(now).too_old(order.method, order.paid_at or order.created_at, now)
    if limit is not None:
        raise NotRefundable(
            _("%(method)s payments can be refunded for %(days)s days; this one is older."),
            reason="too_old",
            method=str(order.get_method_display()),
            days=limit.days,
        )


def fee_rate(order: TopUp) -> Decimal:
    """The share that is kept, under the terms on which it was paid."""
    found: Decimal = models_policy.in_force(order.paid_at or order.created_at).fee_rate
    return found


def _new(
    order: TopUp, asked: Decimal, rate: Decimal, *, reason: str, actor: User | None, key: str, now: datetime
) -> Refund:
    paid = quote.Paid(order.amount_usd, order.amount_minor, order.currency, order.fx_quote.rate)
    left = max(0, order.amount_minor - order.refunded_minor - order.disputed_minor)
    try:
        sums = quote.quote(asked, paid, left_minor=left, fee_rate=rate)
    except ValueError as wrong:
        raise NotRefundable(
            _("That amount cannot be refunded: %(why)s."), reason="amount", why=str(wrong), field="amount"
        ) from wrong
    row_id = uuid7()
    return Refund(
        id=row_id,
        number=number_of(row_id),
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
