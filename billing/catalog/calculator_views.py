"""The calculator of the price list: any model, any channel, the whole sheet with Flows, and the same call elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from accounts.access import current_account
from accounts.models import BenefitLevel
from billing.catalog import pricelist
from billing.catalog.book import Book, ModelCard, current_book
from billing.catalog.calculator import Calculation, calculate
from billing.catalog.comparing import same_call
from billing.catalog.plans import ONE
from billing.catalog.pricelist import Entry, Offer
from config import clock

SHOWN: Final = 15  # of the models compared, the cheapest


@dataclass(frozen=True, slots=True)
class Compared:
    """The same call on one model."""

    card: ModelCard
    charge: Decimal
    flows: Decimal
    difference: Decimal  # to the model chosen
    chosen: bool

    @property
    def cheaper(self) -> bool:
        return self.difference < 0


@dataclass(frozen=True, slots=True)
class Asked:
    """The calculator as filled in."""

    slug: str
    entry: Entry | None
    offer: Offer | None
    calculation: Calculation | None
    flows: Decimal | None
    compared: list[Compared]
    compared_count: int


def level_of(request: HttpRequest) -> BenefitLevel | None:
    """The benefit level of the account in force, whose discount makes *your* price (F018, F043)."""
    account = current_account(request)
    return account.benefit_level if account else None


def asked_of(params: Mapping[str, str], book: Book, discount: Decimal, now: datetime) -> Asked:
    """Rate what the form says. Without a model, or with one that has no price, there is nothing to rate."""
    slug = params.get("model", "").strip()[:120]
    entry = pricelist.entry_of(book, slug, now, discount) if slug else None
    if entry is None or entry.offer is None:
        return Asked(slug, entry, None, None, None, [], 0)
    offer = next((one for one in entry.offers if one.channel.code == params.get("channel")), entry.offer)
    calculation = calculate(offer, discount, params)
    sheet = calculation.sheet
    if sheet is None:
        return Asked(slug, entry, offer, calculation, None, [], 0)
    found = [
        Compared(
            card, again.charge, book.flow_terms.cost(again, now=now), again.charge - sheet.charge, card.slug == slug
        )
        for card, again in same_call(
            book,
            sheet.usage,
            kind=entry.model.kind,
            type=sheet.type,
            channel=offer.channel.code,
            now=now,
            fields={one.name: one.selected for one in calculation.choices if one.selected},
            channel_discount=sheet.channel_discount,
            user_discount=discount,
        )
    ]
    found.sort(key=lambda one: (one.charge, one.card.slug))
    shown = found[:SHOWN] + [one for one in found[SHOWN:] if one.chosen]
    return Asked(slug, entry, offer, calculation, book.flow_terms.cost(sheet, now=now), shown, len(found))


@require_safe
def calculator(request: HttpRequest) -> HttpResponse:
    """A part of the price list's page: the form for another model, or only what was calculated. The address that it
    leaves in the browser is the price list's, and opens the same calculation again."""
    now, book, level = clock.now(), current_book(), level_of(request)
    asked = asked_of(request.GET, book, level.discount if level else ONE, now)
    partial = request.htmx and request.htmx.target == "calculation"  # type: ignore[attr-defined]
    response = render(
        request, "pricing/calculation.html" if partial else "pricing/calculator.html", context_of(asked, book)
    )
    told = {name: str(value) for name, value in request.GET.items() if value}
    response["HX-Push-Url"] = f"{reverse('catalog:pricing')}?{urlencode(told)}"
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


def context_of(asked: Asked, book: Book) -> dict[str, Any]:
    """What the templates read; the calculation's own part is shared with a model's page."""
    return {
        "calculator": asked,
        "calculation": asked.calculation,
        "offer": asked.offer,
        "flows": asked.flows,
        "compared": asked.compared,
        "compared_count": asked.compared_count,
    }


@require_safe
def slugs(request: HttpRequest) -> HttpResponse:
    """The models that have a price, as options of the calculator's field; fetched when somebody goes there."""
    now, book = clock.now(), current_book()
    priced = sorted({price.plan.spec.model for price in book.prices(now)})
    cards = [book.models[slug] for slug in priced if book.models[slug].active]
    return render(request, "pricing/slugs.html", {"cards": cards})
