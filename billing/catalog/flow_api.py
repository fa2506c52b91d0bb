"""`/api/v1/flow-rate`: what a dollar is in Flows, published (03-http-api 3.5, F062-F063)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.catalog.api import PublicView
from billing.catalog.book import current_book
from billing.catalog.flow_terms import STANDARD, FlowTerm
from billing.catalog.plans import plain
from billing.money import text
from config import clock
from config.api import AmountField, UtcField


class FlowTermOutput(serializers.Serializer[Any]):
    """A rate from a moment on. Calls are counted with `flows_per_usd`, which is exact."""

    flows_per_usd = serializers.CharField(help_text="Flows for one dollar of list price, exactly.")
    usd_per_flow = serializers.CharField(help_text="The same for reading, rounded: nothing is computed from it.")
    call_overhead_flows = AmountField(6, help_text="Flows that every call costs besides.")
    effective_from = UtcField()
    effective_to = UtcField(allow_null=True)
    note = serializers.CharField(allow_blank=True)


class FlowRateOutput(FlowTermOutput):
    """The rate in force now, and every one that was or will be, newest first."""

    flow_class = serializers.CharField()
    history = FlowTermOutput(many=True)


class FlowRate(PublicView):
    """The standard Flow rate."""

    @extend_schema(
        operation_id="flow_rate_read", summary="Read the Flow rate and its history", responses=FlowRateOutput,
        tags=["Prices"],
        description="Public. Flows of a call = its list price x `flows_per_usd` x the model's factor on the plan + "
        "`call_overhead_flows`, six places, half up.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """From the price book in memory."""
        book, now = current_book(), clock.now()
        term = book.flow_rate(STANDARD, now)
        if term is None:
            raise exceptions.NotFound
        history = book.flow_terms.history(STANDARD)
        ends: dict[datetime, datetime | None] = {}
        following: datetime | None = None
        for one in history:
            ends[one.effective_from], following = following, one.effective_from
        told = [_told(one, ends[one.effective_from]) for one in history]
        body = _told(term, ends[term.effective_from]) | {"flow_class": term.flow_class, "history": told}
        return Response(FlowRateOutput(body).data)


def _told(term: FlowTerm, until: datetime | None) -> dict[str, Any]:
    return {
        "flows_per_usd": plain(term.flows_per_usd),
        "usd_per_flow": text(term.usd_per_flow),
        "call_overhead_flows": term.call_overhead_flows,
        "effective_from": term.effective_from,
        "effective_to": until,
        "note": term.note,
    }
