"""Our sums beside those of `litellm` and `genai-prices`, for every model that they price by the token and we import.

Random usages of each model (PEER_USAGES says how many), list price against list price, to 1e-9. What differs is listed
with its reason in tests/data/price_differences.json (for people: docs/price-differences.md); a difference that is not
listed fails, and so does a listed one that is none any more.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from billing.catalog import genai, litellm_file
from billing.catalog.documents import parse_json, read_document
from billing.catalog.plans import PER_TOKEN, Plan, compile_plan
from billing.catalog.rating import rate
from billing.catalog.usage import Usage

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
DIFFERENCES = json.loads((ROOT / "tests" / "data" / "price_differences.json").read_text())
USAGES_EACH = int(os.environ.get("PEER_USAGES", "20"))
SIZES = (10, 5_000, 90_000, 300_000, 1_200_000)  # beyond every threshold of a tier that is sold
CLOSE = Decimal("1e-9")


@dataclass
class Comparison:
    """What was compared with a peer, and what came out."""

    peer: str
    usages: int = 0
    models: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    listed: Counter[int] = field(default_factory=Counter)
    unlisted: list[str] = field(default_factory=list)

    def add(self, model: str, used: Usage, ours: Decimal, theirs: Decimal) -> None:
        """One usage, priced by both."""
        self.usages += 1
        self.models.add(model)
        if abs(ours - theirs) <= CLOSE * max(ours, theirs):
            return
        for number, known in enumerate(DIFFERENCES):
            named = known["peer"] == self.peer and any(fnmatchcase(model, one) for one in known["models"])
            if named and (not known["component"] or getattr(used, known["component"])):
                self.listed[number] += 1
                return
        self.unlisted.append(f"{model}: ours {ours}, {self.peer} {theirs}, {used.as_dict()}")

    def conclude(self, say: Callable[[str, object], None], *, at_least: int) -> None:
        """Say how many were compared, in the run's summary, and fail on what is not explained."""
        say(
            "said",
            f"compared {self.usages:,} usages of {len(self.models):,} models with {self.peer}; "
            f"{sum(self.listed.values()):,} differ for {len(self.listed)} listed reasons; left out: "
            + ", ".join(f"{count} {why}" for why, count in sorted(self.left_out.items())),
        )
        assert self.unlisted == [], f"{len(self.unlisted)} differ and are not listed: {self.unlisted[:5]}"
        gone = [
            known["reason"]
            for number, known in enumerate(DIFFERENCES)
            if known["peer"] == self.peer and not known.get("sometimes") and not self.listed[number]
        ]
        assert gone == [], "these listed differences are none any more"
        assert len(self.models) >= at_least
        assert self.usages == USAGES_EACH * len(self.models)


def plan_of(price: dict[str, Any]) -> Plan:
    """A price entry, compiled."""
    return compile_plan(
        read_document({"channels": [{"code": "default"}], "models": [{"slug": "a", "prices": [price]}]})
        .models[0]
        .prices[0]
        .spec
    )


def usages(dice: random.Random, priced: set[str], *, output: bool) -> Iterator[Usage]:
    """Calls that use every kind of token that the model prices apart, in random amounts."""
    for _ in range(USAGES_EACH):
        size = dice.choice(SIZES)
        told = {f"{name}_tokens": dice.randrange(size) for name in sorted(priced)}
        if dice.random() < 0.3:
            told = {name: amount if dice.random() < 0.5 else 0 for name, amount in told.items()}
        inside = [name for name in told if not name.startswith(("output", "reasoning"))]
        outside = [name for name in told if name.startswith(("output", "reasoning"))]
        yield Usage(
            input_tokens=1 + dice.randrange(size) + sum(told[name] for name in inside),
            output_tokens=(dice.randrange(size) if output else 0) + sum(told[name] for name in outside),
            **told,
        )


# --- LiteLLM -------------------------------------------------------------------------------------------------------
PYTHON = Path(os.environ.get("LITELLM_PYTHON") or ROOT / ".venv-litellm" / "bin" / "python")
PRICED_APART = {
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "input_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
    "output_cost_per_reasoning_token": "reasoning",
}


def litellms_file() -> bytes:
    """The price file that the installed package carries."""
    place = "import litellm, pathlib; print(pathlib.Path(litellm.__file__).parent)"
    done = subprocess.run(
        [PYTHON, "-c", place], capture_output=True, text=True, check=True, timeout=120, env=os.environ | OFFLINE
    )
    folder = Path(done.stdout.strip().splitlines()[-1])
    return (folder / "model_prices_and_context_window_backup.json").read_bytes()


OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def litellms_usage(used: Usage) -> dict[str, Any]:
    """The usage object that its proxy would have made of the provider's."""
    plain = used.parts()
    read, written = used.cache_read_tokens, used.cache_write_5m_tokens + used.cache_write_1h_tokens
    inside: dict[str, Any] = {
        "cached_tokens": read,
        "audio_tokens": used.input_audio_tokens,
        "image_tokens": used.input_image_tokens,
        "text_tokens": plain["input"],
        "cache_creation_tokens": written,
    }
    told: dict[str, Any] = {
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "total_tokens": used.total_tokens,
        "prompt_tokens_details": inside,
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning_tokens,
            "audio_tokens": used.output_audio_tokens,
            "image_tokens": used.output_image_tokens,
            "text_tokens": plain["output"],
        },
    }
    if read:
        told["cache_read_input_tokens"] = read
    if written:
        told["cache_creation_input_tokens"] = written
        inside["cache_creation_token_details"] = {
            "ephemeral_5m_input_tokens": used.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": used.cache_write_1h_tokens,
        }
    return told


def priced_apart(entry: dict[str, Any]) -> set[str]:
    """The kinds of tokens that LiteLLM's entry has a price for."""
    tiers = entry.get("tiered_pricing") or [entry]
    found = {name for key, name in PRICED_APART.items() if all(tier.get(key) for tier in tiers)}
    return found if "cache_write_5m" in found else found - {"cache_write_1h"}


@pytest.mark.skipif(not PYTHON.exists(), reason="LiteLLM is not installed here (`make litellm`)")
def test_list_prices_agree_with_litellm(record_property: Callable[[str, object], None]) -> None:
    dice, compared = random.Random(20260102), Comparison("litellm")
    asked: list[tuple[str, Usage, Decimal]] = []
    lines: list[str] = []
    for model, entry in sorted(parse_json(litellms_file()).items()):
        price, ignored = litellm_file.convert(entry) if model != "sample_spec" else (None, ["a specimen"])
        if price is None or price["type"] != PER_TOKEN:
            compared.left_out[ignored[0] if price is None else "not by the token"] += 1
            continue
        plan = plan_of(price)
        sells_output = bool(plan.base and plan.base.rates["output"].cost)
        for used in usages(dice, priced_apart(entry), output=sells_output):
            asked.append((model, used, rate(plan, used).exact_list_price))
            question = {"model": model, "provider": entry["litellm_provider"], "usage": litellms_usage(used)}
            lines.append(json.dumps(question))

    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("peer_litellm.py")],
        input="\n".join(lines), capture_output=True, text=True, check=True, timeout=600, env=os.environ | OFFLINE,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(answers) == len(asked)
    for (model, used, ours), theirs in zip(asked, answers, strict=True):
        assert isinstance(theirs, str), (model, theirs)
        compared.add(model, used, ours, Decimal(theirs))
    compared.conclude(record_property, at_least=3_000)


# --- genai-prices --------------------------------------------------------------------------------------------------
# Peers that price by the hour: we take the dearer hour, so only models without hours can be compared.
BY_THE_HOUR = "TimeOfDateConstraint"
GENAI_APART = {
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_image_mtok": "input_image",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
}


def genais_usage(used: Usage) -> dict[str, int]:
    """The same call in the package's words."""
    return {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cache_read_tokens": used.cache_read_tokens,
        "cache_write_tokens": used.cache_write_5m_tokens + used.cache_write_1h_tokens,
        "cache_write_1h_tokens": used.cache_write_1h_tokens,
        "input_image_tokens": used.input_image_tokens,
        "input_audio_tokens": used.input_audio_tokens,
        "output_audio_tokens": used.output_audio_tokens,
        "output_image_tokens": used.output_image_tokens,
        "cache_audio_read_tokens": 0,
        "cache_image_read_tokens": 0,
    }


def test_list_prices_agree_with_genai_prices(record_property: Callable[[str, object], None]) -> None:
    from genai_prices import Usage as PeerUsage

    dice, compared = random.Random(20260101), Comparison("genai-prices")
    for provider, known in sorted(genai._providers().items()):
        for model in known.models:
            converted = genai.convert(genai.Found(provider, model))
            if converted.price is None or BY_THE_HOUR in repr(model.prices):
                compared.left_out["no token price" if converted.price is None else "priced by the hour"] += 1
                continue
            plan, prices = plan_of(converted.price), genai._prices_on(model, None)
            told = {key for key, value in prices.__dict__.items() if value is not None}
            apart = {name for key, name in GENAI_APART.items() if key in told}
            if "output_mtok" not in told:
                apart -= {"output_audio", "output_image"}
            if "cache_write_5m" not in apart:
                apart -= {"cache_write_1h"}
            for used in usages(dice, apart, output="output_mtok" in told):
                peer = Decimal(prices.calc_price(PeerUsage(**genais_usage(used)))["total_price"])
                if "requests_kcount" in told:  # a fee a request, beside the tokens
                    peer -= Decimal(str(prices.requests_kcount)) / 1000
                compared.add(f"{provider}/{model.id}", used, rate(plan, used).exact_list_price, peer)
    compared.conclude(record_property, at_least=500)


def test_every_known_difference_is_explained_to_people() -> None:
    page = " ".join((ROOT / "docs" / "price-differences.md").read_text().split())

    assert [known["reason"] for known in DIFFERENCES if known["reason"] not in page] == []
