"""Stripe's form encoding: `line_items[0][price_data][currency]=usd` and back to nested objects."""

import re
from typing import Any
from urllib.parse import parse_qsl

from sandbox.errors import ApiError

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
MAX_PAIRS = 1000
MAX_DEPTH = 10


def decode(text: str) -> dict[str, Any]:
    """Nested dicts of strings. A list is still a dict with the keys "0", "1", …: only its field knows it."""
    root: dict[str, Any] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PAIRS, errors="strict")
    except ValueError as wrong:
        raise ApiError(f"The request body could not be read as a form: {wrong}") from wrong
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        parts = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else []
        if not match or len(parts) > MAX_DEPTH:
            raise ApiError(f"Invalid parameter name: {name[:80]}", param=name[:80])
        _put(root, parts, value, name)
    return root


def _put(root: dict[str, Any], parts: list[str], value: str, name: str) -> None:
    here = root
    for position, part in enumerate(parts):
        key = part or str(len(here))  # `expand[]=a&expand[]=b` counts up
        if position == len(parts) - 1:
            if key in here:
                raise ApiError(f"The parameter {name} was given twice.", param=name)
            here[key] = value
        else:
            here = here.setdefault(key, {})
            if not isinstance(here, dict):
                raise ApiError(f"The parameter {name} is both a value and an object.", param=name)
