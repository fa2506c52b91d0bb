"""`/api/v1/subscription`: the plan in force and what is left of its Flows (03-http-api 3.5)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.catalog.plans import plain
from billing.money import text
from config import clock
from config.api import AmountField, ApiView, UtcField
from subscriptions import cockpit
from subscriptions.cockpit import Cockpit, Extra
from subscriptions.counting import Counter
from subscriptions.models import QuotaWindow, Subscription
from subscriptions.models_plans import FlowClass

FREE_STATUS = "none"
STATUSES = (
    *((value, label) for value, label in Subscription.Status.choices if value in Subscription.IN_FORCE),
    (FREE_STATUS, "no paid plan"),
)
PRICE_PLACES = 2


class PlanInForceOutput(serializers.Serializer[Any]):
    """The plan version in force."""

    code = serializers.CharField()
    name = serializers.CharField()
    version = serializers.IntegerField(source="number", help_text="Subscribers keep their version.")
    price_usd = serializers.CharField(help_text="US dollars a month.")
    rpm = serializers.IntegerField(help_text="Requests a minute.")


class WindowOutput(serializers.Serializer[Any]):
    """A quota window, in Flows. It is open from its first admitted call on; `left` is what calls may still take."""

    kind = serializers.ChoiceField(choices=QuotaWindow.Kind.choices)
    cap = AmountField(6)
    used = AmountField(6)
    held = AmountField(6, help_text="Held by calls that are under way.")
    carried = AmountField(6, help_text="Used and held under the plan before a change within the period.")
    left = AmountField(6)
    overshoot = AmountField(6, help_text="Used beyond the cap by calls that were admitted before it was reached.")
    enforced = serializers.BooleanField(help_text="False: it is counted and refuses nothing.")
    starts_at = UtcField(allow_null=True, help_text="null: it begins with the next call.")
    ends_at = UtcField(allow_null=True, help_text="From this moment on it counts no more.")


class FlowWorthOutput(serializers.Serializer[Any]):
    """What a Flow is worth to this account."""

    flows_per_usd = serializers.CharField(help_text="Flows for one dollar of list price, exactly.")
    usd_per_flow = serializers.CharField(help_text="The same for reading, rounded: nothing is computed from it.")
    call_overhead_flows = AmountField(6, help_text="Flows that every call costs besides.")


class ExtraUsageSummary(serializers.Serializer[Any]):
    """What pays from the balance when a window is full, the billing period's among them."""

    enabled = serializers.BooleanField()
    api_key = serializers.UUIDField(allow_null=True)
    monthly_cap = AmountField(allow_null=True, help_text="US dollars in a calendar month of UTC.")
    spent = AmountField(allow_null=True)
    held = AmountField(allow_null=True)
    left = AmountField(allow_null=True)
    resets_at = UtcField(allow_null=True)
    stopped_by = serializers.ChoiceField(
        choices=["key", "cap"],
        allow_null=True,
        help_text="Why it pays nothing now: its key cannot be used, or its cap.",
    )


class SubscriptionOutput(serializers.Serializer[Any]):
    """An account's plan and its Flows."""

    plan = PlanInForceOutput()
    flow_class = serializers.ChoiceField(choices=FlowClass.choices)
    status = serializers.ChoiceField(choices=STATUSES)
    period_start = UtcField(allow_null=True, help_text="Of what is paid; null on the Free plan.")
    period_end = UtcField(allow_null=True)
    renews = serializers.BooleanField(help_text="Goes on after its period by itself.")
    served_until = UtcField(allow_null=True, help_text="While a payment is overdue.")
    next_plan = serializers.CharField(allow_null=True, help_text="The plan from the next period on, if another one.")
    windows = WindowOutput(many=True, help_text="Five hours, week, billing period.")
    full = serializers.ListField(child=serializers.CharField(), help_text="The windows that admit nothing now.")
    admissible_at = UtcField(allow_null=True, help_text="When Flows pay again; null while they do.")
    flow_rate = FlowWorthOutput(allow_null=True)
    extra_usage = ExtraUsageSummary()
    as_of = UtcField()


