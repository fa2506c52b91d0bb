"""Providers' usage objects -> canonical usage (C17). Pure.

The vendors disagree on whether the prompt count includes cached tokens and whether the answer's count includes
thinking. Canonical usage always includes both, so that each token is priced once (J08). Keys that we do not price are
ignored; quantities that contradict each other are refused, never repaired by guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from django.utils.translation import gettext_lazy as _

from billing.catalog.usage import Usage, parse_usage
from billing.errors import InvalidUsage

Convention = Literal["inclusive", "exclusive"]
CONVENTIONS: Final = ("inclusive", "exclusive")

OPENAI_CHAT: Final = "openai.chat"
OPENAI_RESPONSES: Final = "openai.responses"
ANTHROPIC_MESSAGES: Final = "anthropic.messages"
GEMINI_GENERATE: Final = "gemini.generate"
LITELLM: Final = "litellm"


def normalise(format: str, payload: Mapping[str, Any], *, convention: str | None = None) -> Usage:
    """Canonical usage out of a provider's own object, or of a whole answer that holds one.

    `convention` says whether the input count includes cached tokens; None or "" means what the format documents. A
    channel whose vendor speaks one dialect with the other's counting sets it.
    """
    reader = READERS.get(format)
    if reader is None:
        raise InvalidUsage(_("%(field)s: unknown format."), field="format")
    if convention and convention not in CONVENTIONS:
        raise InvalidUsage(_("%(field)s must be inclusive or exclusive."), field="usage_convention")
    if not isinstance(payload, Mapping):
        raise InvalidUsage(_("%(field)s must be an object."), field="provider_usage")
    return reader(unwrapped(payload), convention or None)  # type: ignore[arg-type]


def unwrapped(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The usage object of a whole answer; an object that wraps none is taken for one itself."""
    if isinstance(payload.get("response"), Mapping):
        payload = payload["response"]  # the last event of a stream of responses
    for wrapper in ("usage", "usageMetadata", "usage_metadata"):
        if isinstance(payload.get(wrapper), Mapping):
            found: Mapping[str, Any] = payload[wrapper]
            return found
    return payload


# --- readers ---------------------------------------------------------------------------------------------------------


def _openai(
    payload: Mapping[str, Any],
    convention: Convention | None,
    input_key: str,
    output_key: str,
    input_details_key: str,
    output_details_key: str,
) -> Usage:
    """Chat completions, responses, images and the many that imitate them: cached tokens are inside the input."""
    if payload.get("type") == "duration":
        return parse_usage({"seconds": _duration(payload)})  # what a transcription by the second tells
    tokens_in, tokens_out = _both(payload, input_key, output_key)
    inside, outside = (
        _details(payload, input_details_key),
        _details(payload, output_details_key),
    )

    # Those who imitate the format tell the same count under names of their own, some under two.
    read = _agreed("cached_tokens", (inside, "cached_tokens"), (payload, "cache_read_input_tokens"),
                   (payload, "prompt_cache_hit_tokens"), (payload, "cached_tokens"))  # fmt: skip
    cached = _details(inside, "cached_tokens_details")
    write_5m, write_1h = _litellm_writes(payload, inside)
    beside = read + write_5m + write_1h if convention == "exclusive" else 0

    reasoning = _count(outside, "reasoning_tokens")
    total = _count(payload, "total_tokens")
    as_documented = {tokens_in + more + tokens_out for more in (0, beside)}
    thought_beside = {one + reasoning for one in as_documented} - as_documented
    tokens_in += beside
    if reasoning and total in thought_beside:
        tokens_out += reasoning  # some vendors report thinking beside the answer; their total tells

    return _usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cache_read_tokens=read,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        # A cached token of sound is priced as a cached token.
        input_audio_tokens=_count(inside, "audio_tokens") - _count(cached, "audio_tokens"),
        input_image_tokens=_count(inside, "image_tokens") - _count(cached, "image_tokens"),
        output_audio_tokens=_count(outside, "audio_tokens"),
        output_image_tokens=_count(outside, "image_tokens"),
        reasoning_tokens=reasoning,
    )


