"""Give back what calls took from credit, and draw what they still owe: the lines of one adjustment entry.

Who calls holds the wallet's lock and has written off what expired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db.models import F

from billing.books import credits, ledger
from billing.books.models import CreditGrant, LedgerAccount, Posting, System, Wallet
from billing.money import Money

LIVES_LONGER: Final = timedelta(hours=24)
ZERO: Final = Decimal(0)


@dataclass(slots=True)
class Settled:
    """The entry's lines. The draws stand first, so that a call's share of them is a stretch from the beginning."""

    lines: list[ledger.Line] = field(default_factory=list)
    revived: list[CreditGrant] = field(default_factory=list)


def settle(
    wallet: Wallet,
    *,
    give: Mapping[UUID, Decimal],
    draw: Decimal,
    first_from: Iterable[tuple[UUID, Decimal]] = (),
    now: datetime,
) -> Settled:
    """Lines that give back to these ledger accounts (grants, the overdraft) and draw this much, against revenue.

    What became overdraft lowers the overdraft; if credit has paid that since, the credit that paid it gets it back. No
    grant gets more than was ever spent of it (I2), and while there is an overdraft, what a grant gets back pays it, as
    new credit does. Draws come first from `first_from` (a grant and at most how much), then in burn order, then from
    the overdraft. A grant that has expired and gets something back lives 24 hours longer (J21).
    """
    grants = {one.pk: one for one in CreditGrant.objects.filter(account_id=wallet.pk).burn_order()}
    back, to_overdraft, spill = _given(wallet, grants, give)
    owing = wallet.overdraft - to_overdraft
    if spill:
        _spill(wallet, grants, back, spill)
    repaid: dict[UUID, Decimal] = {}
    for pk, amount in back.items():
        if owing and amount:
            repaid[pk] = min(owing, amount)
            owing -= repaid[pk]
    left = {pk: one.remaining + back.get(pk, ZERO) - repaid.get(pk, ZERO) for pk, one in grants.items()}
    done = Settled()
    for pk in back:
        one = grants[pk]
        if left[pk] and one.expires_at is not None and one.expires_at <= now:
            one.expires_at = now + LIVES_LONGER
            done.revived.append(one)
    alive = [pk for pk, one in grants.items() if one.expires_at is None or one.expires_at > now]
    drawn = _drawn(left, alive, first_from, draw)
    over = draw - sum(drawn.values())

    lines = [ledger.debit(pk, Money(amount)) for pk, amount in drawn.items() if amount]
    if over:
        lines.append(ledger.debit(wallet.overdraft_ledger_id, Money(over)))
    given = to_overdraft + sum(back.values(), ZERO)
    if given:
        lines.append(ledger.debit(System.REVENUE_USAGE, Money(given)))
    lines += [ledger.credit(pk, Money(amount)) for pk, amount in back.items() if amount]
    lines += [ledger.debit(pk, Money(amount)) for pk, amount in repaid.items()]
    to_overdraft += sum(repaid.values(), ZERO)
    if to_overdraft:
        lines.append(ledger.credit(wallet.overdraft_ledger_id, Money(to_overdraft)))
    if draw:
        lines.append(ledger.credit(System.REVENUE_USAGE, Money(draw)))
    done.lines = lines
    return done


def revive(settled: Settled, account_id: UUID, *, now: datetime) -> None:
    """After the entry is posted: grants that came back to life expire later, and the wallet knows when."""
    for one in settled.revived:
        CreditGrant.objects.filter(pk=one.pk).update(expires_at=one.expires_at)
    credits.refresh_next_expiry(account_id, now)


def draws_of(entry_ids: Iterable[UUID], account_id: UUID) -> dict[UUID, list[tuple[UUID, Decimal]]]:
    """By entry: the customer's ledger accounts that it took from, in the order of its lines."""
    rows = Posting.objects.filter(
        account_id=account_id,
        entry_id__in=set(entry_ids),
        side=Posting.DEBIT,
        ledger__kind__in=[LedgerAccount.Kind.GRANT, LedgerAccount.Kind.OVERDRAFT],
    )
    found: dict[UUID, list[tuple[UUID, Decimal]]] = defaultdict(list)
    for entry, place, amount in rows.order_by("entry_id", "line").values_list("entry_id", "ledger_id", "amount"):
        found[entry].append((place, amount))
    return found


def within(draws: Iterable[tuple[UUID, Decimal]], start: Decimal, end: Decimal) -> list[tuple[UUID, Decimal]]:
    """The share of each draw that lies in the stretch from `start` to `end`."""
    at, found = ZERO, []
    for place, amount in draws:
        share = min(end, at + amount) - max(start, at)
        if share > 0:
            found.append((place, share))
        at += amount
        if at >= end:
            break
    return found


def _given(
    wallet: Wallet, grants: Mapping[UUID, CreditGrant], give: Mapping[UUID, Decimal]
) -> tuple[dict[UUID, Decimal], Decimal, Decimal]:
    """(what each grant gets back, what lowers the overdraft, what found no place)."""
    back: dict[UUID, Decimal] = {}
    to_overdraft = spill = ZERO
    for place, amount in give.items():
        if place == wallet.overdraft_ledger_id:
            to_overdraft = min(wallet.overdraft, amount)
            spill += amount - to_overdraft
        else:
            back[place] = min(amount, grants[place].amount - grants[place].remaining)
            spill += amount - back[place]
    return back, to_overdraft, spill


def _spill(wallet: Wallet, grants: Mapping[UUID, CreditGrant], back: dict[UUID, Decimal], spill: Decimal) -> None:
    """To the credit that paid the overdraft, latest first; then to any that was spent, gifts before what was paid for,
    so that a gift does not come back as money that can be refunded."""
    paid = Posting.objects.filter(
        ledger_id__in=grants,
        side=Posting.DEBIT,
        entry__postings__ledger_id=wallet.overdraft_ledger_id,
        entry__postings__side=Posting.CREDIT,
    )
    payers = list(dict.fromkeys(paid.order_by(F("entry__seq").desc(), "line").values_list("ledger_id", flat=True)))
    others = sorted((one for one in grants.values() if one.pk not in payers), key=lambda one: (one.paid, one.pk))
    for pk in [*payers, *(one.pk for one in others)]:
        room = grants[pk].amount - grants[pk].remaining - back.get(pk, ZERO)
        take = min(room, spill)
        if take > 0:
            back[pk] = back.get(pk, ZERO) + take
            spill -= take
    if spill:
        raise RuntimeError(f"{spill} USD that wallet {wallet.pk} paid came from no credit that is known")


def _drawn(
    left: dict[UUID, Decimal], alive: list[UUID], first_from: Iterable[tuple[UUID, Decimal]], draw: Decimal
) -> dict[UUID, Decimal]:
    """What each grant gives, in the order of giving."""
    drawn: dict[UUID, Decimal] = {}
    wanted = [(pk, amount) for pk, amount in first_from if pk in set(alive)] + [(pk, draw) for pk in alive]
    for pk, most in wanted:
        take = min(draw, most, left[pk])
        if take > 0:
            drawn[pk] = drawn.get(pk, ZERO) + take
            left[pk] -= take
            draw -= take
    return drawn
