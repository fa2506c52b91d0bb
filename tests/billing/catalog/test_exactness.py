"""Rating never computes with floats, and what a provider says of a call is priced as the same call told canonically."""

import ast
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import billing
from billing.catalog.normalise import Convention, normalise
from billing.catalog.plans import FieldMultiplierSpec, PriceSpec, TierSpec, compile_plan
from billing.catalog.rating import rate
from billing.catalog.usage import Usage, parse_usage
from billing.errors import BillingError

FOLDER = Path(billing.__file__).parent
EXACT_MODULES = (
    *("money.py", "catalog/usage.py", "catalog/plans.py", "catalog/rating.py", "catalog/stored.py"),
    *("catalog/normalise.py", "catalog/writing.py", "catalog/price_text.py", "metering/replay.py"),
)


def inexact(tree: ast.Module) -> list[str]:
    """Where a module makes a float: a literal, a conversion, a true division, rounding, the math module."""
    found = []
    for node in ast.walk(tree):
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"float", "round"}
        divided = isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div)
        math = isinstance(node, ast.Import) and any(name.name in {"math", "statistics"} for name in node.names)
        math = math or (isinstance(node, ast.ImportFrom) and node.module in {"math", "statistics"})
        if literal or called or divided or math:
            found.append(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("name", EXACT_MODULES)
def test_no_float_is_made_where_prices_are_computed(name: str) -> None:
    assert inexact(ast.parse((FOLDER / name).read_text())) == []


def test_the_search_for_floats_finds_them() -> None:
    assert (
        len(
            inexact(
                ast.parse("import math\nfrom math import pi\na = 1.5\nb = float(a)\nc = a / 2\na /= 2\nd = round(a)")
            )
        )
        == 7
    )


@pytest.mark.parametrize(
    "price",
    [
        lambda: compile_plan(PriceSpec(input_per_1k=0.003, output_per_1k=Decimal(1))),  # type: ignore[arg-type]
        lambda: compile_plan(
            PriceSpec(input_per_1k=Decimal(1), output_per_1k=Decimal(1), multiples={"cache_read": 0.1})  # type: ignore[dict-item]
        ),
        lambda: rate(PLAN, Usage(input_tokens=1), user_discount=0.95),  # type: ignore[arg-type]
        lambda: rate(PLAN, Usage(input_tokens=1), channel_discount=0.8),  # type: ignore[arg-type]
        lambda: parse_usage({"input_tokens": 12.0}),
        lambda: parse_usage({"seconds": 1.5}),
    ],
)
def test_a_float_is_refused_wherever_it_could_enter(price: Callable[[], object]) -> None:
    with pytest.raises((TypeError, BillingError)):
        price()


PLAN = compile_plan(
    PriceSpec(
        input_per_1k=Decimal("0.003"),
        output_per_1k=Decimal("0.015"),
        multiples={
            "cache_read": Decimal("0.1"),
            "cache_write_5m": Decimal("1.25"),
            "cache_write_1h": Decimal(2),
            "input_audio": Decimal(4),
            "input_image": Decimal("1.5"),
        },
        component_per_1k={
            "reasoning": Decimal("0.0123"), "output_audio": Decimal("0.06"), "output_image": Decimal("0.03"),
        },
        tiers=(TierSpec(200_000, Decimal("0.006"), Decimal("0.0225")),),
        field_multipliers=(FieldMultiplierSpec("service_tier", "priority", Decimal("1.8")),),
    )
)  # fmt: skip


# --- The same call, as each provider tells it -----------------------------------------------------------------------
def openai(used: Usage, *, exclusive: bool, names: tuple[str, str]) -> dict[str, Any]:
    """Chat completions and responses differ in the names alone."""
    tokens, details = names
    inside, outside = ("prompt", "completion") if tokens == "chat" else ("input", "output")
    cached = used.cache_read_tokens if exclusive else 0
    return {
        f"{inside}_tokens": used.input_tokens - cached,
        f"{outside}_tokens": used.output_tokens,
        f"{inside}_tokens_{details}": {
            "cached_tokens": used.cache_read_tokens,
            "audio_tokens": used.input_audio_tokens,
            "image_tokens": used.input_image_tokens,
        },
        f"{outside}_tokens_{details}": {
            "reasoning_tokens": used.reasoning_tokens,
            "audio_tokens": used.output_audio_tokens,
            "image_tokens": used.output_image_tokens,
        },
    }


def anthropic(used: Usage, *, exclusive: bool) -> dict[str, Any]:
    cached = used.cache_read_tokens + used.cache_write_5m_tokens + used.cache_write_1h_tokens
    return {
        "input_tokens": used.input_tokens - (cached if exclusive else 0),
        "output_tokens": used.output_tokens,
        "cache_read_input_tokens": used.cache_read_tokens,
        "cache_creation_input_tokens": used.cache_write_5m_tokens + used.cache_write_1h_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": used.cache_write_1h_tokens,
        },
    }


