"""`/api/v1/auto-top-up` and `/api/v1/payment-methods` (03-http-api 3.5)."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import signed_in_recently
from billing.errors import InvalidRequest, NotFound
from billing.payments import auto_setting, auto_text, auto_topup, saved, tasks_saved
from billing.payments.api import DecimalText, FailureOutput
from billing.payments.models_saved import AutoTopUp, PaymentMethod
from billing.waking import wake
from config import clock
from config.api import ApiView, Keyset, ListView, UtcField, page_of


class PaymentMethodOutput(serializers.Serializer[Any]):
    """A saved card. Its number is kept by the payment provider alone."""

    id = serializers.UUIDField()
    type = serializers.SerializerMethodField()
    brand = serializers.CharField()
    last_four = serializers.CharField()
    exp_month = serializers.IntegerField()
    exp_year = serializers.IntegerField()
    status = serializers.ChoiceField(choices=PaymentMethod.State.choices, source="state")
    is_default = serializers.BooleanField()
    created_at = UtcField()

    def get_type(self, card: PaymentMethod) -> str:
        """Only cards can be saved."""
        return "card"


class AutoTopUpInput(serializers.Serializer[Any]):
    """Terms, the card, and that the account's owner agrees; or `enabled: false` alone."""

    enabled = serializers.BooleanField()
    threshold = DecimalText(max_length=40, required=False, help_text="Below this balance the card is charged.")
    amount = DecimalText(max_length=40, required=False, help_text="US dollars, whole cents; or a multiple of it.")
    daily_count = serializers.IntegerField(required=False, help_text="Charges a day (UTC), at most.")
    daily_amount = DecimalText(max_length=40, required=False, help_text="US dollars a day (UTC), at most.")
    monthly_amount = DecimalText(max_length=40, required=False, help_text="US dollars a month (UTC), at most.")
    payment_method = serializers.UUIDField(required=False, help_text="A saved card; without it the default one.")
    consent = serializers.BooleanField(
        required=False, help_text="True: the card's owner agrees to what `says` will tell. Kept with the text."
    )


class UsedOutput(serializers.Serializer[Any]):
    """What counts towards the limits."""

    count_today = serializers.IntegerField()
    amount_today = serializers.CharField()
    amount_month = serializers.CharField()


class AutoTopUpOutput(serializers.Serializer[Any]):
    """Auto top-up as it stands."""

    status = serializers.ChoiceField(choices=["on", "off", "stopped"])
    threshold = serializers.CharField(allow_null=True)
    amount = serializers.CharField(allow_null=True)
    daily_count = serializers.IntegerField(allow_null=True)
    daily_amount = serializers.CharField(allow_null=True)
    monthly_amount = serializers.CharField(allow_null=True)
    payment_method = PaymentMethodOutput(allow_null=True)
    says = serializers.ListField(child=serializers.CharField(), help_text="What will happen, in words.")
    stopped_reason = serializers.CharField(help_text="Empty unless it is stopped.")
    stopped_at = UtcField(allow_null=True)
    failure = FailureOutput(allow_null=True)
    waits_for = serializers.CharField(help_text="The limit that is reached, if one is.")
    waits_until = UtcField(allow_null=True)
    pending_order = serializers.CharField(allow_null=True, help_text="The order that is under way.")
    last_run_at = UtcField(allow_null=True)
    used = UsedOutput()


def told(account_id: UUID) -> dict[str, Any]:
    """The row as the API tells it; an account that never had one is off."""
    rows = AutoTopUp.objects.select_related("payment_method", "stopped_order", "pending_order")
    row, spent = rows.filter(pk=account_id).first(), auto_topup.spent(account_id, now=clock.now())
    card = row.payment_method if row else None
    return {
        "status": row.status if row else "off",
        "threshold": f"{row.threshold_usd:.2f}" if row else None,
        "amount": f"{row.amount_usd:.2f}" if row else None,
        "daily_count": row.daily_count if row else None,
        "daily_amount": f"{row.daily_usd:.2f}" if row else None,
        "monthly_amount": f"{row.monthly_usd:.2f}" if row else None,
        "payment_method": card,
        "says": auto_text.what_happens(row.terms, card) if row and card and row.enabled else [],
        "stopped_reason": row.stopped_reason if row else "",
        "stopped_at": row.stopped_at if row else None,
        "failure": row.failure if row else None,
        "waits_for": row.capped_by if row else "",
        "waits_until": row.look_at if row and row.capped_by else None,
        "pending_order": row.pending_order.number if row and row.pending_order else None,
        "last_run_at": row.last_run_at if row else None,
        "used": {
            "count_today": spent.count_today,
            "amount_today": f"{spent.usd_today:.2f}",
            "amount_month": f"{spent.usd_month:.2f}",
        },
    }


