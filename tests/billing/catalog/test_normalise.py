"""Providers' usage objects become canonical usage (C17, J08)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.normalise import FORMATS, normalise
from billing.catalog.usage import Usage
from billing.errors import InvalidUsage

CASES: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    (
        "openai.chat",
        {
            "prompt_tokens": 1200,
            "completion_tokens": 310,
            "total_tokens": 1510,
            "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 64, "rejected_prediction_tokens": 5},
        },
        {"input_tokens": 1200, "output_tokens": 310, "cache_read_tokens": 800, "reasoning_tokens": 64},
    ),
    (  # sound in and out
        "openai.chat",
        {
            "prompt_tokens": 500,
            "completion_tokens": 200,
            "prompt_tokens_details": {"audio_tokens": 300, "cached_tokens": None},
            "completion_tokens_details": {"audio_tokens": 150},
        },
        {"input_tokens": 500, "output_tokens": 200, "input_audio_tokens": 300, "output_audio_tokens": 150},
    ),
    (  # thinking counted beside the answer; the total tells
        "openai.chat",
        {
            "prompt_tokens": 37,
            "completion_tokens": 530,
            "total_tokens": 800,
            "completion_tokens_details": {"reasoning_tokens": 233},
        },
        {"input_tokens": 37, "output_tokens": 763, "reasoning_tokens": 233},
    ),
    ("openai.chat", {"prompt_tokens": 8, "total_tokens": 8}, {"input_tokens": 8}),  # an embedding
    (
        "openai.chat",
        {"id": "x", "usage": {"prompt_tokens": 8, "completion_tokens": 1}},  # a whole answer
        {"input_tokens": 8, "output_tokens": 1},
    ),
    (
        "openai.responses",
        {
            "input_tokens": 75,
            "input_tokens_details": {"cached_tokens": 32},
            "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024},
            "total_tokens": 1261,
        },
        {"input_tokens": 75, "output_tokens": 1186, "cache_read_tokens": 32, "reasoning_tokens": 1024},
    ),
    (  # images
        "openai.responses",
        {
            "input_tokens": 50,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            "output_tokens": 4160,
            "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0},
        },
        {"input_tokens": 50, "output_tokens": 4160, "input_image_tokens": 40, "output_image_tokens": 4160},
    ),
    (  # a live session: part of the cached tokens is sound, and a cached token is priced as cached
        "openai.responses",
        {
            "input_tokens": 431,
            "output_tokens": 20,
            "input_token_details": {
                "cached_tokens": 192,
                "audio_tokens": 239,
                "cached_tokens_details": {"text_tokens": 100, "audio_tokens": 92},
            },
            "output_token_details": {"audio_tokens": 15},
        },
        {
            "input_tokens": 431,
            "output_tokens": 20,
            "cache_read_tokens": 192,
            "input_audio_tokens": 147,
            "output_audio_tokens": 15,
        },
    ),
    (
        "anthropic.messages",
        {
            "input_tokens": 1000,
            "output_tokens": 3000,
            "cache_read_input_tokens": 8000,
            "cache_creation_input_tokens": 3000,
            "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
            "service_tier": "standard",
            "server_tool_use": {"web_search_requests": 1},
        },
        {
            "input_tokens": 12000,
            "output_tokens": 3000,
            "cache_read_tokens": 8000,
            "cache_write_5m_tokens": 2000,
            "cache_write_1h_tokens": 1000,
        },
    ),
    (
        "anthropic.messages",
        {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 100, "cache_read_input_tokens": None},
        {"input_tokens": 110, "output_tokens": 5, "cache_write_5m_tokens": 100},
    ),
    (
        "gemini.generate",
        {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 400,
            "candidatesTokenCount": 50,
            "thoughtsTokenCount": 30,
            "toolUsePromptTokenCount": 20,
            "totalTokenCount": 1100,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 600}, {"modality": "AUDIO", "tokenCount": 400}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 300}, {"modality": "TEXT", "tokenCount": 100}],
        },
        {
            "input_tokens": 1020,
            "output_tokens": 80,
            "cache_read_tokens": 400,
            "input_audio_tokens": 100,
            "reasoning_tokens": 30,
        },
    ),
    (  # the library's spelling, and a drawn picture
        "gemini.generate",
        {
            "usage_metadata": {
                "prompt_token_count": 9,
                "candidates_token_count": 1290,
                "total_token_count": 1299,
                "candidates_tokens_details": [{"modality": "IMAGE", "token_count": 1290}],
            }
        },
        {"input_tokens": 9, "output_tokens": 1290, "output_image_tokens": 1290},
    ),
    (  # some surfaces count thoughts among the candidates; the total tells
        "gemini.generate",
        {"promptTokenCount": 10, "candidatesTokenCount": 50, "thoughtsTokenCount": 30, "totalTokenCount": 60},
        {"input_tokens": 10, "output_tokens": 50, "reasoning_tokens": 30},
    ),
    (
        "litellm",
        {
            "total_tokens": 103925,
            "prompt_tokens": 98805,
            "completion_tokens": 5120,
            "prompt_tokens_details": {
                "text_tokens": None,
                "audio_tokens": None,
                "cached_tokens": 66360,
                "cache_creation_tokens": 32435,
            },
            "cache_read_input_tokens": 66360,
            "cache_creation_input_tokens": 32435,
            "completion_tokens_details": {"text_tokens": None, "reasoning_tokens": 1710},
        },
        {
            "input_tokens": 98805,
            "output_tokens": 5120,
            "cache_read_tokens": 66360,
            "cache_write_5m_tokens": 32435,
            "reasoning_tokens": 1710,
        },
    ),
    (
        "litellm",
        {
            "prompt_tokens": 12000,
            "completion_tokens": 3000,
            "prompt_tokens_details": {
                "cached_tokens": 8000,
                "cache_creation_tokens": 3000,
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": 2000,
                    "ephemeral_1h_input_tokens": 1000,
                },
            },
        },
        {
            "input_tokens": 12000,
            "output_tokens": 3000,
            "cache_read_tokens": 8000,
            "cache_write_5m_tokens": 2000,
            "cache_write_1h_tokens": 1000,
        },
    ),
]


@pytest.mark.parametrize(("format", "payload", "canonical"), CASES)
def test_c17_a_vendors_object_becomes_canonical(
    format: str, payload: dict[str, Any], canonical: dict[str, int]
) -> None:
    assert normalise(format, payload).as_dict() == canonical


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"something": "else"},
        [],
        {"prompt_tokens": -1, "input_tokens": -1, "promptTokenCount": -1},
        {"prompt_tokens": 1.5, "input_tokens": 1.5, "promptTokenCount": 1.5},
        {"prompt_tokens": "x", "input_tokens": "x", "promptTokenCount": "x"},
    ],
)
def test_an_object_that_is_no_usage_is_refused(format: str, payload: Any) -> None:
    with pytest.raises(InvalidUsage):
        normalise(format, payload)


@pytest.mark.parametrize(
    ("format", "payload"),
    [
        # more cached than sent
        ("openai.chat", {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 11}}),
        (
            "openai.chat",
            {"prompt_tokens": 1, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}},
        ),
        # cached sound exceeds all sound
        (
            "openai.responses",
            {
                "input_tokens": 9,
                "output_tokens": 1,
                "input_tokens_details": {"cached_tokens": 4, "cached_tokens_details": {"audio_tokens": 4}},
            },
        ),
        (
            "anthropic.messages",
            {
                "input_tokens": 1,
                "output_tokens": 1,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_5m_input_tokens": 1},
            },
        ),
        ("anthropic.messages", {"input_tokens": 1, "output_tokens": 1, "cache_creation": "yes"}),
        ("gemini.generate", {"promptTokenCount": 5, "cachedContentTokenCount": 6}),
        ("gemini.generate", {"promptTokenCount": 5, "promptTokensDetails": ["AUDIO"]}),
        ("litellm", {"prompt_tokens": 10, "completion_tokens": 1, "cache_creation_input_tokens": 11}),
    ],
)
def test_c17_quantities_that_contradict_each_other_are_refused(format: str, payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidUsage):
        normalise(format, payload)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidUsage):
        normalise("cohere.chat", {"prompt_tokens": 1})
    with pytest.raises(InvalidUsage):
        normalise("openai.chat", {"prompt_tokens": 1}, convention="both")  # type: ignore[arg-type]


small = st.integers(min_value=0, max_value=10**6)


@given(plain=small, read=small, write_5m=small, write_1h=small, output=small)
def test_j08_inclusive_and_exclusive_vendors_end_at_the_same_usage(
    plain: int, read: int, write_5m: int, write_1h: int, output: int
) -> None:
    split = {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h}
    beside = {
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write_5m + write_1h,
        "cache_creation": split,
    }
    together = plain + read + write_5m + write_1h
    exclusive = normalise("anthropic.messages", {"input_tokens": plain, "output_tokens": output, **beside})
    inclusive = normalise(
        "anthropic.messages", {"input_tokens": together, "output_tokens": output, **beside}, convention="inclusive"
    )
    litellm = normalise("litellm", {"prompt_tokens": together, "completion_tokens": output, **beside})
    apart = normalise(
        "litellm", {"prompt_tokens": plain, "completion_tokens": output, **beside}, convention="exclusive"
    )
    assert exclusive == inclusive == litellm == apart


# --- What vendors send today ---------------------------------------------------------------------------------------

TODAY: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (  # cache writes under the newer name
        "openai.chat",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 5,
            "total_tokens": 1005,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 300},
        },
        {"input_tokens": 1000, "output_tokens": 5, "cache_read_tokens": 100, "cache_write_5m_tokens": 300},
    ),
    (
        "openai.responses",
        {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 1000},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 1005,
        },
        {"input_tokens": 1000, "output_tokens": 5, "cache_write_5m_tokens": 1000},
    ),
    (  # the last event of a stream of responses
        "openai.responses",
        {"type": "response.completed", "response": {"id": "r", "usage": {"input_tokens": 3, "output_tokens": 4}}},
        {"input_tokens": 3, "output_tokens": 4},
    ),
    (  # the last chunk of a stream of chat
        "openai.chat",
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
        {"input_tokens": 3, "output_tokens": 4},
    ),
    (  # cache hits under names of their own
        "openai.chat",
        {
            "prompt_tokens": 900,
            "completion_tokens": 5,
            "prompt_cache_hit_tokens": 640,
            "prompt_cache_miss_tokens": 260,
            "prompt_tokens_details": {"cached_tokens": 640},
        },
        {"input_tokens": 900, "output_tokens": 5, "cache_read_tokens": 640},
    ),
    (
        "openai.chat",
        {"prompt_tokens": 900, "completion_tokens": 5, "cached_tokens": 640},
        {"input_tokens": 900, "output_tokens": 5, "cache_read_tokens": 640},
    ),
    (  # a reseller's extras that have no price here
        "openai.chat",
        {
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "cost": 0.0012,
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": None},
            "num_sources_used": 3,
            "server_tool_use": {"web_search_requests": 2},
            "completion_tokens_details": {"accepted_prediction_tokens": 1, "audio_tokens": None},
        },
        {"input_tokens": 10, "output_tokens": 2},
    ),
    (  # a transcription by tokens, with nulls where details could be
        "openai.responses",
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_tokens_details": None,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        {"input_tokens": 14, "output_tokens": 45, "input_audio_tokens": 14},
    ),
    ("openai.chat", {"usage": {"type": "duration", "seconds": 12.75}}, {"seconds": "12.75"}),
    ("openai.responses", {"type": "duration", "seconds": 9}, {"seconds": "9"}),
    (  # cached sound and pictures of a live session
        "openai.responses",
        {
            "input_tokens": 100,
            "output_tokens": 1,
            "input_token_details": {
                "cached_tokens": 60,
                "audio_tokens": 40,
                "image_tokens": 30,
                "cached_tokens_details": {"audio_tokens": 20, "image_tokens": 30, "text_tokens": 10},
            },
        },
        {"input_tokens": 100, "output_tokens": 1, "cache_read_tokens": 60, "input_audio_tokens": 20},
    ),
    (  # the end of a stream, with counts that are null
        "anthropic.messages",
        {
            "type": "message_delta",
            "usage": {
                "input_tokens": 12,
                "output_tokens": 40,
                "cache_creation_input_tokens": None,
                "cache_read_input_tokens": 0,
                "cache_creation": None,
                "server_tool_use": None,
                "service_tier": "priority",
                "inference_geo": "us",
            },
        },
        {"input_tokens": 12, "output_tokens": 40},
    ),
    (  # all of the input was in the cache
        "anthropic.messages",
        {"input_tokens": 0, "output_tokens": 1, "cache_read_input_tokens": 50},
        {"input_tokens": 50, "output_tokens": 1, "cache_read_tokens": 50},
    ),
    (  # the context was shortened on the way: that is told apart from the totals
        "anthropic.messages",
        {
            "input_tokens": 23,
            "output_tokens": 10,
            "iterations": [
                {"type": "compaction", "input_tokens": 180, "output_tokens": 35, "cache_read_input_tokens": 20},
                {"type": "message", "input_tokens": 23, "output_tokens": 10},
            ],
        },
        {"input_tokens": 223, "output_tokens": 45, "cache_read_tokens": 20},
    ),
    (  # a live session
        "gemini.generate",
        {
            "promptTokenCount": 30,
            "responseTokenCount": 70,
            "totalTokenCount": 100,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}, {"modality": "TEXT", "tokenCount": 10}],
            "trafficType": "ON_DEMAND",
        },
        {"input_tokens": 30, "output_tokens": 70, "input_audio_tokens": 30, "output_audio_tokens": 60},
    ),
    (  # it thought and said nothing; moving pictures and documents are plain input
        "gemini.generate",
        {
            "promptTokenCount": 300,
            "thoughtsTokenCount": 20,
            "totalTokenCount": 320,
            "promptTokensDetails": [
                {"modality": "VIDEO", "tokenCount": 200},
                {"modality": "DOCUMENT", "tokenCount": 50},
                {"modality": "IMAGE", "tokenCount": 50},
            ],
        },
        {"input_tokens": 300, "output_tokens": 20, "input_image_tokens": 50, "reasoning_tokens": 20},
    ),
    ("gemini.generate", {"usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}}, {"input_tokens": 8}),
    (  # the same count under two names, and both splits
        "litellm",
        {
            "prompt_tokens": 500,
            "completion_tokens": 10,
            "prompt_tokens_details": {
                "cached_tokens": 100,
                "cache_write_tokens": 300,
                "cache_creation_tokens": 300,
                "cache_creation_token_details": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 300},
                "tool_use_tokens": None,
                "video_length_seconds": None,
                "web_search_requests": 1,
            },
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 300,
            "server_tool_use": {"web_search_requests": 1},
            "cost": 0.1,
        },
        {"input_tokens": 500, "output_tokens": 10, "cache_read_tokens": 100, "cache_write_1h_tokens": 300},
    ),
    (  # pictures drawn, with the other shape's names null
        "litellm",
        {
            "prompt_tokens": None,
            "input_tokens": 10,
            "output_tokens": 4160,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 10},
            "output_tokens_details": {"image_tokens": 4160},
        },
        {"input_tokens": 10, "output_tokens": 4160, "output_image_tokens": 4160},
    ),
]


@pytest.mark.parametrize(("format", "payload", "canonical"), TODAY)
def test_c17_what_vendors_send_today_becomes_canonical(
    format: str, payload: dict[str, Any], canonical: dict[str, Any]
) -> None:
    assert normalise(format, payload).as_dict() == canonical


@pytest.mark.parametrize(
    ("format", "payload", "field"),
    [
        # one count told twice, not alike
        (
            "openai.chat",
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}, "prompt_cache_hit_tokens": 5},
            "cached_tokens",
        ),
        (
            "litellm",
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {"cache_creation_tokens": 4},
                "cache_creation_input_tokens": 5,
            },
            "cache_creation_tokens",
        ),
        # a stream's event that tells the output alone
        ("anthropic.messages", {"type": "message_delta", "usage": {"output_tokens": 15}}, "input_tokens"),
        ("anthropic.messages", {"input_tokens": None, "output_tokens": 15}, "input_tokens"),
        ("anthropic.messages", {"input_tokens": 1, "output_tokens": 1, "iterations": [5]}, "iterations"),
        ("openai.chat", {"choices": [{}], "usage": None}, "prompt_tokens"),
        ("openai.chat", {"type": "duration"}, "seconds"),
        ("openai.chat", {"type": "duration", "seconds": -1.5}, "seconds"),
        ("openai.chat", {"type": "duration", "seconds": float("inf")}, "seconds"),
        ("openai.responses", {"type": "duration", "seconds": "soon"}, "seconds"),
    ],
)
def test_c17_what_is_not_the_whole_usage_is_refused_with_its_field(
    format: str, payload: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidUsage) as refusal:
        normalise(format, payload)
    assert refusal.value.evidence["field"] == field


tokens = st.integers(min_value=0, max_value=10**6)


def told_as(format: str, usage: Usage, *, convention: str) -> dict[str, Any]:
    """The usage as a vendor of this format tells it, with cached tokens inside the input count or beside it."""
    read, w5, w1 = usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
    beside = read + w5 + w1 if convention == "exclusive" else 0
    sent, answered = usage.input_tokens - beside, usage.output_tokens
    split = {"ephemeral_5m_input_tokens": w5, "ephemeral_1h_input_tokens": w1}
    if format == "anthropic.messages":
        return {
            "input_tokens": sent,
            "output_tokens": answered,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": w5 + w1,
            "cache_creation": split,
        }
    if format == "gemini.generate":
        return {
            "promptTokenCount": sent,
            "candidatesTokenCount": answered - usage.reasoning_tokens,
            "thoughtsTokenCount": usage.reasoning_tokens,
            "cachedContentTokenCount": read,
            "totalTokenCount": sent + answered,
            "promptTokensDetails": [
                {"modality": "AUDIO", "tokenCount": usage.input_audio_tokens},
                {"modality": "IMAGE", "tokenCount": usage.input_image_tokens},
            ],
            "candidatesTokensDetails": [
                {"modality": "AUDIO", "tokenCount": usage.output_audio_tokens},
                {"modality": "IMAGE", "tokenCount": usage.output_image_tokens},
            ],
        }
    names = ("input", "output") if format == "openai.responses" else ("prompt", "completion")
    return {
        f"{names[0]}_tokens": sent,
        f"{names[1]}_tokens": answered,
        f"{names[0]}_tokens_details": {
            "cached_tokens": read,
            "cache_creation_tokens": w5 + w1,
            "cache_creation_token_details": split,
            "audio_tokens": usage.input_audio_tokens,
            "image_tokens": usage.input_image_tokens,
        },
        f"{names[1]}_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
            "image_tokens": usage.output_image_tokens,
        },
    }


@given(
    format=st.sampled_from(FORMATS),
    convention=st.sampled_from(["inclusive", "exclusive"]),
    counts=st.tuples(*[tokens] * 10),
)
def test_j08_normalising_what_a_vendor_tells_gives_the_usage_back_in_both_conventions(
    format: str, convention: str, counts: tuple[int, ...]
) -> None:
    plain, read, w5, w1, sound, picture, answer, said, drawn, thought = counts
    if format == "anthropic.messages":
        sound = picture = said = drawn = thought = 0  # it tells none of these apart
    if format == "gemini.generate":
        w5 = w1 = 0
    usage = Usage(
        input_tokens=plain + read + w5 + w1 + sound + picture,
        output_tokens=answer + said + drawn + thought,
        cache_read_tokens=read,
        cache_write_5m_tokens=w5,
        cache_write_1h_tokens=w1,
        input_audio_tokens=sound,
        input_image_tokens=picture,
        output_audio_tokens=said,
        output_image_tokens=drawn,
        reasoning_tokens=thought,
    )

    found = normalise(format, told_as(format, usage, convention=convention), convention=convention)

    assert found == usage
