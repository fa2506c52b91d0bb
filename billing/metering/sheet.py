"""Why a call cost what it cost: rated again from its record, what paid for it, what it would have cost otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from billing.books.models import CreditGrant, LedgerAccount, Posting
from billing.catalog.book import Book, Price
from billing.catalog.layout import ITEM_LABELS, Layout, lay_out
from billing.catalog.rating import Line, Sheet, rate
from billing.catalog.stored import lines_of, recompute
from billing.catalog.usage import parse_usage
from billing.errors import BillingError
from billing.metering import what_if
from billing.metering.explaining import Check, checks, may_have_missed
from billing.metering.models import Funding, UsageRecord
from billing.metering.what_if import WhatIf

DUPLICATES_WITHIN: Final = timedelta(minutes=10)
NEARBY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a charge and the credit that paid it; no grant: it became overdraft."""

    amount: Decimal
    grant: CreditGrant | None


@dataclass(frozen=True, slots=True)
class Compared:
    """A line as the record keeps it beside the same line rated now; one of them may be missing."""

    item: str
    label: Any
    kept: Line | None
    now: Line | None

    @property
    def equal(self) -> bool:
        """To the last digit; how many zeros are written does not matter."""
        return self.kept is not None and self.kept == self.now

    @property
    def both(self) -> tuple[Line | None, Line | None]:
        return self.kept, self.now


@dataclass(frozen=True, slots=True)
class Explained:
    """A call's sheet. `equal` is None when it cannot be rated again, because its price version cannot be read.

    `lines` are the kept ones, each compared with the recomputation; a record older than kept sheets has none.
    """

    layout: Layout | None
    price: Price | None
    equal: bool | None
    what_if: list[WhatIf] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    lines: list[Compared] = field(default_factory=list)
    lines_equal: bool = True
    sheet: Sheet | None = None

    @property
    def kept(self) -> bool:
        """Whether the record keeps its lines."""
        return bool(self.lines)

    @property
    def ticks(self) -> bool:
        """Whether every line and sum may carry a tick: kept, recomputed, the same."""
        return self.kept and self.equal is True


def explain(record: UsageRecord, book: Book) -> Explained:
    """Rate the record again, now, by the function that charged it, and compare with what it keeps, to the last digit
    (I8): each line, the list price, the charge. Then why it cost that (F107), and what it would have cost otherwise."""
    try:
        price = book.price_of(record.price_version_id)
        sheet = rated(record, price)
    except (KeyError, BillingError):
        return Explained(None, None, None, lines=compare(record, None), lines_equal=False)
    lines = compare(record, sheet)
    lines_equal = all(line.equal for line in lines)
    equal = lines_equal and _sums_equal(record, sheet)
    card = next((card for card in book.models.values() if card.id == record.model_id), None)
    at = record.authorized_at
    peers = (
        what_if.peers_of(sheet, card, book, fields=record.fields, at=at)
        if card is not None and sheet.list_price
        else []
    )
    if record.funding == Funding.SUBSCRIPTION:
        otherwise = what_if.of_flows(sheet) if sheet.charge else []
    else:
        otherwise = (
            what_if.of_call(sheet, price, book, card=card, peers=peers, fields=record.fields, at=at)
            if record.charge
            else []
        )
    reasons = checks(
        sheet,
        vendor=card.vendor if card is not None else "",
        peers=peers,
        read_nearby=may_have_missed(sheet) and _read_nearby(record),
    )
    return Explained(lay_out(sheet), price, equal, otherwise, reasons, lines, lines_equal, sheet)


def compare(record: UsageRecord, sheet: Sheet | None) -> list[Compared]:
    """The record's lines and the recomputed ones, side by side; none where the record keeps none."""
    if record.sheet is None:
        return []
    kept = {line.item: line for line in lines_of(record.sheet)}
    again = {line.item: line for line in sheet.lines} if sheet is not None else {}
    return [
        Compared(item, ITEM_LABELS.get(item, item), kept.get(item), again.get(item))
        for item in dict.fromkeys((*kept, *again))
    ]


def _sums_equal(record: UsageRecord, sheet: Sheet) -> bool:
    """List price and charge: as recorded, as rated now, and as the kept lines add up."""
    if sheet.list_price != record.list_price:
        return False
    if record.sheet is not None:
        told = recompute(record.sheet, record.channel_discount, record.user_discount)
        if told != (sheet.list_price, sheet.charge):
            return False
    return record.charge == (Decimal(0) if record.funding == Funding.SUBSCRIPTION else sheet.charge)