_EXAMPLE = OpenApiExample(
    "Pro, with the five hours used up",
    {
        "plan": {"code": "pro", "name": "Pro", "version": 1, "price_usd": "20.00", "rpm": 10},
        "flow_class": "standard",
        "status": "active",
        "period_start": "2026-11-12T09:00:00Z",
        "period_end": "2026-12-12T09:00:00Z",
        "renews": True,
        "served_until": None,
        "next_plan": None,
        "windows": [
            {
                "kind": "5h",
                "cap": "50.000000",
                "used": "50.000000",
                "held": "0.000000",
                "carried": "0.000000",
                "left": "0.000000",
                "overshoot": "0.000000",
                "enforced": True,
                "starts_at": "2026-11-22T09:00:00Z",
                "ends_at": "2026-11-22T14:00:00Z",
            }
        ],
        "full": ["5h"],
        "admissible_at": "2026-11-22T14:00:00Z",
        "flow_rate": {"flows_per_usd": "39.6", "usd_per_flow": "0.02525", "call_overhead_flows": "0.000000"},
        "extra_usage": {
            "enabled": True,
            "api_key": "0192d1c0-7e1a-7cc4-9a53-1b1f0a9d77c0",
            "monthly_cap": "20.0000000000",
            "spent": "3.4200000000",
            "held": "0.0000000000",
            "left": "16.5800000000",
            "resets_at": "2026-12-01T00:00:00Z",
            "stopped_by": None,
        },
        "as_of": "2026-11-22T12:04:31Z",
    },
    response_only=True,
)


class SubscriptionView(ApiView):
    """The account's subscription."""

    @extend_schema(
        operation_id="subscription_read",
        summary="Read the plan, its three quota windows and Extra Usage",
        description="Every member may read it. A window that no call has opened yet has its cap and no times: it "
        "begins with the next call. Extra Usage pays when the five hours, the week or the billing period are full.",
        responses=SubscriptionOutput,
        examples=[_EXAMPLE],
        tags=["Subscription"],
    )
    def get(self, request: Request) -> Response:
        """As of now; what calls hold at this moment counts."""
        return Response(SubscriptionOutput(told(cockpit.read(self.account.pk, now=clock.now()))).data)


def told(seen: Cockpit) -> dict[str, Any]:
    """The cockpit as the API tells it."""
    held, rate = seen.subscription, seen.rate
    return {
        "plan": _plan(seen),
        "flow_class": seen.standing.flow_class,
        "status": held.status if held else FREE_STATUS,
        "period_start": held.period_start if held else None,
        "period_end": held.period_end if held else None,
        "renews": bool(held and held.renews),
        "served_until": held.grace_until if held and held.status == Subscription.Status.PAST_DUE else None,
        "next_plan": held.next_version.plan_id if held and held.next_version else None,
        "windows": [_window(one) for one in seen.counters],
        "full": [one.kind for one in seen.outlook.full],
        "admissible_at": seen.outlook.until if seen.outlook.full else None,
        "flow_rate": {
            "flows_per_usd": plain(rate.flows_per_usd),
            "usd_per_flow": text(rate.usd_per_flow),
            "call_overhead_flows": rate.call_overhead_flows,
        }
        if rate
        else None,
        "extra_usage": _extra(seen.extra),
        "as_of": seen.now,
    }


def _plan(seen: Cockpit) -> dict[str, Any]:
    plan = seen.plan
    price = f"{plan.price_usd:.{PRICE_PLACES}f}"
    return {"code": plan.code, "name": plan.name, "number": plan.number, "price_usd": price, "rpm": plan.rpm}


def _window(counter: Counter) -> dict[str, Any]:
    names = ("kind", "cap", "used", "held", "carried", "left", "overshoot", "enforced", "starts_at", "ends_at")
    return {name: getattr(counter, name) for name in names}


def _extra(extra: Extra | None) -> dict[str, Any]:
    if extra is None:
        names = ("api_key", "monthly_cap", "spent", "held", "left", "resets_at", "stopped_by")
        return {"enabled": False} | dict.fromkeys(names)
    return {
        "enabled": True,
        "api_key": extra.key.pk,
        "monthly_cap": extra.cap,
        "spent": extra.spent,
        "held": extra.held,
        "left": extra.left,
        "resets_at": extra.resets_at,
        "stopped_by": extra.stops or None,
    }
