"""Billing periods and the windows within them: opened, changed and ended under the wallet's lock (C07, C26)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction

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
) -> QuotaWindow:
    """Open a billing period; what was open ends where it starts. The caller holds the wallet's lock.

    With `carry` (a change of plan within the period) the account has full new windows less the Flows that it has used:
    the new windows follow the old ones and carry on what those have used and hold (C26).
    """
    before = end_open(account_id, at=start, by="change" if carry else "")
    period = _open(
        account_id, Kind.PERIOD, version, version.flows_period, start, end, now,
        subscription=subscription, enforced=version.enforce_period_cap,
        follows=before.get(Kind.PERIOD) if carry else None,
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


def end_open(account_id: UUID, *, at: datetime, by: str, kinds: tuple[str, ...] = ()) -> dict[str, QuotaWindow]:
    """End the windows that are open at this moment, or would open later; what was ended, by kind.

    Calls that were admitted in them still count in them. The caller holds the wallet's lock.
    """
    rows = QuotaWindow.objects.filter(account_id=account_id, ends_at__gt=at)
    found: dict[str, QuotaWindow] = {}
    for row in rows.filter(kind__in=kinds) if kinds else rows:
        row.ends_at, row.ended_by = max(at, row.starts_at), by
        row.save(update_fields=["ends_at", "ended_by"])
        found[row.kind] = row
    return found


def bridge(account_id: UUID, *, now: datetime) -> None:
    """Open the next period of a subscription that goes on, before the provider has told of its renewal.

    The provider charges some time after the period's end, and its word may be late; until then, and for the grace
    after it, the plan goes on. Repeats change nothing.
    """
    with transaction.atomic():
        lock_wallet(account_id)
        held = Subscription.objects.filter(account_id=account_id, status__in=Subscription.IN_FORCE).first()
        if held is None or not held.renews or held.period_end is None or now < held.period_end:
            return
        start, end = held.period_end, month_after(_anchor(held), held.period_end)
        if now >= (held.grace_until or start + grace()) or now >= end:
            return
        if not QuotaWindow.objects.filter(subscription=held, kind=Kind.PERIOD, starts_at__gte=start).exists():
            begin(account_id, held.next_version or held.plan_version, held, start=start, end=end, now=now)


def follow_renewal(subscription: Subscription, *, now: datetime) -> None:
    """The subscription has a new period: open its window, or take the one that was opened before the provider's word.

    The caller holds the wallet's lock and has set the subscription's plan version and period.
    """
    version, start, end = subscription.plan_version, subscription.period_start, subscription.period_end
    assert start is not None  # noqa: S101
    assert end is not None  # noqa: S101  # a constraint: what is in force has a period
    rows = QuotaWindow.objects.filter(account_id=subscription.account_id, kind=Kind.PERIOD)
    last = rows.order_by("-ends_at").first()
    if last is None or last.ends_at <= start:
        begin(subscription.account_id, version, subscription, start=start, end=end, now=now)
        return
    opened_ahead = last.subscription_id == subscription.pk and last.starts_at >= start
    if opened_ahead and last.plan_version_id == version.pk:
        move_end(subscription, now=now)
        return
    # Opened ahead for another plan; or the Free plan's, after the grace; or the provider ended the period early.
    at = max(now, last.starts_at)
    begin(subscription.account_id, version, subscription, start=at, end=max(end, at), now=now, carry=opened_ahead)


def move_end(subscription: Subscription, *, now: datetime) -> None:
    """Let the open period end when the provider says. The caller holds the wallet's lock."""
    end = subscription.period_end
    last = QuotaWindow.objects.filter(subscription=subscription, kind=Kind.PERIOD).order_by("-starts_at").first()
    if last is None or end is None or last.ends_at == end or last.ended_by or end <= max(last.starts_at, now):
        return
    last.ends_at = end
    last.save(update_fields=["ends_at"])
    QuotaWindow.objects.filter(period=last, ends_at__gt=end).update(ends_at=end)


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
