"""The prices of the `genai-prices` package as a catalogue document.

Prices per million tokens become exact prices per thousand. What our rate card has no item for (web searches, cached
sound) is named in the document's notes, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from billing.catalog.documents import PRICE_PLACES
from billing.catalog.plans import places_of
from billing.catalog.rating import plain
from billing.catalog.sources import MULTIPLE_PLACES, token_price

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice


ITEM: Final[dict[str, str]] = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_reasoning_mtok": "reasoning",
}

# Who sells a model directly; others are asked only when the vendor is not in the package.
OWN_PROVIDER: Final[dict[str, str]] = {
    "anthropic": "anthropic",
    "deepseek": "deepseek",
    "google": "google",
    "minimax": "minimax",
    "mistralai": "mistral",
    "moonshotai": "moonshotai",
    "openai": "openai",
    "x-ai": "x-ai",
    "z-ai": "zai",
}
RESELLERS: Final = ("openrouter", "novita", "groq", "together")

# Slugs whose entry in the package has another name, or whose plain match would be a neighbour.
ALIASES: Final[dict[str, tuple[str, str]]] = {
    "deepseek/deepseek-chat-v3.1": ("openrouter", "deepseek/deepseek-chat-v3.1"),
    "deepseek/deepseek-r1-0528": ("openrouter", "deepseek/deepseek-r1-0528"),
    "google/gemini-2.0-flash-lite-001": ("google", "gemini-2.0-flash-lite"),
    "google/gemma-3-12b-it": ("openrouter", "google/gemma-3-12b-it"),
    "meta/llama-3.3-70b-instruct": ("openrouter", "meta-llama/llama-3.3-70b-instruct"),
    "meta/llama-4-scout-17b-16e-instruct": ("groq", "meta-llama/llama-4-scout-17b-16e-instruct"),
    "minimax/minimax-m2-her": ("openrouter", "minimax/minimax-m2-her"),
    "minimax/minimax-m2.1": ("openrouter", "minimax/minimax-m2.1"),
    "moonshotai/kimi-k2-0711": ("moonshotai", "kimi-k2-0711-preview"),
    "moonshotai/kimi-k2-0905": ("moonshotai", "kimi-k2-0905-preview"),
    "nanobanana/nanobanana-pro": ("google", "gemini-3-pro-image-preview"),
    "x-ai/grok-4": ("x-ai", "grok-4-0709"),
    "x-ai/grok-4-fast": ("x-ai", "grok-4-fast-reasoning"),
    "x-ai/grok-4.1-fast": ("x-ai", "grok-4-1-fast-reasoning"),
    "x-ai/grok-4.1-fast-non-reasoning": ("x-ai", "grok-4-1-fast-non-reasoning"),
}


@dataclass(frozen=True, slots=True)
class Found:
    provider: str
    model: ModelInfo


@dataclass(slots=True)
class Converted:
    """One price entry of a document, with what could not be carried over."""

    price: dict[str, Any] | None
    ignored: list[str] = field(default_factory=list)


def find(slug: str) -> Found | None:
    """The package's entry for a slug `vendor/name`: an alias, then the vendor itself, then a reseller's exact id."""
    providers = _providers()
    vendor, _slash, name = slug.partition("/")
    if slug in ALIASES:
        provider, wanted = ALIASES[slug]
        return _exact(providers, provider, (wanted,))
    own = OWN_PROVIDER.get(vendor)
    if own in providers:
        dashed = name.replace(".", "-")
        found = _exact(providers, own, (name, dashed, f"{dashed}-latest", f"{name}-latest", f"{dashed}-0"))
        if found is None:
            matching = [model for model in providers[own].models if model.is_match(name)]
            found = Found(own, matching[0]) if matching else None
        if found is not None and convert(found).price is not None:
            return found
    for provider in RESELLERS:
        found = _exact(providers, provider, (slug,))
        if found is not None and convert(found).price is not None:
            return found
    return None


def convert(found: Found, *, on: date | None = None, channel: str = "default") -> Converted:
    """The price in force on a day. Where it depends on the hour, the dearer hour counts."""
    model = found.model
    prices = _prices_on(model, on)
    told: dict[str, Any] = {key: value for key, value in prices.__dict__.items() if value is not None}
    ignored = sorted(key for key in told if key not in ITEM)
    if "input_mtok" not in told:
        return Converted(None, ignored)
    tables = _tables({key: told[key] for key in told if key in ITEM})
    if not any(tables[0][1].values()):
        return Converted(None, [*ignored, "a price of zero"])
    if any(places_of(amount) > PRICE_PLACES for _above, table in tables for amount in table.values()):
        return Converted(None, [*ignored, "a price finer than we keep"])
    price = token_price(tables, channel=channel)
    multipliers = _service_tiers(model, told, on)
    if multipliers:
        price["field_multipliers"] = multipliers
    return Converted(price, ignored)


def document(*, now: datetime, known: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """A document body: the prices of the models that we know, then every other model that its own vendor sells by the
    token. The notes name what was left out."""
    models: list[dict[str, Any]] = []
    notes: list[str] = []
    met: set[tuple[str, str]] = set()

    def put(slug: str, found: Found) -> None:
        met.add((found.provider, found.model.id))
        converted = convert(found, on=now.date())
        if converted.price is None:
            notes.append(f"{slug}: not priced by the token, left out")
            return
        notes.extend(f"{slug}: {item} has no item in the rate card, ignored" for item in converted.ignored)
        models.append(
            {
                "slug": slug,
                "name": found.model.name or found.model.id,
                "kind": "embedding" if "embed" in found.model.id.lower() else "chat",
                "context_window": found.model.context_window,
                "prices": [converted.price],
            }
        )

    known = set(known)
    for slug in sorted(known):
        found = find(slug)
        if found is None:
            notes.append(f"{slug}: not in the package")
        else:
            put(slug, found)
    providers = _providers()
    for vendor, provider in sorted(OWN_PROVIDER.items()):
        for model in providers[provider].models if provider in providers else ():
            slug = f"{vendor}/{model.id}".lower()
            if slug not in known and (provider, model.id) not in met:
                put(slug, Found(provider, model))
    models.sort(key=lambda entry: str(entry["slug"]))
    return {"channels": [{"code": "default", "discount": "1"}], "models": models}, notes


# --- pieces ----------------------------------------------------------------------------------------------------------


def _providers() -> dict[str, Any]:
    from genai_prices.data_snapshot import get_snapshot  # a megabyte of tables: only when somebody imports

    return {provider.id: provider for provider in get_snapshot().providers}


def _exact(providers: dict[str, Any], provider: str, ids: Iterable[str]) -> Found | None:
    if provider not in providers:
        return None
    by_id = {model.id.lower(): model for model in providers[provider].models}
    for wanted in ids:
        if wanted.lower() in by_id:
            return Found(provider, by_id[wanted.lower()])
    return None


def _prices_on(model: ModelInfo, on: date | None) -> ModelPrice:
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(model.prices, ModelPrice):
        return model.prices
    in_force = model.prices[0].prices
    by_hour: list[ModelPrice] = []
    for entry in model.prices:
        if entry.constraint is None:
            in_force, by_hour = entry.prices, []
        elif isinstance(entry.constraint, StartDateConstraint):
            if on is None or entry.constraint.start_date <= on:
                in_force, by_hour = entry.prices, []
        else:
            by_hour.append(entry.prices)
    return max([in_force, *by_hour], key=_input_price)


def _input_price(prices: ModelPrice) -> Decimal:
    value: Any = prices.input_mtok
    return Decimal(getattr(value, "base", value) or 0)


def _tables(told: dict[str, Any]) -> list[tuple[int, dict[str, Decimal]]]:
    """(threshold, price per 1K of every item), the base first with the threshold -1."""
    starts = sorted({tier.start for value in told.values() for tier in getattr(value, "tiers", ())})
    tables = []
    for start in [-1, *starts]:
        table = {}
        for key, value in told.items():
            price = getattr(value, "base", value)
            for tier in getattr(value, "tiers", ()):
                if tier.start <= start:
                    price = tier.price
            table[ITEM[key]] = Decimal(price).scaleb(-3)
        tables.append((start, table))
    return tables


def _service_tiers(model: ModelInfo, told: dict[str, Any], on: date | None) -> list[dict[str, str]]:
    """OpenAI's service tiers as field multipliers (F051), when one factor explains all prices of the tier."""
    found: dict[str, str] = {}
    for variant in model.price_variants or ():
        start = getattr(variant.constraint, "start_date", None)
        if set(variant.when) != {"service_tier"} or (on is not None and start is not None and start > on):
            continue
        changed = {key: value for key, value in variant.prices.__dict__.items() if value is not None}
        priced = {key for key in told if key in ITEM}
        if set(changed) != priced or any(hasattr(value, "tiers") for value in [*changed.values(), *told.values()]):
            continue
        ratios = {changed[key] / told[key] for key in priced if told[key]}
        if len(ratios) == 1:
            ratio = ratios.pop()
            if ratio == round(ratio, MULTIPLE_PLACES) and ratio > 0:
                found.setdefault(variant.when["service_tier"], plain(ratio))
    return [{"field": "service_tier", "equals": value, "multiplier": found[value]} for value in sorted(found) if value]
