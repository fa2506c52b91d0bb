"""LiteLLM's `model_prices_and_context_window.json` as a catalogue document. Pure.

Prices per token become exact prices per 1K. Models keep LiteLLM's names, which are what its gateway sends us, except
those that our catalogue already has under `vendor/name`. What our rate card has no item for is named in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

from billing.catalog.documents import PRICE_PLACES, SLUG, parse_json
from billing.catalog.plans import places_of
from billing.catalog.rating import plain
from billing.catalog.sources import EPOCH, MULTIPLE_PLACES, token_price
from billing.errors import InvalidCatalog
from billing.money import EXACT

ITEMS: Final[dict[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
    "output_cost_per_reasoning_token": "reasoning",
}
NOTHING: Final = Decimal(0)
TIER: Final = re.compile(r"(?P<key>.+)_above_(?P<thousands>\d+)k_tokens")
# Other service classes and surfaces: a price of their own that a plain call never pays.
OTHER_CLASSES: Final = re.compile(r".*_(batches|priority|flex|balanced|ultrafast|cache_hit)$")

# One price that is not by the token, by what LiteLLM calls the model's mode.
UNIT_PRICES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "image_generation": (("output_cost_per_image", "per_image"), ("input_cost_per_image", "per_image")),
    "image_edit": (("output_cost_per_image", "per_image"), ("input_cost_per_image", "per_image")),
    "video_generation": (("output_cost_per_second", "per_second"), ("output_cost_per_video_per_second", "per_second")),
    "audio_transcription": (("input_cost_per_second", "per_second"), ("output_cost_per_second", "per_second")),
    "rerank": (("input_cost_per_query", "per_request"),),
}
KIND: Final[dict[str, str]] = {
    "embedding": "embedding",
    "rerank": "reranker",
    "image_generation": "image",
    "image_edit": "image",
    "video_generation": "video",
    "audio_transcription": "audio",
    "audio_speech": "audio",
}
VENDOR: Final[dict[str, str]] = {
    "google": "gemini",
    "mistralai": "mistral",
    "moonshotai": "moonshot",
    "x-ai": "xai",
    "z-ai": "zai",
}


def document(data: bytes, *, known: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The document body and the notes of what was left out. `known` are the slugs that our catalogue has."""
    body = parse_json(data)
    if not isinstance(body, dict) or not all(isinstance(entry, dict) for entry in body.values()):
        raise InvalidCatalog("%(place)s: %(problem)s", place="file", problem="an object of models is expected")
    names = {found: slug for slug in sorted(known) if (found := _named(slug, body))}
    models: list[dict[str, Any]] = []
    notes: list[str] = []
    for key in sorted(body):
        if key == "sample_spec":
            continue
        slug, entry = names.get(key, key), body[key]
        if len(slug) > 120 or not SLUG.fullmatch(slug):
            notes.append(f"{slug[:120]}: not a name that we can use, left out")
            continue
        price, ignored = convert(entry)
        if price is None:
            notes.append(f"{slug}: {ignored[0]}, left out")
            continue
        notes += [f"{slug}: {item} has no item in the rate card, ignored" for item in ignored]
        models.append(
            {
                "slug": slug,
                "name": slug,
                "vendor": str(entry.get("litellm_provider") or "")[:60],
                "kind": KIND.get(str(entry.get("mode")), "chat"),
                "context_window": _size(entry.get("max_input_tokens")),
                "max_output_tokens": _size(entry.get("max_output_tokens")),
                "prices": [price],
            }
        )
    return {"channels": [{"code": "default", "discount": "1"}], "models": models}, notes


