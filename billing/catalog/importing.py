"""Bring a catalogue document into the books of prices: a diff, then new versions. Old versions are never edited.

A version that differs from the one in force ends it and follows it; what may already have rated calls keeps its past.
One import is one transaction, one at a time (the catalogue's state row is the lock).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import User
from billing.catalog import genai, litellm_file
from billing.catalog.book import spec_of
from billing.catalog.documents import ChannelEntry, Document, PriceEntry, read_document, read_json
from billing.catalog.flow_importing import put_factors, put_rates
from billing.catalog.images import rule_body
from billing.catalog.models import (
    CatalogState,
    Channel,
    FieldMultiplier,
    Model,
    PriceComponent,
    PriceTier,
    PriceVersion,
)
from billing.catalog.plans import PER_TOKEN, PriceSpec
from billing.catalog.rating import plain
from billing.errors import InvalidCatalog

TICK: Final = timedelta(microseconds=1)
NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the diff."""

    kind: str  # new, changed, gone
    what: str  # channel, model, price, flow rate, flow factor
    key: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind:<8} {self.what:<8} {self.key}" + (f"  {self.detail}" if self.detail else "")


@dataclass(slots=True)
class Diff:
    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0
    notes: tuple[str, ...] = ()

    def add(self, kind: str, what: str, key: str, detail: str = "") -> None:
        self.changes.append(Change(kind, what, key, detail))

    def count(self, kind: str) -> int:
        return sum(change.kind == kind for change in self.changes)

    @property
    def written(self) -> bool:
        return self.count("new") + self.count("changed") > 0


# --- formats ---------------------------------------------------------------------------------------------------------

Reader = Callable[[bytes | None, datetime, Collection[str]], Document]


def _read_meterhall(data: bytes | None, now: datetime, known: Collection[str]) -> Document:
    if data is None:
        raise InvalidCatalog(_("This format needs a file."))
    return read_json(data, source="meterhall")


def _read_genai_prices(data: bytes | None, now: datetime, known: Collection[str]) -> Document:
    """The package is the source; a file is not read."""
    body, notes = genai.document(now=now, known=known)
    return read_document(body, source="genai-prices", notes=tuple(notes), only_prices=True)


def _read_litellm(data: bytes | None, now: datetime, known: Collection[str]) -> Document:
    if data is None:
        raise InvalidCatalog(_("This format needs a file."))
    body, notes = litellm_file.document(data, known=known)
    return read_document(body, source="litellm", notes=tuple(notes), only_prices=True)


FORMATS: Final[dict[str, Reader]] = {
    "meterhall": _read_meterhall,
    "litellm": _read_litellm,
    "genai-prices": _read_genai_prices,
}


def read(data: bytes | None, *, format: str, now: datetime) -> Document:
    """A document from a file's contents (None: no file), or InvalidCatalog naming the place."""
    reader = FORMATS.get(format)
    if reader is None:
        raise InvalidCatalog(_("%(format)s: unknown format."), format=format)
    return reader(data, now, set(Model.objects.values_list("slug", flat=True)))


# --- the operation ---------------------------------------------------------------------------------------------------


def import_catalog(
    document: Document, *, now: datetime, dry_run: bool = False, actor: User | None = None, actor_label: str = ""
) -> Diff:
    """Apply a document and return what it changed. With `dry_run` everything is tried and nothing is kept."""
    diff = Diff(notes=document.notes)
    with transaction.atomic():
        CatalogState.objects.get_or_create(pk=1)
        state = CatalogState.objects.select_for_update().get(pk=1)
        channels = {entry.code: _put_channel(entry, document, diff) for entry in document.channels}
        channels |= {channel.code: channel for channel in Channel.objects.exclude(code__in=channels)}
        timelines = _timelines()
        models = {model.slug: model for model in Model.objects.all()}
        _put_models(document, models, diff)
        for entry in document.models:
            for code in sorted({price.channel for price in entry.prices}):
                prices = [price for price in entry.prices if price.channel == code]
                if code not in channels:
                    raise InvalidCatalog(
                        "%(place)s: %(problem)s",
                        place=f"{prices[0].place}.channel",
                        problem=_("there is no channel %(code)s") % {"code": code},
                    )
                timeline = timelines.setdefault((entry.slug, code), [])
                for price in _pending(prices, timeline, now):
                    _put_price(models[entry.slug], channels[code], price, timeline, document.source, diff, now)
        _write(timelines)
        put_rates(document.flow_rates, diff, now)
        put_factors(document.flow_factors, models, diff, now)
        _list_gone(document, timelines, diff, now)
        if diff.written:
            state.revision += 1
            state.save(update_fields=["revision"])
            audit.record(
                actor=actor,
                actor_label=actor_label,
                action="catalog_imported",
                subject=state,
                now=now,
                reason=document.source,
                after={"revision": state.revision, "changes": [str(change) for change in diff.changes][:200]},
            )
        if dry_run:
            transaction.set_rollback(True)
    return diff


