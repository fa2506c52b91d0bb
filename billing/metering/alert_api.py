"""`/api/v1/alerts`."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.metering import alerts
from billing.metering.models_alerts import AlertFiring, SpendAlert
from config import clock
from config.api import AmountField, ApiView, Keyset, ListQuery, ListView, UtcField, page_of

MOST_FIRINGS = 20


class CentsField(AmountField):
    """An amount that has whole cents, said with two places."""

    def __init__(self, **terms: Any) -> None:
        super().__init__(2, **terms)

    def to_representation(self, value: Any) -> str:
        """Without the places that the column keeps."""
        return f"{value:.2f}"


class FiringOutput(serializers.Serializer[Any]):
    """Once told."""

    at = UtcField()
    period = serializers.CharField(help_text="`2026-11-26`, `2026-11`, or the number of the fall.")
    step = serializers.IntegerField(help_text="Per cent of the threshold.")
    amount_usd = AmountField()
    threshold_usd = CentsField()


class AlertOutput(serializers.Serializer[Any]):
    """What is watched."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=SpendAlert.Kind.choices)
    scope = serializers.ChoiceField(choices=["account", "group", "key"])
    group = serializers.UUIDField(source="group_id", allow_null=True)
    api_key = serializers.UUIDField(source="api_key_id", allow_null=True)
    threshold_usd = CentsField()
    period = serializers.SerializerMethodField(help_text="day or month, in UTC; null for a low balance.")
    steps = serializers.ListField(child=serializers.IntegerField(), help_text="Per cent of the threshold.")
    paused = serializers.SerializerMethodField()
    created_at = UtcField()
    last_fired_at = UtcField(allow_null=True)

    def get_period(self, alert: SpendAlert) -> str | None:
        """day, month or null."""
        return alert.period or None

    def get_paused(self, alert: SpendAlert) -> bool:
        """True while nothing is watched."""
        return alert.paused_at is not None


class AlertDetailOutput(AlertOutput):
    """An alert with what it told last."""

    fired = FiringOutput(many=True, help_text="The newest 20.")


class AlertInput(serializers.Serializer[Any]):
    """An alert to be made."""

    kind = serializers.ChoiceField(choices=SpendAlert.Kind.choices)
    threshold_usd = serializers.CharField(max_length=40, help_text="A decimal string, for instance `20.00`.")
    period = serializers.ChoiceField(choices=SpendAlert.Period.choices, required=False, help_text="For spend.")
    steps = serializers.ListField(
        child=serializers.IntegerField(), max_length=3, required=False, help_text="For spend: of 50, 80 and 100."
    )
    group = serializers.UUIDField(required=False, allow_null=True, help_text="Spend of this key group.")
    api_key = serializers.UUIDField(required=False, allow_null=True, help_text="Spend of this key.")


class AlertChange(serializers.Serializer[Any]):
    """What of an alert may be changed; its kind and what it watches may not."""

    threshold_usd = serializers.CharField(max_length=40, required=False)
    period = serializers.ChoiceField(choices=SpendAlert.Period.choices, required=False)
    steps = serializers.ListField(child=serializers.IntegerField(), max_length=3, required=False)
    paused = serializers.BooleanField(required=False)


class AlertView(ApiView):
    """Who may do what: who may pay, everything; who may change keys, alerts on keys and groups."""

    # Which of the two an alert asks for is known only when it is; every role has one of them.
    needs: ClassVar[dict[str, Any]] = {"POST": None, "PATCH": None, "DELETE": None}

    def permitted(self, *, of_account: bool) -> None:
        """403 unless the role may."""
        if not alerts.may_manage(self.caller.role, of_account=of_account):
            raise exceptions.PermissionDenied(_("Your role in this account allows alerts on keys and groups only."))


