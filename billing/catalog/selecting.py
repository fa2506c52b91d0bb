"""A part of a document, another channel, a later start: what staff change about a file before it comes in. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase

from billing.catalog.documents import Document, PriceEntry


def only(document: Document, pattern: str) -> Document:
    """The models whose slug fits the pattern (`anthropic/*`), with their Flow factors, and nothing else."""
    return replace(
        document,
        channels=(),
        models=tuple(entry for entry in document.models if fnmatchcase(entry.slug, pattern)),
        flow_rates=(),
        flow_factors=tuple(entry for entry in document.flow_factors if fnmatchcase(entry.model, pattern)),
        notes=(),
    )


def on_channel(document: Document, code: str) -> Document:
    """Every price on this channel, which must exist already."""
    models = tuple(
        replace(
            entry,
            prices=tuple(replace(one, channel=code, spec=replace(one.spec, channel=code)) for one in entry.prices),
        )
        for entry in document.models
    )
    return replace(document, channels=(), models=models)


def starting(document: Document, at: datetime) -> Document:
    """No price begins before this; what the document itself dates later keeps its own start."""

    def later(price: PriceEntry) -> PriceEntry:
        return replace(price, effective_from=max(price.effective_from, at))

    models = tuple(
        replace(entry, prices=tuple(later(price) for price in _in_force(entry.prices, at))) for entry in document.models
    )
    return replace(document, models=models)


def _in_force(prices: tuple[PriceEntry, ...], at: datetime) -> list[PriceEntry]:
    """Of a channel's prices that begin before this moment only the last; the others would begin with it."""
    past: dict[str, PriceEntry] = {}
    for price in sorted(prices, key=lambda one: one.effective_from):
        if price.effective_from <= at:
            past[price.channel] = price
    return [price for price in prices if price.effective_from > at or past.get(price.channel) is price]
