"""Rating in process: ours, with full validation and lines, beside the faster of litellm and genai-prices.

    python -m bench.rating [--seconds 2] [--rounds 3]

litellm is asked in its own virtual environment (.venv-litellm, or LITELLM_PYTHON); without one its line says so.
Seconds are of the processor, so that a busy machine disturbs little. Rounds are interleaved, and the median of the
rounds' ratios is what counts: at least 20, aim 50.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from billing.catalog.rating import PriceSpec, compile_plan, parse_usage, rate

ROOT = Path(__file__).resolve().parents[1]
GOAL = 20
GOAL_EVENTS = 100_000

PLAN = compile_plan(
    PriceSpec(
        model="openai/gpt-4o",
        input_per_1k=Decimal("0.0025"),
        output_per_1k=Decimal("0.01"),
        multiples={"cache_read": Decimal("0.5")},
    )
)
CHANNEL, USER = Decimal("0.80"), Decimal("0.95")

LITELLM = """
import sys, time, gc
import litellm
from litellm import completion_cost, cost_per_token
seconds = float(sys.argv[1])
cost_per_token(model="gpt-4o", prompt_tokens=1, completion_tokens=1)
gc.collect(); count = 0; begin = time.process_time()
while time.process_time() < begin + seconds:
    for n in range(200):
        cost_per_token(model="gpt-4o", prompt_tokens=1200 + n, completion_tokens=310)
    count += 200
print(count / (time.process_time() - begin))
"""


def per_second(once: Callable[[int], object], seconds: float) -> float:
    gc.collect()
    count, begin = 0, time.process_time()
    while time.process_time() < begin + seconds:
        for n in range(200):
            once(n)
        count += 200
    return count / (time.process_time() - begin)


def ours(n: int) -> object:
    """What every charge does: a body's usage is checked and rated, and the two sums are read."""
    usage = parse_usage({"input_tokens": 1200 + n, "output_tokens": 310})
    sheet = rate(PLAN, usage, channel_discount=CHANNEL, user_discount=USER)
    return sheet.list_price, sheet.charge


def ours_with_lines(n: int) -> object:
    usage = parse_usage({"input_tokens": 1200 + n, "output_tokens": 310})
    sheet = rate(PLAN, usage, channel_discount=CHANNEL, user_discount=USER)
    return sheet.list_price, sheet.charge, sheet.lines


def genai(n: int) -> object:
    from genai_prices import Usage, calc_price

    return calc_price(Usage(input_tokens=1200 + n, output_tokens=310), "gpt-4o", provider_id="openai").total_price


def litellm(seconds: float) -> float | None:
    python = os.environ.get("LITELLM_PYTHON") or str(ROOT / ".venv-litellm" / "bin" / "python")
    if not Path(python).exists():
        return None
    done = subprocess.run(
        [python, "-c", LITELLM, str(seconds)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        check=False,
    )
    if done.returncode:
        print(f"litellm could not be measured: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def run(*, seconds: float = 2.0, rounds: int = 3) -> dict[str, float | None]:
    """The medians, and the ratio to the faster peer of each round."""
    genai(0)
    found: dict[str, list[float]] = {"ours": [], "with_lines": [], "genai-prices": [], "litellm": []}
    ratios = []
    for _round in range(rounds):
        mine = per_second(ours, seconds)
        found["ours"].append(mine)
        found["with_lines"].append(per_second(ours_with_lines, seconds))
        found["genai-prices"].append(per_second(genai, seconds))
        peer = litellm(seconds)
        if peer is not None:
            found["litellm"].append(peer)
        ratios.append(found["with_lines"][-1] / max(found["genai-prices"][-1], peer or 0))
    medians: dict[str, float | None] = {k: statistics.median(v) if v else None for k, v in found.items()}
    return medians | {"ratio": statistics.median(ratios), "goal": GOAL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options, _others = parser.parse_known_args()
    result = run(seconds=options.seconds, rounds=options.rounds)
    for name in ("ours", "with_lines", "genai-prices", "litellm"):
        value = result[name]
        print(f"{name:<14} {value:>12,.0f}/s" if value else f"{name:<14} not installed")
    peer = max(result["genai-prices"] or 0, result["litellm"] or 0)
    mine, lines = result["ours"] or 0, result["with_lines"] or 0
    print(
        f"rating, simple token events: {mine:,.0f}/s a core (with lines written out {lines:,.0f}/s); goal: >= {GOAL_EVENTS:,}/s"
    )
    print(
        f"rating beside the faster peer: ours with lines {lines:,.0f}/s, peer {peer:,.0f}/s, ratio {result['ratio']:.1f}; goal: >= {GOAL}"
    )
    if result["litellm"]:
        print(f"rating beside litellm: {lines / result['litellm']:.1f} times; goal: >= {GOAL}")


if __name__ == "__main__":
    main()