@extend_schema_view(
    get=extend_schema(
        operation_id="alerts_list",
        summary="List spend and balance alerts, newest first",
        parameters=[ListQuery],
        responses=page_of(AlertOutput, "AlertPage"),
        tags=["Money"],
    ),
    post=extend_schema(
        operation_id="alerts_create",
        summary="Set an alert",
        description="A second one that watches the same is refused with 409.",
        request=AlertInput,
        responses={201: AlertDetailOutput},
        examples=[
            OpenApiExample("Low balance", {"kind": "low_balance", "threshold_usd": "20.00"}, request_only=True),
            OpenApiExample(
                "A day's spend",
                {"kind": "spend", "threshold_usd": "50.00", "period": "day", "steps": [80, 100]},
                request_only=True,
            ),
        ],
        tags=["Money"],
    ),
)
class Alerts(AlertView, ListView):
    """The account's alerts."""

    needs: ClassVar[dict[str, Any]] = {"POST": None}
    row_form = AlertOutput
    keyset = Keyset(("id",), (UUID,))

    def rows(self, query: dict[str, Any]) -> QuerySet[SpendAlert]:
        """Every member may read them."""
        return alerts.watched(self.account)

    def post(self, request: Request) -> Response:
        """A new alert."""
        told = self.body(AlertInput)
        named = told.get("group") or told.get("api_key")
        self.permitted(of_account=not named)
        asked = alerts.terms(
            self.account,
            kind=told["kind"],
            threshold=told["threshold_usd"],
            period=told.get("period", ""),
            steps=told.get("steps", ()),
            group_id=told.get("group"),
            key_id=told.get("api_key"),
        )
        made = alerts.create(self.account, asked, actor=self.caller.user, now=clock.now())
        return Response(_detail(made), status=status.HTTP_201_CREATED)


@extend_schema_view(
    get=extend_schema(
        operation_id="alerts_read",
        summary="Read an alert and what it told",
        responses=AlertDetailOutput,
        tags=["Money"],
    ),
    patch=extend_schema(
        operation_id="alerts_change",
        summary="Change or pause an alert",
        description="A changed threshold, period or step is watched afresh.",
        request=AlertChange,
        responses=AlertDetailOutput,
        tags=["Money"],
    ),
    delete=extend_schema(
        operation_id="alerts_delete", summary="Delete an alert", responses={204: None}, tags=["Money"]
    ),
)
class AlertDetail(AlertView):
    """One alert."""

    needs: ClassVar[dict[str, Any]] = {"PATCH": None, "DELETE": None}

    def own(self, alert_id: UUID) -> SpendAlert:
        """An alert of this account; another account's does not exist."""
        found = alerts.watched(self.account).filter(pk=alert_id).first()
        if found is None:
            raise exceptions.NotFound
        return found

    def get(self, request: Request, alert_id: UUID) -> Response:
        """With what it told last."""
        return Response(_detail(self.own(alert_id)))

    def patch(self, request: Request, alert_id: UUID) -> Response:
        """Only what is named changes."""
        alert = self.own(alert_id)
        self.permitted(of_account=alert.scope == "account")
        told, now = self.body(AlertChange), clock.now()
        if told.keys() & {"threshold_usd", "period", "steps"}:
            asked = alerts.terms(
                self.account,
                kind=alert.kind,
                threshold=told.get("threshold_usd", alert.threshold_usd),
                period=told.get("period", alert.period),
                steps=told.get("steps", alert.steps),
                group_id=alert.group_id,
                key_id=alert.api_key_id,
            )
            alerts.change(alert.pk, asked, now=now)
        if "paused" in told:
            alerts.pause(alert.pk, paused=told["paused"], now=now)
        return Response(_detail(self.own(alert_id)))

    def delete(self, request: Request, alert_id: UUID) -> Response:
        """What it told stays in the history."""
        alert = self.own(alert_id)
        self.permitted(of_account=alert.scope == "account")
        alerts.delete(alert.pk, now=clock.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


def _detail(alert: SpendAlert) -> Any:
    alert.fired = list(  # type: ignore[attr-defined]
        AlertFiring.objects.filter(alert=alert, mailed=True).order_by("-pk")[:MOST_FIRINGS]
    )
    return AlertDetailOutput(alert).data
