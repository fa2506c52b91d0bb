"""`GET /api/v1/refunds` and `…/{id}`: what was asked back, what became of it, and its references (03-http-api 3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import NotFound
from billing.money import USD, from_minor_units
from config.api import ApiView, CsvQuery, Keyset, ListQuery, ListView, UtcField, page_of
from refunds import listing, shown
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy
from refunds.quote_plan import Lines

Row = listing.Row


def told(minor: int, currency: str = USD) -> str:
    """A refund has whole cents, or fen."""
    return f"{from_minor_units(minor, currency):.2f}"


def text_of(form: type[serializers.Serializer[Any]], found: dict[str, Any]) -> Any:
    """As JSON has it; what this kind of refund does not know is null."""
    return form(dict.fromkeys(form().fields) | found).data


# --- Shapes --------------------------------------------------------------------------------------------------------


class RefundPendingOutput(serializers.Serializer[Any]):
    """Calls under way on the plan; they are waited for before anything is sent."""

    calls = serializers.IntegerField(allow_null=True)
    max = serializers.CharField(help_text="What they come to at most.")


class RefundLinesOutput(serializers.Serializer[Any]):
    """From what was paid to what goes back; decimal strings in `currency`, null where a line has no meaning."""

    currency = serializers.CharField()
    paid_total = serializers.CharField(help_text="Of a plan without its tax.")
    actual_usage = serializers.CharField(
        allow_null=True,
        help_text="Of a plan: Flows of its calls at the rate of their moment. Of a top-up: what is used.",
    )
    flows = serializers.CharField(allow_null=True, help_text="The Flows behind it.")
    pending = RefundPendingOutput(allow_null=True)
    already_refunded = serializers.CharField(allow_null=True, help_text="With what is on its way.")
    disputed = serializers.CharField(allow_null=True)
    refundable = serializers.CharField(allow_null=True, help_text="Of a top-up: what could be asked for.")
    difference = serializers.CharField(help_text="What the fee is taken from; of a top-up what is asked for.")
    fee = serializers.CharField()
    fee_rate = serializers.CharField(help_text="A share: 0.05 is 5 %.")
    fee_base = serializers.ChoiceField(choices=RefundPolicy.FeeBase.choices)
    tax = serializers.CharField(help_text="Goes back with it.")
    final = serializers.CharField(help_text="What goes back.")
    final_min = serializers.CharField(allow_null=True, help_text="When every call under way takes what it holds.")
    final_max = serializers.CharField(allow_null=True, help_text="When they come to nothing. Never exceeded.")


class RefundOutput(serializers.Serializer[Any]):
    """One refund, amounts as decimal strings in `currency`."""

    id = serializers.UUIDField()
    number = serializers.CharField(help_text="`refund_…`: name it when you write to support.")
    kind = serializers.ChoiceField(choices=Refund.Kind.choices)
    status = serializers.ChoiceField(choices=listing.STATUSES)
    state = serializers.CharField(
        help_text="More exactly: requested, settling (calls are waited for), approved, submitted (at the payment "
        "provider), succeeded, failed, cancelled."
    )
    plan = serializers.CharField(allow_null=True)
    order = serializers.CharField(allow_null=True, help_text="The top-up.")
    invoice = serializers.CharField(allow_null=True, help_text="Of a single payment for a plan.")
    external = serializers.BooleanField(help_text="Made at the payment provider, not asked for here.")
    currency = serializers.CharField()
    requested = serializers.CharField(help_text="What is taken back, with the fee.")
    fee = serializers.CharField(help_text="Kept of it; below zero when an earlier fee was given back.")
    final = serializers.CharField(help_text="What goes back; of a plan the agreed amount until calls have ended.")
    sent = serializers.CharField(help_text="What has gone.")
    created_at = UtcField()
    status_at = UtcField(help_text="Since when it is in this state.")
    succeeded_at = UtcField(allow_null=True)
    reason = serializers.CharField(help_text="As it was asked for.")
    answer = serializers.CharField(help_text="Why it was refused or taken back, or only a part was approved.")
    outcome_reason = serializers.CharField(help_text="A code that says why it did not succeed.")
    can_cancel = serializers.BooleanField(help_text="Nothing was sent yet.")


class RefundEventOutput(serializers.Serializer[Any]):
    """Something that happened."""

    event = serializers.CharField()
    at = UtcField()


class RefundPartOutput(serializers.Serializer[Any]):
    """One payment's money going back; a plan that was paid in several payments has several."""

    number = serializers.CharField()
    of = serializers.CharField(help_text="The order's or invoice's number.")
    state = serializers.CharField()
    currency = serializers.CharField()
    requested = serializers.CharField()
    fee = serializers.CharField()
    final = serializers.CharField()
    provider_refund = serializers.CharField(allow_null=True, help_text="The payment provider's name for it.")
    provider_status = serializers.CharField()
    submitted_at = UtcField(allow_null=True)
    succeeded_at = UtcField(allow_null=True)


