"""`make run` as a person meets it: it starts, heals, refuses a taken port, and leaves no process behind."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.product import Copy, free_port, remove_elsewhere

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    remove_elsewhere(tmp_path)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[int], Copy]]:
    copies: list[Copy] = []

    def begin(port: int) -> Copy:
        copies.append(Copy(folder, port))
        return copies[-1]

    yield begin
    for copy in copies:
        if copy.process.poll() is None:
            copy.finish(signal.SIGTERM)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_it_starts_heals_a_killed_worker_and_leaves_nothing_behind(start: Callable[[int], Copy]) -> None:
    port = free_port()
    copy = start(port)
    copy.wait_for(rf"Meterhall is ready: http://127\.0\.0\.1:{port}/")
    copy.wait_for(r"Payment sandbox .*/sandbox/control")
    everyone = copy.family()
    assert {"postgres", "redis-server"} <= {one.name() for one in everyone}

    copy.program("celery -A config --quiet worker").kill()
    copy.wait_for(r"worker ended unexpectedly \(-9\); starting it again", 30)

    everyone += copy.family()
    assert copy.finish(signal.SIGINT) == 0, copy.output
    assert not alive(everyone), copy.output


def test_a_taken_port_is_named_before_anything_starts(start: Callable[[int], Copy], folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        copy = start(other.getsockname()[1])
        assert copy.process.wait(30) == 1
    copy._reader.join(10)
    assert "is taken. Set PORT to a free one" in copy.output
    assert not (folder / "postgres").exists()
    assert not (folder / "services.json").exists()


def test_what_a_killed_supervisor_leaves_behind_is_no_obstacle(start: Callable[[int], Copy]) -> None:
    port = free_port()
    first = start(port)
    first.wait_for("Meterhall is ready")
    everyone = first.family()
    first.finish(signal.SIGKILL)

    second = start(port)
    second.wait_for("Meterhall is ready")
    everyone += second.family()
    assert second.finish(signal.SIGTERM) == 0, second.output
    assert not alive(everyone), second.output
