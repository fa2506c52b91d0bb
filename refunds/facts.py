"""What is true of a plan that may be given back: its payments, the calls on it, and whether there is still time.

Read outside a lock for a preview, and again under the wallet's lock when it is submitted and when it is settled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import connection
from django.db.models import Exists, OuterRef, Subquery

from accounts.models import Account
from refunds import models_policy, quote_plan
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy
from refunds.quote_plan import Lines, Paid, Used
from subscriptions import giving_back
from subscriptions.models import Invoice, PlanChange, Subscription
from subscriptions.models_plans import FlowClass

_OPENS: Final = frozenset({Invoice.Kind.SUBSCRIBE, Invoice.Kind.CHANGE})


@dataclass(frozen=True, slots=True)
class Facts:
    """A subscription with what its refund depends on. `opened_at` is the payment from which the hours count (C12);
    `policy` holds for it, and of `today`'s the provider's word on how old a payment may be."""

    account: Account
    subscription: Subscription
    policy: RefundPolicy
    today: RefundPolicy
    invoices: tuple[Invoice, ...]
    opened_at: datetime
    renewed: bool
    calls: Calls
    restricted: bool
    changing: bool
    before: PlanRefund | None
    now: datetime
    lines: Lines = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", self._compute(self.calls.used, self.calls.pending))

    @property
    def payments(self) -> list[Paid]:
        """The payments of the period, newest first, in cents."""
        return [
            Paid(one.pk, one.paid_minor, min(one.tax_minor, one.paid_minor), one.refunded_minor, one.disputed_minor)
            for one in self.invoices
        ]

    @property
    def lines_at_most(self) -> Lines:
        """The lines when every open call comes to what it holds (C09, C14)."""
        return self._compute((*self.calls.used, *self.calls.pending), ())

    def _compute(self, used: tuple[Used, ...], pending: tuple[Used, ...]) -> Lines:
        return quote_plan.compute(
            self.payments,
            used,
            pending,
            fee_rate=self.policy.fee_rate,
            fee_of_paid=self.policy.fee_base == RefundPolicy.FeeBase.PAID,
            refund_tax=self.policy.refund_tax,
        )

    @property
    def closes_at(self) -> datetime:
        """The last moment at which it may be asked for; inclusive (C12)."""
        return self.opened_at + self.policy.window


def read(subscription: Subscription, *, now: datetime, policy: RefundPolicy | None = None) -> Facts:
    """The facts of a subscription. `policy`: the one that a request was made under; else that of its payment."""
    invoices = tuple(giving_back.payments_of(subscription))
    opened_at, renewed = _opened(subscription, invoices, policy, now=now)
    today = models_policy.in_force(now)
    if policy is None:
        policy = today if today.effective_from <= opened_at else models_policy.in_force(opened_at)
    calls = calls_of(subscription)
    flow_class, changing, before = _standing(subscription)
    return Facts(
        account=subscription.account,
        subscription=subscription,
        policy=policy,
        today=today,
        invoices=invoices,
        opened_at=opened_at,
        renewed=renewed,
        calls=calls,
        restricted=calls.restricted or flow_class == FlowClass.RESTRICTED,
        changing=changing,
        before=before,
        now=now,
    )


def _standing(subscription: Subscription) -> tuple[str | None, bool, PlanRefund | None]:
    """The account's Flow class, whether a change of plan is under way, and the newest refund of the plan."""
    asked = PlanChange.objects.filter(subscription=OuterRef("pk"), status=PlanChange.Status.REQUESTED)
    refunds = PlanRefund.objects.filter(subscription=OuterRef("pk")).order_by("-pk")
    rows = Subscription.objects.filter(pk=subscription.pk)
    flow_class, changing, before = rows.values_list(
        "account__flow_standing__flow_class", Exists(asked), Subquery(refunds.values("pk")[:1])
    ).get()
    return flow_class, changing, PlanRefund.objects.get(pk=before) if before else None


def _opened(
    subscription: Subscription, invoices: tuple[Invoice, ...], policy: RefundPolicy | None, *, now: datetime
) -> tuple[datetime, bool]:
    """The payment from which the hours count: the first one of the subscription, or of an upgrade; of a renewal only
    where its policy says so. And whether the present period was paid for by a renewal alone."""
    opened = subscription.activated_at or subscription.created_at
    kinds = {one.kind for one in invoices if one.paid_at is not None}
    renewed = Invoice.Kind.RENEWAL in kinds and not kinds & _OPENS
    for one in invoices:
        paid_at = one.paid_at
        if paid_at is None:
            continue
        if one.kind == Invoice.Kind.RENEWAL:
            if not (policy or models_policy.in_force(paid_at)).on_renewal:
                continue
        elif one.kind not in _OPENS:
            continue
        opened = max(opened, paid_at)
    return min(opened, now), renewed


# What a Flow was worth to a call when it was admitted. To a restricted account it is worth no less than the
# standard value of that moment: a lower value must not raise what goes back (C09).
WORTH: Final = """CASE WHEN {0}.flow_class = 'restricted' THEN least({0}.flows_per_usd, (
    SELECT r.flows_per_usd FROM billing_flowrate r WHERE r.flow_class = 'standard' AND r.effective_from <= {0}.{1}
    ORDER BY r.effective_from DESC LIMIT 1)) ELSE {0}.flows_per_usd END"""
_USED: Final = f"""
  SELECT {WORTH.format("u", "authorized_at")}, sum(u.flows), count(*), bool_or(u.flow_class = 'restricted')
  FROM subscriptions_flowhold f JOIN billing_usagerecord u ON u.id = f.authorization_id AND u.account_id = f.account_id
  WHERE f.period_id = ANY(%s) AND u.funding = 'subscription' AND u.flows > 0
  GROUP BY 1"""  # noqa: S608  # of two constants
_OPEN: Final = f"""
  SELECT {WORTH.format("a", "created_at")}, sum(a.held_flows), count(*), bool_or(a.flow_class = 'restricted')
  FROM billing_authorization a JOIN subscriptions_flowhold f
    ON f.authorization_id = a.id AND f.account_id = a.account_id
  WHERE a.status = 'open' AND a.account_id = %s AND f.period_id = ANY(%s)
  GROUP BY 1"""  # noqa: S608  # of two constants
Row = tuple[Decimal, Decimal, int, bool]


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls on the plan in its present period: those that have ended, and those that still hold."""

    used: tuple[Used, ...]
    pending: tuple[Used, ...]
    flows: Decimal
    made: int
    open: int
    restricted: bool


def calls_of(subscription: Subscription) -> Calls:
    """What Flows paid for in the period, at the value of their moments; balance and Extra Usage are not in it (C09)."""
    windows = giving_back.periods_of(subscription)
    periods = [window.pk for window in windows]
    with connection.cursor() as cursor:
        cursor.execute(_USED, [periods])
        used: list[Row] = cursor.fetchall()
        held: list[Row] = []
        if any(window.held for window in windows):
            cursor.execute(_OPEN, [subscription.account_id, periods])
            held = cursor.fetchall()
    return Calls(
        used=tuple(Used(flows, per_usd) for per_usd, flows, _calls, _restricted in used),
        pending=tuple(Used(flows, per_usd) for per_usd, flows, _calls, _restricted in held),
        flows=sum((row[1] for row in used), Decimal(0)),
        made=sum(row[2] for row in used),
        open=sum(row[2] for row in held),
        restricted=any(row[3] for row in (*used, *held)),
    )
