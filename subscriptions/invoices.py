"""The billing history: the provider's invoices as our rows, and their money in the books (F077).

An invoice that is paid is booked once, whatever tells of it: what the provider holds for us against the revenue of
subscriptions. It never touches the customer's credit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from billing import notices
from billing.books import ledger
from billing.books.models import JournalEntry, System
from billing.money import Money, from_minor_units
from billing.payments import failures
from billing.payments.processor import PaymentState
from billing.payments.processor_subscriptions import InvoiceProgress, InvoiceState
from subscriptions import receipts
from subscriptions.models import Invoice, PlanChange, PlanVersion, Subscription

Status, Kind = Invoice.Status, Invoice.Kind
_KINDS: Final[dict[str, str]] = {
    "subscription_create": Kind.SUBSCRIBE,
    "subscription_cycle": Kind.RENEWAL,
    "subscription_update": Kind.CHANGE,
}
_STATUSES: Final[dict[InvoiceProgress, str]] = {
    InvoiceProgress.OPEN: Status.OPEN,
    InvoiceProgress.PAID: Status.PAID,
    InvoiceProgress.FAILED: Status.FAILED,
    InvoiceProgress.VOID: Status.VOID,
}


def keep(
    subscription: Subscription,
    told: Iterable[InvoiceState],
    payments: Mapping[str, PaymentState],
    *,
    now: datetime,
) -> list[Invoice]:
    """Write down what the provider says of these invoices, and book those that are paid now. The caller holds the
    wallet's lock. Repeats change nothing."""
    known = {row.provider_id: row for row in Invoice.objects.filter(subscription=subscription)}
    kept = []
    for state in told:
        wanted = _STATUSES.get(state.progress)
        if wanted is None or not state.provider_id:
            continue  # a draft may still change; a status that we do not know is flagged with the subscription
        row = known.get(state.provider_id) or Invoice(
            account_id=subscription.account_id,
            subscription=subscription,
            plan_version=subscription.plan_version,
            provider_id=state.provider_id,
            kind=_KINDS.get(state.reason, Kind.OTHER),
            status_at=now,
            at=state.at,
        )
        if row.status == Status.PAID:
            continue
        if row.kind == Kind.CHANGE:
            row.plan_version = _changed_to(subscription)
        row.number, row.currency = state.number, state.currency
        row.amount_minor, row.tax_minor = state.amount_minor, state.tax_minor
        row.period_start, row.period_end = state.period_start, state.period_end
        row.payment_intent_id = state.payment_intent_id
        row.attempts, row.next_attempt_at = state.attempts, state.next_attempt_at
        _read_payment(row, payments.get(state.payment_intent_id))
        if wanted != row.status and wanted in Invoice.NEXT[row.status]:
            row.move_to(wanted, now=now)
        if row.status == Status.PAID:
            row.paid_at = min(state.paid_at or now, now)
            row.paid_minor, row.next_attempt_at, row.failure = state.paid_minor, None, ""
            row.paid_usd = from_minor_units(state.paid_minor, state.currency)
        row.save()
        if row.status == Status.PAID:
            _book(row, receipts.kept(row, state.lines), now=now)
        kept.append(row)
    return kept


def _changed_to(subscription: Subscription) -> PlanVersion:
    """The plan that the invoice of a change is for. The provider tells of the invoice before the plan has changed, so
    that what was asked for says it; a change that nobody asked for here has the plan in force."""
    asked = PlanChange.objects.filter(subscription=subscription, kind=PlanChange.Kind.UPGRADE)
    newest = asked.select_related("to_version__plan").order_by("-created_at", "-pk").first()
    return newest.to_version if newest is not None else subscription.plan_version


def _read_payment(row: Invoice, payment: PaymentState | None) -> None:
    """Card and, where the last try was declined, the reason."""
    if payment is None or not payment.attempts:
        return
    last = payment.attempts[-1]
    row.card_brand, row.card_last_four = last.brand[:40], last.last_four[:4]
    row.charge_id = last.reference[:255] if last.reference.startswith(("ch_", "py_")) else ""
    row.failure = ""
    if last.outcome == "failed":
        told = failures.classify(
            code=last.code, decline_code=last.decline_code, blocked=last.blocked, risk=last.risk, rule=last.rule
        )
        row.failure = told.key[:40]


def _book(row: Invoice, document: dict[str, Any], *, now: datetime) -> None:
    if not row.paid_usd:
        return
    paid = Money(row.paid_usd)
    ledger.post(
        JournalEntry.Kind.SUBSCRIPTION_PAID,
        ledger.debit(System.PROCESSOR_STRIPE, paid),
        ledger.credit(System.REVENUE_SUBSCRIPTION, paid),
        account_id=row.account_id,
        key=receipts.paid_key(row),
        now=now,
        meta={
            "invoice": str(row.pk),
            "number": row.number,
            "paid_usd": f"{row.paid_usd:f}",
            "receipt": document,
        },
    )
    if row.kind != Kind.SUBSCRIBE:  # the first one comes with the mail that the plan is in force
        notices.tell(
            row.account_id,
            "invoice_paid",
            key=f"invoice:{row.pk}:paid",
            now=now,
            context={
                "plan": row.plan_version.plan.name,
                "invoice": str(row.pk),
                "number": row.number,
                "kind": row.kind,
                "paid_usd": f"{row.paid_usd:f}",
                "until_at": (row.period_end or now).isoformat(),
            },
        )
