"""What every test relies on: real services, closed sockets, an empty cache. Apps add fixtures in their own folders."""

import ipaddress
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import TransactionTestCase
from django.utils import translation

pytest_plugins = ["tests.sandbox.helpers"]
STARTED = time.time()
PICTURES = Path(settings.BASE_DIR) / "build" / "screenshots"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# How long an example takes says more about the machine's other work than about the example.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        raise pytest.UsageError(
            "The tests need PostgreSQL and Redis. `make test ARGS=...` (or `python -m tests ...`) starts them; "
            "to use others, set DATABASE_URL and REDIS_URL."
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first; without a browser its tests say so instead of failing."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if chromium() is not None:
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason="no Chromium on this machine (`make browser` installs it)"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests have to say beyond passing: `record_property("said", …)`, also from other processes."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, value in report.user_properties:
                    if name == "said":
                        terminalreporter.write_line(str(value))
    if pictures := sorted(one for one in PICTURES.rglob("*.png") if one.stat().st_mtime >= STARTED):
        terminalreporter.write_line(f"{len(pictures)} screenshots for people to look at in {PICTURES}:")
        for folder in sorted({picture.parent for picture in pictures}):
            names = [picture.stem for picture in pictures if picture.parent == folder]
            terminalreporter.write_line(f"  {folder.relative_to(PICTURES)}: {', '.join(names)}")


def chromium() -> str | None:
    """The browser's path; CHROMIUM names another."""
    if named := os.environ.get("CHROMIUM"):
        return named
    return next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the browser is; for tests marked `browser`."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine (`make browser` installs it)")
    return path


@pytest.fixture(scope="session", autouse=True)
def _only_loopback() -> Iterator[None]:
    """No test talks to the world: a connection that leaves this machine is an error that names the address."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(address: Any) -> None:
        if isinstance(address, tuple) and not is_loopback(address[0]):
            raise AssertionError(f"A test tried to reach {address[0]}:{address[1]}; only this machine is allowed.")

    def guarded(self: socket.socket, address: Any) -> None:
        check(address)
        return connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        check(address)
        return connect_ex(self, address)

    def resolve(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host is not None:
            check((host.decode() if isinstance(host, bytes) else host, port))
        return getaddrinfo(host, port, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        patch.setattr(socket.socket, "connect_ex", guarded_ex)
        patch.setattr(socket, "getaddrinfo", resolve)
        yield


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine; unspecified addresses are for listening."""
    if host in {"localhost", "", "testserver", socket.gethostname()}:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Rate limits and other things with a memory start afresh."""
    cache.clear()


@pytest.fixture(autouse=True)
def _english() -> None:
    """A page that was read in Chinese leaves its thread speaking Chinese; each test starts in the first language."""
    translation.activate(settings.LANGUAGE_CODE)


_damaging: list[bool] = [False]


@pytest.fixture(autouse=True)
def _books_are_sound_afterwards(request: pytest.FixtureRequest) -> None:
    """Says to `_quick_flush` whether this test means to leave the books damaged."""
    _damaging[0] = request.node.get_closest_marker("damages_books") is not None


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    """Tests that commit are verified and cleaned up after in milliseconds (tests/flush.py)."""
    from tests.flush import broken_books, empty_tables

    def teardown(_: TransactionTestCase) -> None:
        broken = [] if _damaging[0] else broken_books()
        empty_tables()
        assert not broken, f"the test left broken books: {broken}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield
