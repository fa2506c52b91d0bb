"""How many calls a plan's Flows make: one typical call, rated by the function that charges calls (C16, F061, F067)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.catalog import pricelist
from billing.catalog.book import Book
from billing.catalog.calculator import Calculation, calculate
from billing.catalog.models import Model
from billing.catalog.plans import ONE
from billing.catalog.pricelist import Entry
from subscriptions.equivalence import calls_within
from subscriptions.offer import YES, Offer, place_of
from subscriptions.plans import Terms


@dataclass(frozen=True, slots=True)
class Fit:
    """A plan: Flows for one call, and how many calls each window takes; None: any number. Empty unless included."""

    terms: Terms
    place: str
    flows: Decimal | None = None
    factor: Decimal = ONE
    in_5h: int | None = None
    in_week: int | None = None
    in_period: int | None = None

    @property
    def larger_than_window(self) -> bool:
        """One call takes a whole untouched window of five hours."""
        return self.flows is not None and self.flows > self.terms.flows_5h


@dataclass(frozen=True, slots=True)
class Asked:
    """The calculator as filled in; `list_price` in USD."""

    slug: str
    entry: Entry | None
    calculation: Calculation | None
    list_price: Decimal | None
    fits: list[Fit]


def asked_of(params: Mapping[str, str], book: Book, offers: Sequence[Offer], now: datetime) -> Asked:
    """Rate what the form says; without a model, an ordinary call of one that every plan has.

    Flows are counted from the list price, before any discount, so the channel's and the reader's play no part.
    """
    slug = params.get("model", "").strip()[:120] or _typical(book, offers, now)
    entry = pricelist.entry_of(book, slug, now, ONE) if slug else None
    if entry is None or entry.offer is None:
        return Asked(slug, entry, None, None, [])
    calculation = calculate(entry.offer, ONE, params)
    sheet = calculation.sheet
    if sheet is None:
        return Asked(slug, entry, calculation, None, [])
    fits = []
    for terms in (offer.terms for offer in offers):
        place = place_of(terms, entry.model)
        if place != YES:
            fits.append(Fit(terms, place))
            continue
        flows = book.flow_terms.cost(sheet, plan=terms.code, now=now)
        fits.append(
            Fit(
                terms, place, flows, book.flow_factor(terms.code, slug, now),
                calls_within(terms.flows_5h, flows),
                calls_within(terms.flows_week, flows),
                calls_within(terms.flows_period, flows),
            )
        )  # fmt: skip
    return Asked(slug, entry, calculation, sheet.list_price, fits)


def _typical(book: Book, offers: Sequence[Offer], now: datetime) -> str:
    """A chat model with a price in the smallest plan that has one."""
    for offer in offers:
        for card in offer.models:
            if card.kind == Model.Kind.CHAT and book.current(card.slug, "default", now) is not None:
                return card.slug
    return ""
