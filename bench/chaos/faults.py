"""What goes wrong, when, drawn from a seed: every kind at least once, then by weight."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import httpx
import psycopg
import redis

from bench.chaos.stack import Stack

WEIGHTS: Final = {
    "web killed": 3,
    "worker killed": 3,
    "worker's child killed": 3,
    "beat killed": 1,
    "PostgreSQL killed": 3,
    "Redis killed": 2,
    "Redis flushed": 2,
    "connections cut": 3,
    "web frozen": 1,
    "worker frozen": 1,
    "events disturbed": 4,
    "provider's answers lost": 4,
    "provider refuses": 3,
    "refunds pending": 2,
}


class Faults(threading.Thread):
    """Does one thing after another for `seconds`; `done` counts them by kind."""

    def __init__(self, stack: Stack, *, seed: int, seconds: float, at_least: int) -> None:
        super().__init__(daemon=True)
        self.stack, self.seconds = stack, seconds
        self.draw = random.Random(seed)
        self.wanted = round(at_least * 1.15)
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def run(self) -> None:
        """Until the time is over. A fault that cannot be done (nobody answers) is not counted."""
        kinds = list(WEIGHTS)
        first = self.draw.sample(kinds, len(kinds))
        end = time.monotonic() + self.seconds
        while (left := end - time.monotonic()) > 0:
            kind = first.pop() if first else self.draw.choices(kinds, list(WEIGHTS.values()))[0]
            try:
                self._do(kind)
            except (httpx.HTTPError, psycopg.Error, redis.RedisError, OSError, KeyError):
                self.failed[kind] += 1
            else:
                self.done[kind] += 1
            # Some faults take their time; the pauses shrink so that all that were wanted find their place.
            left = max(0.0, end - time.monotonic())
            to_do = max(1, self.wanted - sum(self.done.values()))
            time.sleep(min(left, left / to_do * self.draw.uniform(0.4, 1.6)))

    def _do(self, kind: str) -> None:
        stack, draw = self.stack, self.draw
        work: dict[str, Callable[[], object]] = {
            "web killed": lambda: self._kill_web(),
            "worker killed": lambda: stack.kill("worker"),
            "worker's child killed": stack.kill_pool_child,
            "beat killed": lambda: stack.kill("beat"),
            "PostgreSQL killed": lambda: stack.kill_service("postgres"),
            "Redis killed": lambda: stack.kill_service("redis"),
            "Redis flushed": lambda: redis.Redis.from_url(stack.services.redis_url, socket_timeout=2).flushall(),
            "connections cut": self._cut,
            "web frozen": lambda: stack.freeze("web", draw.uniform(0.2, 1.0)),
            "worker frozen": lambda: stack.freeze("worker", draw.uniform(0.5, 2.0)),
            "events disturbed": lambda: self._control(
                "switches",
                {
                    "disturb": draw.sample(["lost", "duplicate", "delayed", "reordered"], draw.randint(1, 4)),
                    "percent": draw.choice([30, 60, 100]),
                    "delay_seconds": draw.randint(1, 30),
                    "reorder_seconds": draw.randint(1, 5),
                    "duplicates": draw.randint(2, 4),
                    "seed": draw.randint(1, 10_000),
                },
            ),
            "provider's answers lost": lambda: self._control(
                "faults", {"kind": "lose", "path_regex": "^/v1/", "times": draw.randint(1, 4)}
            ),
            "refunds pending": lambda: self._control(
                "switches", {"refunds": draw.choice(["succeed", "succeed", "pending", "requires_action", "fail"])}
            ),
            "provider refuses": lambda: self._control(
                "faults",
                {
                    "kind": "fail",
                    "path_regex": "^/v1/",
                    "times": draw.randint(1, 3),
                    "status": draw.choice([429, 500, 503]),
                },
            ),
        }
        work[kind]()

    def _kill_web(self) -> None:
        """Only one that answers: a web that never comes up would hide every other fault."""
        self.stack.wait_ready(10)
        self.stack.kill("web")

    def _cut(self) -> None:
        with psycopg.connect(self.stack.services.database_url, connect_timeout=2, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def _control(self, name: str, body: object) -> None:
        httpx.post(f"{self.stack.url}/sandbox/control/{name}", json=body, timeout=3).raise_for_status()

    def end(self) -> None:
        """The provider behaves well again."""
        for name in ("switches", "faults"):
            httpx.delete(f"{self.stack.url}/sandbox/control/{name}", timeout=30).raise_for_status()
