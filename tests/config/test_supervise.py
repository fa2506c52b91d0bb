"""`make run` as a person meets it: it starts, heals, refuses a taken port, and leaves no process behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from config.embedded import BASE_DIR

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


class Copy:
    """A development copy with a port and a data folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        for name in ("DATABASE_URL", "REDIS_URL", "MAKELEVEL"):
            environment.pop(name, None)
        environment |= {"PORT": str(port), "DATA_DIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "config.supervise"],
            cwd=BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, pattern: str, seconds: float = 120) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.output)) is None:
            assert self.process.poll() is None, f"it ended:\n{self.output}"
            assert time.monotonic() < deadline, f"{pattern!r} did not appear:\n{self.output}"
            time.sleep(0.05)
        return found

    def family(self) -> list[psutil.Process]:
        """Every process of this copy, children of killed parents included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def program(self, words: str) -> psutil.Process:
        """The oldest process whose command line has these words and that is not a keeper; waits for it."""
        deadline = time.monotonic() + 60
        while True:
            lines = [(one, " ".join(one.cmdline())) for one in self.family()]
            if found := [one for one, line in lines if words in line and "keep.py" not in line]:
                return min(found, key=psutil.Process.create_time)
            assert time.monotonic() < deadline, f"no {words!r}:\n{self.output}"
            time.sleep(0.1)

    def finish(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    note = tmp_path / "POSTGRES-IS-ELSEWHERE.txt"
    if note.exists():
        shutil.rmtree(note.read_text().splitlines()[0])


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