def _put_channel(entry: ChannelEntry, document: Document, diff: Diff) -> Channel:
    wanted = {
        "name": entry.name,
        "discount": entry.discount,
        "active": entry.active,
        "usage_convention": entry.usage_convention,
    }
    channel = Channel.objects.filter(code=entry.code).first()
    if channel is None:
        diff.add("new", "channel", entry.code, f"discount {plain(entry.discount)}")
        return Channel.objects.create(code=entry.code, **wanted)
    if not document.only_prices:
        _update(channel, wanted, "channel", entry.code, diff)
    return channel


def _put_models(document: Document, models: dict[str, Model], diff: Diff) -> None:
    new = []
    for entry in document.models:
        told = {
            "name": entry.name,
            "vendor": entry.vendor,
            "kind": entry.kind,
            "description": entry.description,
            "context_window": entry.context_window,
            "max_output_tokens": entry.max_output_tokens,
            "image_tokens": rule_body(entry.image_tokens) if entry.image_tokens else None,
            "coming_soon": entry.coming_soon,
            "active": entry.active,
        }
        if entry.slug not in models:
            new.append(Model(slug=entry.slug, **told))
            diff.add("new", "model", entry.slug, "" if entry.prices else _("unpriced"))
        elif not document.only_prices:
            _update(models[entry.slug], told, "model", entry.slug, diff)
    models |= {model.slug: model for model in Model.objects.bulk_create(new, batch_size=500)}


def _update(row: Channel | Model, wanted: dict[str, Any], what: str, key: str, diff: Diff) -> None:
    changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if not changed:
        diff.unchanged += 1
        return
    detail = ", ".join(f"{name} {getattr(row, name)} -> {value}" for name, value in changed.items())
    for name, value in changed.items():
        setattr(row, name, value)
    row.save(update_fields=list(changed))
    diff.add("changed", what, key, detail)


# --- prices ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Edition:
    """A version's row with its price as plain values; the row may still have to be written."""

    row: PriceVersion
    spec: PriceSpec


Timelines = dict[tuple[str, str], list[Edition]]  # by model and channel, oldest first


def _timelines() -> Timelines:
    rows = PriceVersion.objects.select_related("model", "channel").prefetch_related(
        "components", "tiers", "field_multipliers"
    )
    timelines: Timelines = {}
    for row in rows.order_by("effective_from"):
        timelines.setdefault((row.model.slug, row.channel.code), []).append(Edition(row, spec_of(row)))
    return timelines


def _pending(prices: list[PriceEntry], timeline: list[Edition], now: datetime) -> list[tuple[datetime, PriceEntry]]:
    """What is to be in force, and from when. A first price may begin in the past, with all that followed it; where
    prices have been in force, only today's and later ones count, and today's begins no earlier than now."""
    dated = sorted(((price.effective_from, price) for price in prices), key=lambda pair: pair[0])
    if not timeline:
        return dated
    past = [pair for pair in dated if pair[0] <= now]
    return [(now, price) for _start, price in past[-1:]] + dated[len(past) :]


def _put_price(
    model: Model,
    channel: Channel,
    pending: tuple[datetime, PriceEntry],
    timeline: list[Edition],
    source: str,
    diff: Diff,
    now: datetime,
) -> None:
    start, entry = pending
    key = f"{model.slug} @ {channel.code}"
    while any(edition.row.effective_from == start for edition in timeline):
        start += TICK  # two changes of one instant still follow each other
    before = _in_force(timeline, start)
    if before is not None and same_price(before.spec, entry.spec):
        diff.unchanged += 1
        return
    after = min((e.row.effective_from for e in timeline if e.row.effective_from > start), default=None)
    if before is not None:
        before.row.effective_to = start
        if before.row.pk is not None:
            before.row.save(update_fields=["effective_to"])
    row = _row(model, channel, entry.spec, start, after, len(timeline), source, now)
    timeline.append(Edition(row, entry.spec))
    timeline.sort(key=lambda edition: edition.row.effective_from)
    since = "" if start <= now else f" from {start.isoformat()}"
    if before is None:
        diff.add("new", "price", key, describe(entry.spec) + since)
    else:
        diff.add("changed", "price", key, f"{describe(before.spec)} -> {describe(entry.spec)}{since}")


