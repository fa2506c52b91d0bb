"""The whole product on its own ports and its own data, each part a process that can be killed and comes back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import psutil

from config import embedded, supervise

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final = ("web", "worker", "beat")
CALM: Final = "ignore:No directory at,ignore:You're running the worker with superuser"


class Stack:
    """PostgreSQL and Redis with durable settings, web, worker and beat. Whatever ends is started again at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.services = embedded.Services(folder, durable=True, wanted=("postgres", "redis"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.log: IO[bytes] = (folder / "stack.log").open("ab")
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def environment(self) -> dict[str, str]:
        """What every process of this stack is told. The URLs stay the same when a service comes back."""
        return os.environ | {
            "DATABASE_URL": self.services.database_url,
            "REDIS_URL": self.services.redis_url,
            "DATA_DIR": str(self.folder),
            "PORT": str(self.port),
            "PUBLIC_URL": self.url,
            "DEBUG": "true",
            "LOG_LEVEL": "ERROR",
            "PYTHONWARNINGS": CALM,
            # Four customers who try every code are not guessing.
            "VOUCHER_WRONG_PER_ACCOUNT": "1000000",
            "VOUCHER_WRONG_PER_CLIENT": "1000000",
        }

    def __enter__(self) -> Self:
        self.services.ensure()
        self.run("config.prepare")
        for name in PARTS:
            self._start(name)
        self._keeper.start()
        self.wait_ready(120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._keeper.join(30)
        for process in self.processes.values():
            _kill_tree(process.pid, signal.SIGKILL)
            process.wait()
        self.services.stop()
        self.log.close()

    def run(self, module: str, *arguments: str) -> str:
        """A Python module of the product in this stack's environment; its output."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            check=True,
        )
        return done.stdout

    def beside(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A Python module that works on beside the stack, until somebody ends it. It is never killed as a fault."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=self.environment(),
            stdout=self.log,
            stderr=self.log,
        )

    def manage(self, *arguments: str) -> tuple[int, str]:
        """A management command: its exit status and what it said."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    def ready(self) -> bool:
        """Whether the stack says that it can work."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=3) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_ready(self, seconds: float) -> None:
        """Until it is; `TimeoutError` when it does not come back by itself."""
        deadline = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"The stack was not ready after {seconds:.0f} s; see {self.folder}/stack.log")
            time.sleep(0.2)

    # --- What the faults do
    def kill(self, name: str) -> None:
        """`kill -9` of a whole part, its children first or last as the kernel likes."""
        _kill_tree(self.processes[name].pid, signal.SIGKILL)

    def kill_pool_child(self) -> None:
        """`kill -9` of one of the worker's processes, at work or not."""
        with suppress(psutil.Error):
            children = psutil.Process(self.processes["worker"].pid).children(recursive=True)
            if children:
                children[0].kill()

    def kill_service(self, name: str) -> None:
        """`kill -9` of PostgreSQL with all its backends, or of Redis; the keeper starts it again."""
        _kill_tree(self.services.pids[name], signal.SIGKILL)

    def freeze(self, name: str, seconds: float) -> None:
        """A part stops in the middle of whatever it does, and goes on later as if nothing had been."""
        pid = self.processes[name].pid
        _kill_tree(pid, signal.SIGSTOP)
        time.sleep(seconds)
        _kill_tree(pid, signal.SIGCONT)

    def _start(self, name: str) -> None:
        command = supervise.commands(self.folder, "127.0.0.1", self.port)[name]
        self.processes[name] = subprocess.Popen(
            command, cwd=ROOT, env=self.environment(), stdout=self.log, stderr=self.log, start_new_session=True
        )

    def _keep(self) -> None:
        while not self._over.wait(0.2):
            with suppress(embedded.EmbeddedServiceError, OSError, KeyError):
                self.services.ensure()
                for name in PARTS:
                    if self.processes[name].poll() is not None:
                        with suppress(ProcessLookupError, PermissionError):
                            os.killpg(self.processes[name].pid, signal.SIGKILL)  # a pool whose parent died
                        self._start(name)


def _kill_tree(pid: int, number: int) -> None:
    try:
        top = psutil.Process(pid)
        found = [top, *top.children(recursive=True)]
    except psutil.Error:
        return
    for process in found:
        with suppress(psutil.Error, ProcessLookupError):
            os.kill(process.pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
