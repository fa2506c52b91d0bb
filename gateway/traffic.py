"""Made-up traffic that looks like people's: a few favourite models, office hours, long tails, caches that get warm.

Deterministic for a seed. Pure: it makes calls, it does not send them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.catalog.book import Book
from billing.catalog.plans import PER_IMAGE, PER_MEGAPIXEL, PER_REQUEST, PER_SECOND

# Applications, with how much of the traffic is theirs, their hours (UTC) and how many of their tokens are cached.
APPLICATIONS = [
    ("coding assistant", 0.5, (7, 19), 0.7),
    ("web app", 0.35, (5, 23), 0.2),
    ("night batch", 0.15, (1, 4), 0.0),
]


@dataclass(frozen=True, slots=True)
class Made:
    """One call: which application made it, of which model, when, and what it used."""

    application: int
    model: str
    at: datetime
    usage: dict[str, Any]
    latency_ms: int


def favourites(book: Book, now: datetime, *, count: int = 18, seed: int = 7) -> list[str]:
    """Priced models to call, the well-known first."""
    drawn = random.Random(seed)  # noqa: S311
    priced = sorted({price.plan.spec.model for price in book.prices(now) if price.plan.spec.channel == "default"})
    names = ("claude-sonnet-4.5", "gpt-5", "gemini-2.5", "deepseek")
    known = [slug for slug in priced if any(name in slug for name in names)]
    rest = [slug for slug in priced if slug not in known]
    drawn.shuffle(rest)
    return (known + rest)[:count]


def calls(
    book: Book, models: Sequence[str], *, count: int, since: datetime, until: datetime, seed: int = 7
) -> Iterator[Made]:
    """`count` calls between two times, oldest first, growing a little from day to day."""
    drawn = random.Random(seed)  # noqa: S311
    weights = [1 / (rank + 1) for rank in range(len(models))]
    for at, application in sorted(_moment(drawn, since, until) for _ in range(count)):
        model = drawn.choices(models, weights)[0]
        usage, latency = _usage(drawn, book, model, at, APPLICATIONS[application][3])
        yield Made(application, model, at, usage, latency)


def _moment(drawn: random.Random, since: datetime, until: datetime) -> tuple[datetime, int]:
    application = drawn.choices(range(len(APPLICATIONS)), [share for _, share, _, _ in APPLICATIONS])[0]
    first, last = APPLICATIONS[application][2]
    span = (until - since).total_seconds()
    while True:
        at = since + timedelta(seconds=span * drawn.random() ** 0.8)
        busy = first <= at.hour < last and (at.weekday() < 5 or drawn.random() < 0.35)
        if busy or drawn.random() < 0.08:
            return at, application


def _usage(drawn: random.Random, book: Book, model: str, at: datetime, cached: float) -> tuple[dict[str, Any], int]:
    price = book.current(model, "default", at)
    kind = price.plan.spec.type if price else PER_REQUEST
    if kind == PER_REQUEST:
        return {"requests": 1}, drawn.randint(200, 3000)
    if kind == PER_SECOND:
        return {"seconds": drawn.choice((4, 6, 8))}, drawn.randint(20_000, 90_000)
    if kind == PER_IMAGE:
        return {"images": drawn.choice((1, 1, 1, 2, 4))}, drawn.randint(3000, 20_000)
    if kind == PER_MEGAPIXEL:
        return {"images": 1, "width": 1024, "height": drawn.choice((1024, 1536))}, drawn.randint(3000, 20_000)
    input_tokens = min(180_000, int(math.exp(drawn.gauss(8.7, 1.2))))
    output_tokens = min(8_000, int(math.exp(drawn.gauss(6.3, 0.9))))
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    components = price.plan.spec.multiples.keys() | price.plan.spec.component_per_1k.keys() if price else set()
    if drawn.random() < cached and "cache_read" in components:
        usage["cache_read_tokens"] = int(input_tokens * drawn.uniform(0.4, 0.9))
        if "cache_write_5m" in components and drawn.random() < 0.3:
            usage["cache_write_5m_tokens"] = int((input_tokens - usage["cache_read_tokens"]) * 0.6)
    if "reasoning" in components and drawn.random() < 0.5:
        usage["reasoning_tokens"] = int(output_tokens * drawn.uniform(0.2, 0.7))
    return usage, 300 + output_tokens * drawn.randint(8, 25)
