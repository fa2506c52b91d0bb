"""Billing periods and the windows within them: opened, changed and ended under the wallet's lock (C07, C26)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from billing.books.ledger import lock_wallet
from subscriptions.models import PlanVersion, QuotaWindow, Subscription
from subscriptions.windows import month_after, span

Kind = QuotaWindow.Kind


def grace() -> timedelta:
    """For how long a renewal may stay unpaid, or untold, before the plan stops."""
    return timedelta(days=settings.SUBSCRIPTION_GRACE_DAYS)


def open_windows(account_id: UUID, at: datetime) -> dict[str, QuotaWindow]:
    """The account's windows that hold this moment, by kind."""
    rows = QuotaWindow.objects.filter(account_id=account_id, starts_at__lte=at, ends_at__gt=at)
    return {row.kind: row for row in rows.select_related("plan_version")}


def begin(
    account_id: UUID,
    version: PlanVersion,
    subscription: Subscription,
    *,
    start: datetime,
    end: datetime,
    now: datetime,
    carry: bool = False,
    after: QuotaWindow | None = None,
) -> QuotaWindow:
    """Open a billing period; what was open ends where it starts. The caller holds the wallet's lock.

    With `carry` (a change of plan within the period) the account has full new windows less the Flows that it has used:
    the new windows follow the old ones and carry on what those have used and hold (C26). `after` is the window of the
    same period that is over already: it is followed where none is open.

    `start` may have been read before the lock was waited for: a call may have opened a window since. The period then
    begins where the newest of them does.
    """
    opened = QuotaWindow.objects.filter(account_id=account_id, ends_at__gt=start).aggregate(newest=Max("starts_at"))
    start = max(start, opened["newest"] or start)
    end = max(start, end)
    before = {
        kind: row
        for kind, row in end_open(account_id, at=start, by="change" if carry else "").items()
        if row.subscription_id == subscription.pk
    }
    period = _open(
        account_id, Kind.PERIOD, version, version.flows_period, start, end, now,
        subscription=subscription, enforced=version.enforce_period_cap,
        follows=before.get(Kind.PERIOD, after) if carry else None,
    )  # fmt: skip
    grid = version.anchor_policy == PlanVersion.AnchorPolicy.GRID
    for kind, cap in ((Kind.FIVE_HOURS, version.flows_5h), (Kind.WEEK, version.flows_week)):
        if carry and kind in before:
            opens, closes = span(kind, start, period_start=start, period_end=end, grid=grid)
            _open(
                account_id, kind, version, cap, opens, closes, now,
                subscription=subscription, period=period, follows=before[kind],
            )  # fmt: skip
    return period


def end_open(
    account_id: UUID,
    *,
    at: datetime,
    by: str,
    kinds: tuple[str, ...] = (),
    subscription: Subscription | None = None,
) -> dict[str, QuotaWindow]:
    """End the windows that are open at this moment, or would open later; what was ended, by kind.

    With `subscription` only its own: what the Free plan opened after it stays. Calls that were admitted in them still
    count in them. The moment may have been read before the lock was waited for: a period that a call has used since
    ends no sooner than where the call's windows begin. The caller holds the wallet's lock.
    """
    rows = QuotaWindow.objects.filter(account_id=account_id, ends_at__gt=at)
    if subscription is not None:
        rows = rows.filter(subscription=subscription)
    found: dict[str, QuotaWindow] = {}
    ending = list(rows.filter(kind__in=kinds) if kinds else rows)
    for row in ending:
        used = (one.starts_at for one in ending if one.period_id == row.pk)
        row.ends_at, row.ended_by = max(at, row.starts_at, *used), by
        row.save(update_fields=["ends_at", "ended_by"])
        found[row.kind] = row
    return found


def served_until(subscription: Subscription) -> datetime:
    """When the period's windows end: with the period, or with the grace while it is not paid (C25)."""
    end = subscription.period_end
    assert end is not None  # noqa: S101  # a constraint: what is in force has a period
    return min(end, subscription.grace_until) if subscription.grace_until else end


