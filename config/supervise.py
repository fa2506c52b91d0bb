"""`make run`: the whole product in one terminal, under honcho.

Order: see that the port is free and that no other copy uses this data folder; start the embedded services (unless
the environment names others); migrate and load the demo; then web, worker and beat, each kept running by
`config/keep.py`; say where everything is once `/readyz` answers. Ctrl-C or SIGTERM stops all of it, services last.
"""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil
import psycopg
from honcho.manager import Manager

from config import embedded
from config.embedded import BASE_DIR

READY_SECONDS = 150
MARK = "METERHALL_RUN"
"""An environment variable by which every process of one run is found again."""

QUIET = "ignore:No directory at,ignore:You're running the worker with superuser"
"""Warnings about production that a development copy need not show: collected static files, root in a container."""


def main() -> int:
    """Run until told to stop; the exit status is 0 when a person stopped it."""
    signal.signal(signal.SIGTERM, _stop_now)
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # the terminal was closed
    if sys.platform != "win32":
        multiprocessing.set_start_method("fork")  # honcho's processes cannot be pickled
    folder = embedded.data_dir()
    folder.mkdir(parents=True, exist_ok=True)
    host, port = os.environ.get("HOST") or "127.0.0.1", _port()
    try:
        with _only_copy(folder, host, port), embedded.start(folder) as services:
            if "postgres" in services.wanted:
                os.environ["DATABASE_URL"] = services.database_url
            if "redis" in services.wanted:
                os.environ["REDIS_URL"] = services.redis_url
            if services.pids:
                _say(f"Embedded services: {', '.join(f'{name} (pid {pid})' for name, pid in services.pids.items())}")
            return _run(services, folder, host, port, _prepare(folder, services))
    except embedded.EmbeddedServiceError as refusal:
        sys.exit(str(refusal))
    except KeyboardInterrupt:
        return 0


