"""Which plan an account has at a moment, and of which Flow class it is: what admission and the pages ask."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

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


def gives_plan(period_end: datetime, grace_until: datetime | None, *, ends: bool, now: datetime) -> bool:
    """A subscription in force gives its plan until its period's end, and one that goes on for the grace after it; one
    that is unpaid no longer than its grace. The moment decides, not the worker that writes the end down."""
    if grace_until is not None:
        return now < grace_until
    return now < period_end or (not ends and now < period_end + periods.grace())


def class_now(flow_class: str, *, given: bool | None) -> str:
    """The Flow class at this moment. `given`: whether the subscription in force still gives its plan; None: there is
    none. Who stays on is an insider, and not a moment longer (C25)."""
    return FlowClass.STANDARD if given is False and flow_class == FlowClass.INSIDER else flow_class


def of(accounts: Collection[UUID], *, now: datetime) -> dict[UUID, Standing]:
    """The standing of each account, in three queries."""
    plans = current_plans()
    rows = Subscription.objects.filter(account_id__in=accounts, status__in=Subscription.IN_FORCE)
    names = (
        "account_id", "pk", "plan_version_id", "next_version_id", "period_end", "grace_until", "cancel_at_period_end",
    )  # fmt: skip
    paid: dict[UUID, tuple[Any, ...]] = {account: tuple(told) for account, *told in rows.values_list(*names)}
    classes = dict(FlowStanding.objects.filter(pk__in=accounts).values_list("pk", "flow_class"))
    extra = dict(ExtraUsage.objects.filter(pk__in=accounts, enabled=True).values_list("pk", "api_key_id"))
    found = {}
    for account in accounts:
        plan, subscription, lapsed, given = plans.current(FREE, now), None, False, None
        if account in paid:
            pk, version, following, end, grace, ends = paid[account]
            given = gives_plan(end, grace, ends=ends, now=now)
            if given:
                subscription, lapsed = pk, now >= end
                # What begins with the next period begins with it, told or not.
                plan = plans.by_id[(lapsed and following) or version]
        flow_class = class_now(classes.get(account, FlowClass.STANDARD), given=given)
        found[account] = Standing(account, plan, flow_class, subscription, lapsed, extra.get(account))
    return found
