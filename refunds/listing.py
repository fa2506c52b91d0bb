"""An account's refunds of both kinds in one list, the newest first: plans given back, and what went back of single
payments.

Ids are made from the time (UUIDv7), so that the two tables merge by id; a page reads one page of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet

from billing.paging import Key, Page, newer_than, older_than
from refunds.models import Refund
from refunds.models_plan import PlanRefund

PAGE_SIZE: Final = 25
AGEING: Final = timedelta(days=3)
"""Longer at the provider than banks usually need."""
KINDS: Final = ("subscription", "top_up")
STATUSES: Final = ("processing", "succeeded", "failed", "cancelled")
Row = PlanRefund | Refund
BY_ID: Final = Key(("pk",), lambda row: row.pk.hex, lambda text: (UUID(hex=text),))


def of(account_id: UUID, *, kind: str = "", status: str = "") -> list[QuerySet[Any]]:
    """The two halves; `kind` and `status` (F094) of an unknown name filter nothing."""
    plans = PlanRefund.objects.filter(account_id=account_id).select_related("plan_version__plan")
    single = Refund.objects.filter(account_id=account_id, plan_refund=None).select_related("top_up", "invoice")
    if status in STATUSES:
        plans = plans.filter(status__in=[one for one, words in PlanRefund.IN_WORDS.items() if words[0] == status])
        single = single.filter(status__in=[one for one, words in Refund.IN_WORDS.items() if words[0] == status])
    if kind == "subscription":
        return [plans, single.filter(kind=Refund.Kind.SUBSCRIPTION)]
    if kind == "top_up":
        return [single.filter(kind=Refund.Kind.TOP_UP)]
    return [plans, single]


def page(halves: list[QuerySet[Any]], params: Mapping[str, str], *, size: int = PAGE_SIZE) -> Page:
    """One page; a cursor that cannot be read is the first page."""
    before, after = _edge(params.get("before", "")), _edge(params.get("after", ""))
    if after is not None:
        found = _merged([newer_than(half, BY_ID, after).order_by("pk") for half in halves], size + 1, newest=False)
        more, found = len(found) > size, found[:size][::-1]
        return Page(found, BY_ID.write(found[0]) if found and more else "", BY_ID.write(found[-1]) if found else "")
    rows = halves if before is None else [older_than(half, BY_ID, before) for half in halves]
    found = _merged([half.order_by("-pk") for half in rows], size + 1, newest=True)
    more, found = len(found) > size, found[:size]
    return Page(
        found,
        BY_ID.write(found[0]) if found and before is not None else "",
        BY_ID.write(found[-1]) if found and more else "",
    )


def batches(halves: list[QuerySet[Any]], *, size: int = 500) -> Iterator[list[Row]]:
    """All of them, a page at a time."""
    params: dict[str, str] = {}
    while True:
        found = page(halves, params, size=size)
        if found.rows:
            yield found.rows
        if not found.older:
            return
        params = {"before": found.older}


def _merged(halves: list[QuerySet[Any]], size: int, *, newest: bool) -> list[Row]:
    rows = [row for half in halves for row in half[:size]]
    return sorted(rows, key=lambda row: row.pk.int, reverse=newest)[:size]


def _edge(text: str) -> tuple[Any, ...] | None:
    try:
        return BY_ID.read(text) if text else None
    except ValueError:
        return None


def find(refund_id: UUID, which: Q) -> Row | None:
    """One of either kind; a part of a plan's refund is found by the plan's."""
    plans = PlanRefund.objects.select_related(
        "account", "plan_version__plan", "policy", "subscription", "requested_by", "credit_grant",
        "credit_proposal__grant",
    )  # fmt: skip
    parts = Prefetch("payments", Refund.objects.select_related("invoice"))
    plan: PlanRefund | None = plans.filter(which, pk=refund_id).prefetch_related(parts).first()
    if plan is not None:
        return plan
    rows = Refund.objects.select_related("account", "top_up", "invoice", "requested_by", "confirmed_by")
    found: Refund | None = rows.filter(which, pk=refund_id, plan_refund=None).first()
    return found
