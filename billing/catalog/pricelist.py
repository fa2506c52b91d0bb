"""The price list for people: what each model costs, on each channel, and for the reader (F040-F052).

Prices come from the same compiled book that rates calls, so that the page cannot say anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from billing.catalog.book import DEFAULT_CHANNEL, Book, ChannelCard, ModelCard, Price
from billing.catalog.layout import ITEM_LABELS
from billing.catalog.models import Model, PriceVersion
from billing.catalog.plans import ONE, PER_TOKEN, Plan, Prices, plain
from billing.catalog.usage import COMPONENTS, INPUT_COMPONENTS, ITEMS
from billing.money import EXACT

MILLION: Final = Decimal(1_000_000)
THOUSAND: Final = Decimal(1_000)
NOTHING: Final = Decimal(0)
PER: Final[Mapping[str, Decimal]] = {"1m": MILLION, "1k": THOUSAND}
TYPES: Final = dict(PriceVersion.Type.choices)
KINDS: Final = dict(Model.Kind.choices)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model on one channel: its price in force and the factor that the reader pays."""

    channel: ChannelCard
    price: Price
    factor: Decimal  # channel x user

    @property
    def plan(self) -> Plan:
        return self.price.plan

    @property
    def discounted(self) -> bool:
        return self.factor != ONE


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the price list."""

    model: ModelCard
    kind: Any
    offers: list[Offer]

    @property
    def offer(self) -> Offer | None:
        """The one to show first: on the default channel, else the first there is."""
        return self.offers[0] if self.offers else None


@dataclass(frozen=True, slots=True)
class Cell:
    """A price per so many tokens, or per unit: the list's, and the reader's."""

    listed: Decimal
    yours: Decimal | None

    @staticmethod
    def of(listed: Decimal, factor: Decimal) -> Cell:
        return Cell(listed, EXACT.multiply(listed, factor) if factor != ONE else None)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the price list with its cells; what a version does not price apart stays empty."""

    entry: Entry
    type: Any
    unit: Cell | None
    input: Cell | None
    output: Cell | None
    cache_read: Cell | None
    cache_write: Cell | None
    cache_write_1h: Cell | None
    long_context: int | None
    free: bool


def entries(book: Book, now: datetime, user_discount: Decimal) -> list[Entry]:
    """Every active model with what it costs now, by vendor and name."""
    offers: dict[str, list[Offer]] = {}
    for price in book.prices(now):
        channel = book.channels[price.plan.spec.channel]
        if channel.active:
            factor = EXACT.multiply(channel.discount, user_discount)
            offers.setdefault(price.plan.spec.model, []).append(Offer(channel, price, factor))
    cards = sorted((card for card in book.models.values() if card.active), key=lambda card: (card.vendor, card.name))
    return [_entry(card, offers.get(card.slug, [])) for card in cards]


def entry_of(book: Book, slug: str, now: datetime, user_discount: Decimal) -> Entry | None:
    """One model's line, without the others'; None when there is no such model."""
    card = book.models.get(slug)
    if card is None or not card.active:
        return None
    prices = ((channel, book.current(slug, channel.code, now)) for channel in book.channels.values() if channel.active)
    return _entry(
        card,
        [
            Offer(channel, price, EXACT.multiply(channel.discount, user_discount))
            for channel, price in prices
            if price is not None
        ],
    )


def _entry(card: ModelCard, offers: list[Offer]) -> Entry:
    offers.sort(key=lambda offer: (offer.channel.code != DEFAULT_CHANNEL, offer.channel.code))
    return Entry(card, KINDS.get(card.kind, card.kind), offers)


def chosen(
    found: Iterable[Entry],
    *,
    text: str = "",
    vendor: str = "",
    kind: str = "",
    type: str = "",
    discounted: bool = False,
    priced: bool = False,
) -> list[Entry]:
    """The entries that a reader asked for: every word in the name, the slug or the vendor; `discounted`: some channel
    sells it for less than the list price."""
    words = text.lower().split()
    return [
        entry
        for entry in found
        if (not vendor or entry.model.vendor == vendor)
        and (not kind or entry.model.kind == kind)
        and (not priced or entry.offers)
        and (not type or any(offer.plan.spec.type == type for offer in entry.offers))
        and (not discounted or any(offer.channel.discount < 1 for offer in entry.offers))
        and all(word in f"{entry.model.name} {entry.model.slug} {entry.model.vendor}".lower() for word in words)
    ]


SORTS: Final[Mapping[str, tuple[str, bool]]] = {
    "input": ("input", False),
    "-input": ("input", True),
    "output": ("output", False),
    "-output": ("output", True),
}


def in_order(found: list[Entry], sort: str) -> list[Entry]:
    """By what the reader pays for a token, or for a unit; models priced by tokens first, unpriced ones last."""
    if sort not in SORTS:
        return found
    item, dearest_first = SORTS[sort]

    def key(entry: Entry) -> tuple[int, Decimal]:
        offer = entry.offer
        if offer is None:
            return 2, NOTHING
        plan = offer.plan
        cost = plan.base.rates[item].cost if plan.base is not None else plan.spec.price or NOTHING
        paid = EXACT.multiply(cost, offer.factor)
        return int(plan.base is None), -paid if dearest_first else paid

    return sorted(found, key=key)


