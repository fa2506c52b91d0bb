"""Payments and movements of the balance, compared. Loaded when the app is ready."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from django.db.models import Exists, OuterRef

from billing.books.models import JournalEntry
from billing.money import minor_text
from billing.payments.models import PaymentAttempt, TopUp
from billing.payments.models_disputes import Dispute
from billing.payments.processor_books import ChargeTaken, ProviderBooks
from billing.payments.reconcile import (
    BALANCE,
    Day,
    Finding,
    Kind,
    compares,
    explains,
    known_causes,
    orders_of,
    pages,
    paid_elsewhere,
)

OWN_AFFAIRS: Final = frozenset(
    {
        *("payout", "payout_cancel", "payout_failure", "payout_minimum_balance_hold"),
        *("payout_minimum_balance_release", "stripe_fee", "stripe_fx_fee", "tax_fee", "reserve_transaction"),
        *("reserved_funds", "reserve_hold", "reserve_release", "payment_network_reserve_hold"),
        *("payment_network_reserve_release", "topup", "topup_reversal"),
    }
)
"""Movements between the provider and the house, which no customer's books know: they are counted, not matched."""


@compares("payments")
def payments(day: Day, *, provider: ProviderBooks) -> Iterator[Finding]:
    """Every payment that the provider took has one order, for that amount, credited once; and the other way round."""
    seen: set[str] = set()
    times: Counter[str] = Counter()
    for page in pages(provider.charges_taken(day.since, day.until)):
        orders = orders_of((charge.payment_intent_id, charge.order) for charge in page)
        credited = _credited_minor({order.number: order for order in orders.values()})
        elsewhere = paid_elsewhere({charge.payment_intent_id for charge in page} - set(orders))
        for charge in page:
            seen.add(charge.charge_id)
            day.count("payments", charge.currency, charge.amount_minor)
            if charge.balance_line:
                day.explained.add(charge.balance_line)
            order = orders.get(charge.payment_intent_id) or orders.get(charge.order)
            if order is None:
                yield from _for_something_else(charge, elsewhere.get(charge.payment_intent_id))
                continue
            times[order.number] += 1
            yield from _compare(charge, order, times[order.number], credited)
    yield from _unknown_to_provider(day, seen)


def _for_something_else(charge: ChargeTaken, paid: tuple[int, str] | None) -> Iterator[Finding]:
    if paid is None:
        yield _finding(Kind.CHARGE_WITHOUT_ORDER, charge, "no order has this payment")
    elif paid != (charge.amount_minor, charge.currency):
        taken, held = minor_text(charge.amount_minor, charge.currency), minor_text(*paid)
        yield _finding(Kind.CHARGE_AMOUNT, charge, f"{taken} were taken, we hold {held} for paid")


def _compare(charge: ChargeTaken, order: TopUp, time: int, credited: dict[str, bool]) -> Iterator[Finding]:
    asked = minor_text(order.amount_minor, order.currency)
    taken = minor_text(charge.amount_minor, charge.currency)
    if time > 1:
        yield _finding(Kind.CHARGED_TWICE, charge, f"payment number {time} of {order.number}", order)
    elif (charge.amount_minor, charge.currency) != (order.amount_minor, order.currency):
        yield _finding(Kind.CHARGE_AMOUNT, charge, f"{taken} were taken, {order.number} is for {asked}", order)
    elif order.grant is None:
        why = order.review_reason if order.in_review else f"the order is {order.status}"
        yield _finding(Kind.CHARGE_NOT_CREDITED, charge, f"{order.number} has no credit: {why}", order)
    elif not credited[order.number]:
        detail = f"{order.number} is credited, its journal entry says another amount or is missing"
        yield _finding(Kind.CREDIT_DIFFERS, charge, detail, order)


def _credited_minor(orders: dict[str, TopUp]) -> dict[str, bool]:
    """Whether the books hold, for each credited order, one entry of its amount."""
    keys = {f"topup:{number}:credited": order for number, order in orders.items() if order.grant}
    entries = JournalEntry.objects.filter(
        account_id__in={order.account_id for order in keys.values()}, key__in=list(keys)
    ).values_list("key", "delta")
    found = dict(entries)
    return {order.number: found.get(key) == order.amount_usd for key, order in keys.items()}