_EXAMPLE = OpenApiExample(
    "Twenty dollars below five",
    {
        "enabled": True,
        "threshold": "5.00",
        "amount": "20.00",
        "daily_count": 3,
        "daily_amount": "60.00",
        "monthly_amount": "300.00",
        "consent": True,
    },
    request_only=True,
)


class AutoTopUpView(ApiView):
    """Topping up by itself."""

    needs: ClassVar[dict[str, str]] = {"PUT": "pay"}

    @extend_schema(
        operation_id="auto_top_up_read", summary="Read auto top-up", responses=AutoTopUpOutput, tags=["Money"]
    )
    def get(self, request: Request) -> Response:
        """Every member may read it."""
        return Response(AutoTopUpOutput(told(self.account.pk)).data)

    @extend_schema(
        operation_id="auto_top_up_set",
        summary="Turn auto top-up on, change it, or turn it off",
        description="Needs a role that may pay. Turning on needs all terms, a saved card and `consent: true`; it ends "
        "a stop of before. Cards are saved on the portal's page.",
        request=AutoTopUpInput,
        responses=AutoTopUpOutput,
        examples=[_EXAMPLE],
        tags=["Money"],
    )
    def put(self, request: Request) -> Response:
        """On with these terms, or off. The same again changes nothing but the consent."""
        body, now = self.body(AutoTopUpInput), clock.now()
        user, label = self.caller.user, self.caller.label
        if not body["enabled"]:
            if AutoTopUp.objects.filter(pk=self.account.pk).exists():
                auto_setting.turn_off(self.account.pk, actor=user, label=label, now=now)
            return Response(AutoTopUpOutput(told(self.account.pk)).data)
        if self.caller.key is None and not signed_in_recently(self.request._request, user):
            raise exceptions.PermissionDenied(_("Sign in again before you turn auto top-up on."))
        for name in ("threshold", "amount", "daily_count", "daily_amount", "monthly_amount"):
            if name not in body:
                raise InvalidRequest(_("This field is required."), field=name)
        if not body.get("consent"):
            raise InvalidRequest(_("Say that the card's owner agrees."), field="consent")
        terms = auto_setting.parse_terms(body)
        card = self._card(body.get("payment_method"))
        auto_setting.configure(
            self.account.pk,
            terms,
            card_id=card.pk,
            text=auto_text.consent(terms, card),
            version=auto_text.VERSION,
            locale=get_language() or "",
            actor=user,
            label=label,
            now=now,
        )
        wake(tasks_saved.run_auto_top_up, str(self.account.pk))
        return Response(AutoTopUpOutput(told(self.account.pk)).data)

    def _card(self, wanted: UUID | None) -> PaymentMethod:
        cards = saved.cards(self.account.pk)
        found = next((one for one in cards if (one.pk == wanted if wanted else one.is_default)), None)
        if found is None:
            raise InvalidRequest(_("Choose one of the saved cards."), field="payment_method")
        return found


@extend_schema_view(
    get=extend_schema(
        operation_id="payment_methods_list",
        summary="List saved cards, newest first",
        responses=page_of(PaymentMethodOutput, "PaymentMethodPage"),
        tags=["Money"],
    ),
)
class PaymentMethods(ListView):
    """The account's saved cards."""

    row_form = PaymentMethodOutput
    keyset = Keyset(("id",), (UUID,))

    def rows(self, query: dict[str, Any]) -> Any:
        """Without those that were removed."""
        return PaymentMethod.objects.filter(account=self.account).exclude(state=PaymentMethod.State.REMOVED)


class PaymentMethodDetail(ApiView):
    """One saved card."""

    needs: ClassVar[dict[str, str]] = {"DELETE": "pay"}

    @extend_schema(
        operation_id="payment_methods_read",
        summary="Read a saved card",
        responses=PaymentMethodOutput,
        tags=["Money"],
    )
    def get(self, request: Request, card_id: UUID) -> Response:
        """Another account's card does not exist."""
        rows = PaymentMethod.objects.filter(account=self.account).exclude(state=PaymentMethod.State.REMOVED)
        card = rows.filter(pk=card_id).first()
        if card is None:
            raise NotFound
        return Response(PaymentMethodOutput(card).data)

    @extend_schema(
        operation_id="payment_methods_remove",
        summary="Remove a saved card",
        description="Needs a role that may pay. Auto top-up that charges this card stops.",
        responses={204: None},
        tags=["Money"],
    )
    def delete(self, request: Request, card_id: UUID) -> Response:
        """Nothing is charged to it from now on."""
        caller = self.caller
        saved.remove(self.account.pk, card_id, actor=caller.user, label=caller.label, now=clock.now())
        wake(tasks_saved.detach_card, str(card_id))
        return Response(status=status.HTTP_204_NO_CONTENT)
