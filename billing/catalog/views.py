"""The price list, and a model's page with every component, its history and a calculator. Anyone may read them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from billing.catalog import calculator, image_text, pricelist
from billing.catalog.book import current_book
from billing.catalog.calculator_views import asked_of, context_of, level_of
from billing.catalog.models import Model, PriceVersion
from config import clock
from config.exports import stream

UNITS: Final = ("1m", "1k")
PAGE: Final = 50  # models at a time


def _per(request: HttpRequest) -> str:
    per = request.GET.get("per", "1m")
    return per if per in UNITS else "1m"


def _asked(request: HttpRequest, every: list[pricelist.Entry]) -> dict[str, Any]:
    """The filters as they stand in the address; nonsense filters nothing. With what can be chosen."""
    vendors = sorted({entry.model.vendor for entry in every})
    there = {entry.model.kind for entry in every}
    kinds = [(value, label) for value, label in Model.Kind.choices if value in there]
    priced = {offer.plan.spec.type for entry in every for offer in entry.offers}
    types = [(value, label) for value, label in PriceVersion.Type.choices if value in priced]

    def one_of(name: str, known: Any) -> str:
        value = request.GET.get(name, "")
        return value if value in known else ""

    asked = {
        "q": request.GET.get("q", "").strip()[:80],
        "vendor": one_of("vendor", vendors),
        "kind": one_of("kind", dict(kinds)),
        "type": one_of("type", dict(types)),
        "discounted": one_of("discounted", ("1",)),
        "sort": one_of("sort", pricelist.SORTS),
    }
    return {"asked": asked, "vendors": vendors, "kinds": kinds, "types": types, "sorts": SORT_LABELS}


SORT_LABELS: Final = [
    ("input", _("Input, cheapest first")),
    ("-input", _("Input, dearest first")),
    ("output", _("Output, cheapest first")),
    ("-output", _("Output, dearest first")),
]


def _found(every: list[pricelist.Entry], asked: dict[str, str]) -> list[pricelist.Entry]:
    found = pricelist.chosen(
        every,
        text=asked["q"],
        vendor=asked["vendor"],
        kind=asked["kind"],
        type=asked["type"],
        discounted=bool(asked["discounted"]),
    )
    return pricelist.in_order(found, asked["sort"])


@require_safe
def pricing(request: HttpRequest) -> HttpResponse:
    """Every model and what it costs, a page at a time; unpriced ones say so. With the calculator for any model."""
    now, book, level, per = clock.now(), current_book(), level_of(request), _per(request)
    discount = level.discount if level else Decimal(1)
    every = pricelist.entries(book, now, discount)
    context = _asked(request, every)
    asked = context["asked"]
    found = _found(every, asked)
    after = request.GET.get("after", "")
    start = int(after) if after.isascii() and after.isdigit() and len(after) < 7 else 0
    context |= {
        "lines": [pricelist.line(entry, pricelist.PER[per]) for entry in found[start : start + PAGE]],
        "found_count": len(found),
        "first": start + 1,
        "last": min(start + PAGE, len(found)),
        "following": start + PAGE if start + PAGE < len(found) else None,
        "more": min(PAGE, len(found) - start - PAGE),
        "filters": urlencode({name: value for name, value in asked.items() if value}),
        "per": per,
        "all_count": len(every),
        "level": level,
        "channels": [channel for channel in book.channels.values() if channel.active],
    }
    target = request.htmx.target if request.htmx else None  # type: ignore[attr-defined]
    if target == "price-list-more":
        return _varied(render(request, "pricing/rows.html", context))
    if target != "price-list":
        context |= context_of(asked_of(request.GET, book, discount, now), book)
        return _varied(render(request, "pricing/list.html", context))
    response = _varied(render(request, "pricing/table.html", context))
    told = {name: value for name, value in (asked | {"per": per}).items() if value and value != UNITS[0]}
    response["HX-Push-Url"] = f"{request.path}?{urlencode(told)}" if told else request.path
    return response


@require_safe
def pricing_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The list that the filters leave, as a table: a row for each channel and tier, every component, list and yours."""
    now, book, level = clock.now(), current_book(), level_of(request)
    discount = level.discount if level else Decimal(1)
    every = pricelist.entries(book, now, discount)
    found = _found(every, _asked(request, every)["asked"])
    tables = (
        [row for entry in found[start : start + PAGE] for row in pricelist.rows(entry, discount)]
        for start in range(0, len(found), PAGE)
    )
    return stream(request, pricelist.COLUMNS, tables, name=f"prices-{now:%Y-%m-%d}")


@require_safe
def model(request: HttpRequest, slug: str) -> HttpResponse:
    """One model: what it costs on each channel and for the reader, what it cost before, and a calculator."""
    now, book, level, per = clock.now(), current_book(), level_of(request), _per(request)
    discount = level.discount if level else Decimal(1)
    entry = pricelist.entry_of(book, slug, now, discount)
    if entry is None:
        raise Http404
    if request.htmx and request.htmx.target == "drawer-content":  # type: ignore[attr-defined]
        offers = [(one, pricelist.tiers(one, pricelist.PER[per])) for one in entry.offers]
        context = {"entry": entry, "offers": offers, "per": per, "level": level, "types": pricelist.TYPES}
        return _varied(render(request, "pricing/components_drawer.html", context))
    wanted = request.GET.get("channel", "")
    offer = next((one for one in entry.offers if one.channel.code == wanted), entry.offer)
    context = {"entry": entry, "offer": offer, "per": per, "level": level, "discount": discount}
    if offer is not None:
        rule = entry.model.image_rule if offer.plan.base is not None else None
        context["images"] = images = image_text.question(rule, request.GET) if rule is not None else None
        calculation = calculator.calculate(offer, discount, request.GET, images)
        context["calculation"] = calculation
        context["flows"] = book.flow_terms.cost(calculation.sheet, now=now) if calculation.sheet else None
        if request.htmx and request.htmx.target == "calculation":  # type: ignore[attr-defined]
            return _varied(render(request, "pricing/calculation.html", context))
        context |= {
            "tiers": pricelist.tiers(offer, pricelist.PER[per]),
            "type": pricelist.TYPES[offer.plan.spec.type],
            "unit": pricelist.line(pricelist.Entry(entry.model, entry.kind, [offer]), pricelist.PER[per]).unit,
        }
    context["description"] = Model.objects.filter(pk=entry.model.id).values_list("description", flat=True).first()
    context["histories"] = [
        (channel, past)
        for channel in book.channels.values()
        if channel.active and (past := pricelist.history(book, slug, channel.code, now, pricelist.PER[per]))
    ]
    return _varied(render(request, "pricing/model.html", context))


def _varied(response: HttpResponse) -> HttpResponse:
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response
