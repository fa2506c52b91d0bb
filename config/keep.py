"""Keep one program running: `python config/keep.py SUPERVISOR_PID NAME AFTER PROGRAM ARGUMENT...`.

Started by the development supervisor for each of web, worker and beat, and by path, so that it loads nothing of the
product. A program that ends by itself (or by `kill -9`) starts again, with growing pauses while it keeps failing.
AFTER is a port that must listen first (0: none), so that web has the processor to itself while it loads.
SIGTERM, SIGINT, or the end of the supervisor stop the program and all of its children, and nothing is left behind.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

PATIENCE = 4.0  # seconds; shorter than honcho's own, which would kill us and not the program
STEADY_AFTER = 30.0
LONGEST_PAUSE = 10.0
LONGEST_WAIT = 30.0


class Keeper:
    """The program, its current process, and whether it is meant to run."""

    def __init__(self, supervisor: int, name: str, after: int, command: list[str]) -> None:
        self.supervisor = supervisor
        self.name = name
        self.after = after
        self.command = command
        self.child: subprocess.Popen[bytes] | None = None
        self.stopping = False

    def run(self) -> int:
        """Start, wait, start again; returns when asked to stop."""
        deadline = time.monotonic() + LONGEST_WAIT
        while self.after and not self.stopping and time.monotonic() < deadline and not _listens(self.after):
            self._rest(0.2)
        pause = 0.5
        while not self.stopping:
            began = time.monotonic()
            # A session of its own: what the program forks can be found and ended as one group.
            self.child = subprocess.Popen(self.command, start_new_session=True)
            code = self._watch()
            self._end_group()
            if self.stopping:
                break
            if time.monotonic() - began > STEADY_AFTER:
                pause = 0.5
            print(f"{self.name} ended unexpectedly ({code}); starting it again in {pause:g} s", flush=True)
            self._rest(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        return 0

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Ask the program to end; `_watch` insists."""
        self.stopping = True
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def _watch(self) -> int:
        assert self.child is not None  # noqa: S101  (for the type checker)
        deadline = 0.0
        while True:
            try:
                return self.child.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                pass
            if not self.stopping and not _alive(self.supervisor):
                self.stop()
            if self.stopping:
                deadline = deadline or time.monotonic() + PATIENCE
                if time.monotonic() > deadline:
                    self._end_group()

    def _end_group(self) -> None:
        """End what is left of the program's children: a pool whose parent was killed, for instance."""
        if self.child is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)

    def _rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < deadline:
            time.sleep(0.1)
            if not _alive(self.supervisor):
                self.stopping = True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Read the command line and keep."""
    keeper = Keeper(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, keeper.stop)
    sys.exit(keeper.run())


if __name__ == "__main__":
    main()
