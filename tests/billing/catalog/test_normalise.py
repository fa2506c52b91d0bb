"""Providers' usage objects become canonical usage (C17, J08)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.normalise import FORMATS, normalise
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
