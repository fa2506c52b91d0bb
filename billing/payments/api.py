"""`/api/v1/top-ups` and `/api/v1/fx/usd-cny` (03-http-api 3.5)."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import get_language
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import CheckedJustNow, IdempotencyKeyRequired, InvalidRequest, NotFound
from billing.payments import failures, fx, numbers, risk, settling, tasks, topups
from billing.payments.models import FxQuote, FxSource, TopUp
from billing.payments.stripe_processor import get_processor
from config import clock
from config.api import AmountField, ApiView, Keyset, ListQuery, ListView, UtcField, page_of

LONGEST_KEY: Final = 100
_KEY_HEADER = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    required=True,
    description="Names this intent for ever. The same key with the same body answers with the same order.",
)


class DecimalText(serializers.CharField):
    """A decimal number as a string: a JSON number would have been a float somewhere on its way."""

    def to_internal_value(self, data: Any) -> str:
        """The text as it is; what it means is the operation's business."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class TopUpInput(serializers.Serializer[Any]):
    """An amount in US dollars and how it will be paid."""

    amount = DecimalText(max_length=40, help_text="US dollars as a decimal string, whole cents: `20.00`.")
    method = serializers.ChoiceField(
        choices=[m.value for m in topups.METHODS],
        default=TopUp.Method.CARD.value,
        help_text="Cards are paid in USD, Alipay and WeChat Pay in CNY at the order's rate.",
    )
    quote = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="A rate promised before (`POST /api/v1/fx/quotes`); without one the rate in force is kept.",
    )


class FailureOutput(serializers.Serializer[Any]):
    """Why the last try was declined, in the language that was asked for."""

    code = serializers.CharField(source="key")
    failure_class = serializers.ChoiceField(
        choices=failures.CLASSES, help_text="Who said no: the bank or a risk check."
    )
    title = serializers.CharField()
    detail = serializers.CharField(source="why")
    advice = serializers.CharField()


class FxOutput(serializers.Serializer[Any]):
    """The rate that this order keeps for ever (C01)."""

    quote = serializers.UUIDField(source="pk")
    rate = serializers.SerializerMethodField(help_text="CNY for one USD.")
    source = serializers.ChoiceField(choices=FxSource.choices)  # type: ignore[assignment]  # a field of this name
    locked_until = UtcField(source="expires_at")

    def get_rate(self, quote: Any) -> str:
        """Without trailing zeros."""
        return f"{quote.rate.normalize():f}"


class TopUpOutput(serializers.Serializer[Any]):
    """A top-up order."""

    order = serializers.CharField(source="number", help_text="`product_…`: name it when you write to support.")
    account = serializers.UUIDField(source="account_id")
    status = serializers.ChoiceField(choices=TopUp.Status.choices)
    amount = serializers.SerializerMethodField(help_text="US dollars that are credited.")
    pay_amount = serializers.SerializerMethodField(help_text="What is paid, in `pay_currency`.")
    pay_currency = serializers.CharField(source="currency")
    method = serializers.ChoiceField(choices=TopUp.Method.choices)
    automatic = serializers.BooleanField(help_text="Charged to a saved card by auto top-up; there is no page.")
    checkout_url = serializers.SerializerMethodField(help_text="Send the customer here; null once it is closed.")
    failure = FailureOutput(source="reason", allow_null=True)
    in_review = serializers.BooleanField(help_text="Payment and order differ; staff look at it.")
    hold = serializers.SerializerMethodField(
        help_text="`checking`: paid, credited after a check; `refused`: not accepted, the money goes back; else null."
    )
    fx = FxOutput(source="fx_quote")
    created_at = UtcField()
    expires_at = UtcField(help_text="To be paid until then.")
    paid_at = UtcField(allow_null=True)
    credited_at = UtcField(allow_null=True)

    def get_amount(self, order: TopUp) -> str:
        """A payment has whole cents."""
        return f"{order.amount_usd:.2f}"

    def get_pay_amount(self, order: TopUp) -> str:
        """Dollars and yuan both have a hundred."""
        return f"{order.pay_amount:.2f}"

    def get_hold(self, order: TopUp) -> str | None:
        """Our own risk check, once the money has arrived."""
        check = getattr(order, "risk", None)
        if check is None or check.state not in _HOLDS:
            return None
        return _HOLDS[check.state]

    def get_checkout_url(self, order: TopUp) -> str | None:
        """Only while the provider's page is open."""
        return order.checkout_url if order.may_pay else None


