"""An account's refunds as its people see them: one list of both kinds, newest first.

A plan that was given back is one row, however many of its payments went back; what stands alone is a row of its own.
"""

from __future__ import annotations

from heapq import merge
from typing import Final
from uuid import UUID

from refunds.models import Refund
from refunds.models_plan import PlanRefund

Row = PlanRefund | Refund

STATUSES: Final = ("processing", "succeeded", "failed", "cancelled")
"""The customer's words (F094)."""
KINDS: Final = Refund.Kind


def newest(
    account_id: UUID, *, kind: str = "", status: str = "", before: UUID | None = None, size: int = 50
) -> list[Row]:
    """At most `size` rows, older than the one named `before`. Ids are made in the order of time."""
    plans = PlanRefund.objects.filter(account_id=account_id).select_related("plan_version__plan", "policy")
    alone = Refund.objects.filter(account_id=account_id, plan_refund=None).select_related("top_up", "invoice")
    if kind:
        alone = alone.filter(kind=kind)
    if status:
        plans = plans.filter(status__in=_meaning(PlanRefund, status))
        alone = alone.filter(status__in=_meaning(Refund, status))
    if before is not None:
        plans, alone = plans.filter(pk__lt=before), alone.filter(pk__lt=before)
    # Each half through its own index, and never more than a page of it.
    halves: list[list[Row]] = [list(alone.order_by("-pk")[:size])]
    if kind != KINDS.TOP_UP:
        halves.append(list(plans.order_by("-pk")[:size]))
    return list(merge(*halves, key=lambda row: row.pk, reverse=True))[:size]


def find(account_id: UUID, refund_id: UUID) -> Row | None:
    """One row of the list. A plan's single payment is none: it belongs to the plan's."""
    plans = PlanRefund.objects.filter(account_id=account_id, pk=refund_id)
    found: Row | None = plans.select_related("plan_version__plan", "policy").first()
    if found is None:
        alone = Refund.objects.filter(account_id=account_id, plan_refund=None, pk=refund_id)
        found = alone.select_related("account", "top_up", "invoice").first()
    return found


def _meaning(model: type[PlanRefund] | type[Refund], word: str) -> list[str]:
    """What a customer's word stands for in our table."""
    return [str(status) for status, (said, _text) in model.IN_WORDS.items() if said == word]
