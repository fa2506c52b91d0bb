"""What a dispute does to the books. Who calls holds the wallet's lock, and saves the row.

taken      what a warning froze, the payment's grant, overdraft, a refund fee that we kept  ->  chargeback
given back chargeback                                                                      ->  where it came from
lost       chargeback                                                                      ->  the provider
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Sum

from billing import notices
from billing.books import credits, ledger
from billing.books.models import CreditGrant, JournalEntry, System, Wallet
from billing.money import LEDGER_QUANTUM, Money, from_minor_units
from billing.payments import fraud_warnings, giving_back
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute

Kind = JournalEntry.Kind


@dataclass(frozen=True, slots=True)
class Refunded:
    """What refunds of an order that have gone come to: minor units charged to the customer, and fees that we kept."""

    gone_minor: int
    fee_kept: Decimal


_tellers: Final[list[Callable[[TopUp], Refunded]]] = []


def tells_refunds(teller: Callable[[TopUp], Refunded]) -> Callable[[TopUp], Refunded]:
    """Register who knows the refunds of an order."""
    if teller not in _tellers:
        _tellers.append(teller)
    return teller


def refunded(order: TopUp) -> Refunded:
    """The refunds of an order that have gone."""
    said = [teller(order) for teller in _tellers]
    return Refunded(sum(one.gone_minor for one in said), sum((one.fee_kept for one in said), Decimal(0)))


def in_usd(order: TopUp, minor: int) -> Decimal:
    """A part of what was paid, as credit, at the order's own rate."""
    return (order.amount_usd * minor / order.amount_minor).quantize(LEDGER_QUANTUM)


def count(row: Dispute, order: TopUp) -> None:
    """Of what is disputed, what neither refunds nor other disputes have taken. It may grow later, and never shrinks."""
    others = Dispute.objects.filter(top_up=order, state__in=Dispute.COUNTED).exclude(pk=row.pk)
    taken = order.refunded_minor + (others.aggregate(sum=Sum("counted_minor"))["sum"] or 0)
    row.counted_minor = max(row.counted_minor, min(row.amount_minor, order.amount_minor - taken))


def take(row: Dispute, order: TopUp, *, now: datetime) -> None:
    """Bring what is taken to what is counted: first what a warning froze, then unspent credit, the rest as overdraft.

    What is disputed beyond that can only be the fee of a refund: the customer has paid it already, so it comes out of
    our revenue. Called again when a refund failed, so that what came back to the customer is taken here instead.
    """
    first = row.frozen_at is None
    row.frozen_at = row.frozen_at or now
    more = max(Decimal(0), in_usd(order, row.counted_minor) - row.from_customer)
    fee = _fee(row, order, more)
    if not more and fee == row.from_fee:
        return
    wallet = Wallet.objects.get(pk=order.account_id)
    grant = CreditGrant.objects.get(pk=order.grant_id)
    frozen = fraud_warnings.use(order, more, now=now)
    unspent = min(grant.remaining, more - frozen)
    owed = more - frozen - unspent
    change = more + fee - row.from_fee
    parts = [
        (System.FROZEN, frozen),
        (grant.pk, unspent),
        (wallet.overdraft_ledger_id, owed),
        (System.REVENUE_REFUND_FEE, fee - row.from_fee),
        (System.CHARGEBACK, -change),
    ]
    if not first:
        row.step += 1
    row.from_frozen += frozen
    row.from_grant += unspent
    row.from_overdraft += owed
    row.from_fee = fee
    _post(
        Kind.DISPUTE_OPENED,
        "opened",
        row,
        order,
        [(ledger.debit if part > 0 else ledger.credit)(place, Money(abs(part))) for place, part in parts if part],
        now=now,
    )
    if more:
        tell(row, order, "dispute_opened", more, now=now)
    if row.ended_at is not None and change:  # it is lost already
        _post(Kind.DISPUTE_LOST, "lost", row, order, _to_provider(change), now=now)


def _fee(row: Dispute, order: TopUp, more: Decimal) -> Decimal:
    """USD of kept refund fees that this dispute is about; it never falls by more than the customer's part grows."""
    beyond = in_usd(order, min(row.amount_minor, order.amount_minor)) - row.from_customer - more
    others = Dispute.objects.filter(top_up=order, state__in=Dispute.COUNTED).exclude(pk=row.pk)
    used = others.aggregate(sum=Sum("from_fee"))["sum"] or Decimal(0)
    return max(Decimal(0), min(beyond, refunded(order).fee_kept - used), row.from_fee - more)


def give_back(row: Dispute, order: TopUp, *, now: datetime) -> None:
    """The same sum back, once: it pays what is owed now, fills this payment's grant, and is new credit beyond that."""
    row.ended_at = now
    if not row.taken:
        return
    lines = [ledger.debit(System.CHARGEBACK, Money(row.taken))]
    if row.from_customer:
        lines += giving_back.lines(order, row.from_customer, source=f"dispute:{row.provider_id}", now=now)
    if row.from_fee:
        lines.append(ledger.credit(System.REVENUE_REFUND_FEE, Money(row.from_fee)))
    _post(Kind.DISPUTE_WON, "won", row, order, lines, now=now)
    if row.from_customer:
        credits.refresh_next_expiry(order.account_id, now)
        tell(row, order, "dispute_won", row.from_customer, now=now)


def lose(row: Dispute, order: TopUp, *, now: datetime) -> None:
    """Final: the money has left our balance at the provider, and the customer's credit stays down."""
    row.ended_at = now
    if not row.taken:
        return
    _post(Kind.DISPUTE_LOST, "lost", row, order, _to_provider(row.taken), now=now)
    if row.from_customer:
        tell(row, order, "dispute_lost", row.from_customer, now=now)


def begin_again(row: Dispute) -> None:
    """It was closed, all was given back, and now it is open again: the next freezing is one of its own."""
    row.returned_usd += row.taken
    row.from_frozen = row.from_grant = row.from_overdraft = row.from_fee = Decimal(0)
    row.frozen_at = row.ended_at = None
    row.step += 1


def _to_provider(amount: Decimal) -> list[ledger.Line]:
    return [ledger.debit(System.CHARGEBACK, Money(amount)), ledger.credit(System.PROCESSOR_STRIPE, Money(amount))]


def _step(row: Dispute) -> str:
    return f":{row.step}" if row.step else ""


def _post(kind: str, what: str, row: Dispute, order: TopUp, lines: list[ledger.Line], *, now: datetime) -> None:
    ledger.post(
        kind,
        *lines,
        account_id=order.account_id,
        key=f"dispute:{row.provider_id}:{order.number}:{what}{_step(row)}",
        now=now,
        meta={"order": order.number, "dispute": row.provider_id},
    )


def tell(row: Dispute, order: TopUp, kind: str, amount: Decimal, *, now: datetime) -> None:
    """The customer is told of each step once."""
    notices.tell(
        order.account_id,
        kind,
        key=f"{kind}:{row.provider_id}{_step(row)}",
        context={
            "order": order.number,
            "paid": f"{from_minor_units(row.amount_minor, order.currency):.2f} {order.currency}",
            "amount_usd": str(amount),
        },
        now=now,
    )