def commands(folder: Path, host: str, port: int) -> dict[str, list[str]]:
    """The long-running processes of a development copy; `Procfile` has those of production."""
    celery = [sys.executable, "-m", "celery", "-A", "config", "--quiet"]
    schedule = str(folder / "celerybeat-schedule")
    return {
        "web": [
            *(sys.executable, "-m", "uvicorn", "config.asgi:application", "--host", host, "--port", str(port)),
            *("--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "3"),
        ],
        "worker": [*celery, "worker", "--concurrency", "2", "--loglevel", "WARNING", "--without-mingle"],
        "beat": [*celery, "beat", "--loglevel", "WARNING", "--schedule", schedule, "--pidfile", ""],
    }


def _run(services: embedded.Services, folder: Path, host: str, port: int, logins: list[dict[str, str]]) -> int:
    """Web, worker and beat, until a signal."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, MARK: mark, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": QUIET}
    manager = Manager()
    for name, command in commands(folder, host, port).items():
        after = "0" if name == "web" else str(port)
        keeper = [sys.executable, str(BASE_DIR / "config" / "keep.py"), str(os.getpid()), name, after, *command]
        # `exec`, so that honcho's signal reaches the keeper and not a shell before it.
        manager.add_process(name, f"exec {shlex.join(keeper)}", env=environment, cwd=str(BASE_DIR))
    over = threading.Event()
    threading.Thread(target=_greet, args=(host, port, logins, over), daemon=True).start()
    threading.Thread(target=_watch, args=(services, os.getppid(), over), daemon=True).start()
    try:
        manager.loop()
    finally:
        over.set()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C does not stop the tidying up
        _end_marked(mark)
    return 0 if manager.returncode in {0, 130, 143} else 1


def _prepare(folder: Path, services: embedded.Services) -> list[dict[str, str]]:
    """Migrate and load the demo in a process of their own; gives the demo's logins.

    Loading Django for it takes seconds, so it is left out when neither the source nor the embedded database has
    changed since the last time. `/readyz` asks the database again in any case.
    """
    note = folder / "prepared.json"
    state = _source_digest() if "postgres" in services.wanted else ""
    with suppress(OSError, ValueError, KeyError, psycopg.Error):
        noted = json.loads(note.read_text())
        if state and noted["source"] == state and noted["migrations"] == _migrations(services):
            logins: list[dict[str, str]] = noted["logins"]
            return logins
    done = subprocess.run(
        [sys.executable, "-m", "config.prepare"], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit("The database could not be prepared; see above.")
    logins = json.loads(done.stdout or "[]")
    if state:
        note.write_text(json.dumps({"source": state, "migrations": _migrations(services), "logins": logins}))
    return logins


def _migrations(services: embedded.Services) -> int:
    """How many migrations the database has seen: an emptied or replaced one has not seen as many."""
    with psycopg.connect(services.database_url, connect_timeout=5) as connection:
        row = connection.execute("SELECT count(*) FROM django_migrations").fetchone()
    return row[0] if row else 0


def _source_digest() -> str:
    """What preparing depends on: our code and data, the installed packages, and whether this is development."""
    seen = hashlib.sha256(f"{os.environ.get('DEBUG')}|{sys.version}".encode())
    files = [BASE_DIR / "requirements.lock"]
    for app in (path.parent for path in BASE_DIR.glob("*/__init__.py")):
        if app.name not in {"tests", "bench"}:
            files += [path for path in app.rglob("*") if path.suffix in {".py", ".sql", ".json"}]
    for path in sorted(files):
        seen.update(f"{path.relative_to(BASE_DIR)}\0".encode())
        seen.update(path.read_bytes())
    return seen.hexdigest()


def _greet(host: str, port: int, logins: list[dict[str, str]], over: threading.Event) -> None:
    """Wait for `/readyz` and say where everything is."""
    began = time.monotonic()
    origin = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104
    last = "no answer"
    while not over.is_set():
        try:
            with urllib.request.urlopen(f"{origin}/readyz", timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    break
        except urllib.error.HTTPError as refusal:
            last = refusal.read(500).decode(errors="replace")
        except OSError as failure:
            last = str(failure)
        if time.monotonic() - began > READY_SECONDS:
            _say(f"Not ready after {READY_SECONDS} s: {last}")
            began = time.monotonic()
        over.wait(0.2)
    if over.is_set():
        return
    admin = os.environ.get("ADMIN_PATH") or "admin/"
    places = {
        "Portal": "/",
        "Staff console": f"/{admin.lstrip('/')}",
        "Mailbox": "/dev/mail/",
        "Payment sandbox": "/sandbox/control",
        "API": "/api/docs/",
    }
    lines = ["", f"Meterhall is ready: {origin}/", ""]
    lines += [f"  {name:<16} {origin}{path}" for name, path in places.items()]
    if logins:
        lines += ["", "  Demo logins"]
        lines += [f"  {login['role']:<16} {login['email']}   {login['password']}" for login in logins]
    _say("\n".join([*lines, "", "  Ctrl-C stops everything.", ""]))


def _watch(services: embedded.Services, parent: int, over: threading.Event) -> None:
    """Start a service again that died, and stop when `make`, which started us, is gone."""
    follow = os.environ.get("MAKELEVEL") is not None
    while not over.wait(1):
        if follow and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        try:
            for name in services.ensure():
                _say(f"The embedded {name} had stopped and was started again.")
        except (embedded.EmbeddedServiceError, OSError) as failure:
            _say(f"An embedded service does not come back: {failure}")


def _end_marked(mark: str) -> None:
    """The last sweep: whatever of this run still lives although it was asked to stop."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                process.kill()


@contextmanager
def _only_copy(folder: Path, host: str, port: int) -> Iterator[None]:
    """Refuse a port or a data folder that is in use; wait a little for what a killed supervisor left behind."""
    with (folder / "run.lock").open("a+") as lock:
        lock.seek(0)
        previous = lock.read().strip()
        orphans = previous.isdigit() and not psutil.pid_exists(int(previous))
        deadline = time.monotonic() + (15 if orphans else 0)
        while not (free := _port_is_free(host, port)) or not _locked(lock.fileno()):
            if time.monotonic() < deadline:
                time.sleep(0.2)
            elif not free:
                sys.exit(f"Port {port} on {host} is taken. Set PORT to a free one: PORT={port + 1} make run")
            else:
                sys.exit(
                    f"Another copy (pid {previous}) runs with DATA_DIR={folder}. "
                    "Stop it, or set another DATA_DIR and PORT."
                )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)
            fcntl.flock(lock, fcntl.LOCK_UN)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdigit() or not 0 < int(text) < 65536:
        sys.exit(f"PORT is {text!r}; it must be a number from 1 to 65535.")
    return int(text)


def _port_is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                return False
            sys.exit(f"Cannot listen on {host}:{port} ({failure.strerror}). Set HOST and PORT.")
    return True


def _stop_now(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