def convert(entry: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """(price entry, what was ignored), or (None, [why])."""
    costs = {key: value for key, value in entry.items() if "cost" in key and _number(value)}
    mode = str(entry.get("mode"))
    if steps := _tiered(entry):
        if any(places_of(price) > PRICE_PLACES for _above, table in steps for price in table.values()):
            return None, ["a price finer than we keep"]
        return token_price(steps), _ignored(costs, set())
    if not costs.get("input_cost_per_token") and not costs.get("output_cost_per_token"):
        for key, type in UNIT_PRICES.get(mode, ()):
            if costs.get(key):
                price = Decimal(costs[key])
                if places_of(price) > PRICE_PLACES:
                    return None, ["a price finer than we keep"]
                return {"type": type, "effective_from": EPOCH, "price": plain(price)}, _ignored(costs, {key})
        return None, ["no price" if not any(costs.values()) else "priced in another way"]

    tables: dict[int, dict[str, Decimal]] = {-1: {}}
    used = set()
    for key, value in costs.items():
        found = TIER.fullmatch(key)
        item = ITEMS.get(found["key"] if found else key)
        if item is None or (not value and item not in ("input", "output")):
            continue  # LiteLLM writes 0 where a vendor names no price; such tokens cost their base here
        used.add(key)
        tables.setdefault(int(found["thousands"]) * 1000 if found else -1, {})[item] = Decimal(value).scaleb(3)
    base = tables[-1]
    base.setdefault("input", Decimal(0))
    # A long-context price of something that has no price before is told in the notes, not taken: it has no base.
    used = {key for key in used if not (step := TIER.fullmatch(key)) or ITEMS[step["key"]] in base}
    if any(places_of(price) > PRICE_PLACES for table in tables.values() for price in table.values()):
        return None, ["a price finer than we keep"]
    ordered, last = [], base
    for above in sorted(tables):
        last = last | {item: price for item, price in tables[above].items() if item in base or above == -1}
        ordered.append((above, last))
    entry_body = token_price(ordered)
    multipliers = _service_tiers(costs, used)
    return entry_body | ({"field_multipliers": multipliers} if multipliers else {}), _ignored(costs, used)


def _tiered(entry: dict[str, Any]) -> list[tuple[int, dict[str, Decimal]]]:
    """`tiered_pricing`: a list of prices, each for inputs longer than where its range begins; per 1K tokens."""
    tiers = entry.get("tiered_pricing")
    if not isinstance(tiers, list):
        return []
    steps: list[tuple[int, dict[str, Decimal]]] = []
    for tier in tiers:
        span = tier.get("range") if isinstance(tier, dict) else None
        if not isinstance(span, list) or not span or not _number(span[0]) or "input_cost_per_token" not in tier:
            return []
        table = {item: Decimal(tier[key]).scaleb(3) for key, item in ITEMS.items() if _number(tier.get(key))}
        steps.append((int(span[0]), table))
    steps.sort(key=lambda step: step[0])
    named = set.intersection(*(set(table) for _above, table in steps)) if steps else set()
    return [
        (above if place else -1, {item: price for item, price in table.items() if item in named})
        for place, (above, table) in enumerate(steps)
    ]


def _service_tiers(costs: dict[str, Any], used: set[str]) -> list[dict[str, str]]:
    """Flex and priority as field multipliers (F051), when one factor explains all prices of the class."""
    found = []
    for service in ("flex", "priority"):
        ratios = {
            EXACT.divide(Decimal(costs.get(f"{key}_{service}", 0)), Decimal(costs[key])) for key in used if costs[key]
        }
        ratio = ratios.pop() if len(ratios) == 1 else NOTHING
        if ratio and places_of(ratio) <= MULTIPLE_PLACES:
            found.append({"field": "service_tier", "equals": service, "multiplier": plain(ratio)})
    return found


def _named(slug: str, body: dict[str, Any]) -> str | None:
    """LiteLLM's name for one of our slugs."""
    vendor, _slash, name = slug.partition("/")
    provider = VENDOR.get(vendor, vendor)
    dashed = name.replace(".", "-")
    for key in (slug, name, dashed, f"{provider}/{name}", f"{provider}/{dashed}"):
        if key in body and (key == slug or body[key].get("litellm_provider") == provider):
            return key
    return None


def _ignored(costs: dict[str, Any], used: set[str]) -> list[str]:
    return sorted(key for key in costs if key not in used and costs[key] and not OTHER_CLASSES.match(key))


def _number(value: object) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool) and value >= 0


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None
