"""Helpers of the tests of disputes: states as the provider tells them, and what the books say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.books import credits, ledger
from billing.books.models import CreditGrant, JournalEntry, System, Wallet
from billing.money import Money
from billing.payments import topups
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute
from billing.payments.processor_disputes import DisputeLine, DisputeState, WarningState
from billing.payments.processor_refunds import RefundProgress, RefundState
from refunds import external
from tests import factories

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
OUT, BACK = -2000, 2000


def credited(account: Any = None, *, number: str = "", usd: str = "20") -> TopUp:
    """An order that was paid and credited, without a provider."""
    account = account or factories.account(now=NOON)
    order = topups.place(
        account.pk, Decimal(usd), method="card", client_key=f"k{number}", actor=None, locale="en", now=NOON
    )
    order.payment_intent_id = f"pi_{order.number}"
    order.move_to("awaiting_payment", now=NOON)
    order.move_to("paid", now=NOON)
    order.paid_at = NOON
    order.grant = credits.give(
        account.pk,
        order.amount_usd,
        kind=credits.Kind.CASH,
        entry_kind=JournalEntry.Kind.TOPUP,
        funded_by=System.PROCESSOR_STRIPE,
        key=f"topup:{order.number}:credited",
        source=order.number,
        paid=True,
        now=NOON,
    )
    order.credited_at = NOON
    order.check_at = None
    order.move_to("credited", now=NOON)
    order.save()
    return order


def state(
    order: TopUp, status: str, *lines: int, amount: int = 2000, name: str = "dp_1", fee: int = 1500, **more: Any
) -> DisputeState:
    """What the provider says of a dispute; each line is what moved at its balance."""
    return DisputeState(
        dispute_id=name,
        payment_intent_id=order.payment_intent_id,
        charge_id="ch_1",
        amount_minor=amount,
        currency=more.pop("currency", "USD"),
        reason="fraudulent",
        status=status,
        at=NOON,
        due_by=NOON + timedelta(days=7),
        lines=tuple(
            DisputeLine(f"txn_{name}_{n}", line, fee if line < 0 else 0, "USD", NOON + timedelta(seconds=n))
            for n, line in enumerate(lines)
        ),
        **more,
    )


def warning(order: TopUp, name: str = "issfr_1") -> WarningState:
    """A network's warning about the order's payment."""
    return WarningState(name, order.payment_intent_id, "ch_1", "made_with_lost_card", True, NOON)


def spend(order: TopUp, usd: str, *, key: str = "spent") -> None:
    """Credit of this order is spent; beyond it, overdraft."""
    amount = Decimal(usd)
    wallet = Wallet.objects.get(pk=order.account_id)
    left = CreditGrant.objects.get(pk=order.grant_id).remaining
    parts = [(order.grant_id, min(left, amount)), (wallet.overdraft_ledger_id, amount - min(left, amount))]
    ledger.post(
        JournalEntry.Kind.SUBSCRIPTION_PAID,
        *(ledger.debit(place, Money(part)) for place, part in parts if part),
        ledger.credit(System.REVENUE_SUBSCRIPTION, Money(amount)),
        account_id=order.account_id,
        key=key,
        now=NOON,
    )


def refund(order: TopUp, minor: int, *, key: str = "refund", progress: str = "succeeded") -> TopUp:
    """A refund that was made in the provider's dashboard: no fee."""
    said = RefundState(
        f"re_{order.number}_{key}", order.payment_intent_id, RefundProgress(progress), progress, minor, order.currency
    )
    external.apply(said, now=NOON)
    order.refresh_from_db()
    return order


def gift(order: TopUp, usd: str, *, key: str = "later") -> None:
    """A later credit, which pays what is owed first."""
    credits.give(
        order.account_id,
        Decimal(usd),
        kind=credits.Kind.CASH,
        entry_kind=JournalEntry.Kind.MANUAL_CREDIT,
        funded_by=System.MANUAL,
        key=key,
        source=key,
        paid=True,
        now=NOON,
    )


def money(order: TopUp) -> tuple[Decimal, Decimal, Decimal]:
    """What is left of the order's grant, what is owed, what the customer sees."""
    wallet = Wallet.objects.get(pk=order.account_id)
    return CreditGrant.objects.get(pk=order.grant_id).remaining, wallet.overdraft, wallet.net


def entries(order: TopUp) -> list[str]:
    """Kinds of the entries about disputes and warnings, in order."""
    rows = JournalEntry.objects.filter(account_id=order.account_id).order_by("seq")
    return [kind for kind in rows.values_list("kind", flat=True) if kind.startswith(("dispute", "credit_"))]


def the(name: str = "dp_1") -> Dispute:
    """The row."""
    return Dispute.objects.get(provider_id=name)
