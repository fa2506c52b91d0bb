"""Payments of subscriptions, for the daily comparison with the provider.

Loaded when the app is ready."""

from __future__ import annotations

from billing.payments.reconcile import explains, takes_payments
from subscriptions.models import Invoice


@takes_payments
def invoices_paid(payments: set[str]) -> dict[str, tuple[int, str]]:
    """What each of these payments paid of our invoices."""
    rows = Invoice.objects.filter(payment_intent_id__in=payments, status=Invoice.Status.PAID)
    return {
        intent: (paid, currency)
        for intent, paid, currency in rows.values_list("payment_intent_id", "paid_minor", "currency")
    }


@explains
def charges_known(sources: set[str]) -> set[str]:
    """Charges that paid our invoices, for the movements of the balance that they cause."""
    return set(
        Invoice.objects.filter(charge_id__in=sources, status=Invoice.Status.PAID).values_list("charge_id", flat=True)
    )