_HOLDS: Final = {
    risk.State.HELD: "checking",
    risk.State.REFUND_WANTED: "refused",
    risk.State.REFUNDED: "refused",
}


class RateOutput(serializers.Serializer[Any]):
    """The rate in force."""

    base = serializers.CharField()
    quote = serializers.CharField()
    rate = AmountField(1, help_text="CNY for one USD.")
    source = serializers.ChoiceField(choices=FxSource.choices)  # type: ignore[assignment]  # a field of this name
    as_of = UtcField(help_text="When this was answered.")
    since = UtcField(help_text="Since when the rate holds.")
    age_seconds = serializers.IntegerField(help_text="How long that is ago.")
    stale = serializers.BooleanField(
        help_text="The market rate's feed is silent or not believed: the fixed rate is in force."
    )
    locked_seconds = serializers.IntegerField(help_text="For how long an order placed now keeps this rate.")


class TopUpQuery(ListQuery):
    """Which orders."""

    status = serializers.ChoiceField(choices=TopUp.Status.choices, required=False)


@extend_schema_view(
    get=extend_schema(
        operation_id="top_ups_list",
        summary="List top-up orders, newest first",
        parameters=[TopUpQuery],
        responses=page_of(TopUpOutput, "TopUpPage"),
        tags=["Money"],
    ),
    post=extend_schema(
        operation_id="top_ups_create",
        summary="Place a top-up order and open its payment page",
        description=(
            "Needs a role that may pay. Answers 201, or 200 where the key was used for the same before. An order that "
            "our risk rules refuse comes back `failed` with its reason: no page was opened and nothing was charged. "
            "A quote that is over or used is refused with `quote_expired` or `quote_used`."
        ),
        parameters=[_KEY_HEADER],
        request=TopUpInput,
        responses={201: TopUpOutput, 200: TopUpOutput},
        examples=[
            OpenApiExample("Twenty dollars by card", {"amount": "20.00", "method": "card"}, request_only=True),
            OpenApiExample("Fifty dollars by Alipay", {"amount": "50.00", "method": "alipay"}, request_only=True),
        ],
        tags=["Money"],
    ),
)
class TopUps(ListView):
    """The account's top-up orders."""

    needs: ClassVar[dict[str, str]] = {"POST": "pay"}
    query_form, row_form = TopUpQuery, TopUpOutput
    keyset = Keyset(("id",), (UUID,))

    def rows(self, query: dict[str, Any]) -> QuerySet[TopUp]:
        """Every member may read them."""
        rows: QuerySet[TopUp] = TopUp.objects.filter(account=self.account).select_related("fx_quote", "risk")
        return rows.filter(status=query["status"]) if "status" in query else rows

    def post(self, request: Request) -> Response:
        """The answer carries the page's address."""
        key = request.headers.get("Idempotency-Key", "").strip()
        if not key:
            raise IdempotencyKeyRequired
        if len(key) > LONGEST_KEY or not key.isprintable():
            raise InvalidRequest(field="Idempotency-Key", longest=LONGEST_KEY)
        told, now = self.body(TopUpInput), clock.now()
        order = topups.start(
            self.account.pk,
            topups.parse_amount(told["amount"]),
            method=told["method"],
            client_key=f"api:{key}",
            actor=self.caller.user,
            locale=get_language() or "",
            processor=get_processor(),
            now=now,
            quote_id=told["quote"],
        )
        made = order.created_at == now
        return Response(TopUpOutput(order).data, status=status.HTTP_201_CREATED if made else status.HTTP_200_OK)


class TopUpDetail(ApiView):
    """One order of the account."""

    @extend_schema(operation_id="top_ups_read", summary="Read a top-up order", responses=TopUpOutput, tags=["Money"])
    def get(self, request: Request, number: str) -> Response:
        """Another account's order does not exist."""
        orders = TopUp.objects.filter(account=self.account).select_related("fx_quote", "risk")
        order = orders.filter(number=numbers.tidy(number)).first()
        if order is None:
            raise NotFound
        return Response(TopUpOutput(order).data)


