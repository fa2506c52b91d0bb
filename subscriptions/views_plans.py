"""`/pricing/subscription`: the plans, what their Flows are worth now, which models, how many calls. Anyone may read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.formats import date_format
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts import access
from billing.catalog.book import Book, current_book
from billing.catalog.flow_terms import STANDARD, FlowTerm
from billing.catalog.models import Model
from config import clock
from subscriptions import offer, plan_calculator, standing
from subscriptions.models import Subscription
from subscriptions.offer import Offer
from subscriptions.plans import Terms, current_plans
from subscriptions.standing import Standing

CHECKOUT: Final = "/platform/subscription/checkout"
CHANGE: Final = "/platform/subscription/change"
CHART_POINTS: Final = 60
TERMS_SHOWN: Final = 6
EXAMPLE_PLAN: Final = "pro"


@dataclass(frozen=True, slots=True)
class Mine:
    """The reader's account: its plan, the one to come, and whether the reader may pay."""

    standing: Standing
    subscription: Subscription | None
    may_pay: bool

    @property
    def next_code(self) -> str:
        """The plan from the next period on, when that is another one."""
        held = self.subscription
        if held is None:
            return ""
        if held.cancel_at_period_end:
            return "free"
        return str(held.next_version.plan_id) if held.next_version else ""


@dataclass(frozen=True, slots=True)
class Card:
    """A plan as it stands on the page. `step`: visitor, current, next, get, upgrade or downgrade, with where it leads;
    `kept`: the reader's own, older version of this plan."""

    offer: Offer
    step: str
    url: str
    kept: Terms | None


def _mine(request: HttpRequest, now: datetime) -> Mine | None:
    account = access.current_account(request)
    if account is None:
        return None
    held = standing.of([account.pk], now=now)[account.pk]
    row = None
    if held.subscription:
        row = Subscription.objects.select_related("next_version").filter(pk=held.subscription).first()
    return Mine(held, row, access.may(access.role_in(request.user, account), "pay"))


def _card(one: Offer, mine: Mine | None, signed_in: bool) -> Card:
    terms = one.terms
    if mine is None:
        return Card(one, "get" if signed_in and not terms.free else "visitor", f"{CHECKOUT}?plan={terms.code}", None)
    plan = mine.standing.plan
    if terms.code == plan.code:
        return Card(one, "current", "", plan if plan.id != terms.id else None)
    if terms.code == mine.next_code:
        return Card(one, "next", "", None)
    if mine.standing.subscription is None:
        return Card(one, "get", f"{CHECKOUT}?plan={terms.code}", None)
    return Card(one, "upgrade" if terms.rank > plan.rank else "downgrade", f"{CHANGE}?plan={terms.code}", None)


def _rates(book: Book, now: datetime) -> dict[str, Any]:
    """The standard rate with its history, and what the other classes have."""
    term, history = book.flow_rate(STANDARD, now), book.flow_terms.history(STANDARD)
    return {
        "term": term,
        "about": term.flows_per_usd.quantize(Decimal(1), rounding=ROUND_HALF_UP) if term else None,
        "history": history[:TERMS_SHOWN],
        "coming": next((one for one in reversed(history) if one.effective_from > now), None),
        "insider": book.flow_rate("insider", now),
        "restricted": book.flow_rate("restricted", now),
        "rate_chart": _chart(history, now) if term else None,
    }


def _chart(history: Sequence[FlowTerm], now: datetime) -> dict[str, Any]:
    """Flows for a dollar over time, in steps, with today among them."""
    points = [(one.effective_from, one.flows_per_usd) for one in reversed(history[:CHART_POINTS])]
    past = [value for at, value in points if at <= now]
    if past:
        points.insert(len(past), (now, past[-1]))
    return {
        "type": "line",
        "labels": [date_format(timezone.localtime(at), "DATE_FORMAT") for at, _value in points],
        "series": [{"name": _("Flows for $1"), "data": [format(value.normalize(), "f") for _at, value in points]}],
        "unit": "flows",
        "stepped": True,
        "zero": False,
    }


