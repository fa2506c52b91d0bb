"""The whole product as `make run` starts it, on a port and with a data folder of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from config.embedded import BASE_DIR


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
        with self.process.stdout as stdout:
            for line in stdout:
                self.output += line

    def wait_for(self, pattern: str, seconds: float = 180) -> re.Match[str]:
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
        return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def remove_elsewhere(folder: Path) -> None:
    """What root's PostgreSQL keeps outside the data folder."""
    note = folder / "POSTGRES-IS-ELSEWHERE.txt"
    if note.exists():
        shutil.rmtree(note.read_text().splitlines()[0])
