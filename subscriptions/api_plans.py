"""`/api/v1/plans`: what each plan costs, promises and is worth now (03-http-api 3.5, F066-F068, C03)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.catalog.api import PublicView
from billing.catalog.book import current_book
from billing.catalog.flow_terms import STANDARD, FlowTerm
from billing.catalog.plans import plain
from billing.money import text
from config import clock
from config.api import AmountField, UtcField
from subscriptions.models import PlanVersion
from subscriptions.offer import Offer, on_offer
from subscriptions.plans import current_plans

FRESH_SECONDS = 60


class PlanOutput(serializers.Serializer[Any]):
    """A plan on offer. Quotas are Flows; `equivalent_usd` and `leverage` follow the Flow rate, rounded for reading."""

    code = serializers.CharField()
    name = serializers.CharField()
    version = serializers.IntegerField(help_text="Subscribers keep the version that they subscribed to.")
    effective_from = UtcField()
    price_usd = AmountField(2, help_text="A month.")
    flows_5h = AmountField(6)
    flows_week = AmountField(6)
    flows_period = AmountField(6)
    rpm = serializers.IntegerField(help_text="Requests a minute, over all keys of the account.")
    models = serializers.ListField(child=serializers.CharField(), help_text="Slugs that can be called now.")
    coming_soon = serializers.ListField(child=serializers.CharField(), help_text="Slugs announced for the plan.")
    equivalent_usd = AmountField(2, allow_null=True, help_text="`flows_period` / `flows_per_usd`, two places, half up.")
    leverage = AmountField(2, allow_null=True, help_text="The unrounded equivalent / price; null on a free plan.")
    anchor_policy = serializers.ChoiceField(
        choices=PlanVersion.AnchorPolicy.values,
        help_text="Where windows begin: at the first request, or on a grid from the start of the period.",
    )
    enforce_period_cap = serializers.BooleanField(help_text="False: the period is counted and refuses nothing.")


class PlanRateOutput(serializers.Serializer[Any]):
    """The standard Flow rate that the equivalents were computed with."""

    flow_class = serializers.CharField()
    flows_per_usd = serializers.CharField(help_text="Flows for one dollar of list price, exactly.")
    usd_per_flow = serializers.CharField(help_text="The same for reading, rounded: nothing is computed from it.")
    call_overhead_flows = AmountField(6, help_text="Flows that every call costs besides.")
    effective_from = UtcField()


class PlansOutput(serializers.Serializer[Any]):
    """Every plan on offer, from the smallest to the largest."""

    as_of = UtcField()
    flow_rate = PlanRateOutput(allow_null=True)
    plans = PlanOutput(many=True)


class Plans(PublicView):
    """The plans on offer."""

    @extend_schema(
        operation_id="plans_list", summary="List the subscription plans on offer", responses=PlansOutput,
        tags=["Prices"],
        description="Public, and the same for everybody; it may be kept for a minute. The rate's history is at "
        "`/api/v1/flow-rate`.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """From the plans and the price book in memory."""
        book, now = current_book(), clock.now()
        term = book.flow_rate(STANDARD, now)
        told = [_told(one) for one in on_offer(current_plans(), book, now)]
        body = {"as_of": now, "flow_rate": _rate(term) if term else None, "plans": told}
        return Response(PlansOutput(body).data, headers={"Cache-Control": f"public, max-age={FRESH_SECONDS}"})


def _told(one: Offer) -> dict[str, Any]:
    terms = one.terms
    policy = PlanVersion.AnchorPolicy
    return {
        "code": terms.code,
        "name": terms.name,
        "version": terms.number,
        "effective_from": terms.effective_from,
        "price_usd": terms.price_usd,
        "flows_5h": terms.flows_5h,
        "flows_week": terms.flows_week,
        "flows_period": terms.flows_period,
        "rpm": terms.rpm,
        "models": sorted(card.slug for card in one.models),
        "coming_soon": sorted(card.slug for card in one.soon),
        "equivalent_usd": one.worth.usd_shown if one.worth else None,
        "leverage": one.worth.leverage_shown if one.worth else None,
        "anchor_policy": (policy.GRID if terms.grid else policy.FIRST_REQUEST).value,
        "enforce_period_cap": terms.enforce_period_cap,
    }


def _rate(term: FlowTerm) -> dict[str, Any]:
    return {
        "flow_class": term.flow_class,
        "flows_per_usd": plain(term.flows_per_usd),
        "usd_per_flow": text(term.usd_per_flow),
        "call_overhead_flows": term.call_overhead_flows,
        "effective_from": term.effective_from,
    }