def _openai_chat(payload: Mapping[str, Any], convention: Convention | None) -> Usage:
    return _openai(
        payload,
        convention,
        "prompt_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    )


def _openai_responses(payload: Mapping[str, Any], convention: Convention | None) -> Usage:
    details = [key for key in ("input_tokens_details", "input_token_details") if payload.get(key) is not None]
    answers = [key for key in ("output_tokens_details", "output_token_details") if payload.get(key) is not None]
    return _openai(
        payload,
        convention,
        "input_tokens",
        "output_tokens",
        details[0] if details else "input_tokens_details",
        answers[0] if answers else "output_tokens_details",
    )


def _litellm(payload: Mapping[str, Any], convention: Convention | None) -> Usage:
    """LiteLLM speaks OpenAI's shape with Anthropic's cache counts beside it; its prompt count includes them."""
    if payload.get("prompt_tokens") is None and payload.get("input_tokens") is not None:
        return _openai_responses(payload, convention)
    return _openai_chat(payload, convention)


def _anthropic(payload: Mapping[str, Any], convention: Convention | None) -> Usage:
    """The input count leaves out what was read from or written to the cache.

    A stream's last event may tell the output alone; an object without any input is not the whole usage of a call. When
    the server has shortened the context on the way, what that took is told among the iterations, beside the totals.
    """
    tokens_in, tokens_out, read, write_5m, write_1h = _anthropic_counts(payload)
    if payload.get("input_tokens") is None and not read + write_5m + write_1h:
        raise InvalidUsage(_("%(field)s is missing."), field="input_tokens")
    for part in _objects(payload, "iterations"):
        if part.get("type") == "compaction":
            more = _anthropic_counts(part)
            tokens_in, tokens_out, read = tokens_in + more[0], tokens_out + more[1], read + more[2]
            write_5m, write_1h = write_5m + more[3], write_1h + more[4]
    if convention != "inclusive":
        tokens_in += read + write_5m + write_1h
    return _usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cache_read_tokens=read,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
    )


def _anthropic_counts(payload: Mapping[str, Any]) -> tuple[int, int, int, int, int]:
    """(input, output, cache read, writes for five minutes, for one hour)."""
    tokens_in, tokens_out = _both(payload, "input_tokens", "output_tokens")
    write_5m, write_1h = _writes(
        _count(payload, "cache_creation_input_tokens"),
        _details(payload, "cache_creation"),
        "cache_creation",
    )
    return tokens_in, tokens_out, _count(payload, "cache_read_input_tokens"), write_5m, write_1h


def _gemini(payload: Mapping[str, Any], convention: Convention | None) -> Usage:
    """The prompt includes cached content; thoughts and tool results are counted beside, which the total proves."""
    told = {_camel(key): value for key, value in payload.items()}
    answer = "candidatesTokenCount" if "candidatesTokenCount" in told else "responseTokenCount"
    if not {"promptTokenCount", answer, "totalTokenCount"} & told.keys():
        raise InvalidUsage(_("%(field)s is missing."), field="promptTokenCount")
    prompt, candidates = _count(told, "promptTokenCount"), _count(told, answer)
    cached, thoughts = (
        _count(told, "cachedContentTokenCount"),
        _count(told, "thoughtsTokenCount"),
    )
    tools, total = (
        _count(told, "toolUsePromptTokenCount"),
        _count(told, "totalTokenCount"),
    )

    beside = cached if convention == "exclusive" else 0
    inside = {prompt + more + candidates for more in (0, tools, beside, tools + beside)}
    # Beside is what is documented; that they are inside must be the only way to read the total.
    thoughts_inside = bool(thoughts) and total in inside - {one + thoughts for one in inside}
    tokens_in = prompt + tools + beside
    by_kind = _modalities(told, "promptTokensDetails")
    from_tools = _modalities(told, "toolUsePromptTokensDetails")
    from_cache = _modalities(told, "cacheTokensDetails")
    drawn = _modalities(told, answer.replace("TokenCount", "TokensDetails"))
    return _usage(
        input_tokens=tokens_in,
        output_tokens=candidates if thoughts_inside else candidates + thoughts,
        cache_read_tokens=cached,
        input_audio_tokens=by_kind.get("AUDIO", 0) + from_tools.get("AUDIO", 0) - from_cache.get("AUDIO", 0),
        input_image_tokens=by_kind.get("IMAGE", 0) + from_tools.get("IMAGE", 0) - from_cache.get("IMAGE", 0),
        output_audio_tokens=drawn.get("AUDIO", 0),
        output_image_tokens=drawn.get("IMAGE", 0),
        reasoning_tokens=thoughts,
    )


