"""`POST /api/v1/refunds/preview`, `POST /api/v1/refunds`, `…/{id}/cancel` (03-http-api 3.5, F019-F022, F090-F096)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Final, NoReturn
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.books.models import Wallet
from billing.errors import IdempotencyConflict, InvalidRequest, NotFound
from billing.money import parse_decimal
from billing.payments import numbers
from billing.payments.api import DecimalText
from billing.payments.models import TopUp
from billing.waking import wake
from config import clock
from config.api import ApiView, UtcField
from refunds import deciding, lifecycle, plan_lifecycle, tasks
from refunds.api import RefundDetailOutput, RefundLinesOutput, RefundList, detail, found, plan_lines, text_of, told
from refunds.deciding import BY_CUSTOMER
from refunds.errors import NotRefundable
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy
from refunds.quotes import Quote
from subscriptions.api_plan import KEY_HEADER, client_key

LONGEST: Final = 500


class RefundPreviewInput(serializers.Serializer[Any]):
    """What would be given back: the plan, or some of a top-up."""

    kind = serializers.ChoiceField(choices=Refund.Kind.choices)
    order = serializers.CharField(required=False, max_length=80, help_text="The top-up's `product_…`.")
    amount = DecimalText(
        required=False, max_length=40, help_text="US dollars of its credit, whole cents; absent: all that is unused."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A top-up is named, a plan is the account's only one."""
        _check_order(attrs, wanted=attrs["kind"] == Refund.Kind.TOP_UP)
        return attrs


class RefundWindowOutput(serializers.Serializer[Any]):
    """In which time it can be asked for; both moments count."""

    opened_at = UtcField(help_text="The payment from which the time counts.")
    closes_at = UtcField(allow_null=True, help_text="Null where nothing sets an end.")


class RefundReasonOutput(serializers.Serializer[Any]):
    """One reason against it."""

    code = serializers.CharField(help_text="Never changes.")
    text = serializers.CharField(help_text="In the reader's language.")
    evidence = serializers.DictField(child=serializers.JSONField(), help_text="Decimal strings and times.")


class RefundPreviewOutput(serializers.Serializer[Any]):
    """What a refund would come to now."""

    kind = serializers.ChoiceField(choices=Refund.Kind.choices)
    possible = serializers.BooleanField()
    reasons = RefundReasonOutput(many=True, help_text="All that is against it, at once.")
    plan = serializers.CharField(allow_null=True)
    order = serializers.CharField(allow_null=True)
    amount_usd = serializers.CharField(allow_null=True, help_text="Of a top-up: the credit that is taken for it.")
    lines = RefundLinesOutput(allow_null=True, help_text="Null for a top-up of which nothing can go back.")
    needs_decision = serializers.BooleanField(
        help_text="Staff decide: of a top-up always, of a plan while its use is restricted."
    )
    quote = serializers.CharField(
        allow_null=True, help_text="Of a plan that can be given back: send it to ask for what was shown."
    )
    expires_at = UtcField(allow_null=True, help_text="Until when the quote holds.")
    window = RefundWindowOutput()


