"""The plans on offer as people and programs read them: their worth, their models, what each adds (F066-F068)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

from billing.catalog.book import Book, ModelCard
from billing.catalog.flow_terms import STANDARD
from billing.catalog.pricelist import KINDS
from billing.money import EXACT
from subscriptions.equivalence import Worth, worth
from subscriptions.plans import Plans, Terms
from subscriptions.seeds import published

YES: Final = "yes"
SOON: Final = "soon"
NO: Final = "no"


@dataclass(frozen=True, slots=True)
class Offer:
    """One plan on offer. `smaller` is the plan below it; `more` are the models that it has beyond that one's.

    `worth` is None where no Flow rate is published. Counts are of the catalogue, never written down (C11).
    """

    terms: Terms
    worth: Worth | None
    models: tuple[ModelCard, ...]
    soon: tuple[ModelCard, ...]
    smaller: Terms | None
    more: tuple[ModelCard, ...]

    @property
    def times_flows(self) -> Decimal | None:
        """How many times the smaller plan's Flows in a billing period."""
        if self.smaller is None:
            return None
        return EXACT.divide(self.terms.flows_period, self.smaller.flows_period)

    @property
    def more_rpm(self) -> bool:
        """More requests a minute than the smaller plan."""
        return self.smaller is not None and self.terms.rpm > self.smaller.rpm


@dataclass(frozen=True, slots=True)
class Line:
    """A model with its place in every plan, in the order of the plans."""

    card: ModelCard
    kind: Any
    description: str
    places: tuple[tuple[Terms, str], ...]


@cache
def announced() -> Mapping[str, frozenset[str]]:
    """Which plans a model was announced for, by its slug: for those that are still to come."""
    return {one["slug"]: frozenset(one["plans"]) for one in published()["models"]}


def place_of(terms: Terms, card: ModelCard) -> str:
    """`yes` when the plan may call the model now, `soon` when it will; the catalogue says what is still to come."""
    if card.slug in terms.models:
        return SOON if card.coming_soon else YES
    return SOON if card.coming_soon and terms.code in announced().get(card.slug, ()) else NO


def on_offer(plans: Plans, book: Book, now: datetime) -> list[Offer]:
    """Every plan in force now, from the smallest to the largest."""
    rate = book.flow_rate(STANDARD, now)
    cards = sorted((card for card in book.models.values() if card.active), key=lambda card: (card.vendor, card.name))
    found: list[Offer] = []
    for terms in plans.on_offer(now):
        below = found[-1] if found else None
        models = tuple(card for card in cards if place_of(terms, card) == YES)
        had = {card.slug for card in below.models} if below else set()
        found.append(
            Offer(
                terms=terms,
                worth=worth(terms.flows_period, terms.price_usd, rate.flows_per_usd) if rate else None,
                models=models,
                soon=tuple(card for card in cards if place_of(terms, card) == SOON),
                smaller=below.terms if below else None,
                more=tuple(card for card in models if card.slug not in had),
            )
        )
    return found


def lines(
    offers: Iterable[Offer], descriptions: Mapping[int, str], *, text: str = "", plan: str = "", kind: str = ""
) -> list[tuple[str, list[Line]]]:
    """The models of any plan by vendor: those with every word in name, slug or vendor, of this plan, of this kind.

    `descriptions` by the model's id, where there is one.
    """
    offers, words = list(offers), text.lower().split()
    cards = {card.slug: card for offer in offers for card in (*offer.models, *offer.soon)}
    grouped: dict[str, list[Line]] = {}
    for card in sorted(cards.values(), key=lambda one: (one.vendor, one.name, one.slug)):
        told = f"{card.name} {card.slug} {card.vendor}".lower()
        if (kind and card.kind != kind) or not all(word in told for word in words):
            continue
        places = tuple((offer.terms, place_of(offer.terms, card)) for offer in offers)
        if plan and all(terms.code != plan or place == NO for terms, place in places):
            continue
        grouped.setdefault(card.vendor, []).append(
            Line(card, KINDS.get(card.kind, card.kind), descriptions.get(card.id, ""), places)
        )
    return list(grouped.items())