def _in_force(timeline: list[Edition], at: datetime) -> Edition | None:
    for edition in reversed(timeline):
        if edition.row.effective_from <= at:
            return edition if edition.row.effective_to is None or at < edition.row.effective_to else None
    return None


def _row(
    model: Model,
    channel: Channel,
    spec: PriceSpec,
    start: datetime,
    end: datetime | None,
    numbered: int,
    source: str,
    now: datetime,
) -> PriceVersion:
    token = spec.type == PER_TOKEN
    return PriceVersion(
        model=model,
        channel=channel,
        number=numbered + 1,
        type=spec.type,
        free=spec.free,
        input_per_1k=(spec.input_per_1k or NOTHING) if token else None,
        output_per_1k=(spec.output_per_1k or NOTHING) if token else None,
        price=None if token else (spec.price or NOTHING),
        additive=spec.additive,
        multiplier_cap=spec.multiplier_cap,
        second_step=spec.second_step,
        min_seconds=spec.min_seconds,
        effective_from=start,
        effective_to=end,
        source=source,
        created_at=now,
    )


def _write(timelines: Timelines) -> None:
    """The new editions with all that belongs to them, in a few statements."""
    new = [edition for timeline in timelines.values() for edition in timeline if edition.row.pk is None]
    PriceVersion.objects.bulk_create([edition.row for edition in new], batch_size=500)
    components, tiers, multipliers = [], [], []
    for edition in new:
        row, spec = edition.row, edition.spec
        components += [PriceComponent(version=row, component=k, multiple=v) for k, v in spec.multiples.items()]
        components += [PriceComponent(version=row, component=k, per_1k=v) for k, v in spec.component_per_1k.items()]
        tiers += [
            PriceTier(
                version=row,
                above_input_tokens=tier.above_input_tokens,
                input_per_1k=tier.input_per_1k,
                output_per_1k=tier.output_per_1k,
                component_per_1k={name: plain(value) for name, value in tier.component_per_1k.items()},
            )
            for tier in spec.tiers
        ]
        multipliers += [
            FieldMultiplier(version=row, field=entry.field, equals=entry.equals, multiplier=entry.multiplier)
            for entry in spec.field_multipliers
        ]
    PriceComponent.objects.bulk_create(components, batch_size=2000)
    PriceTier.objects.bulk_create(tiers, batch_size=2000)
    FieldMultiplier.objects.bulk_create(multipliers, batch_size=2000)


def _list_gone(document: Document, timelines: Timelines, diff: Diff, now: datetime) -> None:
    """What is in force and not in the document is named and left alone: a part of a catalogue is a document, too."""
    told = {(model.slug, price.channel) for model in document.models for price in model.prices}
    for (slug, code), timeline in sorted(timelines.items()):
        if (slug, code) not in told and _in_force(timeline, now) is not None:
            diff.add("gone", "price", f"{slug} @ {code}", _("not in the file, stays in force"))


def same_price(one: PriceSpec, other: PriceSpec) -> bool:
    """Do two versions price every call alike? Names, numbers and dates do not matter."""
    return _bare(one) == _bare(other)


def _bare(spec: PriceSpec) -> PriceSpec:
    token = spec.type == PER_TOKEN
    return replace(
        spec,
        version="",
        number=0,
        model="",
        channel="",
        input_per_1k=(spec.input_per_1k or NOTHING) if token else None,
        output_per_1k=(spec.output_per_1k or NOTHING) if token else None,
        price=None if token else (spec.price or NOTHING),
        tiers=tuple(sorted(spec.tiers, key=lambda tier: tier.above_input_tokens)),
        field_multipliers=tuple(sorted(spec.field_multipliers, key=lambda entry: (entry.field, entry.equals))),
    )


def describe(spec: PriceSpec) -> str:
    """A price in one short line, for the diff."""
    if spec.free:
        return "free"
    if spec.type == PER_TOKEN:
        parts = [f"{plain(spec.input_per_1k or NOTHING)}/{plain(spec.output_per_1k or NOTHING)} per 1K"]
    else:
        parts = [f"{plain(spec.price or NOTHING)} {spec.type}"]
    parts += [f"{name} x{plain(value)}" for name, value in sorted(spec.multiples.items())]
    parts += [f"{name} {plain(value)}" for name, value in sorted(spec.component_per_1k.items())]
    parts += [
        f">{tier.above_input_tokens} {plain(tier.input_per_1k)}/{plain(tier.output_per_1k)}" for tier in spec.tiers
    ]
    parts += [f"{entry.field}={entry.equals} x{plain(entry.multiplier)}" for entry in spec.field_multipliers]
    return " ".join(parts)