class RefundDetailOutput(RefundOutput):
    """The same with everything that is known of it."""

    lines = RefundLinesOutput(help_text="As refunded; as agreed to until then.")
    quoted = RefundLinesOutput(allow_null=True, help_text="Of a plan: as agreed to.")
    timeline = RefundEventOutput(many=True)
    parts = RefundPartOutput(many=True)
    provider_references = serializers.ListField(child=serializers.CharField())


# --- What they hold ------------------------------------------------------------------------------------------------


def summary(row: Row) -> dict[str, Any]:
    """What `RefundOutput` shows."""
    common = {
        "id": row.pk,
        "number": row.number,
        "status": row.customer_status,
        "state": str(row.status),
        "created_at": row.created_at,
        "status_at": row.status_at,
        "succeeded_at": row.succeeded_at,
        "reason": row.reason,
        "outcome_reason": row.failure_reason,
        "plan": None,
        "order": None,
        "invoice": None,
    }
    answer = row.answer if row.status == "cancelled" else ""
    if isinstance(row, PlanRefund):
        lines = _lines(row)
        return common | {
            "kind": Refund.Kind.SUBSCRIPTION,
            "plan": row.plan_version.plan_id,
            "external": False,
            "currency": USD,
            "requested": told(row.final_minor + row.fee_minor if row.settled else lines.difference + lines.tax),
            "fee": told(row.fee_minor),
            "final": told(row.final_minor),
            "sent": told(row.sent_minor),
            "answer": answer,
            "can_cancel": shown.may_cancel(row),
        }
    return common | {
        "kind": row.kind,
        "order" if row.top_up_id else "invoice": row.of_number,
        "external": row.external,
        "currency": row.currency,
        "requested": told(row.requested_minor, row.currency),
        "fee": told(row.fee_minor, row.currency),
        "final": told(row.sent_minor, row.currency),
        "sent": told(row.sent_minor if row.status == Refund.Status.SUCCEEDED else 0, row.currency),
        "answer": answer or row.part_reason,
        "can_cancel": shown.may_cancel(row),
    }


def plan_lines(lines: Lines, policy: RefundPolicy) -> dict[str, Any]:
    """The lines of a plan; `flows` and how many calls are under way know only the quote of the moment."""
    return {
        "currency": USD,
        "paid_total": told(lines.paid),
        "actual_usage": told(lines.usage),
        "pending": {"calls": None, "max": told(lines.pending)},
        "already_refunded": told(lines.refunded),
        "difference": told(lines.difference),
        "fee": told(lines.fee),
        "fee_rate": f"{policy.fee_rate.normalize():f}",
        "fee_base": policy.fee_base,
        "tax": told(lines.tax),
        "final": told(lines.final),
        "final_min": told(lines.least),
        "final_max": told(lines.final),
    }


def _lines(row: PlanRefund) -> Lines:
    return Lines.read(row.settled or row.quoted)


def detail(row: Row) -> dict[str, Any]:
    """What `RefundDetailOutput` shows."""
    quoted = None
    if isinstance(row, PlanRefund):
        lines = plan_lines(_lines(row), row.policy)
        quoted = text_of(RefundLinesOutput, plan_lines(Lines.read(row.quoted), row.policy))
        parts = list(row.payments.select_related("top_up", "invoice").order_by("pk"))
    else:
        parts = [row]
        lines = {
            "currency": row.currency,
            "paid_total": told(row.paid_minor, row.currency),
            "difference": told(row.requested_minor, row.currency),
            "fee": told(row.fee_minor, row.currency),
            "fee_rate": f"{row.fee_rate.normalize():f}",
            "fee_base": RefundPolicy.FeeBase.DIFFERENCE,
            "tax": told(0),
            "final": told(row.sent_minor, row.currency),
        }
    return summary(row) | {
        "lines": text_of(RefundLinesOutput, lines),
        "quoted": quoted,
        "timeline": timeline(row),
        "parts": [_part(part) for part in parts],
        "provider_references": [part.provider_refund_id for part in parts if part.provider_refund_id],
    }


