"""A turn spares work: the second waits for the first, and nobody waits for long or without Redis."""

from __future__ import annotations

import socket
import threading
from typing import Any
from uuid import uuid4

from config import turns


def test_the_second_waits_until_the_first_is_done_and_is_told_so() -> None:
    name, inside, told = uuid4().hex, threading.Event(), []
    done: list[str] = []

    def second() -> None:
        assert inside.wait(30)
        with turns.turn(name, wait=30, lasts=60) as waited:
            done.append("second")
            told.append(waited)

    thread = threading.Thread(target=second)
    thread.start()
    with turns.turn(name, wait=1, lasts=60) as waited:
        inside.set()
        thread.join(0.3)  # it cannot come in meanwhile
        done.append("first")
    thread.join(30)
    assert (waited, told, done) == (False, [True], ["first", "second"])


def test_nobody_waits_longer_than_agreed() -> None:
    name = uuid4().hex
    with turns.turn(name, wait=1, lasts=60), turns.turn(name, wait=0.1, lasts=60) as waited:
        assert waited


def test_without_redis_nobody_waits_and_nothing_fails(settings: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    with turns.turn("x", wait=30, lasts=60) as waited:
        assert not waited
