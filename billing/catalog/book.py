"""The price book: every published price version, compiled, in memory; one small query says whether it is still fresh.

Processes never ask the database for a price on the hot path. `current_book()` looks at the catalogue's one state row
at most once a second (`fresh=True`: now) and reads everything again only when it changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import connection

from billing.catalog.flow_terms import FactorTerm, FlowTerm, FlowTerms
from billing.catalog.images import ImageRule, read_rule
from billing.catalog.models import CatalogState, Channel, Model, PriceVersion
from billing.catalog.models_flows import FlowFactor, FlowRate
from billing.catalog.plans import FieldMultiplierSpec, Plan, PriceSpec, TierSpec, compile_plan
from billing.errors import InvalidPrice, ModelUnpriced, UnknownChannel, UnknownModel

log = logging.getLogger(__name__)

DEFAULT_CHANNEL: Final = "default"
RECHECK_SECONDS: Final = 1.0

Marker = tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What admission needs to know about a model."""

    id: int
    slug: str
    name: str
    vendor: str
    kind: str
    context_window: int | None
    max_output_tokens: int | None
    coming_soon: bool
    active: bool
    image_rule: ImageRule | None = None


@dataclass(frozen=True, slots=True)
class ChannelCard:
    id: int
    code: str
    discount: Decimal
    active: bool
    usage_convention: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """One version on its place in time: `[effective_from, effective_to)`."""

    version_id: int
    number: int
    model_id: int
    channel_id: int
    plan: Plan
    effective_from: datetime
    effective_to: datetime | None


@dataclass(frozen=True, slots=True)
class Priced:
    """All that rating a call needs, in one hand."""

    model: ModelCard
    channel: ChannelCard
    price: Price

    @property
    def plan(self) -> Plan:
        return self.price.plan


class Book:
    """An immutable snapshot of the catalogue."""

    def __init__(
        self,
        *,
        marker: Marker,
        models: Iterable[ModelCard],
        channels: Iterable[ChannelCard],
        prices: Iterable[Price],
        flow_terms: FlowTerms | None = None,
    ) -> None:
        self.marker = marker
        self.flow_terms = flow_terms or FlowTerms()
        self.models = {model.slug: model for model in models}
        self.channels = {channel.code: channel for channel in channels}
        # Only what differs from the formats' own: a channel that is not here is read as its format documents (C17).
        self._conventions = {
            channel.id: channel.usage_convention for channel in self.channels.values() if channel.usage_convention
        }
        self._by_version: dict[int, Price] = {}
        self._timeline: dict[tuple[str, str], list[Price]] = {}
        for price in prices:
            self._by_version[price.version_id] = price
            self._timeline.setdefault((price.plan.spec.model, price.plan.spec.channel), []).append(price)
        for timeline in self._timeline.values():
            timeline.sort(key=lambda price: price.effective_from, reverse=True)

    def current(self, slug: str, channel: str, now: datetime) -> Price | None:
        """The version in force at `now`, or None."""
        for price in self._timeline.get((slug, channel), ()):
            if price.effective_from <= now:
                return price if price.effective_to is None or now < price.effective_to else None
        return None

    def priced(self, slug: str, channel: str | None, now: datetime) -> Priced:
        """Model, channel and price for a call, or the refusal: unknown_model, unknown_channel, model_unpriced."""
        model = self.models.get(slug)
        if model is None or not model.active:
            raise UnknownModel(model=slug[:120])
        card = self.channels.get(channel or DEFAULT_CHANNEL)
        if card is None or not card.active:
            raise UnknownChannel(channel=(channel or DEFAULT_CHANNEL)[:60])
        price = self.current(slug, card.code, now)
        if price is None:
            raise ModelUnpriced(model=slug, channel=card.code)
        return Priced(model, card, price)

    def convention_of(self, channel_id: int) -> str:
        """How the channel's vendor counts input: inclusive, exclusive, or "" as its format documents (C17)."""
        return self._conventions.get(channel_id, "")

    def plan_of(self, price_version_id: int) -> Plan:
        """The compiled version by its id, however old. KeyError when there is no such version."""
        return self._by_version[price_version_id].plan

    @property
    def plans(self) -> dict[int, Plan]:
        """Every compiled version by its id."""
        return {version: price.plan for version, price in self._by_version.items()}

    def price_of(self, price_version_id: int) -> Price:
        return self._by_version[price_version_id]

    def prices(self, now: datetime) -> list[Price]:
        """What is in force now, by model and channel: the price list."""
        found = (self.current(slug, channel, now) for slug, channel in sorted(self._timeline))
        return [price for price in found if price is not None]

    def history(self, slug: str, channel: str) -> list[Price]:
        """Newest first."""
        return list(self._timeline.get((slug, channel), ()))

    def flow_rate(self, flow_class: str, now: datetime) -> FlowTerm | None:
        """What a dollar of list price is in Flows for this class (C16); None where the class has no rate."""
        return self.flow_terms.rate(flow_class, now)

    def flow_factor(self, plan: str, slug: str, now: datetime) -> Decimal:
        """What a model's Flows are multiplied by on a plan (C16); 1 unless a row says otherwise."""
        return self.flow_terms.factor(plan, slug, now)


