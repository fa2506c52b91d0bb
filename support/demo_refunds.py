"""The demo's refunds: top-ups that were asked back, and a plan that was given back, through the product's own doors.

What the provider says comes from the sandbox, in this process and at each step's time, as for the demo's plan.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from accounts import api_keys
from accounts.models import Account, ApiKey, User
from billing.payments import settling, topups
from billing.payments.models import TopUp
from refunds import deciding, lifecycle, plan_lifecycle, plan_settling, sending
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from support import demo_plan

Category = Refund.Category


def of_top_ups(account: Account, owner: User, finance: User, *, now: datetime) -> list[Refund]:
    """One that went back, one that staff refused, one that waits for them. A company's owner confirms each."""
    long_ago, lately, today = now - timedelta(days=25), now - timedelta(days=9), now - timedelta(hours=5)
    gone = _asked(account, owner, "50", "20", Category.MISTAKE, "We meant to top up 30.", at=long_ago)
    deciding.approve(
        gone.pk, actor=finance, reason="Unused, and paid an hour before.", now=long_ago + timedelta(hours=3)
    )
    provider = demo_plan.Provider(long_ago + timedelta(hours=3))
    gone = sending.submit(gone.pk, processor=provider.processor, now=provider.now)
    refused = _asked(
        account, owner, "30", "30", Category.THIRD_PARTY, "My editor's plug-in does not accept the key.", at=lately
    )
    refused = deciding.reject(
        refused.pk,
        actor=finance,
        reason="The key works: the plug-in had another address. The credit is yours and can be used.",
        now=lately + timedelta(days=1),
    )
    waits = _asked(account, owner, "40", "25", Category.OTHER, "The project ended sooner than planned.", at=today)
    return [gone, refused, waits]


def _asked(account: Account, owner: User, paid: str, usd: str, category: str, why: str, *, at: datetime) -> Refund:
    order = _paid(account, owner, paid, at=at - timedelta(hours=1))
    return lifecycle.request(
        order.pk,
        Decimal(usd),
        reason=why,
        category=category,
        actor=owner,
        confirmed_by=owner,
        client_key=f"demo:{uuid4().hex}",
        now=at,
    )


def _paid(account: Account, owner: User, usd: str, *, at: datetime) -> TopUp:
    """A top-up by card."""
    provider = demo_plan.Provider(at)
    order = topups.start(
        account.pk,
        Decimal(usd),
        method=TopUp.Method.CARD,
        client_key=f"demo:{uuid4().hex}",
        actor=owner,
        locale="en",
        processor=provider.processor,
        now=at,
    )
    provider.pay(order.checkout_session_id or "", owner, account)
    return settling.settle(order.pk, processor=provider.processor, now=at)


def of_plan(account: Account, owner: User, *, now: datetime) -> PlanRefund:
    """A plan that was bought, tried for an afternoon and given back."""
    bought = now - timedelta(days=5)
    provider = demo_plan.Provider(bought)
    demo_plan.bought(account, owner, "pro", provider)
    _, secret = api_keys.issue(account, name="trial", kind=ApiKey.Kind.SUBSCRIPTION, now=bought, actor=owner)
    until = bought + timedelta(hours=4)
    for at, event in demo_plan.calls(secret, bought, until, name="demo-trial", count=12, times=4):
        demo_plan.call(event, at)
    shown = plan_lifecycle.preview(account.pk, now=until)
    refund = plan_lifecycle.submit(
        account.pk,
        shown.token,
        client_key=f"demo:{uuid4().hex}",
        reason="We stay with pay as you go.",
        actor=owner,
        now=until,
    )
    provider.now = until + timedelta(minutes=1)
    return plan_settling.go_on(refund.pk, processor=provider.processor, now=provider.now)
