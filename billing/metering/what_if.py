"""What a call would have cost otherwise: with and without the cache, elsewhere, at another level, on Flows, on the
vendor's cheapest model. Every number is made by the function that charges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext_lazy as _

from accounts.models import BenefitLevel
from billing.catalog.book import Book, ModelCard, Price
from billing.catalog.comparing import same_call
from billing.catalog.plans import Plan
from billing.catalog.rating import Sheet, parse_usage, rate
from billing.errors import BillingError
from billing.metering.explaining import Peer

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Another price for the same call, in dollars or (`flows`) in Flows. `code` is for programs and does not change."""

    code: str
    label: Any
    charge: Decimal | None
    paid: Decimal
    flows: Decimal | None = None

    @property
    def difference(self) -> Decimal | None:
        """Against what was paid; none between dollars and Flows."""
        return None if self.charge is None or self.flows is not None else self.charge - self.paid

    @property
    def share(self) -> Decimal | None:
        """The difference as a share of what was paid, without its sign."""
        return abs(self.difference) / self.paid if self.difference is not None and self.paid else None

    @property
    def cheaper(self) -> bool:
        return self.difference is not None and self.difference < 0

    @property
    def same(self) -> bool:
        return self.difference == 0


def of_call(
    sheet: Sheet,
    price: Price,
    book: Book,
    *,
    card: ModelCard | None,
    peers: list[Peer],
    fields: Fields,
    at: datetime,
) -> list[WhatIf]:
    """All that applies to a call that was paid in dollars. `at`: when it was authorised, whose prices hold."""
    found = [*_cached(sheet, fields), *_channels(sheet, price, book, fields, at), *_level(sheet, fields)]
    cheapest = min(
        (peer for peer in peers if card is not None and peer.vendor == card.vendor),
        key=lambda peer: (peer.list_price, peer.slug),
        default=None,
    )
    if cheapest is not None and cheapest.list_price < sheet.list_price:
        other = book.current(cheapest.slug, sheet.plan.spec.channel, at)
        if other is not None:
            label = _("With %(name)s, the vendor's cheapest of this kind") % {"name": cheapest.name}
            found += _otherwise("cheapest_model", label, sheet, other.plan, sheet.usage.as_dict(), fields)
    if book.flow_rate("standard", at) is not None:
        cost = book.flow_terms.cost(sheet, now=at)
        found.append(WhatIf("on_flows", _("On a subscription's Flows"), None, sheet.charge, cost))
    return found


def of_flows(sheet: Sheet) -> list[WhatIf]:
    """A call that Flows paid: what it would have taken from the balance."""
    return [WhatIf("from_balance", _("Paid from the balance"), sheet.charge, Decimal(0))]


def peers_of(sheet: Sheet, card: ModelCard, book: Book, *, fields: Fields, at: datetime) -> list[Peer]:
    """The same call on every other model that could have made it; free ones are no measure of a price."""
    spec = sheet.plan.spec
    found = same_call(book, sheet.usage, kind=card.kind, type=spec.type, channel=spec.channel, fields=fields, now=at)
    return [
        Peer(other.slug, other.name, other.vendor, again.list_price)
        for other, again in found
        if other.slug != card.slug and not again.plan.spec.free
    ]


def _otherwise(
    code: str, label: Any, sheet: Sheet, plan: Plan, usage: dict[str, Any], fields: Fields, **discounts: Decimal
) -> Iterator[WhatIf]:
    terms = {"channel_discount": sheet.channel_discount, "user_discount": sheet.user_discount} | discounts
    try:
        again = rate(plan, parse_usage(usage), fields=fields, **terms)
    except BillingError:
        return
    yield WhatIf(code, label, again.charge, sheet.charge)


def _cached(sheet: Sheet, fields: Fields) -> Iterator[WhatIf]:
    """The cache had hit, had missed, had been written where it was read."""
    usage, plan = sheet.usage, sheet.plan
    if plan.base is None:
        return
    rates = plan.prices_at(usage.input_tokens).rates
    cacheable = usage.input_tokens - usage.input_audio_tokens - usage.input_image_tokens
    read = usage.cache_tokens + usage.cache_read_tokens
    told = usage.as_dict()
    none: dict[str, int | str] = {"cache_tokens": 0, "cache_read_tokens": 0}
    if cacheable > read and rates["cache_read"].cost < rates["input"].cost:
        hit = told | none | {"cache_read_tokens": cacheable, "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0}
        yield from _otherwise("cache_hit", _("Everything read from cache"), sheet, plan, hit, fields)
    if read:
        yield from _otherwise("cache_miss", _("Nothing read from cache"), sheet, plan, told | none, fields)
        if rates["cache_write_5m"].cost > rates["input"].cost:
            written = told | none | {"cache_write_5m_tokens": usage.cache_write_5m_tokens + read}
            label = _("Written to the cache where it was read")
            yield from _otherwise("cache_written", label, sheet, plan, written, fields)


def _channels(sheet: Sheet, price: Price, book: Book, fields: Fields, at: datetime) -> Iterator[WhatIf]:
    for channel in book.channels.values():
        other = book.current(price.plan.spec.model, channel.code, at)
        if other is None or channel.id == price.channel_id or not channel.active:
            continue
        label = _("Through channel %(channel)s") % {"channel": channel.code}
        yield from _otherwise(
            "channel", label, sheet, other.plan, sheet.usage.as_dict(), fields, channel_discount=channel.discount
        )


def _level(sheet: Sheet, fields: Fields) -> Iterator[WhatIf]:
    """The next better discount there is."""
    better = BenefitLevel.objects.filter(discount__lt=sheet.user_discount).order_by("-discount", "number").first()
    if better is not None and better.discount > 0:
        label = _("One level higher: %(name)s") % {"name": better.name}
        yield from _otherwise(
            "level", label, sheet, sheet.plan, sheet.usage.as_dict(), fields, user_discount=better.discount
        )