def _part(part: Refund) -> dict[str, Any]:
    return {
        "number": part.number,
        "of": part.of_number,
        "state": str(part.status),
        "currency": part.currency,
        "requested": told(part.requested_minor, part.currency),
        "fee": told(part.fee_minor, part.currency),
        "final": told(part.sent_minor, part.currency),
        "provider_refund": part.provider_refund_id,
        "provider_status": part.provider_status,
        "submitted_at": part.submitted_at,
        "succeeded_at": part.succeeded_at,
    }


_TIMES: Final = {
    "first_approved": "first_approved_at",
    "payment_method_confirmed": "confirmed_at",
    "renewal_switched_off": "renewal_off_at",
    "submitted": "submitted_at",
    "succeeded": "succeeded_at",
    "plan_ended_at_provider": "plan_ended_at",
    "renewal_switched_on": "renewal_on_at",
}


def timeline(row: Row) -> list[dict[str, Any]]:
    """What happened to it, oldest first."""
    found: list[tuple[datetime, str]] = [
        (row.created_at, "external" if getattr(row, "external", False) else "requested")
    ]
    for event, name in _TIMES.items():
        at = getattr(row, name, None)
        if at is not None:
            found.append((at, event))
    if row.status in ("failed", "cancelled"):
        found.append((row.status_at, str(row.status)))
    elif row.decided_at is not None:
        found.append((row.decided_at, "approved"))
    return [{"event": event, "at": at} for at, event in sorted(found, key=lambda one: one[0])]


# --- Views ---------------------------------------------------------------------------------------------------------


class RefundQuery(ListQuery, CsvQuery):
    """Which refunds."""

    kind = serializers.ChoiceField(choices=Refund.Kind.choices, required=False)
    status = serializers.ChoiceField(choices=listing.STATUSES, required=False)


@extend_schema_view(
    get=extend_schema(
        operation_id="refunds_list",
        summary="List refunds of plans and of top-ups, newest first",
        parameters=[RefundQuery],
        responses=page_of(RefundOutput, "RefundPage"),
        tags=["Refunds"],
    )
)
class RefundList(ListView):
    """The account's refunds. Every member may read them."""

    query_form, row_form = RefundQuery, RefundOutput
    keyset = Keyset(("pk",), (UUID,))
    columns = (
        "id", "number", "kind", "status", "plan", "order", "invoice", "currency", "requested", "fee", "final", "sent",
        "created_at", "status_at", "succeeded_at", "external", "reason", "answer", "outcome_reason",
    )  # fmt: skip
    table = "refunds"

    def pages(self, query: dict[str, Any], size: int) -> Iterator[list[Any]]:
        """Two tables, one order."""
        cursor = query.get("cursor")
        halves = listing.of(self.account.pk, kind=query.get("kind", ""), status=query.get("status", ""))
        older = self.keyset.values(cursor)[0].hex if cursor else ""
        while True:
            page = listing.page(halves, {"before": older}, size=size)
            yield page.rows
            if not page.older:
                return
            older = page.older

    def shown(self, rows: list[Any]) -> Any:
        """Rows as the API tells them."""
        return RefundOutput([summary(row) for row in rows], many=True).data


class RefundDetail(ApiView):
    """One refund of the account."""

    @extend_schema(
        operation_id="refunds_read",
        summary="Read a refund with its lines, what happened, its parts and the provider's references",
        responses=RefundDetailOutput,
        tags=["Refunds"],
    )
    def get(self, request: Request, refund_id: UUID) -> Response:
        """Another account's refund does not exist."""
        return Response(RefundDetailOutput(detail(found(self, refund_id))).data)


def found(view: ApiView, refund_id: UUID) -> Row:
    """A refund of the caller's account. Raises NotFound."""
    row = listing.find(refund_id, Q(account=view.account))
    if row is None:
        raise NotFound
    return row