# --- the process's book ----------------------------------------------------------------------------------------------

_lock = threading.Lock()
_book: Book | None = None
_checked_at = 0.0


def current_book(*, fresh: bool = False) -> Book:
    """The process's book, read again when the catalogue has changed. At most a second old; `fresh` asks now."""
    global _book, _checked_at
    book = _book
    if book is not None and not fresh and time.monotonic() - _checked_at < RECHECK_SECONDS:
        return book
    with _lock:
        at = time.monotonic()
        if _book is None or _book.marker is None or _book.marker != _marker():
            _book = load_book()
        _checked_at = at
        return _book


def forget() -> None:
    """Drop the cached book; the next reader loads it."""
    global _book
    with _lock:
        _book = None


def load_book() -> Book:
    marker = _marker()  # read first: a change while we load makes the next check load again
    return Book(
        marker=marker,
        models=[
            ModelCard(
                id=model.pk,
                slug=model.slug,
                name=model.name,
                vendor=model.vendor,
                kind=model.kind,
                context_window=model.context_window,
                max_output_tokens=model.max_output_tokens,
                coming_soon=model.coming_soon,
                active=model.active,
                image_rule=_image_rule(model),
            )
            for model in Model.objects.all()
        ],
        channels=[
            ChannelCard(
                id=channel.pk,
                code=channel.code,
                discount=channel.discount,
                active=channel.active,
                usage_convention=channel.usage_convention,
            )
            for channel in Channel.objects.all()
        ],
        prices=_prices(),
        flow_terms=_flow_terms(),
    )


def _image_rule(model: Model) -> ImageRule | None:
    try:
        return read_rule(model.image_tokens) if model.image_tokens is not None else None
    except InvalidPrice as refusal:
        # As with a bad price: estimates with images are refused for this model alone.
        log.error("the image rule of %s cannot be used: %s", model.slug, refusal)
        return None


def spec_of(version: PriceVersion) -> PriceSpec:
    """A row and its children as plain values."""
    components = list(version.components.all())
    return PriceSpec(
        version=version.pk,
        number=version.number,
        model=version.model.slug,
        channel=version.channel.code,
        type=version.type,
        free=version.free,
        input_per_1k=version.input_per_1k,
        output_per_1k=version.output_per_1k,
        price=version.price,
        multiples={entry.component: entry.multiple for entry in components if entry.multiple is not None},
        component_per_1k={entry.component: entry.per_1k for entry in components if entry.per_1k is not None},
        tiers=tuple(
            TierSpec(
                above_input_tokens=tier.above_input_tokens,
                input_per_1k=tier.input_per_1k,
                output_per_1k=tier.output_per_1k,
                component_per_1k={name: Decimal(text) for name, text in tier.component_per_1k.items()},
            )
            for tier in sorted(version.tiers.all(), key=lambda tier: tier.above_input_tokens)
        ),
        field_multipliers=tuple(
            FieldMultiplierSpec(field=entry.field, equals=entry.equals, multiplier=entry.multiplier)
            for entry in sorted(version.field_multipliers.all(), key=lambda entry: (entry.field, entry.equals))
        ),
        multiplier_cap=version.multiplier_cap,
        additive=version.additive,
        second_step=version.second_step,
        min_seconds=version.min_seconds,
    )


def _prices() -> list[Price]:
    rows = PriceVersion.objects.select_related("model", "channel").prefetch_related(
        "components", "tiers", "field_multipliers"
    )
    prices = []
    for version in rows:
        try:
            plan = compile_plan(spec_of(version))
        except InvalidPrice as refusal:
            # One bad row refuses its own calls (model_unpriced) and nobody else's.
            log.error("price version %s cannot be used: %s", version.pk, refusal)
            continue
        prices.append(
            Price(
                version_id=version.pk,
                number=version.number,
                model_id=version.model_id,
                channel_id=version.channel_id,
                plan=plan,
                effective_from=version.effective_from,
                effective_to=version.effective_to,
            )
        )
    return prices


def _flow_terms() -> FlowTerms:
    rates, factors = FlowRate.objects.all(), FlowFactor.objects.select_related("model")
    return FlowTerms(
        [
            FlowTerm(row.flow_class, row.flows_per_usd, row.call_overhead_flows, row.effective_from, row.note)
            for row in rates
        ],
        [FactorTerm(row.plan, row.model.slug, row.factor, row.effective_from) for row in factors],
    )


def _marker() -> Marker:
    """The state row's revision and the transaction that wrote it: it tells a rolled-back change from its repetition."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT revision, xmin::text FROM {CatalogState._meta.db_table} WHERE id = 1")  # noqa: S608
        row = cursor.fetchone()
    return (row[0], row[1]) if row else None
