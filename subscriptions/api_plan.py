"""`POST /api/v1/subscription/checkout|preview|change|cancel` (03-http-api 3.5, C26, C29)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from django.utils.translation import get_language
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import IdempotencyKeyRequired, InvalidRequest
from billing.payments.api import LONGEST_KEY
from billing.payments.stripe_processor import get_processor
from config import clock
from config.api import ApiView, UtcField
from subscriptions import lifecycle
from subscriptions.models import PlanChange, Subscription

KEY_HEADER: Final = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    required=True,
    description="Names this intent for ever. The same key with the same body answers with the same thing.",
)


def client_key(request: Request) -> str:
    """The header that names the intent. Raises IdempotencyKeyRequired or InvalidRequest."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if not key:
        raise IdempotencyKeyRequired
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise InvalidRequest(field="Idempotency-Key", longest=LONGEST_KEY)
    return f"api:{key}"


class PlanInput(serializers.Serializer[Any]):
    """Which plan."""

    plan = serializers.CharField(max_length=8, help_text="`pro`, `max` or `ultra`: see `GET /plans`.")


class CheckoutOutput(serializers.Serializer[Any]):
    """A page on which the plan is paid."""

    id = serializers.UUIDField()
    plan = serializers.CharField()
    status = serializers.ChoiceField(choices=Subscription.Status.choices)
    checkout_url = serializers.CharField(help_text="The payment provider's page; the plan follows with the payment.")


class PreviewLineOutput(serializers.Serializer[Any]):
    """One line of what is due, as the provider computes it."""

    text = serializers.CharField()
    amount_minor = serializers.IntegerField(help_text="Cents; below zero is a credit.")


class PreviewOutput(serializers.Serializer[Any]):
    """What a change would do."""

    kind = serializers.ChoiceField(choices=PlanChange.Kind.choices)
    current = serializers.CharField()
    plan = serializers.CharField()
    due_usd = serializers.CharField(help_text="Charged with the change; zero for a smaller plan.")
    lines = PreviewLineOutput(many=True)
    at = UtcField(help_text="Send it with the change; it holds for fifteen minutes.")
    effective_at = UtcField()
    renews_at = UtcField()


class ChangeInput(PlanInput):
    """A preview that is confirmed."""

    at = serializers.DateTimeField(help_text="`at` of the preview.")


class ChangeOutput(serializers.Serializer[Any]):
    """A change of plan."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=PlanChange.Kind.choices)
    status = serializers.ChoiceField(choices=PlanChange.Status.choices)
    current = serializers.CharField(help_text="The plan before.")
    plan = serializers.CharField()


class CancelInput(serializers.Serializer[Any]):
    """End the plan with its period, or take that back."""

    cancel = serializers.BooleanField(default=True)


class CancelOutput(serializers.Serializer[Any]):
    """When the plan ends, or that it renews."""

    plan = serializers.CharField()
    renews = serializers.BooleanField()
    period_end = UtcField()


class CheckoutView(ApiView):
    """Subscribing."""

    needs: ClassVar[dict[str, str]] = {"POST": "pay"}

    @extend_schema(
        operation_id="subscription_checkout",
        summary="Open the page on which a plan is paid",
        request=PlanInput,
        responses={201: CheckoutOutput},
        parameters=[KEY_HEADER],
        tags=["Subscription"],
    )
    def post(self, request: Request) -> Response:
        """The same key, or an open page for the same plan, comes back to the same page."""
        key, told = client_key(request), self.body(PlanInput)
        row = lifecycle.subscribe(
            self.account.pk,
            told["plan"],
            client_key=key,
            actor=self.caller.user,
            locale=get_language() or "en",
            processor=get_processor(),
            now=clock.now(),
        )
        found = {
            "id": row.pk,
            "plan": row.plan_version.plan_id,
            "status": row.status,
            "checkout_url": row.checkout_url,
        }
        return Response(CheckoutOutput(found).data, status=201)


class PreviewView(ApiView):
    """What a change would do."""

    needs: ClassVar[dict[str, str]] = {"POST": "pay"}

    @extend_schema(
        operation_id="subscription_preview",
        summary="Look at a change of plan before it is made",
        request=PlanInput,
        responses=PreviewOutput,
        tags=["Subscription"],
    )
    def post(self, request: Request) -> Response:
        """Changes nothing."""
        told = self.body(PlanInput)
        shown = lifecycle.preview(self.account.pk, told["plan"], processor=get_processor(), now=clock.now())
        found = {
            "kind": shown.kind,
            "current": shown.current.plan_id,
            "plan": shown.wanted.plan_id,
            "due_usd": f"{shown.due_usd:.2f}",
            "lines": [{"text": line.text, "amount_minor": line.amount_minor} for line in shown.lines],
            "at": shown.at,
            "effective_at": shown.effective_at,
            "renews_at": shown.renews_at,
        }
        return Response(PreviewOutput(found).data)


class ChangeView(ApiView):
    """Changing the plan."""

    needs: ClassVar[dict[str, str]] = {"POST": "pay"}

    @extend_schema(
        operation_id="subscription_change",
        summary="Change the plan as its preview said",
        description="A larger plan is charged and in force at once, or, when the payment is declined "
        "(`payment_declined`), nothing changes. A smaller one begins with the next billing period.",
        request=ChangeInput,
        responses=ChangeOutput,
        parameters=[KEY_HEADER],
        tags=["Subscription"],
    )
    def post(self, request: Request) -> Response:
        """The same key answers with the same change."""
        key, told = client_key(request), self.body(ChangeInput)
        at: datetime = told["at"]
        done = lifecycle.change(
            self.account.pk,
            told["plan"],
            at=at,
            due_usd=None,
            client_key=key,
            actor=self.caller.user,
            processor=get_processor(),
            now=clock.now(),
            label=self.caller.label,
        )
        found = {
            "id": done.pk,
            "kind": done.kind,
            "status": done.status,
            "current": done.from_version.plan_id,
            "plan": done.to_version.plan_id,
        }
        return Response(ChangeOutput(found).data)


class CancelView(ApiView):
    """Ending the renewal."""

    needs: ClassVar[dict[str, str]] = {"POST": "pay"}

    @extend_schema(
        operation_id="subscription_cancel",
        summary="End the plan with its billing period, or let it renew after all",
        description="The plan keeps its Flows until then; nothing is paid back.",
        request=CancelInput,
        responses=CancelOutput,
        parameters=[KEY_HEADER],
        tags=["Subscription"],
    )
    def post(self, request: Request) -> Response:
        """Repeats change nothing."""
        key, told = client_key(request), self.body(CancelInput)
        row = lifecycle.renew(
            self.account.pk,
            on=not told["cancel"],
            client_key=key,
            actor=self.caller.user,
            processor=get_processor(),
            now=clock.now(),
            label=self.caller.label,
        )
        found = {"plan": row.plan_version.plan_id, "renews": row.renews, "period_end": row.period_end}
        return Response(CancelOutput(found).data)
