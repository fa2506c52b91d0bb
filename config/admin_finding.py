"""Finding rows among millions: counts that stop, dates that an index knows, look-ups by exact values only."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from config import clock

COUNT_LIMIT: Final = 5_000
RECENT: Final = timedelta(days=7)
"""How far back rows are looked for by something that no index knows."""


class Capped(int):
    """A count that stopped: `5,000+`."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class CappedPaginator(Paginator):
    """Counts no further than the limit, so that a list of ten million rows opens as fast as one of ten."""

    @cached_property
    def count(self) -> int:
        """How many rows; a `Capped` one when there are more."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        found = rows.order_by().values("pk")[: COUNT_LIMIT + 1].count()
        return Capped(COUNT_LIMIT) if found > COUNT_LIMIT else found


def first_id(since: datetime) -> UUID:
    """No UUIDv7 of a row written at or after this moment is below it.

    Ids made in Python carry the machine's time, which in development may be behind ours by the clock's offset.
    """
    moment = since - max(clock.offset(), timedelta()) - timedelta(seconds=1)
    return UUID(int=max(int(moment.timestamp() * 1000), 0) << 80)


class Since(SimpleListFilter):
    """Rows of the last hours or days, by the column that the desk names in `moment`.

    With `ids_by_time` the primary key, a UUIDv7, bounds the search, as no row is older than its id says.
    """

    title = _("time")
    parameter_name = "since"
    SPANS: Final = {
        "1h": (_("Last hour"), timedelta(hours=1)),
        "24h": (_("Last 24 hours"), timedelta(hours=24)),
        "7d": (_("Last 7 days"), timedelta(days=7)),
        "30d": (_("Last 30 days"), timedelta(days=30)),
    }

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: ModelAdmin[Any]) -> None:
        self.moment: str = model_admin.moment  # type: ignore[attr-defined]
        self.ids_by_time: bool = model_admin.ids_by_time  # type: ignore[attr-defined]
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        """The spans to choose from."""
        return [(code, label) for code, (label, _span) in self.SPANS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the span."""
        chosen = self.value()
        if chosen is None or chosen not in self.SPANS:
            return queryset
        since = clock.now() - self.SPANS[chosen][1]
        bounds: dict[str, Any] = {f"{self.moment}__gte": since}
        if self.ids_by_time:
            bounds["pk__gte"] = first_id(since)
        return queryset.filter(**bounds)


# --- Look-ups -------------------------------------------------------------------------------------------------------
def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None


def _text(term: str) -> str | None:
    return term if "\0" not in term else None


def _number(term: str) -> int | None:
    return int(term) if re.fullmatch(r"\d{1,15}", term) else None


def _email(term: str) -> str | None:
    return term.lower() if "@" in term else None


READ: Final[dict[str, Callable[[str], Any]]] = {
    "uuid": _uuid,
    "text": _text,
    "recent": _text,
    "number": _number,
    "email": _email,
}


def find(queryset: QuerySet[Any], term: str, finds: tuple[tuple[str, str], ...]) -> QuerySet[Any]:
    """The rows of the first look-up that has any. One after the other, as an OR of them would use no index."""
    for kind, lookup in finds:
        value = READ[kind](term)
        if value is None:
            continue
        found = queryset.filter(**{lookup: value})
        if kind == "recent":
            found = found.filter(pk__gte=first_id(clock.now() - RECENT))
        if found.exists():
            return found
    return queryset.none()
