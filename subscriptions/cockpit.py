"""The Flow cockpit: how much is left, until when, what happens next (F072, F077, F080-F083, C06, C07, C24, C26)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import Case, FilteredRelation, OuterRef, Q, Subquery, When

from accounts.models import Account, ApiKey
from billing.catalog.book import current_book
from billing.catalog.flow_terms import STANDARD, FlowTerm
from billing.metering.models import Funding, UsageRecord
from subscriptions import standing
from subscriptions.counting import LEAST_CALLS, ZERO, Counter, Forecast, Outlook, forecast, outlook
from subscriptions.models import ExtraUsageMonth, QuotaWindow, Subscription
from subscriptions.plans import FREE, Terms, current_plans
from subscriptions.standing import Standing

Kind = QuotaWindow.Kind
KINDS: Final = (Kind.FIVE_HOURS, Kind.WEEK, Kind.PERIOD)
ENDED_SHOWN_FOR: Final = timedelta(days=30)

_PAID: Final = ("paid__plan_version_id", "paid__period_end", "paid__grace_until", "paid__cancel_at_period_end")
_SEEN: Final = (
    "id", "kind", "period_id", "plan_version_id", "starts_at", "ends_at", "cap", "enforced", "used", "held", "carried",
)  # fmt: skip


# --- The account's Flows ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Extra:
    """Extra Usage in this calendar month of UTC, in USD. `stops` says what keeps it from paying now: its `key`, its
    `cap`, the `balance`; empty when nothing does."""

    key: ApiKey
    cap: Decimal
    spent: Decimal
    held: Decimal
    month: date
    resets_at: datetime
    stops: str

    @property
    def left(self) -> Decimal:
        """What it may still spend this month."""
        return max(ZERO, self.cap - self.spent - self.held)

    @property
    def pays(self) -> bool:
        """It would pay for a call now."""
        return not self.stops


@dataclass(frozen=True, slots=True)
class Cockpit:
    """An account's Flows at a moment. `terms` are those of the counters: of the open period, else of the plan now."""

    standing: Standing
    subscription: Subscription | None
    ended: Subscription | None
    terms: Terms
    rate: FlowTerm | None
    period_start: datetime | None
    counters: tuple[Counter, ...]
    forecasts: tuple[Forecast | None, ...]
    outlook: Outlook
    extra: Extra | None
    next_plan: Terms | None
    now: datetime

    @property
    def plan(self) -> Terms:
        """The plan in force."""
        return self.standing.plan

    @property
    def used_anything(self) -> bool:
        """A window is open or was."""
        return any(one.spoken_for for one in self.counters)


def read(account_id: UUID, *, now: datetime) -> Cockpit:
    """Everything above the fold, in three queries. Reads only: a period that is due is opened by a call."""
    plans = current_plans()
    account, last = _account(account_id, now), _newest_subscription(account_id)
    extra = _extra(account, now)
    held = _standing(account, last, extra, now)
    windows = _windows(account_id, now)
    period = windows.get(Kind.PERIOD)
    terms = plans.by_id[period.plan_version_id] if period else held.plan
    counters = tuple(_counter(kind, windows.get(kind), terms) for kind in KINDS)
    subscription = last if held.subscription else None
    return Cockpit(
        standing=held,
        subscription=subscription,
        ended=last if last and not subscription and _ended_at(last) > now - ENDED_SHOWN_FOR else None,
        terms=terms,
        rate=rate_of(held.flow_class, now),
        period_start=_start_of(period, subscription),
        counters=counters,
        forecasts=tuple(forecast(one, calls=_calls(windows.get(one.kind)), now=now) for one in counters),
        outlook=outlook(counters),
        extra=extra,
        next_plan=next((one for one in plans.on_offer(now) if one.rank > held.plan.rank), None),
        now=now,
    )


def rate_of(flow_class: str, now: datetime) -> FlowTerm | None:
    """What a Flow is to this class now; a class without a rate has the standard one, as at admission."""
    book = current_book()
    return book.flow_rate(flow_class, now) or book.flow_rate(STANDARD, now)


def glance(account_id: UUID, *, now: datetime) -> tuple[Terms, str, tuple[Counter, ...]]:
    """The plan, the Flow class and the counters alone, in one query; not from which plan something was carried over."""
    window = Q(quota_windows__starts_at__lte=now, quota_windows__ends_at__gt=now)
    rows = list(
        Account.objects.filter(pk=account_id)
        .annotate(
            open=FilteredRelation("quota_windows", condition=window),
            paid=FilteredRelation("subscriptions", condition=Q(subscriptions__status__in=Subscription.IN_FORCE)),
        )
        .values_list("flow_standing__flow_class", *_PAID, *(f"open__{name}" for name in _SEEN))
    )
    plans = current_plans()
    flow_class, version, end, grace, ends, *_ = rows[0]
    given = standing.gives_plan(end, grace, ends=ends, now=now) if version is not None else None
    plan = plans.by_id[version] if given else plans.current(FREE, now)
    found = {row[len(_PAID) + 2]: QuotaWindow(**dict(zip(_SEEN, row[len(_PAID) + 1 :], strict=True))) for row in rows}
    period = found.get(Kind.PERIOD)
    terms = plans.by_id[period.plan_version_id] if period else plan
    mine = {kind: one for kind, one in found.items() if one is period or (period and one.period_id == period.pk)}
    flow_class = standing.class_now(flow_class or STANDARD, given=given)
    return plan, flow_class, tuple(_counter(kind, mine.get(kind), terms) for kind in KINDS)


