"""Disputes of a plan's payment as the provider tells them, and what the books say of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from billing.books.models import JournalEntry, Posting, System
from billing.payments import disputes
from billing.payments.models_disputes import Dispute
from billing.payments.processor_disputes import DisputeLine, DisputeState, WarningState
from subscriptions.disputes import OF
from subscriptions.models import Invoice, PlanVersion
from tests.subscriptions.driving import NOON, driver
from tests.subscriptions.invoicing import paid_invoice

OUT, BACK = -2000, 2000


def paid() -> Invoice:
    """A paid month of Pro, without a provider: 2000 cents."""
    made = driver(PlanVersion.objects.get(plan_id="pro", number=1))
    assert made.subscription is not None
    return paid_invoice(made.subscription)


def state(
    invoice: Invoice, status: str, *lines: int, amount: int = 2000, name: str = "dp_1", **more: Any
) -> DisputeState:
    """What the provider says of a dispute; each line is what moved at its balance."""
    return DisputeState(
        dispute_id=name,
        payment_intent_id=invoice.payment_intent_id,
        charge_id="ch_1",
        amount_minor=amount,
        currency=more.pop("currency", "USD"),
        reason="fraudulent",
        status=status,
        at=NOON,
        due_by=NOON + timedelta(days=7),
        lines=tuple(
            DisputeLine(f"txn_{name}_{n}", line, 1500 if line < 0 else 0, "USD", NOON + timedelta(seconds=n))
            for n, line in enumerate(lines)
        ),
        **more,
    )


def warning(invoice: Invoice, name: str = "issfr_1") -> WarningState:
    """A network's warning about the invoice's payment."""
    return WarningState(name, invoice.payment_intent_id, "ch_1", "made_with_lost_card", True, NOON)


def say(invoice: Invoice, *states: DisputeState) -> None:
    """Through the door."""
    for one in states:
        disputes.record_other(OF, invoice.pk, one, now=NOON)
    invoice.refresh_from_db()


def the(name: str = "dp_1") -> Dispute:
    """The row."""
    return Dispute.objects.get(provider_id=name)


def in_ledger(code: str) -> Decimal:
    """USD on a system account, credits above zero."""
    rows = Posting.objects.filter(ledger_id=System.id_of(code)).values_list("side", "amount")
    return -sum((side * amount for side, amount in rows), Decimal(0))


def books() -> tuple[Decimal, ...]:
    """USD: the revenue of plans, of fees, what banks hold, and what the provider holds for us."""
    return (
        in_ledger(System.REVENUE_SUBSCRIPTION), in_ledger(System.REVENUE_REFUND_FEE), in_ledger(System.CHARGEBACK),
        -in_ledger(System.PROCESSOR_STRIPE),
    )  # fmt: skip


def entries(invoice: Invoice) -> list[str]:
    """Kinds of the entries about disputes, in order."""
    rows = JournalEntry.objects.filter(account_id=invoice.account_id, kind__startswith="dispute").order_by("seq")
    return list(rows.values_list("kind", flat=True))
