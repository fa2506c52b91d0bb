"""Our sums beside those of `genai-prices`, for every model that its vendors sell by the token and that we import."""

import random
from decimal import Decimal
from typing import Any

import pytest

from billing.catalog import genai
from billing.catalog.documents import read_document
from billing.catalog.plans import compile_plan
from billing.catalog.rating import rate
from billing.catalog.usage import Usage

USAGES_EACH = 50
# Peers that price by the hour: we take the dearer hour, so only models without hours can be compared.
BY_THE_HOUR = "TimeOfDateConstraint"


def models() -> list[tuple[str, genai.Found]]:
    """Every model of the providers that we read, under the package's own name."""
    return [
        (f"{provider}/{model.id}", genai.Found(provider, model))
        for provider in sorted(set(genai.OWN_PROVIDER.values()))
        for model in genai._providers()[provider].models
    ]


@pytest.mark.slow
def test_list_prices_agree_with_genai_prices(capsys: pytest.CaptureFixture[str]) -> None:
    from genai_prices import Usage as PeerUsage

    dice = random.Random(20260101)
    compared, left_out = 0, {"no token price": 0, "priced by the hour": 0}
    for name, found in models():
        converted = genai.convert(found)
        if converted.price is None:
            left_out["no token price"] += 1
            continue
        if BY_THE_HOUR in repr(found.model.prices):
            left_out["priced by the hour"] += 1
            continue
        document = read_document(
            {"channels": [{"code": "default"}], "models": [{"slug": "a", "prices": [converted.price]}]}
        )
        plan = compile_plan(document.models[0].prices[0].spec)
        prices = genai._prices_on(found.model, None)
        told = {key for key, value in prices.__dict__.items() if value is not None}
        for _ in range(USAGES_EACH):
            ours, theirs = usages(dice, told)
            mine = rate(plan, ours).exact_list_price
            peer = Decimal(prices.calc_price(PeerUsage(**theirs))["total_price"])
            if "requests_kcount" in told:
                peer -= Decimal(str(prices.requests_kcount)) / 1000
            assert abs(mine - peer) <= Decimal("1e-9") * max(mine, peer), (name, theirs, mine, peer)
            compared += 1
    with capsys.disabled():  # no silent skip: say how many were compared
        print(  # noqa: T201
            f"\ncompared {compared} usages of {compared // USAGES_EACH} models with genai-prices; left out {left_out}"
        )
    assert compared >= 150 * USAGES_EACH


def usages(dice: random.Random, told: set[str]) -> tuple[Usage, dict[str, Any]]:
    """The same call for both. Items without a price of their own at the peer are not used: it ignores them."""
    size = dice.choice([10, 5_000, 300_000])
    special = {
        ours: dice.randrange(size)
        for key, ours in (
            ("cache_read_mtok", "cache_read_tokens"),
            ("cache_write_mtok", "cache_write_5m_tokens"),
            ("cache_write_1h_mtok", "cache_write_1h_tokens"),
            ("input_image_mtok", "input_image_tokens"),
            ("input_audio_mtok", "input_audio_tokens"),
        )
        if key in told and not (key == "cache_write_1h_mtok" and "cache_write_mtok" not in told)
    }
    drawn = {
        ours: dice.randrange(size)
        for key, ours in (
            ("output_audio_mtok", "output_audio_tokens"),
            ("output_image_mtok", "output_image_tokens"),
        )
        if key in told
    }
    ours = Usage(
        input_tokens=dice.randrange(size) + sum(special.values()),
        output_tokens=(dice.randrange(size) + sum(drawn.values())) if "output_mtok" in told else 0,
        **special,
        **(drawn if "output_mtok" in told else {}),
    )
    theirs: dict[str, Any] = {"input_tokens": ours.input_tokens, "output_tokens": ours.output_tokens}
    theirs |= {
        "cache_read_tokens": ours.cache_read_tokens,
        "cache_write_tokens": ours.cache_write_5m_tokens + ours.cache_write_1h_tokens,
        "cache_write_1h_tokens": ours.cache_write_1h_tokens,
        "input_image_tokens": ours.input_image_tokens,
        "input_audio_tokens": ours.input_audio_tokens,
        "output_audio_tokens": ours.output_audio_tokens,
        "output_image_tokens": ours.output_image_tokens,
        "cache_audio_read_tokens": 0,
        "cache_image_read_tokens": 0,
    }
    return ours, theirs
