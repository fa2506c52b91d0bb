"""An account's Flow class, set by staff: what its Flows are worth from the next call on (F064, F065, C25)."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from accounts import audit
from accounts.models import User
from billing import notices
from billing.books.ledger import lock_wallet
from billing.catalog.book import current_book
from billing.catalog.flow_terms import CLASSES, STANDARD, FlowTerm
from billing.errors import InvalidRequest
from subscriptions.errors import FlowClassUnchanged, FlowClassWithoutRate
from subscriptions.models import FlowStanding

NOTICE: Final = "flow_class_changed"
INSIDER: Final = "insider"
PLAN_ENDED: Final = "the paid plan ended"
"""The reason on record when no person gave one; the mail says it in the reader's language."""


def class_of(account_id: UUID) -> str:
    """The account's class; one that nobody ever set is standard."""
    found = FlowStanding.objects.filter(pk=account_id).values_list("flow_class", flat=True).first()
    return found or STANDARD


def set_class(account_id: UUID, flow_class: str, *, reason: str, actor: User | None, now: datetime) -> FlowStanding:
    """Set the class, audit it, and tell the account's people, with this reason.

    It holds from the next call on: calls that were admitted keep what a Flow was then (C16). Raises
    FlowClassWithoutRate for a class that has no rate in force, FlowClassUnchanged, InvalidRequest without a reason.
    """
    if not reason.strip():
        raise InvalidRequest(field="reason")
    if flow_class not in CLASSES:
        raise InvalidRequest(field="flow_class")
    rate = current_book().flow_rate(flow_class, now)
    if rate is None:
        raise FlowClassWithoutRate(flow_class=flow_class)
    with transaction.atomic():
        lock_wallet(account_id)
        row = FlowStanding.objects.filter(pk=account_id).first()
        before = row.flow_class if row else STANDARD
        if before == flow_class:
            raise FlowClassUnchanged(flow_class=flow_class)
        row, _made = FlowStanding.objects.update_or_create(
            pk=account_id,
            defaults={"flow_class": flow_class, "since": now, "reason": reason, "changed_by": actor},
        )
        record = audit.record(
            actor=actor,
            action="flow_class_changed",
            subject=row,
            reason=reason,
            before={"flow_class": before},
            after={"flow_class": flow_class, "flows_per_usd": f"{rate.flows_per_usd:f}"},
            now=now,
        )
        _tell(row, rate, before=before, key=f"flow_class:{record.pk}", now=now)
    return row


def end_insider(account_id: UUID, *, at: datetime, now: datetime) -> None:
    """An insider is one who stays: the class ends at the instant `at`, at which the paid time does, and only staff give
    it again (C25). Audited and mailed. The caller holds the wallet's lock."""
    row = FlowStanding.objects.select_related("account").filter(pk=account_id, flow_class=INSIDER).first()
    if row is None:
        return
    row.flow_class, row.since, row.changed_by = STANDARD, at, None
    row.reason = PLAN_ENDED
    row.save()
    record = audit.record(
        actor=None, action="flow_class_changed", subject=row, account=row.account, now=now, reason=row.reason,
        before={"flow_class": INSIDER}, after={"flow_class": STANDARD},
    )  # fmt: skip
    rate = current_book().flow_rate(STANDARD, now)
    if rate is not None:
        _tell(row, rate, before=INSIDER, key=f"flow_class:{record.pk}", now=now)


def _tell(row: FlowStanding, rate: FlowTerm, *, before: str, key: str, now: datetime) -> None:
    """The mail: what a Flow is worth from `row.since` on, and why."""
    notices.tell(
        row.pk,
        NOTICE,
        key=key,
        context={
            "flow_class": row.flow_class,
            "before": before,
            "reason": "" if row.reason == PLAN_ENDED and row.changed_by is None else row.reason,
            "flows_per_usd": f"{rate.flows_per_usd.normalize():f}",
            "flow_usd": f"{rate.usd_per_flow:f}",
            "since_at": row.since.isoformat(),
        },
        now=now,
    )
