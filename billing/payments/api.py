"""`/api/v1/top-ups` and `/api/v1/fx/usd-cny` (03-http-api 3.5)."""

from __future__ import annotations

from typing import Any

from django.utils.translation import get_language
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import may
from accounts.authentication import Caller
from billing.errors import IdempotencyKeyRequired, InvalidRequest, NotFound, PermissionDenied
from billing.payments import fx, numbers, topups
from billing.payments.models import FxSource, TopUp
from billing.payments.stripe_processor import get_processor
from config import clock

LONGEST_KEY = 100


class TopUpInput(serializers.Serializer[Any]):
    """An amount in US dollars and how it will be paid."""

    amount = serializers.CharField(max_length=40, help_text="US dollars as a decimal string, whole cents: `20.00`.")
    method = serializers.ChoiceField(choices=[m.value for m in topups.METHODS], default=TopUp.Method.CARD.value)


class FailureOutput(serializers.Serializer[Any]):
    """Why the last try was declined, in the language that was asked for."""

    code = serializers.CharField(source="key")
    failure_class = serializers.CharField()
    title = serializers.CharField()
    detail = serializers.CharField(source="why")
    advice = serializers.CharField()


class FxOutput(serializers.Serializer[Any]):
    """The rate that this order keeps for ever (C01)."""

    rate = serializers.SerializerMethodField()
    source = serializers.ChoiceField(choices=FxSource.choices)  # type: ignore[assignment]  # a field named source
    locked_until = serializers.DateTimeField(source="expires_at")

    def get_rate(self, quote: Any) -> str:
        """CNY for one USD."""
        return f"{quote.rate.normalize():f}"


class TopUpOutput(serializers.Serializer[Any]):
    """A top-up order."""

    order = serializers.CharField(source="number")
    account = serializers.UUIDField(source="account_id")
    status = serializers.ChoiceField(choices=TopUp.Status.choices)
    amount = serializers.SerializerMethodField(help_text="US dollars that are credited.")
    pay_amount = serializers.SerializerMethodField(help_text="What is paid, in `pay_currency`.")
    pay_currency = serializers.CharField(source="currency")
    method = serializers.ChoiceField(choices=TopUp.Method.choices)
    checkout_url = serializers.SerializerMethodField(help_text="Send the customer here while the order can be paid.")
    failure = FailureOutput(source="reason", allow_null=True)
    in_review = serializers.BooleanField()
    fx = FxOutput(source="fx_quote")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)
    credited_at = serializers.DateTimeField(allow_null=True)

    def get_amount(self, order: TopUp) -> str:
        """Two places: a payment has whole cents."""
        return f"{order.amount_usd:.2f}"

    def get_pay_amount(self, order: TopUp) -> str:
        """Two places: dollars and yuan both have a hundred."""
        return f"{order.pay_amount:.2f}"

    def get_checkout_url(self, order: TopUp) -> str | None:
        """Only while the provider's page is open."""
        return order.checkout_url if order.may_pay else None


class RateOutput(serializers.Serializer[Any]):
    """The rate in force."""

    base = serializers.CharField()
    quote = serializers.CharField()
    rate = serializers.CharField()
    source = serializers.ChoiceField(choices=FxSource.choices)  # type: ignore[assignment]  # a field named source
    as_of = serializers.DateTimeField()
    locked_seconds = serializers.IntegerField(help_text="For how long an order placed now keeps this rate.")


class TopUpPages(CursorPagination):
    """Newest first; ids are ordered by time."""

    ordering = "-id"
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"


def _caller(request: Request) -> Caller:
    caller: Caller = request.user  # type: ignore[assignment]  # both authentication classes give a Caller
    return caller


class TopUps(APIView):
    """The account's top-up orders."""

    @extend_schema(
        summary="List top-up orders, newest first",
        parameters=[
            OpenApiParameter("cursor", str),
            OpenApiParameter("page_size", int),
            OpenApiParameter("status", str, enum=TopUp.Status.values),
        ],
        responses={200: TopUpOutput(many=True)},
    )
    def get(self, request: Request) -> Response:
        """Every member may read."""
        orders = TopUp.objects.filter(account=_caller(request).account).select_related("fx_quote")
        if wanted := request.query_params.get("status"):
            if wanted not in TopUp.Status.values:
                raise InvalidRequest(field="status", allowed=TopUp.Status.values)
            orders = orders.filter(status=wanted)
        pages = TopUpPages()
        page = pages.paginate_queryset(orders, request, view=self)
        return pages.get_paginated_response(TopUpOutput(page, many=True).data)

    @extend_schema(
        summary="Place a top-up order and open its payment page",
        description="The same `Idempotency-Key` with the same body answers with the same order (200).",
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, required=True)],
        request=TopUpInput,
        responses={
            201: TopUpOutput,
            200: TopUpOutput,
            400: OpenApiResponse(OpenApiTypes.OBJECT, "idempotency_key_required"),
            409: OpenApiResponse(OpenApiTypes.OBJECT, "idempotency_conflict"),
            422: OpenApiResponse(OpenApiTypes.OBJECT, "invalid_request"),
            503: OpenApiResponse(OpenApiTypes.OBJECT, "processor_unavailable"),
        },
    )
    def post(self, request: Request) -> Response:
        """Roles that may pay; the answer carries the page's address."""
        caller = _caller(request)
        if not may(caller.role, "pay"):
            raise PermissionDenied
        key = request.headers.get("Idempotency-Key", "").strip()
        if not key:
            raise IdempotencyKeyRequired
        if len(key) > LONGEST_KEY or not key.isprintable():
            raise InvalidRequest(field="Idempotency-Key", longest=LONGEST_KEY)
        given = TopUpInput(data=request.data)
        given.is_valid(raise_exception=True)
        amount = topups.parse_amount(given.validated_data["amount"])
        now = clock.now()
        order = topups.start(
            caller.account.pk,
            amount,
            method=given.validated_data["method"],
            client_key=f"api:{key}",
            actor=caller.user,
            locale=get_language() or "",
            processor=get_processor(),
            now=now,
        )
        made = order.created_at == now
        return Response(TopUpOutput(order).data, status=status.HTTP_201_CREATED if made else status.HTTP_200_OK)


class TopUpDetail(APIView):
    """One order of the account."""

    @extend_schema(summary="Read a top-up order", responses={200: TopUpOutput})
    def get(self, request: Request, number: str) -> Response:
        """What is known here;."""
        orders = TopUp.objects.filter(account=_caller(request).account).select_related("fx_quote")
        order = orders.filter(number=numbers.tidy(number)).first()
        if order is None:
            raise NotFound
        return Response(TopUpOutput(order).data)


class UsdCny(APIView):
    """The exchange rate."""

    @extend_schema(summary="What one US dollar costs in yuan now", responses={200: RateOutput})
    def get(self, request: Request) -> Response:
        """Fixed or from a feed, and the answer says which (C01)."""
        now = clock.now()
        rate = fx.current(now=now)
        return Response(
            RateOutput(
                {
                    "base": "USD",
                    "quote": "CNY",
                    "rate": f"{rate.rate.normalize():f}",
                    "source": rate.source,
                    "as_of": now,
                    "locked_seconds": int(fx.LOCKED_FOR.total_seconds()),
                }
            ).data
        )
