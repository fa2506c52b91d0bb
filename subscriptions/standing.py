"""Which plan an account has at a moment, and of which Flow class it is: what admission and the pages ask."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accounts import audit
from accounts.models import Account
from subscriptions import periods
from subscriptions.models import ExtraUsage, FlowStanding, Subscription
from subscriptions.models_plans import FlowClass
from subscriptions.plans import FREE, Terms, current_plans


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's plan now. `subscription` is empty on the Free plan; `lapsed`: the period of a subscription that goes
    on has ended, and the next one has to be opened first. `extra_key`: the key of Extra Usage, when that is on."""

    account_id: UUID
    plan: Terms
    flow_class: str
    subscription: UUID | None = None
    lapsed: bool = False
    extra_key: UUID | None = None


def end_insider(account: Account, *, now: datetime) -> None:
    """An insider is one who stays: the class ends at the instant at which the paid time does, and only staff give it
    again (C25). The caller holds the wallet's lock."""
    row = FlowStanding.objects.filter(pk=account.pk, flow_class=FlowClass.INSIDER).first()
    if row is None:
        return
    row.flow_class, row.since, row.changed_by = FlowClass.STANDARD, now, None
    row.reason = "the paid plan ended"
    row.save()
    audit.record(
        actor=None, action="flow_class_changed", subject=row, account=account, now=now, reason=row.reason,
        before={"flow_class": FlowClass.INSIDER}, after={"flow_class": FlowClass.STANDARD},
    )  # fmt: skip


def of(accounts: Collection[UUID], *, now: datetime) -> dict[UUID, Standing]:
    """The standing of each account, in three queries."""
    plans = current_plans()
    rows = Subscription.objects.filter(account_id__in=accounts, status__in=Subscription.IN_FORCE)
    paid = {
        account: (pk, version, end, grace, ends)
        for pk, account, version, end, grace, ends in rows.values_list(
            "pk", "account_id", "plan_version_id", "period_end", "grace_until", "cancel_at_period_end"
        )
    }
    classes = dict(FlowStanding.objects.filter(pk__in=accounts).values_list("pk", "flow_class"))
    extra = dict(ExtraUsage.objects.filter(pk__in=accounts, enabled=True).values_list("pk", "api_key_id"))
    found = {}
    for account in accounts:
        plan, subscription, lapsed = plans.current(FREE, now), None, False
        if account in paid:
            pk, version, end, grace, ends = paid[account]
            assert end is not None  # noqa: S101  # a constraint: what is in force has a period
            if now < end or (not ends and now < (grace or end + periods.grace())):
                plan, subscription, lapsed = plans.by_id[version], pk, now >= end
        found[account] = Standing(
            account, plan, classes.get(account, "standard"), subscription, lapsed, extra.get(account)
        )
    return found
