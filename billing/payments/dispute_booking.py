"""What a dispute does to the books. Who calls holds the wallet's lock, and saves the row.

taken      what a warning froze, the payment's grant, overdraft, a refund fee that we kept  ->  chargeback
           of a payment that gave no credit: its revenue, a refund fee that we kept        ->  chargeback
given back chargeback                                                                      ->  where it came from
lost       chargeback                                                                      ->  the provider
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import Sum

from billing import notices
from billing.books import credits, ledger
from billing.books.models import CreditGrant, JournalEntry, System, Wallet
from billing.money import LEDGER_QUANTUM, Money, from_minor_units
from billing.payments import dispute_payments, fraud_warnings, giving_back
from billing.payments.dispute_payments import Disputed, OtherPayment
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute

Kind = JournalEntry.Kind


@dataclass(frozen=True, slots=True)
class Refunded:
    """What refunds of a payment that have gone come to: minor units charged to the customer, and fees that we kept."""

    gone_minor: int
    fee_kept: Decimal


_tellers: Final[list[Callable[[Disputed], Refunded]]] = []


def tells_refunds(teller: Callable[[Disputed], Refunded]) -> Callable[[Disputed], Refunded]:
    """Register who knows the refunds of a payment."""
    if teller not in _tellers:
        _tellers.append(teller)
    return teller


def refunded(payment: Disputed) -> Refunded:
    """The refunds of a payment that have gone."""
    said = [teller(payment) for teller in _tellers]
    return Refunded(sum(one.gone_minor for one in said), sum((one.fee_kept for one in said), Decimal(0)))


def in_usd(payment: Disputed, minor: int) -> Decimal:
    """A part of what was paid, in USD, at the order's own rate."""
    return (payment.amount_usd * minor / payment.amount_minor).quantize(LEDGER_QUANTUM)


def _others(row: Dispute, payment: Disputed) -> Any:
    return dispute_payments.rows_of(payment).filter(state__in=Dispute.COUNTED).exclude(pk=row.pk)


def count(row: Dispute, payment: Disputed) -> None:
    """Of what is disputed, what neither refunds nor other disputes have taken. It may grow later, and never shrinks."""
    taken = payment.refunded_minor + (_others(row, payment).aggregate(sum=Sum("counted_minor"))["sum"] or 0)
    row.counted_minor = max(row.counted_minor, min(row.amount_minor, payment.amount_minor - taken))


def take(row: Dispute, payment: Disputed, *, now: datetime) -> None:
    """Bring what is taken to what is counted: first what a warning froze, then unspent credit, the rest as overdraft;
    of a payment that gave no credit, out of its revenue.

    What is disputed beyond that can only be the fee of a refund: the customer has paid it already, so it comes out of
    our revenue. Called again when a refund failed, so that what came back to the customer is taken here instead.
    """
    first = row.frozen_at is None
    row.frozen_at = row.frozen_at or now
    more = max(Decimal(0), in_usd(payment, row.counted_minor) - row.of_payment)
    fee = _fee(row, payment, more)
    if not more and fee == row.from_fee:
        return
    change = more + fee - row.from_fee
    parts = _of_order(row, payment, more, now=now) if isinstance(payment, TopUp) else _of_other(row, payment, more)
    parts += [(System.REVENUE_REFUND_FEE, fee - row.from_fee), (System.CHARGEBACK, -change)]
    if not first:
        row.step += 1
    row.from_fee = fee
    _post(
        Kind.DISPUTE_OPENED,
        "opened",
        row,
        payment,
        [(ledger.debit if part > 0 else ledger.credit)(place, Money(abs(part))) for place, part in parts if part],
        now=now,
    )
    if more:
        tell(row, payment, "dispute_opened", more, now=now)
    if row.ended_at is not None and change:  # it is lost already
        _post(Kind.DISPUTE_LOST, "lost", row, payment, _to_provider(change), now=now)


def _of_order(row: Dispute, order: TopUp, more: Decimal, *, now: datetime) -> list[tuple[UUID | str, Decimal]]:
    wallet = Wallet.objects.get(pk=order.account_id)
    grant = CreditGrant.objects.get(pk=order.grant_id)
    frozen = fraud_warnings.use(order, more, now=now)
    unspent = min(grant.remaining, more - frozen)
    owed = more - frozen - unspent
    row.from_frozen += frozen
    row.from_grant += unspent
    row.from_overdraft += owed
    return [(System.FROZEN, frozen), (grant.pk, unspent), (wallet.overdraft_ledger_id, owed)]


