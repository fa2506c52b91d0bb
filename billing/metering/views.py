"""Usage details: what was spent and on what, each call, and how its charge came about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Case, When
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_safe

from accounts.access import current_account
from accounts.models import Account, ApiKey
from billing.books.entries import lines_of, tell
from billing.books.models import JournalEntry
from billing.catalog.book import Book, ModelCard, current_book
from billing.metering import filters, rollups, sheet
from billing.metering.adjusted import adjustments_of
from billing.metering.filters import Asked
from billing.metering.models import Funding, UsageRecord
from billing.metering.models_rerating import ChargeAdjustment, Correction
from billing.metering.rollups import Scope, Sums
from billing.paging import batches, by_time_and_id, capped_count, page
from config import clock
from config.exports import stream

BY_TIME: Final = by_time_and_id("authorized_at")
MEASURED_CALLS: Final = 1_000
ZERO: Final = Decimal(0)
BOM: Final = "\ufeff"  # without it spreadsheets read UTF-8 as something else


def account_of(request: HttpRequest) -> Account:
    """The account in force; someone without one has nothing here."""
    account = current_account(request)
    if account is None:
        raise Http404
    return account


@require_safe
@login_required
def details(request: HttpRequest) -> HttpResponse:
    """Totals and chart, what made them, and the calls."""
    account, now, book = account_of(request), clock.now(), current_book()
    asked = filters.read(request.GET, account.pk, book)
    scope = asked.scope(now.date())
    cards = {card.id: card for card in book.models.values()}
    keys = {key.pk: key for key in ApiKey.objects.filter(account=account).order_by("-created_at")[:500]}
    by_day = rollups.sums(scope, by=["day", "model_id"])
    shown = page(asked.rows(), BY_TIME, request.GET)
    found = _count(asked, by_day)
    return render(
        request,
        "billing/details.html",
        {
            "asked": asked,
            "scope": scope,
            "default_period": not (asked.first or asked.last),
            "days": (scope.last - scope.first).days + 1 if scope.last and scope.first else 0,
            "totals": _totals(by_day),
            "chart": _chart(by_day, scope, cards),
            "made": _what_made_it(asked, scope, book),
            "measured": MEASURED_CALLS,
            "rows": [_row(record, cards, keys) for record in shown.rows],
            "page": shown,
            "found": found,
            "models": _model_options(asked, scope, by_day, cards),
            "keys": [(key.pk, f"{key.name} {key.masked}") for key in keys.values()],
            "paid_by": filters.PAID_BY,
        },
    )


def _count(asked: Asked, by_day: list[Sums]) -> dict[str, Any]:
    """How many calls the list holds: from the rollups where they can tell, else counted up to a limit."""
    if asked.request_id or asked.paid_by == filters.NOT_CHARGED:
        number, more = capped_count(asked.rows())
        return {"calls": number, "more": more, "period": False}
    return {"calls": sum(row.calls for row in by_day), "more": False, "period": not (asked.first and asked.last)}


def _totals(by_day: list[Sums]) -> dict[str, Any]:
    return {
        "charge": sum((row.charge for row in by_day), ZERO),
        "flows": sum((row.flows for row in by_day), ZERO),
        "calls": sum(row.calls for row in by_day),
        "input": sum(row.input_tokens for row in by_day),
        "output": sum(row.output_tokens for row in by_day),
        "cache_read": sum(row.cache_read_tokens for row in by_day),
        "cache_write": sum(row.cache_write_tokens for row in by_day),
    }


def _chart(by_day: list[Sums], scope: Scope, cards: dict[int, ModelCard]) -> dict[str, Any] | None:
    """Cost per day: the dearest model, and the others on top of it. Flows where only Flows were spent."""
    if not by_day or scope.first is None or scope.last is None:
        return None
    in_flows = not any(row.charge for row in by_day) and any(row.flows for row in by_day)
    amounts: dict[int | None, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in by_day:
        if row.day is not None:
            amounts[row.model_id][row.day] += row.flows if in_flows else row.charge
    ranked = sorted(amounts, key=lambda model: -sum(amounts[model].values()))
    top, others = ranked[0], ranked[1:]
    days = [scope.first + timedelta(days=n) for n in range((scope.last - scope.first).days + 1)]
    series: list[dict[str, Any]] = [
        {"name": _name(cards, top), "data": [str(amounts[top].get(day, ZERO)) for day in days], "color": "primary"}
    ]
    if others:
        rest = [str(sum((amounts[model].get(day, ZERO) for model in others), ZERO)) for day in days]
        series.append({"name": _("other models"), "data": rest, "color": "azure"})
    labels = [f"{day:%m-%d}" if len(days) < 300 else f"{day:%Y-%m-%d}" for day in days]
    return {
        "type": "bar",
        "unit": "flows" if in_flows else "usd",
        "labels": labels,
        "series": series,
        "stacked": True,
        "legend": False,
    }


def _name(cards: dict[int, ModelCard], model_id: int | None) -> str:
    card = cards.get(model_id) if model_id is not None else None
    return card.name if card else "–"


def _model_options(
    asked: Asked, scope: Scope, by_day: list[Sums], cards: dict[int, ModelCard]
) -> list[tuple[str, str]]:
    """The models used in the period, and the one chosen even if it was not used."""
    if asked.narrowed:
        by_day = rollups.sums(Scope(scope.account_id, first=scope.first, last=scope.last), by=["model_id"])
    used = {row.model_id for row in by_day} | {asked.model_id}
    chosen = [cards[model] for model in used if model is not None and model in cards]
    return [(card.slug, card.name) for card in sorted(chosen, key=lambda card: card.name.lower())]


def _what_made_it(asked: Asked, scope: Scope, book: Book) -> dict[str, Any] | None:
    """The cost of the period's last calls by what was used."""
    if scope.first is None or scope.last is None or asked.paid_by in (Funding.SUBSCRIPTION, filters.NOT_CHARGED):
        return None
    calls = asked.rows().filter(
        authorized_at__gte=rollups.start_of(scope.first),
        authorized_at__lt=rollups.start_of(scope.last + timedelta(days=1)),
    )
    read = list(calls.order_by("-authorized_at", "-pk").values_list("charge", *sheet.MEASURED)[:MEASURED_CALLS])
    kinds = sheet.what_made_it((row[1:] for row in read if row[0]), book)
    if not kinds:
        return None
    total = sum((kind.amount for kind in kinds), ZERO)
    return {"kinds": kinds, "total": total, "of": len(read), "capped": len(read) == MEASURED_CALLS}


