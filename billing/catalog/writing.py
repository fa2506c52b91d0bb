"""Plain values back into the catalogue document of 02-domain 2.4: what `documents.py` reads, this writes. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.catalog.documents import ChannelEntry, Document, ModelEntry
from billing.catalog.flow_documents import FactorEntry, RateEntry
from billing.catalog.images import rule_body
from billing.catalog.plans import PER_TOKEN, PriceSpec, TierSpec, plain


def price_body(spec: PriceSpec, effective_from: datetime) -> dict[str, Any]:
    """One entry of a model's `prices`; nothing that is not told."""
    body: dict[str, Any] = {
        "channel": spec.channel,
        "type": spec.type,
        "effective_from": _moment(effective_from),
    }
    if spec.free:
        body["free"] = True
    if spec.type == PER_TOKEN:
        body |= {"input_per_1k": _told(spec.input_per_1k), "output_per_1k": _told(spec.output_per_1k)}
    else:
        body["price"] = _told(spec.price)
    body |= {
        "multiples": {name: plain(value) for name, value in spec.multiples.items()},
        "component_per_1k": {name: plain(value) for name, value in spec.component_per_1k.items()},
        "tiers": [tier_body(tier) for tier in spec.tiers],
        "field_multipliers": multipliers_body(spec),
        "multiplier_cap": _told(spec.multiplier_cap),
        "additive": spec.additive or None,
        "second_step": _told(spec.second_step),
        "min_seconds": _told(spec.min_seconds),
    }
    return {name: value for name, value in body.items() if value not in (None, {}, [])}


def tier_body(tier: TierSpec) -> dict[str, Any]:
    """One entry of a price's `tiers`."""
    return {
        "above_input_tokens": tier.above_input_tokens,
        "input_per_1k": plain(tier.input_per_1k),
        "output_per_1k": plain(tier.output_per_1k),
        "component_per_1k": {name: plain(value) for name, value in tier.component_per_1k.items()},
    }


def multipliers_body(spec: PriceSpec) -> list[dict[str, str]]:
    """A price's `field_multipliers`."""
    return [
        {"field": one.field, "equals": one.equals, "multiplier": plain(one.multiplier)}
        for one in spec.field_multipliers
    ]


def document_body(document: Document) -> dict[str, Any]:
    """The whole document as JSON can hold it."""
    body = {
        "channels": [_channel(entry) for entry in document.channels],
        "models": [_model(entry) for entry in document.models],
        "flow_rates": [_dated(entry) for entry in document.flow_rates],
        "flow_factors": [_dated(entry) for entry in document.flow_factors],
    }
    return {name: entries for name, entries in body.items() if entries or name in ("channels", "models")}


def _channel(entry: ChannelEntry) -> dict[str, Any]:
    body = _fields(entry) | {"discount": plain(entry.discount)}
    return {name: value for name, value in body.items() if name != "usage_convention" or value}


def _model(entry: ModelEntry) -> dict[str, Any]:
    body = {name: value for name, value in _fields(entry).items() if value is not None}
    if entry.image_tokens is not None:
        body["image_tokens"] = rule_body(entry.image_tokens)
    body["prices"] = [price_body(price.spec, price.effective_from) for price in entry.prices]
    return body


def _dated(entry: RateEntry | FactorEntry) -> dict[str, Any]:
    told = {name: value for name, value in _fields(entry).items() if name != "place"}
    return {
        name: _moment(value) if isinstance(value, datetime) else plain(value) if isinstance(value, Decimal) else value
        for name, value in told.items()
    }


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _fields(entry: ChannelEntry | ModelEntry | RateEntry | FactorEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def _told(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