def _unknown_to_provider(day: Day, seen: set[str]) -> Iterator[Finding]:
    """What we hold for paid on that day, and the provider does not name."""
    attempts = PaymentAttempt.objects.filter(
        outcome=PaymentAttempt.Outcome.SUCCEEDED, at__gte=day.since, at__lt=day.until
    ).select_related("top_up")
    for attempt in attempts.iterator(chunk_size=2000):
        if attempt.reference not in seen:
            order = attempt.top_up
            yield Finding(
                Kind.CREDITED_WITHOUT_CHARGE,
                attempt.reference,
                f"the provider does not name this payment of {order.number}",
                order.pk,
                order.currency,
                None,
                order.amount_minor,
            )
    succeeded = PaymentAttempt.objects.filter(top_up=OuterRef("pk"), outcome=PaymentAttempt.Outcome.SUCCEEDED)
    unpaid = TopUp.objects.filter(credited_at__gte=day.since, credited_at__lt=day.until).exclude(Exists(succeeded))
    for order in unpaid.iterator(chunk_size=2000):
        yield Finding(
            Kind.CREDITED_WITHOUT_CHARGE,
            order.number,
            f"{order.number} was credited, and no payment that succeeded is known",
            order.pk,
            order.currency,
            None,
            order.amount_minor,
        )


@explains
def payments_known(sources: set[str]) -> set[str]:
    """Payments of which we know that they succeeded."""
    return set(
        PaymentAttempt.objects.filter(reference__in=sources, outcome=PaymentAttempt.Outcome.SUCCEEDED).values_list(
            "reference", flat=True
        )
    )


@compares(BALANCE)
def balance(day: Day, *, provider: ProviderBooks) -> Iterator[Finding]:
    """Every movement of the balance has a cause that was compared, or is between the provider and the house."""
    for page in pages(provider.balance_lines(day.since, day.until)):
        open_lines = {line.source for line in page if line.source and line.line_id not in day.explained}
        known = known_causes(open_lines)
        for line in page:
            day.count(f"balance: {line.type}", line.currency, line.amount_minor)
            if line.fee_minor:
                day.totals[line.currency]["provider's fees"] += line.fee_minor
            if line.line_id in day.explained or line.source in known or line.type in OWN_AFFAIRS:
                continue
            yield Finding(
                Kind.BALANCE_UNEXPLAINED,
                line.line_id,
                f"a movement of type {line.type} with the cause {line.source or '(none)'}",
                None,
                line.currency,
                line.amount_minor,
                None,
            )


def _finding(kind: str, charge: ChargeTaken, detail: str, order: TopUp | None = None) -> Finding:
    return Finding(
        kind,
        charge.charge_id,
        detail,
        order.pk if order else None,
        charge.currency,
        charge.amount_minor,
        order.amount_minor if order else None,
    )


@compares("disputes")
def disputes(day: Day, *, provider: ProviderBooks) -> Iterator[Finding]:
    """Every dispute at the provider is one that we know, of the same amount."""
    for page in pages(provider.disputes_opened(day.since, day.until)):
        rows = Dispute.objects.filter(provider_id__in=[one.dispute_id for one in page]).select_related("top_up")
        ours = {row.provider_id: row for row in rows}
        for one in page:
            day.count("disputes", one.currency, one.amount_minor)
            day.explained.update(one.balance_lines)
            row = ours.get(one.dispute_id)
            kind = Kind.DISPUTE_UNKNOWN if row is None else Kind.DISPUTE_DIFFERS
            if row is None:
                detail = f"a dispute of {one.payment_intent_id}"
            elif (row.amount_minor, row.currency) != (one.amount_minor, one.currency):
                detail = f"we know {minor_text(row.amount_minor, row.currency)}"
            elif row.provider_status != one.status:
                detail = f"it is {one.status} there, we know {row.provider_status}"
            else:
                continue
            if row is not None and row.of:
                detail = f"{row.of} {row.number}: {detail}"
            yield Finding(
                kind,
                one.dispute_id,
                detail,
                row.top_up_id if row else None,
                one.currency,
                one.amount_minor,
                row.amount_minor if row else None,
            )


@explains
def disputes_known(sources: set[str]) -> set[str]:
    """Disputes whose movements are looked up by the dispute."""
    return set(Dispute.objects.filter(provider_id__in=sources).values_list("provider_id", flat=True))
