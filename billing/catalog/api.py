"""`/api/v1/models` and `/api/v1/quotes`: the price list and the calculator (03-http-api 3.4, 3.5)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import (
    Caller,
    Gateway,
    GatewayTokenAuthentication,
    ManagementKeyAuthentication,
    VisitorSessionAuthentication,
)
from accounts.models import Account
from billing.catalog.book import Book, ModelCard, Price, current_book
from billing.catalog.flow_terms import EVERY_PLAN, PLANS
from billing.catalog.images import counted, with_images
from billing.catalog.models import Model
from billing.catalog.plans import Prices
from billing.catalog.rating import PRICE_TYPES, plain, rate
from billing.catalog.reading import fields_of, usage_of
from billing.catalog.sheets import SheetOutput
from billing.catalog.usage import ITEMS
from billing.catalog.writing import multipliers_body, tier_body
from billing.money import EXACT
from config import clock
from config.api import LARGEST_PAGE, ApiView, Keyset, ListQuery, UtcField, page_of

ONE = Decimal(1)
THOUSAND = Decimal(1000)


# --- Models --------------------------------------------------------------------------------------------------------


class ModelQuery(ListQuery):
    """Which models."""

    page_size = serializers.IntegerField(required=False, min_value=1, max_value=LARGEST_PAGE, default=LARGEST_PAGE)
    vendor = serializers.CharField(required=False, max_length=60)
    kind = serializers.ChoiceField(choices=Model.Kind.choices, required=False)
    channel = serializers.CharField(required=False, max_length=60, help_text="Only prices of this channel.")
    type = serializers.ChoiceField(choices=list(PRICE_TYPES), required=False, help_text="Only prices of this type.")
    q = serializers.CharField(required=False, max_length=80, help_text="Words of the name, the slug or the vendor.")
    priced = serializers.BooleanField(required=False, help_text="`true`: only models that can be called now.")


def _items(what: str) -> serializers.DictField:
    return serializers.DictField(
        child=serializers.CharField(),
        help_text=f"{what}, USD per 1K: plain input and output, cache, audio, image and reasoning tokens, as calls are "
        "billed. Empty for prices by the unit.",
    )


class UnitsOutput(serializers.Serializer[Any]):
    """USD; `input_per_1k` and `output_per_1k`, or `price` for one unit of the price's type."""

    input_per_1k = serializers.CharField(allow_null=True)
    output_per_1k = serializers.CharField(allow_null=True)
    price = serializers.CharField(allow_null=True)


class TierOutput(serializers.Serializer[Any]):
    """Prices of the whole call once its input is longer than this."""

    above_input_tokens = serializers.IntegerField()
    input_per_1k = serializers.CharField()
    output_per_1k = serializers.CharField()
    component_per_1k = serializers.DictField(child=serializers.CharField())
    per_1k = _items("Every item of this tier in full")
    yours_per_1k = _items("The same after both discounts")


class FieldMultiplierOutput(serializers.Serializer[Any]):
    """A factor for calls in which this request field has this value."""

    field = serializers.CharField()
    equals = serializers.CharField()
    multiplier = serializers.CharField()


class PriceOutput(UnitsOutput):
    """A price version in force: the list price on one channel."""

    channel = serializers.CharField()
    price_version = serializers.IntegerField()
    type = serializers.ChoiceField(choices=list(PRICE_TYPES))
    free = serializers.BooleanField()
    multiples = serializers.DictField(child=serializers.CharField(), help_text="Multiples of the base price.")
    component_per_1k = serializers.DictField(child=serializers.CharField(), help_text="Special tokens' own prices.")
    per_1k = _items("Every item in full")
    yours_per_1k = _items("The same after both discounts")
    tiers = TierOutput(many=True)
    field_multipliers = FieldMultiplierOutput(many=True)
    multiplier_cap = serializers.CharField(allow_null=True)
    second_step = serializers.CharField(allow_null=True)
    min_seconds = serializers.CharField(allow_null=True)
    effective_from = UtcField()
    effective_to = UtcField(allow_null=True)
    channel_discount = serializers.CharField()
    user_discount = serializers.CharField(help_text="1 for visitors.")
    yours = UnitsOutput(help_text="After both discounts; for visitors the user discount is 1.")


class ModelOutput(serializers.Serializer[Any]):
    """A model and what it costs. Without prices it cannot be called."""

    slug = serializers.CharField()
    name = serializers.CharField()
    vendor = serializers.CharField()
    kind = serializers.ChoiceField(choices=Model.Kind.choices)
    context_window = serializers.IntegerField(allow_null=True)
    max_output_tokens = serializers.IntegerField(allow_null=True)
    coming_soon = serializers.BooleanField()
    prices = PriceOutput(many=True)