class RefundInput(serializers.Serializer[Any]):
    """The quote of a plan, or a top-up with a reason."""

    quote = serializers.CharField(required=False, max_length=4000, help_text="Of the preview; gives the plan back.")
    kind = serializers.ChoiceField(choices=Refund.Kind.choices, required=False)
    order = serializers.CharField(required=False, max_length=80, help_text="The top-up's `product_…`.")
    amount = DecimalText(
        required=False, max_length=40, help_text="US dollars of its credit, whole cents; absent: all that is unused."
    )
    reason = serializers.CharField(
        required=False, allow_blank=True, max_length=LONGEST, help_text="Needed for a top-up: staff read it."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Exactly one of the two."""
        kind = attrs.setdefault("kind", Refund.Kind.SUBSCRIPTION if "quote" in attrs else Refund.Kind.TOP_UP)
        top_up = kind == Refund.Kind.TOP_UP
        if top_up and "quote" in attrs:
            raise serializers.ValidationError({"quote": _("A top-up has no quote; name its order.")})
        if not top_up and "quote" not in attrs:
            raise serializers.ValidationError({"quote": _("Look at the preview first, and send its quote.")})
        _check_order(attrs, wanted=top_up)
        if top_up and not attrs.get("reason", "").strip():
            raise serializers.ValidationError({"reason": _("Say why you want the money back.")})
        return attrs


class RefundCancelInput(serializers.Serializer[Any]):
    """Why it is taken back, if you like."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=LONGEST)


def _check_order(attrs: dict[str, Any], *, wanted: bool) -> None:
    if wanted and not attrs.get("order"):
        raise serializers.ValidationError({"order": _("Name the top-up's order.")})
    for name in ("order", "amount"):
        if not wanted and name in attrs:
            raise serializers.ValidationError({name: _("Only a top-up has this; a plan is given back whole.")})


def _amount(text: str | None) -> Decimal | None:
    """US dollars in whole cents, above zero; None: all that is unused. How much there is says the operation."""
    if text is None:
        return None
    try:
        amount = parse_decimal(text)
    except ValueError:
        raise InvalidRequest(
            _("Write the amount as a number of US dollars, for instance 20.00."), field="amount"
        ) from None
    if not 0 < amount < Decimal(10) ** 12:
        raise InvalidRequest(_("The amount must be above zero."), field="amount")
    if amount != amount.quantize(Decimal("0.01")):
        raise InvalidRequest(
            _("The amount has more than two decimal places; cents are the smallest unit."), field="amount"
        )
    return amount.quantize(Decimal("0.01"))


def _refused(why: NotRefundable) -> NoReturn:
    """The same reasons, in the same shape, as the preview tells them."""
    reasons = why.reasons
    raise NotRefundable(why.detail.replace("%", "%%"), reason=reasons[0]["code"], reasons=reasons) from why


class _Asking(ApiView):
    needs: ClassVar[dict[str, str]] = {"POST": "pay"}

    def order(self, number: str) -> TopUp:
        """A top-up of the caller's account; another's does not exist."""
        rows = TopUp.objects.filter(account=self.account).select_related("account", "fx_quote", "grant")
        order: TopUp | None = rows.filter(number=numbers.tidy(number)).first()
        if order is None:
            raise NotFound
        return order


class RefundPreview(_Asking):
    """Looking before asking."""

    @extend_schema(
        operation_id="refunds_preview",
        summary="Look at what a refund would come to",
        description="Changes nothing. `possible` says whether it can be asked for; if not, `reasons` says everything "
        "that is against it. The `quote` of a plan holds until `expires_at`.",
        request=RefundPreviewInput,
        responses=RefundPreviewOutput,
        examples=[
            OpenApiExample("The plan", {"kind": "subscription"}, request_only=True),
            OpenApiExample(
                "Some of a top-up", {"kind": "top_up", "order": "product_…", "amount": "12.34"}, request_only=True
            ),
        ],
        tags=["Refunds"],
    )
    def post(self, request: Request) -> Response:
        """404 without a paid plan, and for another account's order."""
        asked = self.body(RefundPreviewInput)
        if asked["kind"] == Refund.Kind.TOP_UP:
            shown = self._top_up(asked)
        else:
            shown = _plan(plan_lifecycle.preview(self.account.pk, now=clock.now()))
        return Response(text_of(RefundPreviewOutput, {"kind": asked["kind"], **shown}))

    def _top_up(self, asked: dict[str, Any]) -> dict[str, Any]:
        order, amount, now = self.order(asked["order"]), _amount(asked.get("amount")), clock.now()
        shown: dict[str, Any] = {
            "order": order.number,
            "needs_decision": True,
            "window": {
                "opened_at": order.paid_at or order.created_at,
                "closes_at": lifecycle.refundable_until(order, now=now),
            },
        }
        try:
            offer = lifecycle.offer(order, Wallet.objects.get(pk=order.account_id), now=now)
            wanted = offer.unused_usd if amount is None else amount
            lines = offer.lines(wanted)
        except NotRefundable as why:
            return shown | {"possible": False, "reasons": why.reasons}
        currency = order.currency
        text = {
            "currency": currency,
            "paid_total": told(lines.paid, currency),
            "actual_usage": told(lines.used, currency),
            "already_refunded": told(lines.refunded, currency),
            "disputed": told(lines.disputed, currency),
            "refundable": told(lines.unused, currency),
            "difference": told(lines.requested, currency),
            "fee": told(lines.fee, currency),
            "fee_rate": f"{offer.fee_rate.normalize():f}",
            "fee_base": RefundPolicy.FeeBase.DIFFERENCE,
            "tax": told(0, currency),
            **dict.fromkeys(("final", "final_min", "final_max"), told(lines.sent, currency)),
        }
        more = {"amount_usd": f"{wanted:.2f}", "lines": text_of(RefundLinesOutput, text)}
        return shown | {"possible": True, "reasons": []} | more


def _plan(quote: Quote) -> dict[str, Any]:
    facts = quote.facts
    lines = plan_lines(quote.lines, facts.policy) | {
        "flows": f"{facts.calls.flows:f}",
        "pending": {"calls": facts.calls.open, "max": told(quote.lines.pending)},
    }
    return {
        "possible": quote.possible,
        "reasons": [{"code": one.code, "text": one.text, "evidence": one.evidence} for one in quote.reasons],
        "plan": facts.subscription.plan_version.plan_id,
        "lines": text_of(RefundLinesOutput, lines),
        "needs_decision": facts.restricted,
        "quote": quote.token or None,
        "expires_at": quote.expires_at if quote.token else None,
        "window": {"opened_at": facts.opened_at, "closes_at": facts.closes_at},
    }


class Refunds(RefundList, _Asking):
    """The list, and asking for money back."""

    @extend_schema(
        operation_id="refunds_create",
        summary="Ask for a refund of the plan as quoted, or of a top-up",
        description="A plan is paused at once and given back when its calls have ended. A top-up's refund takes the "
        "credit at once and waits for staff. `not_refundable` says all `reasons`; `refund_quote_expired` asks for "
        "a new preview.",
        parameters=[KEY_HEADER],
        request=RefundInput,
        responses={201: RefundDetailOutput},
        examples=[
            OpenApiExample("The plan", {"quote": ".eJx…"}, request_only=True),
            OpenApiExample(
                "Some of a top-up",
                {"kind": "top_up", "order": "product_…", "amount": "12.34", "reason": "Paid twice"},
                request_only=True,
            ),
        ],
        tags=["Refunds"],
    )
    def post(self, request: Request) -> Response:
        """The same key with the same body answers with the same refund."""
        key, asked = client_key(request), self.body(RefundInput)
        row: Refund | PlanRefund
        try:
            row = self._top_up(key, asked) if asked["kind"] == Refund.Kind.TOP_UP else self._plan(key, asked)
        except NotRefundable as why:
            _refused(why)
        if row.reason != asked.get("reason", "").strip():
            raise IdempotencyConflict(refund=row.number)
        return Response(RefundDetailOutput(detail(found(self, row.pk))).data, status=201)

    def _plan(self, key: str, asked: dict[str, Any]) -> PlanRefund:
        caller = self.caller
        row = plan_lifecycle.submit(
            self.account.pk,
            asked["quote"],
            client_key=key,
            reason=asked.get("reason", ""),
            actor=caller.user,
            label=caller.label,
            now=clock.now(),
        )
        wake(tasks.go_on_with_plan, str(row.pk))
        return row

    def _top_up(self, key: str, asked: dict[str, Any]) -> Refund:
        return lifecycle.request(
            self.order(asked["order"]).pk,
            _amount(asked.get("amount")),
            reason=asked["reason"],
            actor=self.caller.user,
            label=self.caller.label,
            client_key=key,
            now=clock.now(),
        )


class RefundCancel(_Asking):
    """Changing one's mind."""

    @extend_schema(
        operation_id="refunds_cancel",
        summary="Take a refund back before anything was sent",
        description="The plan goes on, or the credit is there again. 409 `invalid_transition` once it is at the "
        "payment provider. Repeats change nothing, so it needs no key.",
        request=RefundCancelInput,
        responses=RefundDetailOutput,
        tags=["Refunds"],
    )
    def post(self, request: Request, refund_id: UUID) -> Response:
        """Another account's refund does not exist."""
        why = self.body(RefundCancelInput).get("reason", "").strip()
        row, caller = found(self, refund_id), self.caller
        who = {"actor": caller.user, "label": caller.label, "now": clock.now()}
        if isinstance(row, PlanRefund):
            plan_lifecycle.cancel(row.pk, reason=why or BY_CUSTOMER, **who)
            wake(tasks.go_on_with_plan, str(row.pk))
        else:
            deciding.take_back(row.pk, reason=why or BY_CUSTOMER, **who)
        return Response(RefundDetailOutput(detail(found(self, refund_id))).data)
