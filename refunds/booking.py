"""What a refund does to the books and to what it gives back. Who calls holds the wallet's lock.

             top-up                                    plan
held    the payment's grant  ->  refunds payable  <-  revenue of subscriptions
paid    refunds payable      ->  the provider, and the fee to revenue
rest    refunds payable      ->  the grant: a part of the request was approved
back    refunds payable      ->  where it was taken from; after a success the provider and the fee give it back
"""

from __future__ import annotations

import logging
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Max, Q, Sum

from billing.books import credits, ledger
from billing.books.models import JournalEntry, System, Wallet
from billing.money import Money
from billing.payments import benefits, dispute_booking, disputes, giving_back, holds
from billing.payments.dispute_payments import Disputed
from billing.payments.models import TopUp
from refunds.models import Refund
from subscriptions import disputes as plan_disputes
from subscriptions.models import Invoice

log = logging.getLogger(__name__)

Entry = JournalEntry.Kind
Status = Refund.Status


def hold(refund: Refund, wallet: Wallet) -> None:
    """Set it aside: from now on there is nothing to spend of it."""
    order = refund.top_up
    if order is None:
        lines = _debits(
            (System.REVENUE_SUBSCRIPTION, refund.requested_usd), (System.REVENUE_REFUND_FEE, -refund.fee_usd)
        )
    elif order.grant_id is None:  # paid and never credited: the money has not been in the books yet
        lines = [ledger.debit(System.PROCESSOR_STRIPE, Money(refund.held_usd))]
    else:
        lines = _debits(
            (order.grant_id, refund.requested_usd - refund.overdrawn_usd),
            (wallet.overdraft_ledger_id, refund.overdrawn_usd),
            (System.REVENUE_REFUND_FEE, -refund.fee_usd),
        )
    lines.append(ledger.credit(wallet.refunds_ledger_id, Money(refund.held_usd)))
    _post(Entry.REFUND_HOLD, "held", refund, lines, now=refund.created_at)


def pay(refund: Refund, wallet: Wallet, *, now: datetime) -> None:
    """The provider sent it; what it did not send is the fee."""
    lines = [ledger.debit(wallet.refunds_ledger_id, Money(refund.held_usd))]
    lines.append(ledger.credit(System.PROCESSOR_STRIPE, Money(refund.sent_usd)))
    if refund.fee_usd > 0:
        lines.append(ledger.credit(System.REVENUE_REFUND_FEE, Money(refund.fee_usd)))
    _post(Entry.REFUND_PAID if refund.top_up_id else Entry.SUBSCRIPTION_REFUND, "paid", refund, lines, now=now)


def give_back(refund: Refund, wallet: Wallet, *, now: datetime) -> None:
    """It did not go, or came back after it had gone: all of it returns to where it was taken from.

    While there is an overdraft that is paid first, as by all credit that comes in (I2).
    """
    order, gone = refund.top_up, refund.succeeded_at is not None
    if order is not None and order.grant_id is None:
        if not gone:  # what had gone and came back lies at the provider as before, outside the books
            lines = [ledger.debit(wallet.refunds_ledger_id, Money(refund.held_usd))]
            lines.append(ledger.credit(System.PROCESSOR_STRIPE, Money(refund.held_usd)))
            _post(Entry.REFUND_FAILED, "back", refund, lines, now=now)
        return
    if gone:
        lines = _debits((System.PROCESSOR_STRIPE, refund.sent_usd), (System.REVENUE_REFUND_FEE, refund.fee_usd))
    else:
        lines = [ledger.debit(wallet.refunds_ledger_id, Money(refund.held_usd))]
    if refund.requested_usd and order is None:
        lines.append(ledger.credit(System.REVENUE_SUBSCRIPTION, Money(refund.requested_usd)))
    elif refund.requested_usd and order is not None:
        lines += giving_back.lines(order, refund.requested_usd, source=refund.number, now=now)
    if refund.fee_usd < 0:
        lines.append(ledger.credit(System.REVENUE_REFUND_FEE, Money(-refund.fee_usd)))
    _post(Entry.REFUND_FAILED, "back", refund, lines, now=now)
    credits.refresh_next_expiry(refund.account_id, now)


def give_rest(refund: Refund, rest_usd: Decimal, wallet: Wallet, *, now: datetime) -> None:
    """A part was approved: the rest of what is held returns at once. `requested_usd` is the part already."""
    order = refund.top_up
    if order is None:
        raise ValueError("only a top-up's refund is approved in part")
    lines = [ledger.debit(wallet.refunds_ledger_id, Money(rest_usd))]
    lines += giving_back.lines(order, rest_usd, source=refund.number, now=now)
    # Each part is less than the one before it, so that its amount names the step.
    _post(Entry.REFUND_HOLD, f"rest:{refund.requested_minor}:{refund.requested_usd:f}", refund, lines, now=now)
    credits.refresh_next_expiry(refund.account_id, now)


