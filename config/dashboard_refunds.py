"""Refunds on the console's first page: what waits for a person, of payments and of plans side by side, each number
leading to its rows at the desk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils.translation import gettext as _

from config.admin_cells import list_url
from config.admin_finding import first_id
from config.templatetags import ui
from refunds.listing import AGEING
from refunds.models import Refund
from refunds.models_plan import PlanRefund

FAILED_FOR: Final = timedelta(days=30)
"""What failed is over, and its number must not grow for ever."""
NUMBERS: Final = ("asked", "ageing", "failed", "flagged")
# Each reads what is open, or the failed ones from an id on, through the desk's own indexes.
_COUNTS: Final = """(SELECT count(*) FROM {0} WHERE status = 'requested'),
  (SELECT count(*) FROM {0} WHERE status = 'submitted' AND submitted_at < %(ageing)s),
  (SELECT count(*) FROM {0} WHERE status = 'failed' AND id >= %(first)s AND created_at >= %(since)s),
  (SELECT count(*) FROM {0} WHERE flagged)"""
COUNTS: Final = f"{_COUNTS.format('refunds_refund')}, {_COUNTS.format('refunds_planrefund')}"
"""Eight columns of the first page's question, with `terms` for its values and `read` for its answer."""
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Cell:
    """A number and the rows that it counts; `url` is empty where there are none."""

    value: str
    url: str


@dataclass(frozen=True, slots=True)
class Card:
    """The table: headings of its columns, and rows of a label with a cell for each."""

    heads: list[str]
    rows: list[tuple[str, list[Cell]]]


def terms(now: datetime) -> dict[str, Any]:
    """What `COUNTS` asks with."""
    since = now - FAILED_FOR
    return {"ageing": now - AGEING, "since": since, "first": first_id(since)}


def read(found: Sequence[int]) -> Counts:
    """How many refunds of payments (`payments`) and of plans (`plans`) there are of each of `NUMBERS`."""
    half = len(NUMBERS)
    return {
        "payments": dict(zip(NUMBERS, found[:half], strict=True)),
        "plans": dict(zip(NUMBERS, found[half:], strict=True)),
    }


_FILTERS: Final[dict[str, dict[str, str]]] = {
    "asked": {"waiting": "decision"},
    "ageing": {"waiting": "ageing"},
    "failed": {"waiting": "failed", "since": "30d"},
    "flagged": {"waiting": "look"},
}


def _seen(counts: Counts, may: Callable[[str], bool]) -> list[tuple[str, Any, dict[str, int]]]:
    """Heading, model and numbers of what this person may see."""
    both = ((_("Payments"), Refund, counts["payments"]), (_("Plans"), PlanRefund, counts["plans"]))
    return [one for one in both if may(f"refunds.view_{one[1]._meta.model_name}")]


def card(counts: Counts, may: Callable[[str], bool]) -> Card | None:
    """The numbers in words; None for those who may see neither."""
    seen = _seen(counts, may)
    labels = {
        "asked": _("To be decided"),
        "ageing": _("At the provider for more than 3 days"),
        "failed": _("Failed, 30 days"),
        "flagged": _("Flagged"),
    }
    rows = [
        (
            labels[name],
            [
                Cell(ui.count(found[name]), list_url(model, **_FILTERS[name]) if found[name] else "")
                for _heading, model, found in seen
            ],
        )
        for name in NUMBERS
    ]
    return Card([heading for heading, _model, _found in seen], rows) if seen else None


def alarm(counts: Counts, may: Callable[[str], bool]) -> tuple[str, str, str] | None:
    """Value, note and address of what a person should do something about; None when there is nothing."""
    seen = _seen(counts, may)
    sums = {name: sum(found[name] for _heading, _model, found in seen) for name in NUMBERS}
    urgent = [name for name in ("asked", "flagged", "ageing") if sums[name]]
    if not urgent:
        return None
    words = {name: ui.count(number) for name, number in sums.items()}
    note = _("%(asked)s to be decided, %(flagged)s flagged, %(ageing)s late") % words
    model = next(model for _heading, model, found in seen if found[urgent[0]])
    return ui.count(sum(sums[name] for name in urgent)), note, list_url(model, **_FILTERS[urgent[0]])
