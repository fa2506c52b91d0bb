"""Flow terms of a document become rows. They are dated as prices are: a first term may begin in the past; where one has
been in force, today's begins now. What is there is never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from django.utils.translation import gettext_lazy as _

from billing.catalog.flow_documents import FactorEntry, RateEntry
from billing.catalog.models import Model
from billing.catalog.models_flows import FlowFactor, FlowRate
from billing.catalog.plans import plain
from billing.errors import InvalidCatalog


class _Told(Protocol):
    """The diff of an import."""

    unchanged: int

    def add(self, kind: str, what: str, key: str, detail: str = "") -> None: ...


def put_rates(entries: Iterable[RateEntry], diff: _Told, now: datetime) -> None:
    """Add what the document says of the Flow rates. Nothing that is there is changed."""
    by_class: dict[str, list[RateEntry]] = {}
    for entry in entries:
        by_class.setdefault(entry.flow_class, []).append(entry)
    for flow_class, told in sorted(by_class.items()):
        there = {
            row.effective_from: (row.flows_per_usd, row.call_overhead_flows)
            for row in FlowRate.objects.filter(flow_class=flow_class)
        }
        entry_of = {(one.flows_per_usd, one.call_overhead_flows): one for one in told}
        dated = [(one.effective_from, (one.flows_per_usd, one.call_overhead_flows), one.place) for one in told]
        for start, value in _pending(dated, there, diff, now):
            entry = entry_of[value]
            _say(diff, "flow rate", flow_class, there, start, f"{plain(value[0])} per USD + {plain(value[1])} a call")
            there[start] = value
            FlowRate.objects.create(
                flow_class=flow_class,
                flows_per_usd=value[0],
                call_overhead_flows=value[1],
                effective_from=start,
                created_at=now,
                note=entry.note,
            )


def put_factors(entries: Iterable[FactorEntry], models: Mapping[str, Model], diff: _Told, now: datetime) -> None:
    """Add what the document says of the models' factors."""
    by_model: dict[tuple[str, str], list[FactorEntry]] = {}
    for entry in entries:
        if entry.model not in models:
            raise InvalidCatalog(
                "%(place)s: %(problem)s",
                place=f"{entry.place}.model",
                problem=_("there is no model %(slug)s") % {"slug": entry.model},
            )
        by_model.setdefault((entry.plan, entry.model), []).append(entry)
    known: dict[tuple[str, str], dict[datetime, Decimal]] = {}
    if by_model:
        for row in FlowFactor.objects.select_related("model"):
            known.setdefault((row.plan, row.model.slug), {})[row.effective_from] = row.factor
    new = []
    for (plan, slug), told in sorted(by_model.items()):
        there = known.get((plan, slug), {})
        dated = [(one.effective_from, one.factor, one.place) for one in told]
        for start, factor in _pending(dated, there, diff, now):
            _say(diff, "flow factor", f"{slug} @ {plan or '*'}", there, start, f"x {plain(factor)}")
            there[start] = factor
            new.append(FlowFactor(plan=plan, model=models[slug], factor=factor, effective_from=start, created_at=now))
    FlowFactor.objects.bulk_create(new, batch_size=1000)


def _pending(
    told: list[tuple[datetime, Any, str]], there: Mapping[datetime, Any], diff: _Told, now: datetime
) -> list[tuple[datetime, Any]]:
    """What has to be added, and from when: only what differs from the terms that would be in force without it."""
    dated = sorted(told, key=lambda one: one[0])
    if any(start <= now for start in there):  # history has happened: today's begins no earlier than now
        past = [one for one in dated if one[0] <= now]
        dated = [(now, value, place) for _start, value, place in past[-1:]] + dated[len(past) :]
    known, found = dict(there), []
    for start, value, place in dated:
        before = max((at for at in known if at <= start), default=None)
        if before is not None and known[before] == value:
            diff.unchanged += 1
            continue
        if start in known:
            raise InvalidCatalog(
                "%(place)s: %(problem)s",
                place=f"{place}.effective_from",
                problem=_("other terms begin at this moment, and terms are never changed: choose a later one"),
            )
        known[start] = value
        found.append((start, value))
    return found


def _say(diff: _Told, what: str, key: str, there: Mapping[datetime, Any], start: datetime, detail: str) -> None:
    kind = "changed" if any(at < start for at in there) else "new"
    diff.add(kind, what, key, f"{detail} from {start.isoformat()}")