Reader = Callable[[Mapping[str, Any], Convention | None], Usage]
READERS: Final[dict[str, Reader]] = {
    OPENAI_CHAT: _openai_chat,
    OPENAI_RESPONSES: _openai_responses,
    ANTHROPIC_MESSAGES: _anthropic,
    GEMINI_GENERATE: _gemini,
    LITELLM: _litellm,
}
FORMATS: Final = tuple(READERS)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _usage(**counts: int) -> Usage:
    return parse_usage({name: count for name, count in counts.items() if count})


def _both(payload: Mapping[str, Any], input_key: str, output_key: str) -> tuple[int, int]:
    """An embedding has no output and a stopped stream no input, but an object with neither is no usage."""
    if payload.get(input_key) is None and payload.get(output_key) is None:
        raise InvalidUsage(_("%(field)s is missing."), field=input_key)
    return _count(payload, input_key), _count(payload, output_key)


def _count(payload: Mapping[str, Any], key: str) -> int:
    value = payload.get(key)
    if value is None:
        return 0
    try:
        return parse_usage({"input_tokens": value}).input_tokens
    except InvalidUsage as refusal:
        raise InvalidUsage(refusal.template, field=key) from None


def _details(payload: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = payload.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidUsage(_("%(field)s must be an object."), field=key)
    return value


def _writes(together: int, split: Mapping[str, Any], key: str) -> tuple[int, int]:
    """(five minutes, one hour). Without a split all writes live five minutes, the default of those who sell them."""
    write_5m, write_1h = (
        _count(split, "ephemeral_5m_input_tokens"),
        _count(split, "ephemeral_1h_input_tokens"),
    )
    if write_5m + write_1h == 0:
        return together, 0
    if together not in (0, write_5m + write_1h):
        raise InvalidUsage(_("%(field)s does not add up."), field=key)
    return write_5m, write_1h


def _litellm_writes(payload: Mapping[str, Any], inside: Mapping[str, Any]) -> tuple[int, int]:
    together = _agreed("cache_creation_tokens", (inside, "cache_creation_tokens"), (inside, "cache_write_tokens"),
                       (payload, "cache_creation_input_tokens"))  # fmt: skip
    split = _details(inside, "cache_creation_token_details") or _details(payload, "cache_creation")
    return _writes(together, split, "cache_creation_token_details")


def _modalities(told: Mapping[str, Any], key: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in _objects(told, key):
        kind = str(entry.get("modality", "")).rpartition(".")[2].upper()
        amount = entry.get("tokenCount", entry.get("token_count"))
        counts[kind] = counts.get(kind, 0) + _count({key: amount}, key)
    return counts


def _objects(told: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = told.get(key) or []
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise InvalidUsage(_("%(field)s must be a list."), field=key)
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise InvalidUsage(_("%(field)s must be a list of objects."), field=key)
    return list(entries)


def _agreed(field: str, *places: tuple[Mapping[str, Any], str]) -> int:
    """One count that may be told in several places: where it is told, it is told alike."""
    told = {count for holder, key in places if (count := _count(holder, key))}
    if len(told) > 1:
        raise InvalidUsage(_("%(field)s does not add up."), field=field)
    return told.pop() if told else 0


def _duration(payload: Mapping[str, Any]) -> Any:
    """Seconds, which this one vendor writes as a JSON number with a fraction: its shortest text is what was written."""
    seconds = payload.get("seconds")
    if seconds is None:
        raise InvalidUsage(_("%(field)s is missing."), field="seconds")
    return repr(seconds) if isinstance(seconds, float) else seconds


def _camel(key: str) -> str:
    head, *rest = str(key).split("_")
    return head + "".join(word.capitalize() for word in rest)
