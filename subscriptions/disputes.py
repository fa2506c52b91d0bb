"""Disputes and fraud warnings of payments for plans: what an invoice says of them, and who looks at the plan.

The plan stays in force: whether it goes on after a dispute is for staff to say. `billing.payments.disputes` is the one
door; it asks here what a payment paid, and tells what is taken of it. Registered when the app is ready.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from billing.books import ledger
from billing.books.models import System
from billing.payments import dispute_payments
from billing.payments.dispute_payments import OtherPayment
from billing.payments.models_disputes import Dispute, EarlyFraudWarning
from billing.payments.processor import PaymentProcessor
from subscriptions import settling
from subscriptions.models import Invoice, Subscription

log = logging.getLogger(__name__)

OF: Final = "invoice"
"""What rows of disputes and warnings call it."""
SUBSCRIPTIONS_ASKED: Final = 5
_DISPUTE: Final = "dispute "
_WARNING: Final = "early fraud warning "


class Follows(Protocol):
    """What else it means when more or less of an invoice is disputed. In the door's transaction, under its lock."""

    def __call__(self, invoice: Invoice, *, now: datetime) -> None: ...


_followers: Final[list[Follows]] = []


def follows(one: Follows) -> Follows:
    """Register who wants to hear of it; refunds are to the right of subscriptions."""
    if one not in _followers:
        _followers.append(one)
    return one


class _Invoices:
    of = OF
    desk = "admin:subscriptions_invoice_change"

    def known(self, payment_intent_id: str) -> UUID | None:
        rows = Invoice.objects.filter(payment_intent_id=payment_intent_id, status=Invoice.Status.PAID, paid_minor__gt=0)
        return rows.values_list("pk", flat=True).first()

    def ask(self, account_id: UUID, *, processor: PaymentProcessor, now: datetime) -> None:
        rows = Subscription.objects.filter(account_id=account_id).exclude(session_id="", provider_id="")
        for subscription_id in list(rows.order_by("-created_at").values_list("pk", flat=True)[:SUBSCRIPTIONS_ASKED]):
            settling.settle(subscription_id, processor=processor, now=now)

    def locked(self, payment_id: UUID) -> OtherPayment:
        ledger.lock_wallet(Invoice.objects.values_list("account_id", flat=True).get(pk=payment_id))
        invoice = Invoice.objects.select_related("plan_version__plan").get(pk=payment_id)
        return OtherPayment(
            of=OF,
            pk=invoice.pk,
            number=str(invoice),
            account_id=invoice.account_id,
            amount_minor=invoice.paid_minor,
            amount_usd=invoice.paid_usd,
            currency=invoice.currency,
            refunded_minor=invoice.refunded_minor,
            revenue=System.REVENUE_SUBSCRIPTION,
            notice="plan",
            meta={"invoice": str(invoice.pk), "number": str(invoice)},
            told={"invoice": str(invoice.pk), "number": str(invoice), "plan": invoice.plan_version.plan.name},
        )

    def disputed(self, payment_id: UUID, counted: Sequence[Dispute], *, changed: Dispute | None, now: datetime) -> None:
        invoice = Invoice.objects.get(pk=payment_id)
        total = sum(row.counted_minor for row in counted)
        if invoice.disputed_minor != total:
            invoice.disputed_minor = total
            invoice.save(update_fields=["disputed_minor"])
            for follow in _followers:
                follow(invoice, now=now)
        if changed is not None:
            _review(settling.locked(invoice.subscription_id), invoice, changed)

    def warned(self, payment_id: UUID, warning: EarlyFraudWarning) -> None:
        row = settling.locked(Invoice.objects.values_list("subscription_id", flat=True).get(pk=payment_id))
        _look(row, f"{_WARNING}{warning.provider_id} of invoice {warning.number}", over=())


dispute_payments.disputes_of(_Invoices())


def of_invoice(invoice: Invoice) -> list[Dispute]:
    """Its disputes and inquiries, newest first."""
    return list(Dispute.objects.filter(of=OF, of_id=invoice.pk).order_by("-pk"))


def warnings_of(invoice: Invoice) -> list[EarlyFraudWarning]:
    """What card networks said of it, newest first."""
    return list(EarlyFraudWarning.objects.filter(of=OF, of_id=invoice.pk).order_by("-pk"))


def _review(row: Subscription, invoice: Invoice, changed: Dispute) -> None:
    """The plan goes on, and somebody looks at it: while a dispute is open, and for good when it was lost."""
    if changed.state == Dispute.State.LOST:
        log.error("ALERT subscription %s: %s is lost", row.provider_id, _named(changed))
        _look(row, f"{_named(changed)} is lost: does the plan go on?", over=(_DISPUTE, _WARNING))
    elif changed.state == Dispute.State.OPEN:
        _look(row, f"{_named(changed)} is open", over=(_WARNING,))
    elif row.review_reason == f"{_named(changed)} is open":
        row.review_reason = ""
        ids = list(Invoice.objects.filter(subscription=row).values_list("pk", flat=True))
        others = Dispute.objects.filter(of=OF, of_id__in=ids, state=Dispute.State.OPEN).exclude(pk=changed.pk)
        other = others.order_by("pk").first()
        if other is not None:
            row.review_reason = f"{_named(other)} is open"
        row.save(update_fields=["review_reason"])


def _named(dispute: Dispute) -> str:
    return f"{_DISPUTE}{dispute.provider_id} of invoice {dispute.number}"[:260]


def _look(row: Subscription, reason: str, *, over: tuple[str, ...]) -> None:
    """Somebody should look; another reason that stands is kept, unless this one says more."""
    if not row.review_reason or row.review_reason.startswith(over):
        row.review_reason = reason[:300]
        row.save(update_fields=["review_reason"])
