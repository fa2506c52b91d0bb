"""`/api/v1/subscription/extra-usage` (03-http-api 3.5, F080-F083)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import signed_in_recently
from billing.errors import InvalidRequest
from billing.payments.api import DecimalText
from config import clock
from config.api import AmountField, ApiView, UtcField
from subscriptions import extra, extra_state, extra_text

KEY_STATES = ["active", "disabled", "expired"]


class ExtraUsageInput(serializers.Serializer[Any]):
    """The key, the cap, and that the account agrees; or `enabled: false` alone."""

    enabled = serializers.BooleanField()
    api_key = serializers.UUIDField(required=False, help_text="The id of a pay-as-you-go key of this account.")
    monthly_cap = DecimalText(max_length=40, required=False, help_text="US dollars a month (UTC), whole cents.")
    consent = serializers.BooleanField(
        required=False, help_text="True: the account agrees to the text that `agreed_text` will tell. Kept with it."
    )


class ExtraKeyOutput(serializers.Serializer[Any]):
    """The key that pays."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    masked = serializers.CharField(help_text="`sk-pg-v1-…9f3a`")
    status = serializers.ChoiceField(choices=KEY_STATES, help_text="Unless it is active, the key cannot pay.")
    created_at = UtcField()
    last_used_at = UtcField(allow_null=True)


class ExtraUsageOutput(serializers.Serializer[Any]):
    """Extra Usage as it stands."""

    enabled = serializers.BooleanField()
    can_pay = serializers.BooleanField(help_text="It is on and its key works. The balance is another matter.")
    api_key = ExtraKeyOutput(allow_null=True)
    monthly_cap = serializers.CharField(allow_null=True)
    spent = AmountField(help_text="USD of this month (UTC).")
    held = AmountField(help_text="USD that running calls hold; counts against the cap.")
    left = serializers.CharField(allow_null=True, help_text="What the cap leaves for further calls.")
    calls = serializers.IntegerField(help_text="Calls of this month that were charged.")
    spent_in_all = AmountField()
    resets_at = UtcField(help_text="When the next month begins.")
    agreed_at = UtcField(allow_null=True)
    agreed_text = serializers.CharField(help_text="What was agreed to; empty before it was ever on.")


def told(state: extra_state.State) -> dict[str, Any]:
    """The state as the API tells it."""
    key, row = state.key, state.row
    return {
        "enabled": state.on,
        "can_pay": state.on and not state.key_problem,
        "api_key": key
        and {
            "id": key.pk,
            "name": key.name,
            "masked": key.masked,
            "status": state.key_problem or "active",
            "created_at": key.created_at,
            "last_used_at": key.last_used_at,
        },
        "monthly_cap": None if state.cap is None else f"{state.cap:.2f}",
        "spent": state.spent,
        "held": state.held,
        "left": None if state.left is None else f"{state.left:.10f}",
        "calls": state.calls,
        "spent_in_all": state.spent_in_all,
        "resets_at": state.resets_at,
        "agreed_at": row.agreed_at if row else None,
        "agreed_text": row.agreed_text if row else "",
    }


_EXAMPLE = OpenApiExample(
    "Twenty dollars a month",
    {"enabled": True, "api_key": "01930f6e-8a2b-7c3d-9e4f-5a6b7c8d9e0f", "monthly_cap": "20.00", "consent": True},
    request_only=True,
)


class ExtraUsageView(ApiView):
    """Paying from the balance when a quota window is full."""

    needs: ClassVar[dict[str, str]] = {"PUT": "pay"}

    @extend_schema(
        operation_id="extra_usage_read",
        summary="Read Extra Usage",
        responses=ExtraUsageOutput,
        tags=["Subscription"],
    )
    def get(self, request: Request) -> Response:
        """Every member may read it."""
        return self._answer()

    @extend_schema(
        operation_id="extra_usage_set",
        summary="Turn Extra Usage on, change it, or turn it off",
        description="When a window of five hours, of a week or of the billing period is full, calls of the "
        "subscription are paid from the balance at pay-as-you-go prices, up to `monthly_cap`. Needs a role that may "
        "pay. Turning on needs `api_key`, `monthly_cap` and `consent: true`. The same again changes nothing.",
        request=ExtraUsageInput,
        responses=ExtraUsageOutput,
        examples=[_EXAMPLE],
        tags=["Subscription"],
    )
    def put(self, request: Request) -> Response:
        """On with these terms, or off."""
        body, now = self.body(ExtraUsageInput), clock.now()
        user, label = self.caller.user, self.caller.label
        if not body["enabled"]:
            extra.turn_off(self.account.pk, actor=user, label=label, now=now)
            return self._answer()
        if self.caller.key is None and not signed_in_recently(self.request._request, user):
            raise exceptions.PermissionDenied(_("Sign in again before you turn Extra Usage on."))
        for name in ("api_key", "monthly_cap"):
            if name not in body:
                raise InvalidRequest(_("This field is required."), field=name)
        if not body.get("consent"):
            raise InvalidRequest(_("Say that the account agrees."), field="consent")
        extra.turn_on(
            self.account.pk,
            key_id=body["api_key"],
            monthly_cap=extra.parse_cap(body["monthly_cap"]),
            agreed_text=extra_text.consent(),
            actor=user,
            label=label,
            now=now,
        )
        return self._answer()

    def _answer(self) -> Response:
        return Response(ExtraUsageOutput(told(extra_state.state_of(self.account.pk, now=clock.now()))).data)
