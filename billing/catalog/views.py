"""The price list, and a model's page with every component, its history and a calculator. Anyone may read them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from accounts.access import current_account
from accounts.models import BenefitLevel
from billing.catalog import calculator, image_text, pricelist
from billing.catalog.book import current_book
from billing.catalog.models import Model
from config import clock

UNITS: Final = ("1m", "1k")


def _level(request: HttpRequest) -> BenefitLevel | None:
    """The benefit level of the account in force, whose discount makes *your* price (F018, F043)."""
    account = current_account(request)
    return account.benefit_level if account else None


def _per(request: HttpRequest) -> str:
    per = request.GET.get("per", "1m")
    return per if per in UNITS else "1m"


@require_safe
def pricing(request: HttpRequest) -> HttpResponse:
    """Every model and what it costs; unpriced ones say so."""
    now, book, level, per = clock.now(), current_book(), _level(request), _per(request)
    every = pricelist.entries(book, now, level.discount if level else Decimal(1))
    vendors = sorted({entry.model.vendor for entry in every})
    kinds = [(value, label) for value, label in Model.Kind.choices if any(entry.model.kind == value for entry in every)]
    asked = {
        "q": request.GET.get("q", "").strip()[:80],
        "vendor": request.GET.get("vendor", "") if request.GET.get("vendor") in vendors else "",
        "kind": request.GET.get("kind", "") if request.GET.get("kind") in dict(kinds) else "",
    }
    found = pricelist.chosen(every, text=asked["q"], vendor=asked["vendor"], kind=asked["kind"])
    context = {
        "asked": asked,
        "lines": [pricelist.line(entry, pricelist.PER[per]) for entry in found],
        "per": per,
        "all_count": len(every),
        "unpriced": sum(not entry.offers for entry in every),
        "vendors": vendors,
        "kinds": kinds,
        "level": level,
        "channels": [channel for channel in book.channels.values() if channel.active],
    }
    partial = request.htmx and request.htmx.target == "price-list"  # type: ignore[attr-defined]
    response = _varied(render(request, "pricing/table.html" if partial else "pricing/list.html", context))
    if partial:
        told = {name: value for name, value in (asked | {"per": per}).items() if value and value != UNITS[0]}
        response["HX-Push-Url"] = f"{request.path}?{urlencode(told)}" if told else request.path
    return response


@require_safe
def model(request: HttpRequest, slug: str) -> HttpResponse:
    """One model: what it costs on each channel and for the reader, what it cost before, and a calculator."""
    now, book, level, per = clock.now(), current_book(), _level(request), _per(request)
    discount = level.discount if level else Decimal(1)
    entry = next((one for one in pricelist.entries(book, now, discount) if one.model.slug == slug), None)
    if entry is None:
        raise Http404
    wanted = request.GET.get("channel", "")
    offer = next((one for one in entry.offers if one.channel.code == wanted), entry.offer)
    context: dict[str, Any] = {"entry": entry, "offer": offer, "per": per, "level": level, "discount": discount}
    if offer is not None:
        rule = entry.model.image_rule if offer.plan.base is not None else None
        context["images"] = images = image_text.question(rule, request.GET) if rule is not None else None
        context["calculation"] = calculator.calculate(offer, discount, request.GET, images)
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
    patch_vary_headers(response, ["HX-Request"])
    return response
