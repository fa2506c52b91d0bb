"""What a call may use, guessed before it, and what it has used, read from whatever LiteLLM hands us."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# One token is about four characters of English, three of program text, one of Chinese; in UTF-8 all of that is
# three bytes or more. A hold that is a little high is given back at the capture, so no tokenizer is worth its time.
BYTES_PER_TOKEN = 3
TOKENS_PER_FILE = 1_500
FILE = re.compile(r"data:[\w.+/-]+;base64,|[A-Za-z0-9+/=]{2000}")
CONTENT = ("messages", "prompt", "input", "instructions", "system", "tools", "functions", "query", "documents")


def estimate(data: Mapping[str, Any]) -> dict[str, int]:
    """Upper bounds for the hold. Without a limit on the output Meterhall takes the model's own."""
    size, tokens = 0, 0
    stack: list[Any] = [data[name] for name in CONTENT if name in data]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            if FILE.match(value):
                tokens += TOKENS_PER_FILE
            else:
                size += len(value) if value.isascii() else len(value.encode(errors="replace"))
        elif isinstance(value, Mapping):
            stack.extend(value.values())
            size += 6
        elif isinstance(value, list):
            if value and isinstance(value[0], int):
                tokens += len(value)  # an embedding of token ids
            else:
                stack.extend(value)
        elif value is not None:
            tokens += 1
    bounds = {"input_tokens": tokens + -(-size // BYTES_PER_TOKEN)}
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        limit = data.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            choices = data.get("n")
            bounds["max_output_tokens"] = limit * (choices if isinstance(choices, int) and choices > 1 else 1)
            break
    return bounds


class StreamUsage:
    """Reads the usage out of a stream as it passes; `told` stays None until the stream has told all of it."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.told: dict[str, Any] | None = None
        self._request = request
        self._tail = ""
        self._counted: dict[str, Any] = {}

    def feed(self, event: Any) -> None:
        if isinstance(event, bytes | str):
            self._feed_text(event.decode(errors="replace") if isinstance(event, bytes) else event)
        else:
            self.told = usage_of(event, self._request) or self.told

    def _feed_text(self, text: str) -> None:
        """Anthropic's own events: the input is told in the first, the output in the last but one."""
        *lines, self._tail = (self._tail + text).split("\n")
        for line in lines:
            if not line.startswith("data:") or '"usage"' not in line:
                continue
            try:
                event = json.loads(line[5:])
            except ValueError:
                continue
            counted = _plain(event.get("usage") or (event.get("message") or {}).get("usage"))
            self._counted.update(counted)
            if event.get("type") == "message_delta":
                self.told = {"provider_usage": dict(self._counted), "format": "anthropic.messages"}


def usage_of(response: Any, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The members of a capture's body that tell the usage, or None when the response tells none.

    `response` is a whole answer or one event of a stream, as an object or a dict.
    """
    found = _member(response, "usage")
    if found is None and (whole := _member(response, "response")) is not None:
        found = _member(whole, "usage")  # the last event of a Responses API stream
    usage = _plain(found)
    data = _member(response, "data")
    if isinstance(data, list) and (_member(response, "object") != "list"):
        return {"usage": _images(usage, data, request)}
    if not usage:
        return {"usage": _reranked(response)} if _member(response, "results") is not None else None
    if "prompt_tokens" in usage:
        # Nothing but zeroes is LiteLLM's way to say that the provider told nothing.
        return {"provider_usage": usage, "format": "litellm"} if usage.get("total_tokens") else None
    if "input_tokens_details" in usage or "output_tokens_details" in usage:
        return {"provider_usage": usage, "format": "openai.responses"}
    if "input_tokens" in usage:
        return {"provider_usage": usage, "format": "anthropic.messages"}
    return None


def text_of(response: Any) -> str:
    """What the model has said, to be counted when nobody else has."""
    parts: list[str] = []
    for choice in _member(response, "choices") or []:
        message = _member(choice, "message")
        parts += [_member(message, "reasoning_content"), _member(message, "content"), _member(choice, "text")]
    for block in _member(response, "content") or []:
        parts.append(_member(block, "text"))
    return "\n".join(part for part in parts if isinstance(part, str))


def _images(usage: dict[str, Any], data: list[Any], request: Mapping[str, Any]) -> dict[str, int]:
    size = re.fullmatch(r"(\d+)x(\d+)", str(request.get("size") or ""))
    told = {name: usage[name] for name in ("input_tokens", "output_tokens") if isinstance(usage.get(name), int)}
    area = {"width": int(size[1]), "height": int(size[2])} if size else {}
    return {"requests": 1, "images": len(data), **area, **told}


def _reranked(response: Any) -> dict[str, int]:
    tokens = _plain(_member(_member(response, "meta"), "tokens")).get("input_tokens")
    return {"requests": 1, **({"input_tokens": tokens} if isinstance(tokens, int) else {})}


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _plain(value: Any) -> dict[str, Any]:
    """A provider's usage object as JSON, without the members that say nothing."""
    if value is None:
        return {}
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if not isinstance(value, Mapping):
        return {}
    plain = {}
    for name, member in value.items():
        if isinstance(member, Mapping):
            member = _plain(member)
        if member is not None and member != {}:
            plain[name] = member
    return plain