class TopUpCheck(ApiView):
    """Doubt about one order."""

    needs: ClassVar[dict[str, Any]] = {"POST": None}

    @extend_schema(
        operation_id="top_ups_check",
        summary="Ask the payment provider about a top-up order now",
        description=(
            "Any member may. Records what is true at the provider and answers with the order: paid is credited, once. "
            "An order that has come to its end is answered as it is. 429 with `Retry-After` when the provider was "
            "asked a moment ago."
        ),
        request=None,
        responses=TopUpOutput,
        tags=["Money"],
    )
    def post(self, request: Request, number: str) -> Response:
        """As the button on the order's page: repeats change nothing, so it needs no key."""
        orders, now = TopUp.objects.filter(account=self.account), clock.now()
        order = orders.filter(number=numbers.tidy(number)).first()
        if order is None:
            raise NotFound
        if order.status in TopUp.OPEN:
            order, asked = settling.refresh(
                order.pk, processor=get_processor(), now=now, at_most_every=settling.CHECK_NOW_EVERY
            )
            if not asked and order.status in TopUp.OPEN:
                since = now - order.checked_at if order.checked_at else timedelta()
                left = settling.CHECK_NOW_EVERY - since
                raise CheckedJustNow(retry_after=max(1, math.ceil(left.total_seconds())))
            tasks.after(order)
        return Response(TopUpOutput(orders.select_related("fx_quote", "risk").get(pk=order.pk)).data)


class UsdCny(ApiView):
    """The exchange rate."""

    @extend_schema(
        operation_id="fx_usd_cny",
        summary="What one US dollar costs in yuan now",
        responses=RateOutput,
        tags=["Money"],
    )
    def get(self, request: Request) -> Response:
        """Fixed or from a feed, and the answer says which (C01)."""
        now = clock.now()
        found = fx.current(now=now)
        told = {
            "base": "USD",
            "quote": "CNY",
            "rate": found.rate,
            "source": found.source,
            "as_of": now,
            "since": found.effective_at,
            "age_seconds": int((now - found.effective_at).total_seconds()),
            "stale": found.stale,
            "locked_seconds": int(fx.LOCKED_FOR.total_seconds()),
        }
        return Response(RateOutput(told).data)


class RateQuoteInput(serializers.Serializer[Any]):
    """For which amount; the promise itself is of the rate."""

    amount = DecimalText(max_length=40, required=False, help_text="US dollars; the answer then says what they cost.")


class RateQuoteOutput(serializers.Serializer[Any]):
    """A rate that is kept for this account until a moment, for one order."""

    quote = serializers.UUIDField(source="pk", help_text="Send it with the order.")
    rate = serializers.SerializerMethodField(help_text="CNY for one USD.")
    source = serializers.ChoiceField(choices=FxSource.choices)  # type: ignore[assignment]  # a field of this name
    locked_until = UtcField(source="expires_at")
    amount = serializers.SerializerMethodField(help_text="US dollars, as asked; or null.")
    pay_amount = serializers.SerializerMethodField(help_text="What they cost in yuan; or null.")

    def get_rate(self, quote: FxQuote) -> str:
        """Without trailing zeros."""
        return f"{quote.rate.normalize():f}"

    def get_amount(self, quote: FxQuote) -> str | None:
        """As asked."""
        amount = self.context["amount"]
        return None if amount is None else f"{amount:.2f}"

    def get_pay_amount(self, quote: FxQuote) -> str | None:
        """To the fen."""
        amount = self.context["amount"]
        return None if amount is None else f"{fx.to_cny(amount, quote.rate):.2f}"


class Quotes(ApiView):
    """Promises of the exchange rate."""

    needs: ClassVar[dict[str, str]] = {"POST": "pay"}

    @extend_schema(
        operation_id="fx_quotes_create",
        summary="Keep the exchange rate for fifteen minutes",
        request=RateQuoteInput,
        responses={201: RateQuoteOutput},
        tags=["Money"],
    )
    def post(self, request: Request) -> Response:
        """One quote, one order. A quote moves no money, so it needs no key: an unused one is forgotten."""
        told = self.body(RateQuoteInput)
        amount = topups.parse_amount(told["amount"]) if "amount" in told else None
        quote = fx.lock(self.account.pk, now=clock.now())
        return Response(RateQuoteOutput(quote, context={"amount": amount}).data, status=status.HTTP_201_CREATED)
