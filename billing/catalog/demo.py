"""The demo catalogue: the models of the plan table with the prices that `genai-prices` knows for them.

What it does not know stays unpriced, and calls to it are refused. Context windows and largest outputs are what the
vendors document; where we are not sure they stay empty.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from billing.catalog import genai

AS_OF: Final = date(2026, 11, 1)

# slug: (context window, largest output), as the vendors document them.
SIZES: Final[dict[str, tuple[int | None, int | None]]] = {
    "anthropic/claude-3.5-haiku": (200_000, 8_192),
    "anthropic/claude-3.5-sonnet": (200_000, 8_192),
    "anthropic/claude-3.7-sonnet": (200_000, 64_000),
    "anthropic/claude-haiku-4.5": (200_000, 64_000),
    "anthropic/claude-opus-4": (200_000, 32_000),
    "anthropic/claude-opus-4.1": (200_000, 32_000),
    "anthropic/claude-opus-4.5": (200_000, 64_000),
    "anthropic/claude-opus-4.6": (1_000_000, 128_000),
    "anthropic/claude-sonnet-4": (200_000, 64_000),
    "anthropic/claude-sonnet-4.5": (200_000, 64_000),
    "deepseek/deepseek-chat": (131_072, 8_192),
    "deepseek/deepseek-reasoner": (131_072, 65_536),
    "google/gemini-2.0-flash": (1_048_576, 8_192),
    "google/gemini-2.0-flash-lite-001": (1_048_576, 8_192),
    "google/gemini-2.5-flash": (1_048_576, 65_536),
    "google/gemini-2.5-flash-image": (None, 32_768),
    "google/gemini-2.5-flash-lite": (1_048_576, 65_536),
    "google/gemini-2.5-pro": (1_048_576, 65_536),
    "google/gemini-3-flash-preview": (1_048_576, 65_536),
    "google/gemini-3-pro-image-preview": (65_536, 32_768),
    "google/gemini-3-pro-preview": (1_048_576, 65_536),
    "google/gemma-3-12b-it": (131_072, 8_192),
    "meta/llama-3.3-70b-instruct": (131_072, None),
    "moonshotai/kimi-k2-0711": (131_072, None),
    "moonshotai/kimi-k2-0905": (262_144, None),
    "moonshotai/kimi-k2-thinking": (262_144, None),
    "moonshotai/kimi-k2-thinking-turbo": (262_144, None),
    "moonshotai/kimi-k2.5": (262_144, None),
    "nanobanana/nanobanana-pro": (65_536, 32_768),
    "openai/gpt-4.1": (1_047_576, 32_768),
    "openai/gpt-4.1-mini": (1_047_576, 32_768),
    "openai/gpt-4.1-nano": (1_047_576, 32_768),
    "openai/gpt-4o": (128_000, 16_384),
    "openai/gpt-4o-mini": (128_000, 16_384),
    "openai/gpt-5": (400_000, 128_000),
    "openai/gpt-5-chat": (128_000, 16_384),
    "openai/gpt-5-codex": (400_000, 128_000),
    "openai/gpt-5-mini": (400_000, 128_000),
    "openai/gpt-5-nano": (400_000, 128_000),
    "openai/gpt-5-pro": (400_000, 272_000),
    "openai/gpt-5.1": (400_000, 128_000),
    "openai/gpt-5.1-chat": (128_000, 16_384),
    "openai/gpt-5.1-codex": (400_000, 128_000),
    "openai/gpt-5.1-codex-mini": (400_000, 128_000),
    "openai/gpt-5.2": (400_000, 128_000),
    "openai/gpt-5.2-chat": (128_000, 16_384),
    "openai/gpt-5.2-codex": (400_000, 128_000),
    "openai/gpt-5.2-pro": (400_000, 128_000),
    "openai/o4-mini": (200_000, 100_000),
    "qwen/qwen3-max": (262_144, None),
    "x-ai/grok-4": (256_000, None),
    "x-ai/grok-4-fast": (2_000_000, None),
    "x-ai/grok-4-fast-non-reasoning": (2_000_000, None),
    "x-ai/grok-4.1-fast": (2_000_000, None),
    "x-ai/grok-4.1-fast-non-reasoning": (2_000_000, None),
    "x-ai/grok-code-fast-1": (256_000, None),
}

_CLAUDE: Final[dict[str, Any]] = {"kind": "area", "pixels_per_token": 750, "longest_side": 1568, "max_tokens": 1600}
_GEMINI_2: Final[dict[str, Any]] = {"kind": "tiles", "tile": 768, "tile_tokens": 258, "small": 384}
_GEMINI_3: Final[dict[str, Any]] = {"kind": "fixed", "tokens": 1120, "low_tokens": 280}


def _tiles(base: int, each: int) -> dict[str, Any]:
    return {
        "kind": "tiles",
        "fit": 2048,
        "short_side": 768,
        "tile": 512,
        "base_tokens": base,
        "tile_tokens": each,
        "low_tokens": base,
    }


def _patches(multiplier: str) -> dict[str, Any]:
    return {"kind": "patches", "patch": 32, "max_patches": 1536, "multiplier": multiplier}


# slug: what an image in the input counts as (F053), as the vendors document it.
IMAGES: Final[dict[str, dict[str, Any]]] = {
    "google/gemini-2.0-flash": _GEMINI_2,
    "google/gemini-2.0-flash-lite-001": _GEMINI_2,
    "google/gemini-2.5-flash": _GEMINI_2,
    "google/gemini-2.5-flash-lite": _GEMINI_2,
    "google/gemini-2.5-pro": _GEMINI_2,
    "google/gemini-3-flash-preview": _GEMINI_3,
    "google/gemini-3-pro-image-preview": {"kind": "fixed", "tokens": 560},
    "google/gemini-3-pro-preview": _GEMINI_3,
    "google/gemma-3-12b-it": {"kind": "fixed", "tokens": 256},
    "openai/gpt-4.1": _tiles(85, 170),
    "openai/gpt-4.1-mini": _patches("1.62"),
    "openai/gpt-4.1-nano": _patches("2.46"),
    "openai/gpt-4o": _tiles(85, 170),
    "openai/gpt-4o-mini": _tiles(2833, 5667),
    "openai/gpt-5": _tiles(70, 140),
    "openai/gpt-5-chat": _tiles(70, 140),
    "openai/gpt-5-mini": _patches("1.62"),
    "openai/gpt-5-nano": _patches("2.46"),
    "openai/o4-mini": _patches("1.72"),
}

CHANNELS: Final[list[dict[str, str]]] = [
    {"code": "default", "name": "Direct", "discount": "1"},
    {"code": "aws-us", "name": "AWS, United States", "discount": "0.82"},
]
SOLD_ON_AWS: Final = ("anthropic/",)


def build(plan_table: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document body and, for people, where each price came from. Same package, same result."""
    models: list[dict[str, Any]] = []
    notes: list[str] = []
    for entry in sorted(plan_table["models"], key=lambda entry: str(entry["slug"])):
        slug = entry["slug"]
        context_window, largest_output = SIZES.get(slug, (None, None))
        model: dict[str, Any] = {
            "slug": slug,
            "name": entry["name"],
            "vendor": slug.partition("/")[0],
            "kind": entry["kind"],
            "context_window": context_window,
            "max_output_tokens": largest_output,
            "coming_soon": entry["coming_soon"],
            "prices": [],
        }
        if rule := IMAGES.get(slug, _CLAUDE if slug.startswith("anthropic/") else None):
            model["image_tokens"] = rule
        found = genai.find(slug)
        converted = genai.convert(found, on=AS_OF) if found else None
        if found and converted and converted.price:
            model["prices"].append(converted.price)
            if slug.startswith(SOLD_ON_AWS):
                model["prices"].append({**converted.price, "channel": "aws-us"})
            ignored = f" (ignored: {', '.join(converted.ignored)})" if converted.ignored else ""
            notes.append(f"{slug}: {found.provider} {found.model.id}{ignored}")
        else:
            notes.append(f"{slug}: unpriced")
        models.append(model)
    return {"channels": CHANNELS, "models": models}, notes