def gemini(used: Usage, *, exclusive: bool) -> dict[str, Any]:
    prompt = used.input_tokens - (used.cache_read_tokens if exclusive else 0)
    answer = used.output_tokens - used.reasoning_tokens
    return {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": used.cache_read_tokens,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": used.reasoning_tokens,
        "totalTokenCount": prompt + answer + used.reasoning_tokens,
        "promptTokensDetails": [
            {"modality": "AUDIO", "tokenCount": used.input_audio_tokens},
            {"modality": "IMAGE", "tokenCount": used.input_image_tokens},
        ],
        "candidatesTokensDetails": [
            {"modality": "AUDIO", "tokenCount": used.output_audio_tokens},
            {"modality": "IMAGE", "tokenCount": used.output_image_tokens},
        ],
    }


def litellm(used: Usage, *, exclusive: bool) -> dict[str, Any]:
    cached = used.cache_read_tokens + used.cache_write_5m_tokens + used.cache_write_1h_tokens
    told = openai(used, exclusive=False, names=("chat", "details"))
    told["prompt_tokens"] -= cached if exclusive else 0
    told["prompt_tokens_details"] |= {
        "cache_creation_tokens": used.cache_write_5m_tokens + used.cache_write_1h_tokens,
        "cache_creation_token_details": {
            "ephemeral_5m_input_tokens": used.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": used.cache_write_1h_tokens,
        },
    }
    return told


FORMATS: dict[str, tuple[Callable[..., dict[str, Any]], set[str]]] = {
    "openai.chat": (lambda used, *, exclusive: openai(used, exclusive=exclusive, names=("chat", "details")), {"write"}),
    "openai.responses": (
        lambda used, *, exclusive: openai(used, exclusive=exclusive, names=("responses", "details")), {"write"},
    ),
    "anthropic.messages": (anthropic, {"audio", "image", "reasoning"}),
    "gemini.generate": (gemini, {"write"}),
    "litellm": (litellm, set()),
}  # fmt: skip
counts = st.integers(1, 150_000)


@pytest.mark.parametrize("convention", ["inclusive", "exclusive"])
@pytest.mark.parametrize("format", sorted(FORMATS))
@given(data=st.data())
def test_what_a_provider_says_is_priced_as_the_canonical_usage(
    format: str, convention: Convention, data: st.DataObject
) -> None:
    telling, untold = FORMATS[format]
    names = {
        "cache_read": "", "cache_write_5m": "write", "cache_write_1h": "write", "input_audio": "audio",
        "input_image": "image", "output_audio": "audio", "output_image": "image", "reasoning": "reasoning",
    }  # fmt: skip
    told = {f"{name}_tokens": data.draw(counts) for name, group in names.items() if group not in untold}
    inside = sum(amount for name, amount in told.items() if not name.startswith(("output", "reasoning")))
    outside = sum(amount for name, amount in told.items() if name.startswith(("output", "reasoning")))
    used = Usage(input_tokens=data.draw(counts) + inside, output_tokens=data.draw(counts) + outside, **told)

    read = normalise(format, telling(used, exclusive=convention == "exclusive"), convention=convention)

    assert read == used
    fields = {"service_tier": "priority"}
    discounts = {"channel_discount": Decimal("0.8"), "user_discount": Decimal("0.95")}
    assert rate(PLAN, read, fields=fields, **discounts) == rate(PLAN, used, fields=fields, **discounts)
