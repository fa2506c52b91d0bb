"""`/benefits`: the levels, where the account stands and what is missing to the next (F018)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import current_account
from accounts.models import BenefitLevel
from billing.catalog.api import PublicView
from billing.payments import benefits
from billing.payments.models_benefits import BenefitLevelChange
from config import clock
from config.api import AmountField, UtcField

SHOWN = 50


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """For everyone; a member sees the account's standing and history, too."""
    account = current_account(request)
    known = list(BenefitLevel.objects.order_by("threshold_usd"))
    context: dict[str, Any] = {"levels": known, "now": clock.now()}
    if account is not None:
        rows = BenefitLevelChange.objects.filter(account=account).select_related("before", "after", "floor")
        context |= {
            "standing": benefits.standing(account.pk),
            "changes": rows.order_by("-pk")[:SHOWN],
        }
    return render(request, "benefits/levels.html", context)


# --- API --------------------------------------------------------------------------------------------------------------
class BenefitOutput(serializers.Serializer[Any]):
    """A level: from which net top-ups on, and what it gives."""

    number = serializers.IntegerField()
    name = serializers.CharField()
    threshold_usd = serializers.SerializerMethodField(help_text="USD of captured top-ups, less refunds and disputes.")
    discount = AmountField(4, help_text="A factor: 0.95 means that 95 % is paid.")
    rpm = serializers.IntegerField(help_text="Requests per minute.")
    tpm = serializers.IntegerField(help_text="Tokens per minute.")

    def get_threshold_usd(self, level: BenefitLevel) -> str:
        """A threshold has whole cents."""
        return f"{level.threshold_usd:.2f}"


class StandingOutput(serializers.Serializer[Any]):
    """Where the account stands."""

    level = serializers.IntegerField(source="level.number", allow_null=True, default=None)
    net_top_ups_usd = AmountField(source="net", help_text="Vouchers and gifts do not count.")
    next_level = serializers.IntegerField(source="following.number", allow_null=True, default=None)
    missing_usd = AmountField(source="missing", help_text="To the next level; 0 at the highest.")
    promised_level = serializers.IntegerField(
        source="floor.number", allow_null=True, default=None, help_text="By agreement: never below it."
    )


class BenefitsOutput(serializers.Serializer[Any]):
    """The levels, and the account's own standing when a credential was sent."""

    levels = BenefitOutput(many=True)
    standing = StandingOutput(allow_null=True)
    as_of = UtcField()


class Benefits(PublicView):
    """What topping up earns."""

    @extend_schema(
        operation_id="benefits",
        summary="Read the benefit levels",
        description="Public. With a credential `standing` is the account's.",
        responses=BenefitsOutput,
        tags=["Account"],
    )
    def get(self, request: Request) -> Response:
        """Read afresh: a level holds from the next call on."""
        account = self.own_account()
        told = {
            "levels": BenefitLevel.objects.order_by("threshold_usd"),
            "standing": benefits.standing(account.pk) if account else None,
            "as_of": clock.now(),
        }
        return Response(BenefitsOutput(told).data)
