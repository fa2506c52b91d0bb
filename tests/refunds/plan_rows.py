"""Plan refunds in each of their states, without a provider, for the tests of their desk."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from refunds import outcomes, plan_lifecycle, plan_settling
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from tests.refunds.states import state_of
from tests.refunds.test_plan_usage import call, subscribed
from tests.subscriptions.driving import NOON, Driver, flow_rate

LATER = NOON + timedelta(hours=1)


def settling(usd: str = "20", *, used: bool = True, actor: Any = None) -> PlanRefund:
    """Asked for; a fifth of it was used. The calls are not settled yet."""
    made = subscribed(usd, int(usd) * 100)
    if used:
        call(made, "100", "39.6")
    return submit(made, actor=actor)


def requested(usd: str = "20", *, actor: Any = None) -> PlanRefund:
    """Of a restricted account: it waits for staff."""
    flow_rate("standard", "39.6", at=NOON - timedelta(days=400))
    made = subscribed(usd, int(usd) * 100)
    call(made, "100", "79.2", flow_class="restricted")
    return submit(made, actor=actor)


def submit(made: Driver, *, actor: Any = None) -> PlanRefund:
    token = plan_lifecycle.preview(made.account.pk, now=LATER).token
    return plan_lifecycle.submit(made.account.pk, token, client_key=uuid4().hex, actor=actor, now=LATER)


def submitted(usd: str = "20", **more: Any) -> PlanRefund:
    """Its one payment is on its way."""
    return plan_settling.settle(settling(usd, **more).pk, now=LATER)


def ended(refund: PlanRefund, *outcome: str) -> PlanRefund:
    """What the provider says of its payment, one after the other."""
    part = Refund.objects.get(plan_refund=refund)
    Refund.objects.filter(pk=part.pk, submitted_at=None).update(status="submitted", submitted_at=LATER)
    part.refresh_from_db()
    for one in outcome:
        outcomes.record_outcome(part.pk, state_of(part, one), now=LATER)
    refund.refresh_from_db()
    return refund


def failed() -> PlanRefund:
    """The provider could not send it."""
    return ended(submitted(), "failed")


def succeeded() -> PlanRefund:
    """The money went, and the plan has ended."""
    return ended(submitted(), "succeeded")


def returned(usd: str = "20", *, actor: Any = None) -> PlanRefund:
    """A bank sent it back after the plan had ended."""
    return ended(submitted(usd, actor=actor), "succeeded", "failed")
