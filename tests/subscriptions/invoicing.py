"""Invoices of a plan as the provider would tell them, for tests that need no provider."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction

from billing.payments.processor_subscriptions import InvoiceLine, InvoiceProgress, InvoiceState
from subscriptions import invoices, settling
from subscriptions.models import Invoice, PlanPrice, PlanVersion, Subscription
from tests import factories

NOON = factories.NOON
MONTH = timedelta(days=30)


def price_of(version: PlanVersion) -> str:
    """What the version is called at the provider."""
    row, _ = PlanPrice.objects.get_or_create(
        version=version, defaults={"price_id": f"price_{version.pk}", "product_id": "prod_1", "created_at": NOON}
    )
    return row.price_id


def line(version: PlanVersion, cents: int, *, proration: bool = False, **more: Any) -> InvoiceLine:
    """A line for a plan, for the month from noon on."""
    told = InvoiceLine("in the provider's words", cents, proration, price_of(version), NOON, NOON + MONTH)
    return replace(told, **more)


def told(*lines: InvoiceLine, **more: Any) -> InvoiceState:
    """A paid invoice of these lines."""
    total = sum(one.amount_minor for one in lines)
    state = InvoiceState(
        provider_id=f"in_{uuid4().hex}",
        subscription_id="",
        number=f"{uuid4().hex[:8].upper()}-0001",
        progress=InvoiceProgress.PAID,
        status="paid",
        reason="subscription_create",
        amount_minor=total,
        tax_minor=0,
        paid_minor=total,
        currency="USD",
        at=NOON,
        livemode=False,
        period_start=NOON,
        period_end=NOON + MONTH,
        paid_at=NOON,
        payment_intent_id=f"pi_{uuid4().hex}",
        lines=lines,
    )
    return replace(state, **more)


def keep(subscription: Subscription, state: InvoiceState) -> Invoice:
    """Through the door by which the provider's word comes in."""
    with transaction.atomic():
        row = settling.locked(subscription.pk)
        [kept] = invoices.keep(row, [state], {}, now=NOON)
    return kept


def paid_invoice(subscription: Subscription, **more: Any) -> Invoice:
    """One month of the subscription's plan, paid."""
    version = subscription.plan_version
    return keep(subscription, told(line(version, int(version.price_usd * 100)), **more))