def _of_other(row: Dispute, payment: OtherPayment, more: Decimal) -> list[tuple[UUID | str, Decimal]]:
    row.from_revenue += more
    return [(payment.revenue, more)]


def _fee(row: Dispute, payment: Disputed, more: Decimal) -> Decimal:
    """USD of kept refund fees that this dispute is about; it never falls by more than the payment's part grows."""
    beyond = in_usd(payment, min(row.amount_minor, payment.amount_minor)) - row.of_payment - more
    used = _others(row, payment).aggregate(sum=Sum("from_fee"))["sum"] or Decimal(0)
    return max(Decimal(0), min(beyond, refunded(payment).fee_kept - used), row.from_fee - more)


def give_back(row: Dispute, payment: Disputed, *, now: datetime) -> None:
    """The same sum back, once: it pays what is owed now, fills this payment's grant, and is new credit beyond that.
    What came out of revenue goes there again.
    """
    row.ended_at = now
    if not row.taken:
        return
    lines = [ledger.debit(System.CHARGEBACK, Money(row.taken))]
    if isinstance(payment, TopUp):
        if row.from_customer:
            source = f"dispute:{row.provider_id}"
            lines += giving_back.lines(payment, row.from_customer, source=source, now=now)
    elif row.from_revenue:
        lines.append(ledger.credit(payment.revenue, Money(row.from_revenue)))
    if row.from_fee:
        lines.append(ledger.credit(System.REVENUE_REFUND_FEE, Money(row.from_fee)))
    _post(Kind.DISPUTE_WON, "won", row, payment, lines, now=now)
    if row.from_customer:
        credits.refresh_next_expiry(payment.account_id, now)
    if row.of_payment:
        tell(row, payment, "dispute_won", row.of_payment, now=now)


def lose(row: Dispute, payment: Disputed, *, now: datetime) -> None:
    """Final: the money has left our balance at the provider, and what was taken stays away."""
    row.ended_at = now
    if not row.taken:
        return
    _post(Kind.DISPUTE_LOST, "lost", row, payment, _to_provider(row.taken), now=now)
    if row.of_payment:
        tell(row, payment, "dispute_lost", row.of_payment, now=now)


def begin_again(row: Dispute) -> None:
    """It was closed, all was given back, and now it is open again: the next freezing is one of its own."""
    row.returned_usd += row.taken
    row.from_frozen = row.from_grant = row.from_overdraft = row.from_revenue = row.from_fee = Decimal(0)
    row.frozen_at = row.ended_at = None
    row.step += 1


def _to_provider(amount: Decimal) -> list[ledger.Line]:
    return [ledger.debit(System.CHARGEBACK, Money(amount)), ledger.credit(System.PROCESSOR_STRIPE, Money(amount))]


def _step(row: Dispute) -> str:
    return f":{row.step}" if row.step else ""


def _post(kind: str, what: str, row: Dispute, payment: Disputed, lines: list[ledger.Line], *, now: datetime) -> None:
    of = {"order": payment.number} if isinstance(payment, TopUp) else payment.meta
    ledger.post(
        kind,
        *lines,
        account_id=payment.account_id,
        key=f"dispute:{row.provider_id}:{payment.number}:{what}{_step(row)}",
        now=now,
        meta={**of, "dispute": row.provider_id},
    )


def tell(row: Dispute, payment: Disputed, kind: str, amount: Decimal, *, now: datetime) -> None:
    """The customer is told of each step once."""
    if isinstance(payment, TopUp):
        of = {"order": payment.number}
    else:
        kind, of = f"{payment.notice}_{kind}", payment.told
    notices.tell(
        payment.account_id,
        kind,
        key=f"{kind}:{row.provider_id}{_step(row)}",
        context={
            **of,
            "paid": f"{from_minor_units(row.amount_minor, payment.currency):.2f} {payment.currency}",
            "amount_usd": str(amount),
        },
        now=now,
    )