def line(entry: Entry, per: Decimal) -> Line:
    """The first offer's prices, per so many tokens."""
    offer = entry.offer
    nothing = Line(entry, "", None, None, None, None, None, None, None, False)
    if offer is None:
        return nothing
    plan, spec = offer.plan, offer.plan.spec
    if plan.base is None:
        unit = Cell.of(spec.price or Decimal(0), offer.factor)
        return Line(entry, TYPES[spec.type], unit, None, None, None, None, None, None, spec.free)

    def cell(item: str) -> Cell | None:
        if item in COMPONENTS and item not in priced_apart(plan):
            return None
        return Cell.of(EXACT.multiply(plan.base.rates[item].cost, per), offer.factor)  # type: ignore[union-attr]

    return Line(
        entry,
        TYPES[spec.type],
        None,
        cell("input"),
        cell("output"),
        cell("cache_read"),
        cell("cache_write_5m"),
        cell("cache_write_1h"),
        plan.tiers[-1][0] if plan.tiers else None,
        spec.free,
    )


def priced_apart(plan: Plan) -> set[str]:
    """The components whose token costs something else than plain input or output."""
    tables = [prices for prices in (plan.base, *(prices for _above, prices in plan.tiers)) if prices is not None]
    return {name for name in COMPONENTS if any(_differs(prices, name) for prices in tables)}


def _differs(prices: Prices, name: str) -> bool:
    return prices.rates[name].cost != prices.rates["input" if name in INPUT_COMPONENTS else "output"].cost


# --- A model's own page -----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Component:
    """One billing item of one tier."""

    label: Any
    multiple: Decimal | None
    cell: Cell


@dataclass(frozen=True, slots=True)
class Tier:
    """What applies up to, or beyond, a length of input."""

    above: int | None
    upto: int | None
    components: list[Component]


def tiers(offer: Offer, per: Decimal) -> list[Tier]:
    """All components of all tiers, shortest context first."""
    plan = offer.plan
    if plan.base is None:
        return []
    steps: list[tuple[int | None, Prices]] = [(None, plan.base), *reversed(plan.tiers)]
    apart = priced_apart(plan)
    if all(prices.rates["cache"].cost == prices.rates["cache_read"].cost for _above, prices in steps):
        apart.discard("cache")  # the same physical tokens under another vendor's name (C05)
    found = []
    for place, (above, prices) in enumerate(steps):
        upto = steps[place + 1][0] if place + 1 < len(steps) else None
        names = ["input", *(n for n in INPUT_COMPONENTS if n in apart), "output"]
        names += [n for n in COMPONENTS if n in apart and n not in INPUT_COMPONENTS]
        found.append(Tier(above, upto, [_component(name, prices, per, offer.factor) for name in names]))
    return found


def _component(name: str, prices: Prices, per: Decimal, factor: Decimal) -> Component:
    rate = prices.rates[name]
    side = "input" if name == "input" or name in INPUT_COMPONENTS else "output"
    special = name in COMPONENTS and rate.unit_price == prices.rates[side].unit_price
    label = {"input": _("Input"), "output": _("Output")}.get(name, ITEM_LABELS.get(name, name))
    return Component(label, rate.multiple if special else None, Cell.of(EXACT.multiply(rate.cost, per), factor))


COLUMNS: Final = (
    "model", "name", "vendor", "kind", "channel", "type", "free", "above_input_tokens", "unit",
    *(f"{name}_list" for name in ("price", *ITEMS)), *(f"{name}_yours" for name in ("price", *ITEMS)),
    "channel_discount", "user_discount", "field_multipliers", "price_version", "effective_from",
)  # fmt: skip


def rows(entry: Entry, user_discount: Decimal) -> list[list[Any]]:
    """A model as rows of the table to download: one for each channel and tier, every component in full, per 1K."""
    card, found = entry.model, []
    head = [card.slug, card.name, card.vendor, card.kind]
    for offer in entry.offers:
        spec, plan = offer.plan.spec, offer.plan
        fields = "; ".join(f"{one.field}={one.equals} x {plain(one.multiplier)}" for one in spec.field_multipliers)
        tail = [offer.channel.discount, user_discount, fields, spec.number, offer.price.effective_from]
        steps = [(None, plan.base), *reversed(plan.tiers)] if plan.base is not None else [(None, None)]
        for above, prices in steps:
            if prices is None:
                listed = [spec.price or NOTHING, *([None] * len(ITEMS))]
            else:
                listed = [None, *(EXACT.multiply(prices.rates[name].cost, THOUSAND) for name in ITEMS)]
            yours = [None if amount is None else EXACT.multiply(amount, offer.factor) for amount in listed]
            unit = "1K tokens" if prices is not None else spec.type.removeprefix("per_")
            amounts = [None if amount is None else plain(amount) for amount in (*listed, *yours)]
            found.append([*head, offer.channel.code, spec.type, spec.free, above, unit, *amounts, *tail])
    return found or [[*head, *([None] * (len(COLUMNS) - len(head)))]]


@dataclass(frozen=True, slots=True)
class Past:
    """A version in the history of a channel's price."""

    price: Price
    state: str  # now, past, coming
    cells: list[tuple[Any, Decimal]]


def history(book: Book, slug: str, channel: str, now: datetime, per: Decimal) -> list[Past]:
    """Every version that was published, newest first; those to come above the present one."""
    found = []
    for price in book.history(slug, channel):
        if price.effective_from > now:
            state = "coming"
        else:
            state = "now" if price.effective_to is None or now < price.effective_to else "past"
        found.append(Past(price, state, _headline(price.plan, per)))
    return found


def _headline(plan: Plan, per: Decimal) -> list[tuple[Any, Decimal]]:
    spec = plan.spec
    if spec.type != PER_TOKEN or plan.base is None:
        return [(TYPES[spec.type], spec.price or Decimal(0))]
    rates = plan.base.rates
    return [(_("in"), EXACT.multiply(rates["input"].cost, per)), (_("out"), EXACT.multiply(rates["output"].cost, per))]
