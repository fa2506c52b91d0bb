"""What is worth a second look before a plan's version is published: sentences, not refusals (C07, F068, F075)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.catalog.book import current_book
from billing.catalog.plans import plain
from subscriptions import plans
from subscriptions.equivalence import period_of, week_of
from subscriptions.models import Plan, PlanVersion, Subscription

if TYPE_CHECKING:
    from subscriptions.publishing import Terms

MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence. `warning` stands out; the others only say what will happen."""

    code: str
    text: Any
    warning: bool = True


def look(
    plan: Plan,
    base: PlanVersion,
    terms: Terms,
    *,
    removed: list[str],
    added: list[str],
    start: datetime,
    later: PlanVersion | None,
    now: datetime,
) -> list[Finding]:
    """Warnings first, then what will happen."""
    found = [*_quotas(terms), *_models(plan, removed, added, now), *_neighbours(plan, terms, start), *_next(later)]
    if not terms.enforce_period_cap:
        found.append(
            Finding(
                "cap_off",
                _("The period refuses nothing: five weekly windows in thirty days come to %(flows)s Flows.")
                % {"flows": plain(5 * terms.flows_week)},
            )
        )
    return sorted([*found, *_whom(plan, base, terms)], key=lambda one: not one.warning)


def _quotas(terms: Terms) -> list[Finding]:
    """The relations of C07."""
    found = []
    week, period = week_of(terms.flows_5h), period_of(terms.flows_week)
    if terms.flows_week != week:
        found.append(
            Finding(
                "week",
                _("A week is usually five hours × 10.08: that would be %(flows)s Flows.") % {"flows": plain(week)},
            )
        )
    if terms.flows_period != period:
        found.append(
            Finding(
                "period",
                _("A period is usually a week × 30/7: that would be %(flows)s Flows.") % {"flows": plain(period)},
            )
        )
    if not terms.flows_5h <= terms.flows_week <= terms.flows_period:
        found.append(Finding("order", _("A shorter window allows more than a longer one: it can never be used up.")))
    return found


def _models(plan: Plan, removed: list[str], added: list[str], now: datetime) -> list[Finding]:
    found = []
    if removed:
        text = (
            _("Accounts on the Free plan lose at once: %(models)s.")
            if plan.code == plans.FREE
            else _("New subscribers will not have: %(models)s. Present ones keep them.")
        )
        found.append(Finding("removed", text % {"models": _named(removed)}))
    book = current_book()
    priced = {price.plan.spec.model for price in book.prices(now)}
    idle = [slug for slug in added if slug not in priced or (slug in book.models and book.models[slug].coming_soon)]
    if idle:
        found.append(
            Finding(
                "idle",
                _("Cannot be called yet, without a price or still to come: %(models)s.") % {"models": _named(idle)},
            )
        )
    return found


def _neighbours(plan: Plan, terms: Terms, start: datetime) -> list[Finding]:
    """A larger plan promises at least what a smaller one does."""
    found = []
    for other in plans.current_plans().on_offer(start):
        if other.code == plan.code:
            continue
        larger, smaller = (terms, other) if plan.rank > other.rank else (other, terms)
        names = (plan.name, other.name) if plan.rank > other.rank else (other.name, plan.name)
        less = [
            label
            for label, more, fewer in (
                (_("Flows in a billing period"), larger.flows_period, smaller.flows_period),
                (_("requests a minute"), Decimal(larger.rpm), Decimal(smaller.rpm)),
                (_("price"), larger.price_usd, smaller.price_usd),
                (_("models"), _slugs(larger) >= _slugs(smaller), True),
            )
            if more < fewer
        ]
        if less:
            said = {"larger": names[0], "smaller": names[1], "what": ", ".join(str(one) for one in less)}
            found.append(Finding("neighbour", _("%(larger)s would have less than %(smaller)s: %(what)s.") % said))
    return found


def _slugs(one: Any) -> frozenset[str]:
    return frozenset(one.models if isinstance(one, plans.Terms) else one.model_slugs)


def _next(later: PlanVersion | None) -> list[Finding]:
    if later is None:
        return []
    said = {"number": later.number, "at": f"{later.effective_from:%Y-%m-%d %H:%M}"}
    return [Finding("later", _("Version %(number)s takes over at %(at)s UTC; it was published before.") % said)]


def _whom(plan: Plan, base: PlanVersion, terms: Terms) -> list[Finding]:
    if plan.code == plans.FREE:
        said = _(
            "Every account on the Free plan has the new models and requests a minute from the start on; "
            "a billing period that is open keeps its quotas."
        )
        return [Finding("free", said, warning=False)]
    count = Subscription.objects.filter(plan_version__plan=plan, status__in=Subscription.IN_FORCE).count()
    kept = ngettext(
        "%(count)s subscriber keeps the terms subscribed to until the plan is changed.",
        "%(count)s subscribers keep the terms subscribed to until they change their plan.",
        count,
    ) % {"count": f"{count:,}"}
    found = [Finding("kept", kept, warning=False)]
    if terms.price_usd != base.price_usd:
        said = _(
            "The price goes from $%(before)s to $%(after)s for new subscribers only; "
            "the provider gets a new price with the first of them."
        )
        told = {"before": plain(base.price_usd), "after": plain(terms.price_usd)}
        found.append(Finding("price", said % told, warning=False))
    return found


def _named(slugs: list[str]) -> str:
    shown = ", ".join(slugs[:MOST_NAMED])
    return shown if len(slugs) <= MOST_NAMED else f"{shown} (+{len(slugs) - MOST_NAMED})"