def _read_nearby(record: UsageRecord) -> bool:
    """Whether another call with this key and model, at most an hour away, read from the cache."""
    return (
        UsageRecord.objects.filter(
            account_id=record.account_id,
            model_id=record.model_id,
            api_key_id=record.api_key_id,
            authorized_at__gte=record.authorized_at - NEARBY,
            authorized_at__lte=record.authorized_at + NEARBY,
            cache_read_tokens__gt=0,
        )
        .exclude(pk=record.pk)
        .exists()
    )


def rated(record: UsageRecord, price: Price) -> Sheet:
    """The record's calculation, from what it kept and its price version alone."""
    return rate(
        price.plan,
        parse_usage(record.usage),
        channel_discount=record.channel_discount,
        user_discount=record.user_discount,
        fields=record.fields,
    )


def paid_from(record: UsageRecord) -> list[Part]:
    """The grants that paid for this call, in burn order (C18, J21).

    Its entry may have charged many calls: this one's share is the stretch `[charge_from, charge_from + charge)` of
    what the entry drew, line after line.
    """
    if record.entry_id is None:
        return []
    drawn = Posting.objects.filter(account_id=record.account_id, entry_id=record.entry_id, side=Posting.DEBIT)
    start, end, at, parts = record.charge_from, record.charge_from + record.charge, Decimal(0), []
    for posting in drawn.select_related("ledger__grant").order_by("line"):
        share = min(end, at + posting.amount) - max(start, at)
        at += posting.amount
        if share > 0:
            grant = posting.ledger.grant if posting.ledger.kind == LedgerAccount.Kind.GRANT else None
            parts.append(Part(share, grant))
    return parts


def duplicates(record: UsageRecord) -> list[UsageRecord]:
    """The call that this one may repeat, and those that may repeat it, oldest first (F104)."""
    near = UsageRecord.objects.filter(
        account_id=record.account_id,
        model_id=record.model_id,
        authorized_at__gte=record.authorized_at - DUPLICATES_WITHIN,
        authorized_at__lte=record.authorized_at + DUPLICATES_WITHIN,
    ).exclude(pk=record.pk)
    first = record.duplicate_of or record.pk
    return list(
        (near.filter(duplicate_of=first) | near.filter(pk=first)).order_by("authorized_at", "pk")[:20]
        if record.duplicate_of or record.fingerprint
        else []
    )


# --- What made a total ------------------------------------------------------------------------------------------------
GROUPS: Final = {
    "output": "output",
    "reasoning": "reasoning",
    "input": "input",
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write",
    "cache_read": "cache_read",
    "cache": "cache_read",
    "input_audio": "audio",
    "output_audio": "audio",
    "input_image": "image",
    "output_image": "image",
}
GROUP_LABELS: Final = {
    "output": _("Output"),
    "reasoning": _("Reasoning"),
    "input": _("Input"),
    "cache_write": _("Cache write"),
    "cache_read": _("Cache read"),
    "audio": _("Audio tokens"),
    "image": _("Image tokens"),
    "units": _("Images, seconds, requests"),
}
MEASURED: Final = ("price_version_id", "usage", "fields", "channel_discount", "user_discount")


@dataclass(frozen=True, slots=True)
class Made:
    """What one kind of thing cost, after discounts."""

    name: str
    label: Any
    amount: Decimal


def what_made_it(calls: Iterable[tuple[Any, ...]], book: Book) -> list[Made]:
    """The cost of these calls (rows of `MEASURED`) by what was used, dearest first."""
    made: dict[str, Decimal] = defaultdict(Decimal)
    for version, used, fields, of_channel, of_user in calls:
        try:
            sheet = rate(book.plan_of(version), parse_usage(used), fields=fields)
        except (KeyError, BillingError):
            continue
        factor = of_channel * of_user
        for line in sheet.lines:
            made[GROUPS.get(line.item, "units")] += line.amount * factor
    return sorted(
        (Made(name, GROUP_LABELS[name], amount) for name, amount in made.items() if amount),
        key=lambda one: (-one.amount, one.name),
    )
