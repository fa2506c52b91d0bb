"""The payments of a second subscription go back in whole, without a fee: nothing was given for them (case 23)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books import ledger
from billing.errors import InvalidRequest, InvalidTransition
from billing.money import from_minor_units
from billing.payments.processor import PaymentProcessor
from billing.waking import wake
from config.ids import uuid7
from refunds import external
from refunds.errors import NotRefundable
from refunds.models import Refund
from refunds.outcomes import FIRST_CHECK, book_new, number_of
from refunds.tasks import submit_refund
from subscriptions import dunning
from subscriptions.models import Invoice, Subscription


@dunning.pays_back
def pay_back(invoice_id: UUID, *, processor: PaymentProcessor, now: datetime) -> None:
    """What somebody sent back in the provider's dashboard is booked first; the rest is a refund of ours, on its way."""
    intent = Invoice.objects.values_list("payment_intent_id", flat=True).get(pk=invoice_id)
    for state in processor.refunds_of(intent):
        external.apply(state, now=now)
    with transaction.atomic():
        refund = _rest_of(invoice_id, now=now)
        if refund is not None:
            wake(submit_refund, str(refund.pk))


def try_again(refund_id: UUID, *, actor: User, reason: str, processor: PaymentProcessor, now: datetime) -> Refund:
    """Staff send a payment of a second subscription once more, after its refund failed: the new refund, on its way.

    What the provider knows of by now is booked first. Raises InvalidTransition for any other refund, and NotRefundable
    when nothing is left to send: it is on its way already, it went another way, or a bank disputes it.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    failed = Refund.objects.select_related("account", "invoice__subscription").get(pk=refund_id)
    if not may_try_again(failed):
        raise InvalidTransition(refund=failed.number, current=str(failed.status), wanted="approved")
    for state in processor.refunds_of(failed.payment_intent_id):
        external.apply(state, now=now)
    with transaction.atomic():
        refund = _rest_of(failed.payment.pk, now=now)
        if refund is None:
            raise NotRefundable(
                _("Nothing of this payment is left to send: it went or is on its way, or a bank disputes it."),
                reason="nothing_left",
            )
        audit.record(
            actor=actor, action="refund_try_again", subject=failed, now=now, reason=reason.strip(),
            before={"status": str(failed.status)}, after={"refund": refund.number, "sent_minor": refund.sent_minor},
        )  # fmt: skip
        wake(submit_refund, str(refund.pk))
    return refund


def may_try_again(refund: Refund) -> bool:
    """The failed refund of a second subscription's payment; whether something is left to send is not looked at."""
    if refund.status != Refund.Status.FAILED or refund.external or refund.plan_refund_id is not None:
        return False
    return refund.invoice is not None and refund.invoice.subscription.status == Subscription.Status.DUPLICATE


def _rest_of(invoice_id: UUID, *, now: datetime) -> Refund | None:
    """All of it that is not on its way back yet."""
    ledger.lock_wallet(Invoice.objects.values_list("account_id", flat=True).get(pk=invoice_id))
    invoice: Invoice = Invoice.objects.select_related("account").get(pk=invoice_id)
    rest = invoice.paid_minor - invoice.refunded_minor - invoice.disputed_minor
    if rest <= 0:
        return None
    row_id = uuid7()
    amount = from_minor_units(rest, invoice.currency)
    tried = Refund.objects.filter(invoice=invoice).count()
    return book_new(
        Refund(
            id=row_id,
            number=number_of(row_id),
            kind=Refund.Kind.SUBSCRIPTION,
            account=invoice.account,
            invoice=invoice,
            created_at=now,
            reason="a second subscription beside one in force",
            requested_usd=amount,
            fee_usd=Decimal(0),
            sent_usd=amount,
            currency=invoice.currency,
            requested_minor=rest,
            fee_minor=0,
            sent_minor=rest,
            fee_rate=Decimal(0),
            status=Refund.Status.APPROVED,
            status_at=now,
            client_key=f"duplicate:{invoice.pk}:{tried}",
            idempotency_key=f"refund:{row_id}:v1",
            check_at=now + FIRST_CHECK,
        ),
        now=now,
    )