def _debits(*parts: tuple[UUID | str, Decimal]) -> list[ledger.Line]:
    return [ledger.debit(place, Money(amount)) for place, amount in parts if amount > 0]


def _post(kind: str, step: str, refund: Refund, lines: list[ledger.Line], *, now: datetime) -> None:
    if refund.top_up is not None:
        of = {"order": refund.top_up.number}
    else:
        of = {"invoice": str(refund.invoice_id), "number": refund.of_number}
    ledger.post(
        kind,
        *lines,
        account_id=refund.account_id,
        key=f"refund:{refund.pk}:{step}",
        now=now,
        meta={"refund": refund.number, **of, "provider": refund.provider_refund_id or ""},
    )


def recount(refund: Refund, *, now: datetime) -> None:
    """What the refund is of says what its refunds add up to (I6)."""
    if refund.top_up_id is not None:
        _recount_order(refund.top_up_id, now=now)
    else:
        _recount_invoice(refund.payment.pk, now=now)


def _recount_invoice(invoice_id: UUID, *, now: datetime) -> None:
    invoice: Invoice = Invoice.objects.get(pk=invoice_id)
    gone = Q(status=Status.SUCCEEDED)
    sums = (
        Refund.objects.live()
        .filter(invoice=invoice)
        .aggregate(
            live=Sum("requested_minor"), sent=Sum("sent_minor", filter=gone), at=Max("succeeded_at", filter=gone)
        )
    )
    invoice.refunded_minor = min(sums["live"] or 0, invoice.paid_minor)
    invoice.paid_back_minor, invoice.paid_back_at = min(sums["sent"] or 0, invoice.paid_minor), sums["at"]
    invoice.save(update_fields=["refunded_minor", "paid_back_minor", "paid_back_at"])
    disputes.recount_other(plan_disputes.OF, invoice.pk, now=now)


def _recount_order(order_id: UUID, *, now: datetime) -> None:
    """The order says what its refunds add up to: money on its way counts, and only money that went shows (I6)."""
    order: TopUp = TopUp.objects.get(pk=order_id)
    sums = (
        Refund.objects.live()
        .filter(top_up=order)
        .aggregate(live=Sum("requested_minor"), gone=Sum("requested_minor", filter=Q(status=Status.SUCCEEDED)))
    )
    live, gone = sums["live"] or 0, sums["gone"] or 0
    order.refunded_minor = min(live, order.amount_minor)
    if order.grant_id is None:
        _mark_uncredited(order, live=live, gone=gone, now=now)
    elif order.status != TopUp.Status.DISPUTED:
        wanted = TopUp.Status.CREDITED
        if gone:
            full = gone >= order.amount_minor
            wanted = TopUp.Status.REFUNDED if full else TopUp.Status.PARTIALLY_REFUNDED
        if wanted != order.status:
            order.move_to(wanted, now=now)
    order.save(update_fields=["refunded_minor", "status", "status_at", "in_review", "review_reason"])
    disputes.recount(order.pk, now=now)
    order.refresh_from_db()
    if order.grant_id is not None:
        benefits.refresh(order.account_id, cause=benefits.Cause.REFUND, source=order.number, now=now)
    elif gone >= order.amount_minor and order.pk in holds.waiting_for_refund(order_id=order.pk):
        holds.record_refund(order.pk, now=now)


@dispute_booking.tells_refunds
def gone(payment: Disputed) -> dispute_booking.Refunded:
    """For disputes: what has gone of a payment, and what we kept of it."""
    if isinstance(payment, TopUp):
        rows = Refund.objects.filter(top_up=payment)
    elif payment.of == plan_disputes.OF:
        rows = Refund.objects.filter(invoice=payment.pk)
    else:
        rows = Refund.objects.none()
    sums = rows.filter(status=Status.SUCCEEDED).aggregate(gone=Sum("requested_minor"), fee=Sum("fee_usd"))
    return dispute_booking.Refunded(sums["gone"] or 0, sums["fee"] or Decimal(0))


def _mark_uncredited(order: TopUp, *, live: int, gone: int, now: datetime) -> None:
    """A payment that was never credited is settled when all of it went back; until then a person watches it."""
    if gone >= order.amount_minor:
        order.in_review = False
        if order.status == TopUp.Status.PAID:
            order.move_to(TopUp.Status.REFUNDED, now=now)
        return
    if order.status == TopUp.Status.REFUNDED:  # a bank returned it
        order.move_to(TopUp.Status.PAID, now=now)
    if not live and not order.in_review:
        order.in_review, order.review_reason = True, "the refund of this payment did not succeed"
        log.error("ALERT top-up %s is in review: %s", order.number, order.review_reason)
