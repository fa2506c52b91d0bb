"""What is kept of a usage object that was refused: its quantities, and nothing of what was asked or answered. Pure.

A gateway may send a provider's whole answer. Names are kept when they name quantities, values when they are numbers or
words of a short list. Whatever else was there leaves a mark that no reader takes for a quantity, so that an object
which lost something cannot be charged as if it had been complete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from billing.catalog.normalise import unwrapped
from billing.catalog.reading import CANONICAL
from billing.catalog.usage import Usage

MARK: Final = "…"
LARGEST: Final = 16_384  # bytes of JSON
MOST_ENTRIES: Final = 64  # of one object or list
DEEPEST: Final = 5

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_QUANTITY: Final = re.compile(
    r"token|count|detail|cache|total|seconds|images|requests|width|height|modality|tier|usage|iteration|server_tool"
    r"|^(?:type|cost)$",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,20})?")
_WORDS: Final = frozenset(
    {
        *("text", "image", "audio", "video", "document", "modality_unspecified", "modality_text", "modality_image"),
        *("modality_audio", "modality_video", "standard", "priority", "batch", "default", "flex", "auto", "scale"),
        *("on_demand", "provisioned_throughput", "traffic_type_unspecified"),
        *("tokens", "duration", "message", "compaction"),
    }
)


def kept(format: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The quantities of a usage object, at most 16 KB of them."""
    if format != CANONICAL:
        body = unwrapped(body)
    found = _object(body, 0)
    if len(orjson.dumps(found)) > LARGEST:
        return {MARK: MARK}
    return found


def name_of(text: Any) -> str:
    """A field's name as it may be kept and shown."""
    found = str(text)
    return found if all(_NAME.fullmatch(part) for part in found.split(".")) and len(found) <= 64 else MARK


def _object(body: Mapping[str, Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in body.items():
        known = name in Usage._fields or (_NAME.fullmatch(str(name)) and _QUANTITY.search(str(name)))
        if not known or len(found) >= MOST_ENTRIES:
            found[MARK] = MARK
            continue
        found[name] = _value(value, depth)
    return found


def _value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if _NUMBER.fullmatch(value) or value.lower() in _WORDS else MARK
    if isinstance(value, Mapping) and depth < DEEPEST:
        return _object(value, depth + 1)
    if isinstance(value, list) and depth < DEEPEST and len(value) <= MOST_ENTRIES:
        # A list of numbers may be a prompt in tokens; lists of usage hold objects.
        return [_object(one, depth + 1) if isinstance(one, Mapping) else MARK for one in value]
    return MARK