def _row(record: UsageRecord, cards: dict[int, ModelCard], keys: dict[UUID, ApiKey]) -> dict[str, Any]:
    card = cards.get(record.model_id)
    return {
        "record": record,
        "model": card.name if card else "–",
        "slug": card.slug if card else "",
        "task": record.kind != "call",
        "key": keys.get(record.api_key_id) if record.api_key_id else None,
        "units": units_of(record.usage),
        "tokens": bool(record.input_tokens or record.output_tokens),
    }


def units_of(usage: dict[str, Any]) -> str:
    """What a call without tokens delivered: `2 images`, `8 s`."""
    if usage.get("seconds") is not None:
        return pgettext("seconds", "%(number)s s") % {"number": f"{Decimal(usage['seconds']).normalize():f}"}
    if usage.get("images") is not None:
        return pgettext("images", "%(number)s images") % {"number": usage["images"]}
    if usage.get("width") is not None and usage.get("height") is not None:
        return f"{usage['width']} × {usage['height']}"
    if usage.get("requests") is not None:
        return pgettext("requests", "%(number)s requests") % {"number": usage["requests"]}
    return ""


@require_safe
@login_required
def details_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The list as it is filtered, all of it."""
    account, book = account_of(request), current_book()
    asked = filters.read(request.GET, account.pk, book)
    cards = {card.id: card for card in book.models.values()}
    keys = {key.pk: key for key in ApiKey.objects.filter(account=account)}
    channels = {channel.id: channel.code for channel in book.channels.values()}

    def tables() -> Iterator[list[list[Any]]]:
        # Plain rows of what the file needs: a million model instances would take twice as long.
        rows = asked.rows().annotate(delivered=Case(When(input_tokens=0, output_tokens=0, then="usage")))
        for records in batches(rows.values_list(*_CSV_READS, named=True), BY_TIME):
            yield [_csv_line(record, cards, keys, channels, book) for record in records]

    return stream(request, _csv_header(), tables(), name=f"usage-{account.pk}")


_CSV_READS: Final = (
    "pk", "authorized_at", "request_id", "trace_id", "model_id", "channel_id", "price_version_id", "api_key_id",
    "funding", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "delivered", "list_price",
    "channel_discount", "user_discount", "charge", "flows", "late", "duplicate_of", "entry_id",
)  # fmt: skip


def _csv_header() -> list[str]:
    columns = [
        _("Time (UTC)"), _("Request ID"), _("Trace ID"), _("Model"), _("Channel"), _("Price version"), _("Key"),
        _("Masked key"), _("Paid by"), _("Input tokens"), _("Output tokens"), _("Cache read"), _("Cache write"),
        _("Delivered"), _("List price, USD"), _("Channel discount"), _("User discount"), _("Charge, USD"), _("Flows"),
        _("Late"), _("Duplicate of"), _("Call"), _("Entry"),
    ]  # fmt: skip
    return [BOM + columns[0], *columns[1:]]


def _csv_line(
    record: Any,
    cards: dict[int, ModelCard],
    keys: dict[UUID, ApiKey],
    channels: dict[int, str],
    book: Book,
) -> list[Any]:
    card, key = cards.get(record.model_id), keys.get(record.api_key_id) if record.api_key_id else None
    return [
        record.authorized_at, record.request_id, record.trace_id, card.slug if card else "",
        channels.get(record.channel_id, ""), _version_number(book, record.price_version_id), key.name if key else "",
        key.masked if key else "", record.funding if record.charge or record.flows else filters.NOT_CHARGED,
        record.input_tokens, record.output_tokens, record.cache_read_tokens, record.cache_write_tokens,
        units_of(record.delivered or {}), record.list_price, record.channel_discount, record.user_discount,
        record.charge, record.flows, record.late, record.duplicate_of, record.pk, record.entry_id,
    ]  # fmt: skip


def _version_number(book: Book, version_id: int) -> int | None:
    try:
        return book.price_of(version_id).number
    except KeyError:
        return None


@require_safe
@login_required
def call(request: HttpRequest, record_id: UUID) -> HttpResponse:
    """One call's calculation: a page of its own, or what fills the drawer."""
    account, book = account_of(request), current_book()
    record = get_object_or_404(UsageRecord.objects.visible_to(request.user), pk=record_id, account=account)
    cards = {card.id: card for card in book.models.values()}
    channel = next((one for one in book.channels.values() if one.id == record.channel_id), None)
    key = ApiKey.objects.filter(pk=record.api_key_id, account=account).first() if record.api_key_id else None
    response = render(
        request,
        "billing/call_drawer.html" if request.htmx and not request.htmx.boosted else "billing/call.html",  # type: ignore[attr-defined]
        {
            **_row(record, cards, {key.pk: key} if key else {}),
            "explained": sheet.explain(record, book),
            "channel": channel,
            "parts": sheet.paid_from(record),
            "adjustments": adjustments_of(record),
            "duplicates": sheet.duplicates(record),
        },
    )
    patch_vary_headers(response, ["HX-Request"])
    return response