class PublicView(ApiView):
    """For visitors too; a credential, when one is sent, must be right, and adds what concerns its account."""

    authentication_classes = (GatewayTokenAuthentication, ManagementKeyAuthentication, VisitorSessionAuthentication)
    permission_classes = (AllowAny,)

    def own_account(self) -> Account | None:
        """The caller's account; visitors and gateways have none."""
        return self.request.user.account if isinstance(self.request.user, Caller) else None


class Models(PublicView):
    """The price list."""

    keyset = Keyset(("slug",), (str,), descending=False)

    @extend_schema(
        operation_id="models_list", summary="List models and the prices in force", parameters=[ModelQuery],
        responses=page_of(ModelOutput, "ModelPage"), tags=["Prices"],
        description="Public. With a credential `user_discount` and `yours` are the account's.",
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """From the price book in memory."""
        query, now, book = self.query(ModelQuery), clock.now(), current_book()
        discount = user_discount(self.own_account())
        prices: dict[str, list[Price]] = {}
        for price in book.prices(now):
            channel = price.plan.spec.channel
            told = (query.get("channel", channel), query.get("type", price.plan.spec.type))
            if book.channels[channel].active and told == (channel, price.plan.spec.type):
                prices.setdefault(price.plan.spec.model, []).append(price)
        after = self.keyset.values(query["cursor"])[0] if "cursor" in query else ""
        slugs = [slug for slug, card in sorted(book.models.items()) if slug > after and _matches(card, query, prices)]
        size = query["page_size"]
        shown = [_model(book, book.models[slug], prices.get(slug, []), discount) for slug in slugs[:size]]
        last = book.models[slugs[size - 1]] if len(slugs) > size else None
        return self.page(ModelOutput(shown, many=True).data, last)


def _matches(card: ModelCard, query: dict[str, Any], prices: dict[str, list[Price]]) -> bool:
    return (
        card.active
        and query.get("vendor", card.vendor) == card.vendor
        and query.get("kind", card.kind) == card.kind
        and query.get("priced", card.slug in prices) == (card.slug in prices)
        and ("type" not in query or card.slug in prices)
        and all(word in f"{card.name} {card.slug} {card.vendor}".lower() for word in query.get("q", "").lower().split())
    )


def _model(book: Book, card: ModelCard, prices: list[Price], discount: Decimal) -> dict[str, Any]:
    names = ("slug", "name", "vendor", "kind", "context_window", "max_output_tokens", "coming_soon")
    return {name: getattr(card, name) for name in names} | {
        "prices": [_price(book, price, discount) for price in prices]
    }


def _price(book: Book, price: Price, discount: Decimal) -> dict[str, Any]:
    """A compiled version as the import format has it (02-domain 2.4)."""
    spec, of_channel = price.plan.spec, book.channels[price.plan.spec.channel].discount
    factor = EXACT.multiply(of_channel, discount)
    units = {name: getattr(spec, name) for name in ("input_per_1k", "output_per_1k", "price")}
    return {name: _plain(value) for name, value in units.items()} | {
        "channel": spec.channel,
        "price_version": spec.number,
        "type": spec.type,
        "free": spec.free,
        "multiples": {name: plain(value) for name, value in spec.multiples.items()},
        "component_per_1k": {name: plain(value) for name, value in spec.component_per_1k.items()},
        **_resolved(price.plan.base, factor),
        "tiers": [
            tier_body(tier) | _resolved(price.plan.prices_at(tier.above_input_tokens + 1), factor)
            for tier in spec.tiers
        ],
        "field_multipliers": multipliers_body(spec),
        "multiplier_cap": _plain(spec.multiplier_cap),
        "second_step": _plain(spec.second_step),
        "min_seconds": _plain(spec.min_seconds),
        "effective_from": price.effective_from,
        "effective_to": price.effective_to,
        "channel_discount": plain(of_channel),
        "user_discount": plain(discount),
        "yours": {
            name: _plain(value if value is None else EXACT.multiply(value, factor)) for name, value in units.items()
        },
    }


def _resolved(prices: Prices | None, factor: Decimal) -> dict[str, dict[str, str]]:
    """What a thousand of each item cost, multiples multiplied out: the list's and the reader's."""
    if prices is None:
        return {"per_1k": {}, "yours_per_1k": {}}
    listed = {name: EXACT.multiply(prices.rates[name].cost, THOUSAND) for name in ITEMS}
    return {
        "per_1k": {name: plain(value) for name, value in listed.items()},
        "yours_per_1k": {name: plain(EXACT.multiply(value, factor)) for name, value in listed.items()},
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def user_discount(account: Account | None) -> Decimal:
    """What the account's benefit level earns it, as a factor (C20); 1 for visitors."""
    if account is None:
        return ONE
    told = Account.objects.filter(pk=account.pk).values_list("benefit_level__discount", flat=True).first()
    return told or ONE


# --- Quotes --------------------------------------------------------------------------------------------------------


class QuoteInput(serializers.Serializer[Any]):
    """A call that was not made: its price."""

    model = serializers.CharField(max_length=120, trim_whitespace=False, help_text="A slug.")
    channel = serializers.CharField(max_length=60, required=False, allow_null=True)
    usage = serializers.JSONField(
        required=False, allow_null=True,
        help_text="Canonical usage; and `input_images`, up to 100 of `{width, height, detail?}`, whose tokens are "
        "counted by the model's rule and added to `input_tokens` and `input_image_tokens`.",
    )  # fmt: skip
    provider_usage = serializers.JSONField(
        required=False, allow_null=True, help_text="The provider's own object, untouched; needs `format`."
    )
    format = serializers.CharField(
        required=False, max_length=40, allow_null=True,
        help_text="`openai.chat`, `openai.responses`, `anthropic.messages`, `gemini.generate` or `litellm`.",
    )  # fmt: skip
    account = serializers.UUIDField(required=False, allow_null=True, help_text="Whose discount counts; absent: none.")
    plan = serializers.ChoiceField(
        choices=list(PLANS), required=False, allow_null=True, help_text="Whose factor of the model `flows` counts with."
    )

    def get_fields(self) -> dict[str, Any]:
        """`fields` is a word of the serializer's own, so the field is made here."""
        return super().get_fields() | {
            "fields": serializers.JSONField(
                required=False, allow_null=True, help_text='For instance `{"header:x-priority": "true"}`.'
            )
        }


class CountedImageOutput(serializers.Serializer[Any]):
    """An image of the input, in pixels, and what it counts as."""

    width = serializers.IntegerField()
    height = serializers.IntegerField()
    tokens = serializers.IntegerField()


class QuoteOutput(SheetOutput):
    """The sheet, and the images that were counted for it."""

    input_images = CountedImageOutput(many=True, help_text="Empty when none were named.")


_IMAGES = OpenApiExample(
    "A call with an image",
    {
        "model": "openai/gpt-4o",
        "usage": {"input_tokens": 200, "output_tokens": 310, "input_images": [{"width": 1024, "height": 1024}]},
    },
    request_only=True,
)
_QUOTE = OpenApiExample(
    "A call with cached input",
    {
        "model": "anthropic/claude-opus-4.6",
        "usage": {"input_tokens": 1200, "output_tokens": 310, "cache_read_tokens": 800},
    },
    request_only=True,
)
_PROVIDER = OpenApiExample(
    "A provider's own usage object",
    {
        "model": "openai/gpt-5.2",
        "format": "openai.chat",
        "provider_usage": {"prompt_tokens": 1200, "completion_tokens": 310, "total_tokens": 1510},
    },
    request_only=True,
)


class Quotes(PublicView):
    """The calculator."""

    @extend_schema(
        operation_id="quotes_create", summary="Price a call without making it", request=QuoteInput,
        responses=QuoteOutput, examples=[_QUOTE, _IMAGES, _PROVIDER], tags=["Prices"],
        description="Public, and charges nothing. The gateway, the portal's calculator and the rating of real calls "
        "use the same function. `account` may be named by a gateway, or by a credential of that account. `flows`: what "
        "the call would cost a subscription, at the standard Flow rate.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """The full sheet."""
        told, now = self.body(QuoteInput), clock.now()
        account = self._whose(told.get("account"))
        book = current_book()
        priced = book.priced(told["model"], told.get("channel"), now)
        shown: list[dict[str, int]] = []
        if isinstance(told.get("usage"), dict):
            shown = counted(told["usage"], priced.model.image_rule)
            told["usage"] = with_images(told["usage"], priced.model.image_rule)
        sheet = rate(
            priced.plan,
            usage_of(told, priced.channel.usage_convention),
            channel_discount=priced.channel.discount,
            user_discount=user_discount(account),
            fields=fields_of(told),
        )
        cost = book.flow_terms.cost(sheet, plan=told.get("plan") or EVERY_PLAN, now=now)
        return Response(QuoteOutput(sheet.as_dict(flows=cost) | {"input_images": shown}).data)

    def _whose(self, account_id: UUID | None) -> Account | None:
        """The account whose discount counts; one that the caller may not name does not exist."""
        if account_id is None:
            return None
        own = self.own_account()
        if own is not None and own.pk == account_id:
            return own
        found = Account.objects.filter(pk=account_id).first() if isinstance(self.request.user, Gateway) else None
        if found is None:
            raise exceptions.NotFound
        return found
