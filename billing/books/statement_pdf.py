"""A monthly statement on paper."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import override, pgettext

from billing.books.details import addressee
from billing.books.statements import Statement
from config.paper import GREY, Paper, draw, seller
from config.templatetags.ui import MINUS, count


def exact(amount: Decimal) -> str:
    """All that the ledger has: two places at least, ten at most."""
    whole, _dot, places = f"{abs(amount):,.10f}".partition(".")
    return f"{MINUS if amount < 0 else ''}{whole}.{places.rstrip('0').ljust(2, '0')}"


def signed(amount: Decimal) -> str:
    """A movement."""
    return f"+{exact(amount)}" if amount > 0 else exact(amount)


def addressed(to: dict[str, Any]) -> list[str]:
    """Whom a document is for, line by line."""
    tax = _("Tax ID: %(tax_id)s") % {"tax_id": to["tax_id"]} if to["tax_id"] else ""
    return [to["name"], *to["address"], to["country"], tax, to["email"]]


def issued_by(by: dict[str, Any]) -> list[str]:
    """Who issues a document, line by line."""
    tax = _("Tax ID: %(tax_id)s") % {"tax_id": by["tax_id"]} if by["tax_id"] else ""
    return [by["name"], *by["address"], tax, by["email"]]


def render(told: Statement, language: str) -> bytes:
    """The statement in this language."""
    with override(language):
        return draw(lambda faces: _render(told, faces))


def _render(told: Statement, faces: Mapping[str, Path]) -> Paper:
    month, by = told.month, seller()
    name = date_format(month.first_day, pgettext("date format", "F Y"))
    paper = Paper(
        faces,
        title=_("Statement %(month)s") % {"month": month},
        reference=f"{told.account.pk} · {month}",
        issuer=by.name,
        at=told.as_of,
    )
    paper.letterhead(_("Statement"), name)
    paper.side_by_side(
        (_("For"), addressed(addressee(told.account))),
        (_("Issued by"), issued_by(by.told())),
    )
    period = _("%(first)s to %(last)s, both included, in UTC") % {"first": month.first_day, "last": month.last_day}
    stand = _("complete") if told.final else _("so far, as of %(time)s UTC") % {"time": f"{told.as_of:%Y-%m-%d %H:%M}"}
    paper.side_by_side(
        (_("Account ID"), [str(told.account.pk)]),
        (_("Period"), [period, stand]),
    )
    paper.rows(
        (_("Summary"), _("Entries"), _("USD")),
        [
            (_("Opening balance"), "", exact(told.opening)),
            *((one.label, count(one.entries), signed(one.amount)) for one in told.kinds),
            (_("Closing balance"), "", exact(told.closing)),
        ],
        widths=(100, 24, 50),
        numbers=(1, 2),
        strong=(0, len(told.kinds) + 1),
    )
    moves, more = told.moves()
    if moves:
        paper.heading(_("Money and credit"))
        paper.rows(
            (_("Time (UTC)"), _("Kind"), _("Description"), _("USD")),
            [
                (f"{one.entry.at:%Y-%m-%d %H:%M}", one.entry.get_kind_display(), one.text, signed(one.entry.delta))
                for one in moves
            ],
            widths=(32, 34, 68, 40),
            numbers=(3,),
        )
        if more:
            note = _("Only the first %(count)s are printed here. The CSV of this statement has them all.")
            paper.say(note % {"count": count(len(moves))}, size=8.5, colour=GREY)
            paper.ln(3)
    if told.days:
        paper.heading(_("Usage by day (UTC)"))
        paper.rows(
            (_("Day"), _("Calls"), _("USD")),
            [
                *((one.day.isoformat(), count(one.calls), signed(one.amount)) for one in told.days),
                (
                    _("Usage in total"),
                    count(sum(one.calls for one in told.days)),
                    signed(sum((one.amount for one in told.days), Decimal(0))),
                ),
            ],
            widths=(80, 44, 50),
            numbers=(1, 2),
            strong=(len(told.days),),
        )
    if not told.entries:
        paper.say(_("Nothing moved in this month."), colour=GREY)
    paper.say(
        _("Amounts are exact, in US dollars. A balance below zero is owed; the next credit pays it."),
        size=8.5,
        colour=GREY,
    )
    return paper
