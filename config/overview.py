"""What the first page of the portal tells: money left, money spent, the last calls, and the way to the first call."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Account, ApiKey
from billing.books.models import CreditGrant
from billing.catalog.book import DEFAULT_CHANNEL, current_book
from billing.metering import rollups
from billing.metering.models import UsageRecord

DAYS = 30
NAMED_MODELS = 5
ZERO = Decimal(0)
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Spend:
    """USD and calls in a stretch of time."""

    charge: Decimal
    calls: int


def spent_since(account_id: UUID, since: datetime) -> Spend:
    """What was charged from then on, read from the calls themselves."""
    sums = UsageRecord.objects.filter(account_id=account_id, authorized_at__gte=since).aggregate(
        charge=Sum("charge"), calls=Count("pk")
    )
    return Spend(sums["charge"] or ZERO, sums["calls"])


def today(now: datetime) -> datetime:
    """Midnight of the reader's day."""
    return timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)


def month(account_id: UUID, now: datetime) -> dict[str, Any] | None:
    """The chart of the last `DAYS` days in UTC, its total, and the share of each model; None when nothing was used."""
    days = [(now - timedelta(days=back)).date() for back in reversed(range(DAYS))]
    rows = rollups.sums(rollups.Scope(account_id, first=days[0], last=days[-1]), by=("day", "model_id"))
    if not rows:
        return None
    names = {card.id: card.name for card in current_book().models.values()}
    by_model: dict[str, Decimal] = defaultdict(Decimal)
    cells: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        name = names.get(row.model_id or 0, NOTHING)
        by_model[name] += row.charge
        if row.day is not None:
            cells[row.day, name] += row.charge
    ranked = sorted(by_model, key=lambda name: (-by_model[name], name))
    named, others = ranked[:NAMED_MODELS], ranked[NAMED_MODELS:]
    series = [{"name": name, "data": [str(cells.get((day, name), ZERO)) for day in days]} for name in named]
    if others:
        rest = [str(sum((cells.get((day, name), ZERO) for name in others), ZERO)) for day in days]
        series.append({"name": _("other models"), "data": rest, "color": "gray-400"})
    total = sum(by_model.values(), ZERO)
    top = [
        {"name": name, "charge": by_model[name], "share": by_model[name] / total if total else ZERO} for name in named
    ]
    return {
        "total": total,
        "calls": sum(row.calls for row in rows),
        "top": top,
        "others": {"count": len(others), "charge": sum((by_model[name] for name in others), ZERO)} if others else None,
        "chart": {"type": "bar", "unit": "usd", "labels": [f"{day:%m-%d}" for day in days], "series": series},
    }


def last_calls(account_id: UUID, limit: int = 8) -> Any:
    """The newest calls."""
    newest = UsageRecord.objects.filter(account_id=account_id).select_related("model", "api_key")
    return newest.order_by("-authorized_at", "-pk")[:limit]


def first_steps(account: Account, *, verified: bool) -> list[dict[str, Any]] | None:
    """Verify, top up, make a key, call; None once all of it is done."""
    steps = [
        {
            "done": verified,
            "title": _("Confirm your e-mail address"),
            "path": "/accounts/email/",
            "action": _("Confirm"),
        },
        {
            "done": CreditGrant.objects.filter(account=account).exists(),
            "title": _("Top up"),
            "text": _("Start with a small amount and see that your tool works with it."),
            "path": "/billing/top-up",
            "action": _("Top up"),
        },
        {
            "done": ApiKey.objects.filter(account=account).exists(),
            "title": _("Make an API key"),
            "text": _("Its secret is shown once; keep it where your program can read it."),
            "path": "/keys",
            "action": _("Make a key"),
        },
        {
            "done": UsageRecord.objects.filter(account_id=account.pk).exists(),
            "title": _("Make the first call"),
            "text": _("It appears here within a second, with its price and how that came about."),
            "path": "/pricing",
            "action": _("See models"),
        },
    ]
    return None if all(step["done"] for step in steps) else steps


# Shown first while they are in the price list; then one model of each vendor that has most of them.
WELL_KNOWN = (
    "anthropic/claude-opus-4.6",
    "anthropic/claude-sonnet-4.5",
    "openai/gpt-5.2",
    "openai/gpt-5-mini",
    "google/gemini-3-pro-preview",
    "google/gemini-2.5-flash",
    "deepseek/deepseek-chat",
    "moonshotai/kimi-k2.5",
)


def price_glance(now: datetime, limit: int = 8) -> list[dict[str, Any]]:
    """A few models with their list price per million tokens on the default channel."""
    book = current_book()
    rows: dict[str, dict[str, Any]] = {}
    offered: dict[str, int] = defaultdict(int)
    for price in book.prices(now):
        spec = price.plan.spec
        model = book.models[spec.model]
        if spec.channel != DEFAULT_CHANNEL or not model.active or model.coming_soon or model.kind != "chat":
            continue
        if spec.input_per_1k is None or spec.output_per_1k is None or spec.free:
            continue
        offered[model.vendor] += 1
        rows[model.slug] = {
            "name": model.name,
            "slug": model.slug,
            "vendor": model.vendor,
            "context": model.context_window,
            "input": spec.input_per_1k * 1000,
            "output": spec.output_per_1k * 1000,
        }
    chosen = [rows.pop(slug) for slug in WELL_KNOWN if slug in rows]
    seen = {row["vendor"] for row in chosen}
    for row in sorted(
        rows.values(), key=lambda row: (-offered[row["vendor"]], row["vendor"], -row["output"], row["slug"])
    ):
        if row["vendor"] not in seen:
            seen.add(row["vendor"])
            chosen.append(row)
    return chosen[:limit]


def model_count() -> int:
    """How many models are in the price list."""
    return sum(1 for model in current_book().models.values() if model.active)
