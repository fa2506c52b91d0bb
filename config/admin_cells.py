"""How a value stands in the console: in a list's column, among a page's facts, in a table beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from config.templatetags import ui

NOTHING: Final = "–"
Show = Callable[[Any], Any]

# Columns without a name for people are called after themselves; here is what they are, in words that are translated.
LABELS: Final[dict[str, Any]] = {
    "account": _("account"),
    "api key": _("API key"),
    "calls": _("calls"),
    "channel": _("channel"),
    "charge": _("charge"),
    "check at": _("next check"),
    "checked at": _("last check"),
    "checks": _("checks"),
    "created by": _("created by"),
    "day": _("day"),
    "flows": _("Flows"),
    "funding": _("paid by"),
    "grant": _("credit grant"),
    "group": _("group"),
    "id": _("ID"),
    "input tokens": _("input tokens"),
    "ledger": _("ledger account"),
    "list price": _("list price"),
    "meta": _("details"),
    "model": _("model"),
    "next expiry at": _("next expiry"),
    "output tokens": _("output tokens"),
    "cache read tokens": _("cache read tokens"),
    "cache write tokens": _("cache write tokens"),
    "rotated from": _("successor of"),
    "seq": _("number"),
    "token": _("token"),
    "top up": _("order"),
    "user": _("user"),
    "uuid": _("UUID"),
}


def label_of(column: models.Field[Any, Any]) -> Any:
    """What a column is called on a page."""
    return LABELS.get(str(column.verbose_name), column.verbose_name)


# --- Values -------------------------------------------------------------------------------------------------------
def code(value: Any) -> str:
    """An identifier, in full, easy to select."""
    return format_html('<code class="mh-id">{}</code>', value) if value not in (None, "") else NOTHING


def short(value: Any) -> str:
    """An identifier for a narrow column: its end, which is where UUIDs of one time differ; the rest on hover."""
    text = str(value or "")
    return format_html('<code class="mh-id" title="{}">…{}</code>', text, text[-8:]) if len(text) > 12 else code(text)


def yes(value: Any) -> str:
    """A truth as a word."""
    return str(_("yes") if value else _("no"))


def listed(values: Iterable[Any] | None) -> str:
    """Several short values."""
    return format_html_join(" ", '<code class="mh-id">{}</code>', ((one,) for one in values or ())) or NOTHING


def document(value: Any) -> str:
    """JSON as it is stored."""
    if value in (None, {}, []):
        return NOTHING
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=True)
    return format_html('<pre class="mh-json">{}</pre>', text)


def tokens(value: Any) -> str:
    """A count, grouped."""
    return ui.count(value)


def status(row: Any, name: str = "status") -> str:
    """A choice field as a badge, in the reader's words."""
    display = getattr(row, f"get_{name}_display", None)
    return ui.status_badge(getattr(row, name), display() if display else "")


def row_url(row: Any) -> str:
    """The page of a row, when it has a desk."""
    meta = row._meta
    try:
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return ""


def list_url(model: type[models.Model], **filters: Any) -> str:
    """A desk's list, narrowed."""
    meta = model._meta
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist") + (f"?{query}" if query else "")


def link(row: Any, text: Any = "") -> str:
    """A row by its name, leading to its page."""
    if row is None:
        return NOTHING
    url = row_url(row)
    shown = text or str(row)
    return format_html('<a class="mh-link" href="{}">{}</a>', url, shown) if url else str(shown)


def exact(value: Any) -> str:
    """Money to the last digit that it has, at least two places."""
    return ui.price(value)


def shown(row: Any, name: str) -> Any:
    """A field of a row, in the manner of its type."""
    kind = row._meta.get_field(name)
    value = getattr(row, kind.attname if isinstance(kind, models.ForeignKey) else name)
    if value is None or value == "":
        return NOTHING
    if isinstance(kind, models.ForeignKey):
        return link(getattr(row, name))
    if kind.choices:
        return status(row, name)
    return plain(value, kind)


def plain(value: Any, kind: Any = None) -> Any:
    """A value by its Python type."""
    if isinstance(value, bool):
        return yes(value)
    if isinstance(value, datetime):
        return ui.when(value, "full")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        money = kind is not None and getattr(kind, "decimal_places", 0) >= 10
        return exact(value) if money else ui.number(value, 10)
    if isinstance(value, int):
        return ui.count(value)
    if isinstance(value, UUID):
        return code(value)
    if isinstance(value, list):
        return listed(value)
    return document(value) if isinstance(value, dict) else value


# --- Columns of a list ----------------------------------------------------------------------------------------------
def column(title: Any, show: Show, *, number: bool = False, name: str = "") -> Show:
    """A column of a list: its heading and how it shows a row. Numbers stand on the right."""

    def cell(row: Any) -> Any:
        value = show(row)
        return NOTHING if value is None or value == "" else value

    cell.short_description = title  # type: ignore[attr-defined]
    cell.__name__ = f"{'num' if number else 'txt'}_{name or getattr(show, '__name__', 'cell').strip('<>')}"
    return cell


def at(name: str, title: Any, style: str = "seconds") -> Show:
    """A moment in the reader's zone."""
    return column(title, lambda row: ui.when(getattr(row, name), style), name=name)


def usd(name: str, title: Any) -> Show:
    """Money that moves."""
    return column(title, lambda row: ui.usd(getattr(row, name)), number=True, name=name)


def usd6(name: str, title: Any) -> Show:
    """What a call costs."""
    return column(title, lambda row: ui.usd6(getattr(row, name)), number=True, name=name)


def signed(name: str, title: Any) -> Show:
    """A movement."""
    return column(title, lambda row: ui.usd6_signed(getattr(row, name)), number=True, name=name)


def count(name: str, title: Any) -> Show:
    """A number of things."""
    return column(title, lambda row: ui.count(getattr(row, name)), number=True, name=name)


def state(name: str = "status", title: Any = _("status")) -> Show:
    """A badge."""
    return column(title, lambda row: status(row, name), name=name)


def to(name: str, title: Any, text: Callable[[Any], Any] = str) -> Show:
    """A related row by its name, leading to its page."""

    def show(row: Any) -> Any:
        other = getattr(row, name)
        return link(other, text(other)) if other is not None else NOTHING

    return column(title, show, name=name)


def masked(row: Any) -> Any:
    """All of a secret that is ever shown."""
    return ui.masked(row) if row is not None else NOTHING


# --- Tables beside the facts ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Panel:
    """A table on a row's page: headings, rows of cells; `numbers` are the columns that stand on the right."""

    title: Any
    headings: tuple[Any, ...] = ()
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    numbers: frozenset[int] = frozenset()
    empty: Any = _("None.")
    note: Any = ""
    more: str = ""
    template: str = ""
    context: dict[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> list[list[tuple[Any, bool, Any]]]:
        """Each cell with whether it is a number, and its heading for narrow screens."""
        return [
            [
                (cell, index in self.numbers, self.headings[index] if index < len(self.headings) else "")
                for index, cell in enumerate(row)
            ]
            for row in self.rows
        ]

    @property
    def heads(self) -> list[tuple[Any, bool]]:
        """The headings with where they stand."""
        return [(heading, index in self.numbers) for index, heading in enumerate(self.headings)]


def links(*pairs: tuple[Any, str]) -> SafeString:
    """Several ways on, side by side."""
    ways = format_html_join(" · ", '<a class="mh-link" href="{}">{}</a>', ((url, text) for text, url in pairs))
    return format_html("<span>{}</span>", ways)  # one cell's one thing, also where a cell is label and value