def _account(account_id: UUID, now: datetime) -> Any:
    """The account with its class, its wallet and its Extra Usage of this month."""
    this_month = ExtraUsageMonth.objects.filter(account_id=OuterRef("pk"), month=month_of(now))
    return (
        Account.objects.select_related("flow_standing", "wallet", "extra_usage__api_key")
        .annotate(spent=Subquery(this_month.values("spent")), held=Subquery(this_month.values("held")))
        .get(pk=account_id)
    )


def _newest_subscription(account_id: UUID) -> Subscription | None:
    """The one in force, or else the last that was."""
    rows = Subscription.objects.filter(
        account_id=account_id, status__in=[*Subscription.IN_FORCE, Subscription.Status.ENDED]
    ).select_related("plan_version__plan", "next_version__plan")
    in_force = Q(status__in=Subscription.IN_FORCE)
    found: Subscription | None = rows.order_by(Case(When(in_force, then=0), default=1), "-created_at").first()
    return found


def _standing(account: Any, last: Subscription | None, extra: Extra | None, now: datetime) -> Standing:
    """As `standing.of`, from rows that are here already."""
    plans = current_plans()
    row = getattr(account, "flow_standing", None)
    plan, paid, lapsed, given = plans.current(FREE, now), None, False, None
    if last is not None and last.in_force and last.period_end is not None:
        ends = last.cancel_at_period_end
        given = standing.gives_plan(last.period_end, last.grace_until, ends=ends, now=now)
        if given:
            paid, lapsed = last.pk, now >= last.period_end
            plan = plans.by_id[(lapsed and last.next_version_id) or last.plan_version_id]
    key = extra.key.pk if extra else None
    flow_class = standing.class_now(row.flow_class if row else STANDARD, given=given)
    return Standing(account.pk, plan, flow_class, paid, lapsed, key)


def _ended_at(last: Subscription) -> datetime:
    """When it stopped giving its plan; one that nobody closed yet, when its time was over."""
    found = last.ended_at or last.grace_until or last.period_end
    assert found is not None  # noqa: S101  # a constraint: ended or in force has one of them
    return found


def _windows(account_id: UUID, now: datetime) -> dict[str, QuotaWindow]:
    """The windows that are open, by kind; those of hours or a week only within the open period, as admission asks.

    `third` is when the account's last call but two was made on Flows.
    """
    calls = UsageRecord.objects.filter(account_id=account_id, funding=Funding.SUBSCRIPTION)
    calls = calls.exclude(funding=Funding.PAYG)  # said in these words so that the partial index is used
    newest = calls.order_by("-authorized_at", "-pk").values("authorized_at")
    rows = (
        QuotaWindow.objects.filter(account_id=account_id, starts_at__lte=now, ends_at__gt=now)
        .select_related("follows__plan_version__plan")
        .annotate(third=Subquery(newest[LEAST_CALLS - 1 : LEAST_CALLS]))
    )
    found = {row.kind: row for row in rows}
    period = found.get(Kind.PERIOD)
    return {kind: row for kind, row in found.items() if row is period or (period and row.period_id == period.pk)}


def _counter(kind: str, row: QuotaWindow | None, terms: Terms) -> Counter:
    if row is None:
        caps = {Kind.FIVE_HOURS: terms.flows_5h, Kind.WEEK: terms.flows_week, Kind.PERIOD: terms.flows_period}
        return Counter(kind, caps[Kind(kind)], enforced=kind != Kind.PERIOD or terms.enforce_period_cap)
    return Counter(
        kind=kind,
        cap=row.cap,
        used=row.used,
        held=row.held,
        carried=row.carried,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        enforced=row.enforced,
        carried_from=row.follows.plan_version.plan.name if row.follows else "",
        window_id=row.pk,
    )


def _start_of(period: QuotaWindow | None, subscription: Subscription | None) -> datetime | None:
    """When the billing period began: a change of plan within it opens new windows and no new period."""
    if period is None:
        return None
    start: datetime = period.starts_at
    if period.follows_id and subscription and subscription.period_start:
        return min(start, subscription.period_start)
    return start


def _calls(row: Any) -> int:
    """How many calls the window has, no further than a forecast asks."""
    return LEAST_CALLS if row is not None and row.third is not None and row.third >= row.starts_at else 0


# --- Extra Usage ------------------------------------------------------------------------------------------------------
def _extra(account: Any, now: datetime) -> Extra | None:
    """Extra Usage where the account agreed to it; None where it did not."""
    row = getattr(account, "extra_usage", None)
    if row is None or not row.enabled or row.api_key is None or row.monthly_cap is None:
        return None
    key, wallet = row.api_key, account.wallet
    spent, held = account.spent or ZERO, account.held or ZERO
    stops = ""
    if key.disabled_at is not None or (key.expires_at is not None and key.expires_at <= now):
        stops = "key"
    elif spent + held >= row.monthly_cap:
        stops = "cap"
    elif wallet.balance - wallet.overdraft - wallet.held + wallet.credit_limit <= 0:
        stops = "balance"
    month = month_of(now)
    year, number = divmod(month.year * 12 + month.month, 12)
    return Extra(key, row.monthly_cap, spent, held, month, datetime(year, number + 1, 1, tzinfo=UTC), stops)


def month_of(now: datetime) -> date:
    """The calendar month of UTC that the cap of Extra Usage counts in, as its first day."""
    return now.astimezone(UTC).date().replace(day=1)
