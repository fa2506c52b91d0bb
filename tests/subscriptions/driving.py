"""Calls against an account's windows, with time as an argument. One Flow is one dollar of list price here."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from accounts.models import Account, ApiKey
from billing.books.ledger import lock_wallet
from billing.catalog import book
from billing.catalog.models import CatalogState, PriceVersion
from billing.catalog.models_flows import FlowRate
from billing.catalog.usage import Usage
from billing.errors import NotRecorded
from billing.metering import holds, usage
from billing.metering.usage import FlowsOf
from subscriptions import periods, plans, quota
from subscriptions.models import ExtraUsage, PlanVersion, QuotaWindow, Subscription
from tests import factories

NOON = factories.NOON
ONE_FOR_ONE = FlowsOf("standard", Decimal(1), Decimal(1), Decimal(0))
_numbers = itertools.count(2)


def plan_version(code: str, **terms: Any) -> PlanVersion:
    """A new version of a plan, in force from the year before the tests' noon."""
    now = plans.current_plans(fresh=True).current(code, NOON)
    row = PlanVersion.objects.create(
        plan_id=code,
        number=next(_numbers),
        effective_from=terms.pop("effective_from", NOON - timedelta(days=365) + timedelta(seconds=next(_numbers))),
        created_at=NOON,
        **{
            "price_usd": now.price_usd,
            "flows_5h": now.flows_5h,
            "flows_week": now.flows_week,
            "flows_period": now.flows_period,
            "rpm": now.rpm,
            "model_slugs": ["test/model"],
        }
        | terms,
    )
    plans.forget()
    return row


def flow_rate(flow_class: str, per_usd: str, *, at: datetime = NOON - timedelta(days=9)) -> FlowRate:
    """What a dollar of list price is in Flows for a class, from a moment on."""
    row = FlowRate.objects.create(
        flow_class=flow_class, flows_per_usd=Decimal(per_usd), effective_from=at, created_at=at
    )
    CatalogState.objects.filter(id=1).update(revision=1 + CatalogState.objects.get(id=1).revision)
    book.forget()
    return row


@dataclass
class Driver:
    """One account on one plan."""

    account: Account
    version: PriceVersion
    plan: PlanVersion
    subscription: Subscription | None = None
    open: dict[UUID, Decimal] = field(default_factory=dict)

    def ask(
        self,
        flows: str | Decimal,
        at: datetime,
        *,
        usd: str | Decimal = "0",
        key: UUID | None = None,
        request_id: str = "",
    ) -> quota.FlowHeld:
        """Ask the windows for this many Flows; `usd` is what Extra Usage would hold."""
        [found] = quota.admit(
            [self.request(flows, usd=usd, key=key, request_id=request_id)],
            now=at,
            expires_at=at + timedelta(minutes=15),
        )
        assert not isinstance(found, NotRecorded)
        return found

    def request(
        self, flows: str | Decimal, *, usd: str | Decimal = "0", key: UUID | None = None, request_id: str = ""
    ) -> quota.FlowRequest:
        hold = factories.hold_request(
            self.account, self.version, str(usd), request_id=request_id or uuid4().hex, funding="subscription"
        )
        return quota.FlowRequest(
            hold=hold, flows=Decimal(flows), plan_version_id=self.plan.pk, flow_terms=ONE_FOR_ONE, extra_key=key
        )

    def use(self, flows: str | Decimal, at: datetime, *, actual: str | Decimal | None = None) -> quota.FlowHeld:
        """Ask and, when admitted, capture at once."""
        found = self.ask(flows, at)
        if found.outcome == "created":
            self.capture(found, at, flows if actual is None else actual)
        return found

    def capture(self, held: quota.FlowHeld, at: datetime, flows: str | Decimal) -> usage.Charged:
        """What the call came to, in Flows."""
        [answer] = usage.capture(
            [usage.Capture(authorization_id=held.id, usage=Usage(input_tokens=int(Decimal(flows) * 1000)))], now=at
        )
        assert isinstance(answer, usage.Charged), answer
        return answer

    def void(self, held: quota.FlowHeld, at: datetime) -> None:
        holds.void([(held.id, self.account.pk, "test")], now=at)

    def windows(self, kind: str = "5h") -> list[QuotaWindow]:
        """The account's windows of a kind, oldest first."""
        return list(QuotaWindow.objects.filter(account=self.account, kind=kind).order_by("starts_at"))

    def subscribe(self, plan: PlanVersion, start: datetime, end: datetime) -> Subscription:
        """A paid period, without a provider."""
        with transaction.atomic():
            lock_wallet(self.account.pk)
            self.subscription = Subscription.objects.create(
                account=self.account, plan_version=plan, status="active", status_at=start, created_at=start,
                activated_at=start, period_start=start, period_end=end, provider_id=f"sub_{uuid4().hex}",
                client_key=uuid4().hex,
            )  # fmt: skip
            periods.begin(self.account.pk, plan, self.subscription, start=start, end=end, now=start)
        self.plan = plan
        return self.subscription

    def change(self, plan: PlanVersion, at: datetime) -> None:
        """Another plan within the period."""
        held = self.subscription
        assert held is not None
        with transaction.atomic():
            lock_wallet(self.account.pk)
            held.plan_version = plan
            held.save()
            periods.begin(self.account.pk, plan, held, start=at, end=held.period_end, now=at, carry=True)  # type: ignore[arg-type]
        self.plan = plan

    def agree(self, cap: str, at: datetime = NOON) -> ApiKey:
        """Extra Usage on, with a new key."""
        key, _ = factories.key(self.account)
        ExtraUsage.objects.update_or_create(
            account=self.account,
            defaults={
                "enabled": True, "api_key": key, "monthly_cap": Decimal(cap), "agreed_at": at, "agreed_text": "yes",
                "changed_at": at,
            },
        )  # fmt: skip
        return key


def driver(plan: PlanVersion | None = None, *, usd: str = "0") -> Driver:
    """An account on the Free plan, or on a paid one from noon for thirty days."""
    account = factories.funded(usd)
    version = PriceVersion.objects.filter(model__slug="test/model").first() or factories.price()
    made = Driver(account, version, plan_version("free"))
    if plan is not None:
        made.subscribe(plan, NOON, NOON + timedelta(days=30))
    return made
