"""Why a call cost what it cost: rated again from its record, what paid for it, what it would have cost otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from billing.books.models import CreditGrant, LedgerAccount, Posting
from billing.catalog.book import Book, Price
from billing.catalog.layout import Layout, lay_out
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import parse_usage
from billing.errors import BillingError
from billing.metering.models import Funding, UsageRecord

DUPLICATES_WITHIN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a charge and the credit that paid it; no grant: it became overdraft."""

    amount: Decimal
    grant: CreditGrant | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What the call would have cost otherwise."""

    label: Any
    charge: Decimal
    cheaper: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """A call's sheet. `equal` is None when it cannot be rated again, because its price version cannot be read."""

    layout: Layout | None
    price: Price | None
    equal: bool | None
    what_if: list[WhatIf]


def explain(record: UsageRecord, book: Book) -> Explained:
    """Rate the record again, now, by the function that charged it, and compare to the last digit (I8)."""
    try:
        price = book.price_of(record.price_version_id)
        sheet = rated(record, price)
    except (KeyError, BillingError):
        return Explained(None, None, None, [])
    owed = Decimal(0) if record.funding == Funding.SUBSCRIPTION else sheet.charge
    equal = owed == record.charge and sheet.list_price == record.list_price
    what_if = _what_if(record, sheet, price, book) if record.charge else []
    return Explained(lay_out(sheet), price, equal, what_if)


def rated(record: UsageRecord, price: Price) -> Sheet:
    """The record's calculation, from what it kept and its price version alone."""
    return rate(
        price.plan,
        parse_usage(record.usage),
        channel_discount=record.channel_discount,
        user_discount=record.user_discount,
        fields=record.fields,
    )


def _what_if(record: UsageRecord, sheet: Sheet, price: Price, book: Book) -> list[WhatIf]:
    found = []
    usage = sheet.usage
    cacheable = usage.input_tokens - usage.input_audio_tokens - usage.input_image_tokens
    if price.plan.base is not None and cacheable > usage.cache_tokens + usage.cache_read_tokens:
        rates = price.plan.prices_at(usage.input_tokens).rates
        if rates["cache_read"].cost < rates["input"].cost:
            cached = usage.as_dict() | {
                "cache_tokens": 0,
                "cache_read_tokens": cacheable,
                "cache_write_5m_tokens": 0,
                "cache_write_1h_tokens": 0,
            }
            again = rate(
                price.plan,
                parse_usage(cached),
                channel_discount=record.channel_discount,
                user_discount=record.user_discount,
                fields=record.fields,
            )
            found.append(WhatIf(_("Everything read from cache"), again.charge, again.charge < record.charge))
    for channel in book.channels.values():
        other = book.current(price.plan.spec.model, channel.code, record.authorized_at)
        if other is None or channel.id == record.channel_id or not channel.active:
            continue
        try:
            again = rate(
                other.plan,
                usage,
                channel_discount=channel.discount,
                user_discount=record.user_discount,
                fields=record.fields,
            )
        except BillingError:
            continue
        label = _("Through channel %(channel)s") % {"channel": channel.code}
        found.append(WhatIf(label, again.charge, again.charge < record.charge))
    return found


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
