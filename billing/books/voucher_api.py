"""`/api/v1/vouchers` and `/api/v1/vouchers/redeem` (03-http-api 3.5)."""

from __future__ import annotations

from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import client_of
from billing.books import vouchers
from billing.books.models_vouchers import Redemption
from billing.errors import IdempotencyKeyRequired, InvalidRequest
from config import clock
from config.api import AmountField, ApiView, CsvQuery, Keyset, ListQuery, ListView, UtcField, page_of

LONGEST_KEY: Final = 100
LONGEST_CODE: Final = 200


class CodeText(serializers.CharField):
    """A code as it was typed or pasted: a string and nothing that only looks like one."""

    def to_internal_value(self, data: Any) -> str:
        """The text as it is; what it means is the operation's business."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class RedeemInput(serializers.Serializer[Any]):
    """A voucher code."""

    code = CodeText(
        max_length=LONGEST_CODE,
        help_text="16 letters and digits; case, spaces and dashes do not matter, O is read as 0.",
    )


class RedemptionOutput(serializers.Serializer[Any]):
    """An attempt to redeem a code, and what became of it."""

    id = serializers.UUIDField()
    code = serializers.CharField(source="masked", help_text="All but the last four characters are masked.")
    result = serializers.ChoiceField(choices=Redemption.Result.choices)
    message = serializers.SerializerMethodField(help_text="The result in words, in the language that was asked for.")
    account = serializers.UUIDField(source="account_id")
    at = UtcField()
    kind = serializers.CharField(source="campaign.kind", allow_null=True, default=None)
    amount = AmountField(allow_null=True, help_text="USD that it gave.")
    remaining = AmountField(source="grant.remaining", allow_null=True, default=None, help_text="USD left of it.")
    expires_at = UtcField(source="grant.expires_at", allow_null=True, default=None)
    grant = serializers.UUIDField(source="grant_id", allow_null=True, help_text="The credit grant that it made.")

    def get_message(self, row: Redemption) -> str:
        """As on the page."""
        return str(vouchers.message(row))


class RedemptionQuery(ListQuery, CsvQuery):
    """Which attempts."""

    result = serializers.ChoiceField(choices=Redemption.Result.choices, required=False)


@extend_schema_view(
    get=extend_schema(
        operation_id="vouchers_list",
        summary="List what was redeemed or tried, newest first",
        parameters=[RedemptionQuery],
        responses={
            (200, "application/json"): page_of(RedemptionOutput, "RedemptionPage"),
            (200, "text/csv"): OpenApiTypes.STR,
        },
        tags=["Money"],
    )
)
class Vouchers(ListView):
    """The account's redemptions, refused ones included (F013)."""

    query_form, row_form = RedemptionQuery, RedemptionOutput
    keyset = Keyset(("id",), (UUID,))
    table = "vouchers"
    columns = ("at", "code", "result", "message", "kind", "amount", "remaining", "expires_at", "id")

    def rows(self, query: dict[str, Any]) -> QuerySet[Redemption]:
        """Every member may read them."""
        rows: QuerySet[Redemption] = Redemption.objects.filter(account=self.account).select_related("campaign", "grant")
        return rows.filter(result=query["result"]) if "result" in query else rows


class Redeem(ApiView):
    """Redeem a code."""

    needs: ClassVar[dict[str, str]] = {"POST": "pay"}

    @extend_schema(
        operation_id="vouchers_redeem",
        summary="Redeem a voucher code",
        description=(
            "Needs a role that may pay. Answers 201, or 200 where this account redeemed the code before. Refusals say "
            "what happened to the code and never to whom; wrong codes are throttled (429 with `Retry-After`)."
        ),
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                required=True,
                description="Names this intent for ever. The same key with the same code gives the same answer.",
            )
        ],
        request=RedeemInput,
        responses={201: RedemptionOutput, 200: RedemptionOutput},
        examples=[OpenApiExample("A code", {"code": "7K2Q-M0XV-9D4T-ABC8"}, request_only=True)],
        tags=["Money"],
    )
    def post(self, request: Request) -> Response:
        """Once, whatever is repeated."""
        key = request.headers.get("Idempotency-Key", "").strip()
        if not key:
            raise IdempotencyKeyRequired
        if len(key) > LONGEST_KEY or not key.isprintable():
            raise InvalidRequest(field="Idempotency-Key", longest=LONGEST_KEY)
        told, now = self.body(RedeemInput), clock.now()
        row = vouchers.redeem(
            self.account.pk, told["code"], user=self.caller.user, key=f"api:{key}", ip=client_of(request), now=now
        )
        made = status.HTTP_201_CREATED if row.at == now else status.HTTP_200_OK
        return Response(RedemptionOutput(row).data, status=made)