def _ranges(offers: Sequence[Offer]) -> dict[str, Any]:
    """What the comparison says in figures: the least and the most of the paid plans (F085)."""
    paid = [one for one in offers if not one.terms.free]
    leverages = sorted(one.worth.leverage_shown for one in paid if one.worth and one.worth.leverage_shown)
    rpms = sorted(one.terms.rpm for one in paid)
    return {
        "least_leverage": leverages[0] if leverages else None,
        "most_leverage": leverages[-1] if leverages else None,
        "least_rpm": rpms[0] if rpms else None,
        "most_rpm": rpms[-1] if rpms else None,
    }


def _example(offers: Sequence[Offer]) -> dict[str, Decimal | str] | None:
    """A month of full weeks on one plan, in its own figures (C07, J20)."""
    one = next((offer for offer in offers if offer.terms.code == EXAMPLE_PLAN), offers[-1] if offers else None)
    if one is None:
        return None
    terms = one.terms
    return {
        "name": terms.name,
        "five_hours": terms.flows_5h,
        "week": terms.flows_week,
        "five_weeks": 5 * terms.flows_week,
        "period": terms.flows_period,
        "fifth": max(Decimal(0), terms.flows_period - 4 * terms.flows_week),
    }


def _models(request: HttpRequest, offers: Sequence[Offer]) -> dict[str, Any]:
    """The models that the filters leave, by vendor, with their descriptions."""

    def one_of(name: str, known: Any) -> str:
        value = request.GET.get(name, "")
        return value if value in known else ""

    described = dict(Model.objects.exclude(description="").values_list("pk", "description"))
    every = [line for _vendor, found in offer.lines(offers, described) for line in found]
    there = {line.card.kind for line in every}
    kinds = [(value, label) for value, label in Model.Kind.choices if value in there]
    asked = {
        "q": request.GET.get("q", "").strip()[:80],
        "of": one_of("of", [one.terms.code for one in offers]),
        "kind": one_of("kind", dict(kinds)),
    }
    found = offer.lines(offers, described, text=asked["q"], plan=asked["of"], kind=asked["kind"])
    return {
        "asked": asked,
        "kinds": kinds,
        "plan_choices": [(one.terms.code, one.terms.name) for one in offers],
        "groups": found,
        "found_count": sum(len(group) for _vendor, group in found),
        "all_count": len(every),
        "filtered": any(asked.values()),
    }


@require_safe
def plans(request: HttpRequest) -> HttpResponse:
    """The plans side by side; a part of the page for its search and its calculator."""
    now, book = clock.now(), current_book()
    offers = offer.on_offer(current_plans(), book, now)
    context: dict[str, Any] = {"offers": offers}
    target = request.htmx.target if request.htmx else None  # type: ignore[attr-defined]
    if target == "plan-models-found":
        context |= _models(request, offers)
        return _part(request, "subscriptions/plans_models_found.html", context, context["asked"])
    if target in ("plan-calculator", "plan-calculation"):
        told = {name: str(value) for name, value in request.GET.items() if name not in ("q", "of", "kind")}
        context["calculator"] = plan_calculator.asked_of(request.GET, book, offers, now)
        return _part(request, f"subscriptions/{target.replace('plan-', 'plans_')}.html", context, told)
    mine = _mine(request, now)
    context |= _rates(book, now) | _ranges(offers) | _models(request, offers)
    context |= {
        "shell": "base.html" if request.user.is_authenticated else "base_public.html",
        "as_of": now,
        "mine": mine,
        "cards": [_card(one, mine, request.user.is_authenticated) for one in offers],
        "example": _example(offers),
        "calculator": plan_calculator.asked_of(request.GET, book, offers, now),
    }
    return _varied(render(request, "subscriptions/plans.html", context))


def _part(request: HttpRequest, template: str, context: dict[str, Any], told: dict[str, str]) -> HttpResponse:
    response = render(request, template, context)
    kept = {name: value for name, value in told.items() if value}
    response["HX-Push-Url"] = f"{request.path}?{urlencode(kept)}" if kept else request.path
    return _varied(response)


def _varied(response: HttpResponse) -> HttpResponse:
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response
