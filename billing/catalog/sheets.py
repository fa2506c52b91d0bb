"""The calculation sheet as the API publishes it (03-http-api 3.4)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.catalog.rating import PRICE_TYPES
from config.api import AmountField


class LineOutput(serializers.Serializer[Any]):
    """`amount` = `quantity` x `multiple` x `unit_price` x `field_multiplier`, exactly."""

    item = serializers.CharField()
    unit = serializers.CharField()
    quantity = serializers.CharField()
    multiple = serializers.CharField()
    unit_price = serializers.CharField(help_text="USD for one unit: one token, not a thousand.")
    field_multiplier = serializers.CharField()
    amount = serializers.CharField()


class AppliedOutput(serializers.Serializer[Any]):
    """A request field whose value multiplied the price."""

    field = serializers.CharField()
    value = serializers.CharField()
    multiplier = serializers.CharField()


class SheetOutput(serializers.Serializer[Any]):
    """What a call costs and why. `charge` = the lines' exact sum x both discounts, rounded once, half up, at 1e-10."""

    model = serializers.CharField()
    channel = serializers.CharField()
    price_version = serializers.IntegerField()
    price_version_id = serializers.CharField()
    type = serializers.ChoiceField(choices=list(PRICE_TYPES))
    lines = LineOutput(many=True)
    billed_input_tokens = serializers.CharField()
    billed_output_tokens = serializers.CharField()
    field_multipliers = AppliedOutput(many=True)
    multiplier = serializers.CharField(help_text="The field multipliers together, after the version's cap.")
    list_price = AmountField()
    channel_discount = serializers.CharField()
    user_discount = serializers.CharField(help_text="1 where the quote names no account.")
    charge = AmountField()
    flows = AmountField(6)
