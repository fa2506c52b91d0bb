"""The services from wheels: start, share, adopt, stop. Real processes, each test with a folder of its own."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from config import embedded, embedded_postgres


@pytest.fixture(autouse=True)
def _no_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("embedded")
    yield folder
    forget(folder)


@pytest.fixture
def folder(module_folder: Path) -> Path:
    """One cluster for the module; each test starts and stops it."""
    return module_folder


def forget(folder: Path) -> None:
    """Remove what root had to place elsewhere."""
    note = folder / "POSTGRES-IS-ELSEWHERE.txt"
    if note.exists():
        shutil.rmtree(note.read_text().splitlines()[0])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come true within 20 seconds"
        time.sleep(0.02)


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_both_services_answer_and_nothing_is_left_when_the_only_user_leaves(folder: Path) -> None:
    with embedded.start(folder, durable=False) as services:
        pids = services.pids
        assert embedded.urls(folder) == (services.database_url, services.redis_url)
        assert value(services.database_url, "SELECT current_database()") == "meterhall"
        with redis.Redis.from_url(services.redis_url) as client:
            assert client.ping()
    assert set(pids) == {"postgres", "redis"}
    left = [psutil.Process(pid) for pid in pids.values() if psutil.pid_exists(pid)]
    _gone, alive = psutil.wait_procs(
        left, timeout=10
    )  # a process that was told to end may take a moment on a busy machine
    assert not alive
    assert embedded.urls(folder)[1] == embedded.NOWHERE


def test_the_product_keeps_its_promises_to_the_disk_and_the_tests_do_not(folder: Path) -> None:
    with embedded.start(folder, redis=False) as services:
        assert value(services.database_url, "SHOW fsync") == "on"
    with embedded.start(folder, redis=False, durable=False) as services:
        assert value(services.database_url, "SHOW fsync") == "off"


def test_what_was_stored_is_there_after_a_restart(folder: Path) -> None:
    with embedded.start(folder) as services:
        with psycopg.connect(services.database_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with redis.Redis.from_url(services.redis_url) as client:
            client.set("kept", "42")
    with embedded.start(folder) as services:
        assert value(services.database_url, "SELECT answer FROM kept") == 42
        with redis.Redis.from_url(services.redis_url) as client:
            assert client.get("kept") == b"42"


def test_the_last_user_stops_the_services_and_an_earlier_one_does_not(folder: Path) -> None:
    first = embedded.start(folder, durable=False)
    second = embedded.start(folder, durable=False)
    assert first.pids == second.pids
    assert first.stop() is False
    assert value(second.database_url, "SELECT 1") == 1
    pids = second.pids
    assert second.stop() is True
    assert second.stop() is False
    assert not [pid for pid in pids.values() if psutil.pid_exists(pid)]


def test_services_of_a_killed_process_are_adopted_and_then_stopped(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from config import embedded\n"
        "services = embedded.start(Path(sys.argv[1]), durable=False); print(services.pids, flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, cwd=embedded.BASE_DIR, text=True
    )
    assert child.stdout is not None
    announced = child.stdout.readline()
    child.kill()
    child.communicate()
    with embedded.start(folder, durable=False) as services:
        pids = services.pids
        assert str(pids) == announced.strip()
        assert value(services.database_url, "SELECT 1") == 1
    assert not [pid for pid in pids.values() if psutil.pid_exists(pid) and not _zombie(pid)]


def _zombie(pid: int) -> bool:
    """An orphan whose new parent is slow to collect it (or, in a container, never does) is as good as gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_service_comes_back_at_the_same_address_with_what_was_committed(folder: Path) -> None:
    with embedded.start(folder) as services:
        before = services.database_url, services.redis_url
        with psycopg.connect(services.database_url) as connection:
            connection.execute("CREATE TABLE survived AS SELECT 7 AS answer")
        for pid in services.pids.values():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: services.pids == {})
        assert sorted(services.ensure()) == ["postgres", "redis"]
        assert (services.database_url, services.redis_url) == before
        assert value(services.database_url, "SELECT answer FROM survived") == 7
        assert services.ensure() == []


def test_two_data_folders_run_side_by_side(folder: Path, tmp_path: Path) -> None:
    try:
        with embedded.start(folder, durable=False) as one, embedded.start(tmp_path, durable=False) as other:
            assert not set(one.pids.values()) & set(other.pids.values())
            assert one.database_url != other.database_url
            assert one.redis_url != other.redis_url
            with psycopg.connect(one.database_url) as connection:
                connection.execute("CREATE TABLE only_here (id int)")
            assert value(other.database_url, "SELECT to_regclass('only_here')") is None
    finally:
        forget(tmp_path)


def test_a_long_path_does_not_exceed_the_limit_of_socket_names(tmp_path: Path) -> None:
    deep = tmp_path / "a-folder-with-quite-a-long-name-indeed" / "and-another-one-in-it-for-good-measure" / ".data"
    cluster = embedded_postgres.locate(deep)
    try:
        assert len(os.fsencode(cluster.sockets / ".s.PGSQL.5432.lock")) <= embedded_postgres.SOCKET_PATH_LIMIT
        assert embedded_postgres.locate(deep) == cluster
    finally:
        forget(deep)


def test_others_can_neither_enter_the_socket_folder_nor_read_the_password(folder: Path) -> None:
    with embedded.start(folder, durable=False):
        assert stat.S_IMODE(embedded_postgres.locate(folder).sockets.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "services.json").stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "redis").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_runs_postgresql_as_somebody_else_even_where_only_root_may_look(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    try:
        with embedded.start(closed / "data", durable=False, redis=False) as services:
            assert psutil.Process(services.pids["postgres"]).uids().real != 0
            assert value(services.database_url, "SELECT 1") == 1
        assert (closed / "data" / "POSTGRES-IS-ELSEWHERE.txt").exists()
    finally:
        forget(closed / "data")


def test_a_url_in_the_environment_means_no_service_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///elsewhere")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    with embedded.start(tmp_path) as services:
        assert services.pids == {}