def bridge(account_id: UUID, *, now: datetime) -> None:
    """Open the next period of a subscription that goes on, before the provider has told of its renewal.

    The provider charges some time after the period's end, and its word may be late; until then, and for the grace
    after it, the plan goes on. The windows end with the grace, whoever looks: a renewal that is told makes them longer.
    Repeats change nothing.
    """
    with transaction.atomic():
        lock_wallet(account_id)
        held = Subscription.objects.filter(account_id=account_id, status__in=Subscription.IN_FORCE).first()
        if held is None or not held.renews or held.period_end is None or now < held.period_end:
            return
        start = held.period_end
        end = min(month_after(_anchor(held), start), held.grace_until or start + grace())
        if now >= end:
            return
        if not QuotaWindow.objects.filter(subscription=held, kind=Kind.PERIOD, starts_at__gte=start).exists():
            begin(account_id, held.next_version or held.plan_version, held, start=start, end=end, now=now)


def follow_renewal(subscription: Subscription, *, now: datetime) -> None:
    """The subscription has a new period: open its window, or take the one that was opened before the provider's word.

    The caller holds the wallet's lock and has set the subscription's plan version, period and grace.
    """
    version, start, end = subscription.plan_version, subscription.period_start, served_until(subscription)
    assert start is not None  # noqa: S101  # a constraint: what is in force has a period
    last = _last(subscription.account_id)
    if last is None or last.ends_at <= start:
        begin(subscription.account_id, version, subscription, start=start, end=max(start, end), now=now)
        return
    ahead = _last(subscription.account_id, subscription=subscription, starts_at__gte=start)
    if ahead == last and ahead.plan_version_id == version.pk:
        move_end(subscription, now=now)
        return
    # Opened ahead for another plan; or the Free plan's, after the grace; or the provider ended the period early.
    at = max(now, last.starts_at)
    begin(
        subscription.account_id, version, subscription,
        start=at, end=max(end, at), now=now, carry=ahead is not None, after=ahead,
    )  # fmt: skip


def move_end(subscription: Subscription, *, now: datetime) -> None:
    """Let the period's window end when the provider says, or with the grace. The caller holds the wallet's lock.

    Where the Free plan has opened one meanwhile (the grace was over, and then it was paid), the period goes on in a new
    one.
    """
    last, end = _last(subscription.account_id), served_until(subscription)
    if last is not None and last.subscription_id is None and now < end:
        follow_renewal(subscription, now=now)
        return
    if last is None or last.subscription_id != subscription.pk or last.ended_by:
        return
    before = last.ends_at
    if end < before:  # what is over cannot be made undone
        used = QuotaWindow.objects.filter(period=last).aggregate(newest=Max("starts_at"))["newest"]
        end = min(before, max(end, now, last.starts_at, used or now))  # a call may be newer than our answer
    if end == before:
        return
    last.ends_at = end
    last.save(update_fields=["ends_at"])
    grid = last.plan_version.anchor_policy == PlanVersion.AnchorPolicy.GRID
    for part in QuotaWindow.objects.filter(period=last, ended_by="", ends_at__gte=min(before, end)):
        _, closes = span(part.kind, part.starts_at, period_start=last.starts_at, period_end=end, grid=grid)
        part.ends_at = max(part.starts_at, closes)
        part.save(update_fields=["ends_at"])


def _last(account_id: UUID, **which: Any) -> QuotaWindow | None:
    """The account's last window of a billing period."""
    rows = QuotaWindow.objects.filter(account_id=account_id, kind=Kind.PERIOD, **which)
    found: QuotaWindow | None = rows.select_related("plan_version").order_by("-ends_at", "-starts_at").first()
    return found


def _anchor(subscription: Subscription) -> datetime:
    """The moment whose day of the month the periods keep."""
    found = subscription.activated_at or subscription.period_start
    assert found is not None  # noqa: S101  # a subscription in force has both
    return found


def _open(
    account_id: UUID,
    kind: str,
    version: PlanVersion,
    cap: Decimal,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    subscription: Subscription,
    period: QuotaWindow | None = None,
    enforced: bool = True,
    follows: QuotaWindow | None = None,
) -> QuotaWindow:
    found: QuotaWindow = QuotaWindow.objects.create(
        account_id=account_id,
        kind=kind,
        plan_version=version,
        subscription=subscription,
        period=period,
        follows=follows,
        starts_at=start,
        ends_at=end,
        cap=cap,
        enforced=enforced,
        carried=follows.spoken_for if follows else Decimal(0),
        opened_at=now,
    )
    return found