@require_safe
@login_required
def entry(request: HttpRequest, entry_id: UUID) -> HttpResponse:
    """One journal entry: its lines in words, and the calls that it charged."""
    account, book = account_of(request), current_book()
    row = get_object_or_404(JournalEntry.objects.visible_to(request.user), pk=entry_id, account=account)
    cards = {card.id: card for card in book.models.values()}
    keys = {key.pk: key for key in ApiKey.objects.filter(account=account).order_by("-created_at")[:500]}
    shown, note = None, ""
    if row.kind == JournalEntry.Kind.USAGE:
        # The entry and its records were written at one moment; the index by that moment finds them.
        records = UsageRecord.objects.filter(account=account, entry_id=row.pk, created_at=row.at)
        shown = page(records, BY_TIME, request.GET, size=25)
    if row.kind == JournalEntry.Kind.USAGE_ADJUSTMENT:
        changed = ChargeAdjustment.objects.filter(account=account, entry_id=row.pk)
        records = UsageRecord.objects.filter(account=account, pk__in=changed.values("record_id"))
        shown = page(records, BY_TIME, request.GET, size=25)
        note = Correction.objects.filter(pk=row.meta.get("correction")).values_list("note", flat=True).first() or ""
    return render(
        request,
        "billing/entry.html",
        {
            "entry": row,
            "told": tell([row])[0],
            "lines": lines_of(row),
            "note": note,
            "rows": [_row(record, cards, keys) for record in shown.rows] if shown else [],
            "page": shown,
        },
    )
