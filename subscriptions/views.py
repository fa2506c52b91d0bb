"""`/platform/subscription`: the Flow cockpit, where Flows go, and which plan would have been cheapest."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import current_account
from accounts.models import Account, ApiKey
from billing.catalog.book import current_book
from billing.metering.models import Funding
from config import clock
from subscriptions import advising, cockpit, flow_use, standing, views_extra, views_invoices, views_plan
from subscriptions.advising import Advice
from subscriptions.cockpit import Cockpit
from subscriptions.flow_use import DIMENSIONS, Line

ADVICE_KEPT_SECONDS: Final = 300
MOST_LINES: Final = 12
NOTHING_USED: Final = "nothing used"
CARDS: Final = {
    "extra": ("subscriptions/extra_usage_card.html", "extra:page"),
    "keys": ("subscriptions/keys_card.html", "metering:keys"),
    "history": ("subscriptions/billing_history.html", "plan:history"),
}


def _account(request: HttpRequest) -> Account:
    account = current_account(request)
    if account is None:
        raise Http404
    return account


def _by(request: HttpRequest) -> str:
    asked = request.GET.get("by", "")
    return asked if asked in DIMENSIONS else "key"


@views_plan.to_provider
@require_safe
@never_cache
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """The three counters, what happens next, and the plan; the other cards are asked for by the page."""
    account, now = _account(request), clock.now()
    seen = cockpit.read(account.pk, now=now)
    return render(
        request,
        "subscriptions/cockpit.html",
        {
            "cockpit": seen,
            "now": now,
            "counters": list(zip(seen.counters, seen.forecasts, strict=True)),
            **_flows(account, seen, _by(request)),
            **views_plan.card_context(request, account),
        },
    )


@require_safe
@never_cache
@login_required
def card(request: HttpRequest, name: str) -> HttpResponse:
    """One of the page's further cards; opened by itself, the page of its own that it has."""
    account, now = _account(request), clock.now()
    template, alone = CARDS[name]
    if not request.htmx:  # type: ignore[attr-defined]
        answer = HttpResponse(status=302, headers={"Location": reverse(alone)})
        patch_vary_headers(answer, ["HX-Request"])
        return answer
    if name == "extra":
        context = views_extra.card_context(request, account, now=now)
        context["back"] = reverse("subscriptions:cockpit")
    elif name == "keys":
        context = views_extra.keys_context(request, account, now=now)
    else:
        context = views_invoices.history_context(request, account, size=views_invoices.NEWEST_SHOWN)
    return render(request, template, context)


@require_safe
@never_cache
@login_required
def flows(request: HttpRequest) -> HttpResponse:
    """Where Flows go, alone: what a tab loads."""
    account, now = _account(request), clock.now()
    if not request.htmx:  # type: ignore[attr-defined]
        return _back(request)
    seen = cockpit.read(account.pk, now=now)
    return render(request, "subscriptions/flows.html", {"now": now, **_flows(account, seen, _by(request))})


def _back(request: HttpRequest) -> HttpResponse:
    """A part's address, opened by itself, leads to the page that holds it."""
    answer = HttpResponse(status=302, headers={"Location": f"{reverse('subscriptions:cockpit')}?by={_by(request)}"})
    patch_vary_headers(answer, ["HX-Request"])
    return answer


def _flows(account: Account, seen: Cockpit, by: str) -> dict[str, Any]:
    """The tab's table: share, Flows and calls of each line, and where its calls are listed."""
    start = seen.period_start
    lines = flow_use.used_since(account.pk, start, by=by, now=seen.now) if start else []
    total = sum((line.flows for line in lines), flow_use.NOTHING)
    shown = lines if by == "day" else lines[:MOST_LINES]
    rest = lines[len(shown) :]
    names = _names(account, shown, by)
    return {
        "by": by,
        "flows_start": start,
        "flows_total": total,
        "flows_scale": max((line.flows for line in lines), default=total) if by == "day" else total,
        "flow_calls": sum(line.calls for line in lines),
        "flow_lines": [
            {"line": line, "name": names.get(line.of), "url": _calls_url(line, by, seen, names)} for line in shown
        ],
        "flow_rest": {
            "count": len(rest),
            "flows": sum((line.flows for line in rest), flow_use.NOTHING),
            "calls": sum(line.calls for line in rest),
        },
    }


def _names(account: Account, lines: list[Line], by: str) -> dict[Any, Any]:
    """Keys by id, models by id; a day names itself."""
    wanted = [line.of for line in lines if line.of is not None]
    if by == "key":
        return {key.pk: key for key in ApiKey.objects.filter(account=account, pk__in=wanted)} if wanted else {}
    if by == "model":
        return {card.id: card for card in current_book().models.values() if card.id in wanted}
    return {}


def _calls_url(line: Line, by: str, seen: Cockpit, names: dict[Any, Any]) -> str:
    """The line's calls in the list of all calls; that list goes by whole days in UTC."""
    first = seen.period_start.date() if seen.period_start else seen.now.date()
    told = {"paid": Funding.SUBSCRIPTION.value, "from": first.isoformat(), "to": seen.now.date().isoformat()}
    if by == "key" and line.of is not None:
        told["key"] = str(line.of)
    elif by == "model" and line.of in names:
        told["model"] = names[line.of].slug
    elif by == "day":
        told |= {"from": line.of.isoformat(), "to": line.of.isoformat()}
    return f"{reverse('metering:details')}?{urlencode(told)}"


@require_safe
@never_cache
@login_required
def advice(request: HttpRequest) -> HttpResponse:
    """Which plan would have been cheapest: what the page loads when it is read, or a page of its own."""
    account, now = _account(request), clock.now()
    found = _advice(account, now)
    whole = not request.htmx  # type: ignore[attr-defined]
    response = render(
        request,
        "subscriptions/advice_page.html" if whole else "subscriptions/advice.html",
        {"advice": found, "now": now, "days_are_few": found is not None and found.days < advising.FEW_DAYS},
    )
    patch_vary_headers(response, ["HX-Request"])
    return response


def _advice(account: Account, now: Any) -> Advice | None:
    """Kept for some minutes, while the plan is the same: it reads every call of thirty days."""
    plan = standing.of([account.pk], now=now)[account.pk].plan
    name = f"plan-advice:{account.pk}:{plan.id}:{now:%Y%m%d%H}"
    kept = cache.get(name)
    if kept is not None:
        return None if kept == NOTHING_USED else kept
    found = advising.advise(account.pk, now=now)
    cache.set(name, found or NOTHING_USED, ADVICE_KEPT_SECONDS)
    return found
