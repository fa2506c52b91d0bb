"""The exchange rate's feed: read exactly, believed within limits, and the fixed rate once it is silent (C01, F005)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from billing.payments import fx, fx_feed
from billing.payments.fx_feed import FeedRefused, Told
from billing.payments.models import FxRate
from billing.payments.models_fx import FxFeed
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


@contextmanager
def serving(body: bytes, *, status: int = 200, location: str = "", seen: list[str] | None = None) -> Iterator[str]:
    """A feed on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if seen is not None:
                seen.append(self.path)
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/latest"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def told(rate: str) -> Told:
    return Told(Decimal(rate), None)


@pytest.fixture(autouse=True)
def feed(settings: Any) -> None:
    settings.FX_FEED_URL = "http://127.0.0.1:9/nobody"


def test_a_rate_is_read_to_the_last_digit(settings: Any) -> None:
    with serving(b'{"base": "USD", "rates": {"CNY": 7.123456789012345, "EUR": 0.9}}') as settings.FX_FEED_URL:
        kept = fx_feed.refresh(now=NOON)
    assert kept is not None
    assert (kept.rate, kept.source, kept.effective_at) == (Decimal("7.12345679"), "feed", NOON)
    assert FxFeed.objects.get().accepted_at == NOON
    assert fx.current(now=NOON).rate == kept.rate


def test_the_path_leads_through_lists_and_to_text(settings: Any) -> None:
    settings.FX_FEED_PATH = "data.1.price"
    assert fx_feed.read(b'{"data": [{}, {"price": " 7.25 "}]}').rate == Decimal("7.25")


NOT_A_RATE = [
    b"",
    b"not json",
    b"[]",
    b"{}",
    b'{"rates": {"CNY": null}}',
    b'{"rates": {"CNY": NaN}}',
    b'{"rates": {"CNY": Infinity}}',
    b'{"rates": {"CNY": "NaN"}}',
    b'{"rates": {"CNY": true}}',
    b'{"rates": {"CNY": 0}}',
    b'{"rates": {"CNY": -7}}',
    b'{"rates": {"CNY": "seven"}}',
    b'{"rates": {"CNY": 1e999999999}}',
    b'{"rates": {"CNY": [7.3]}}',
    b'{"rates": {"CNY": {"x": 7.3}}}',
    b'{"rates": 7.3}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", NOT_A_RATE)
def test_what_is_not_a_rate_is_refused(body: bytes) -> None:
    with pytest.raises(FeedRefused):
        fx_feed.read(body)


def test_a_refusal_is_kept_for_staff_and_leaves_the_last_rate_in_force(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fx_feed.accept(told("7.1"), now=NOON)
    for body, status in ((b"{}", 200), (b"down", 503), (b"x" * (fx_feed.MOST_BYTES + 1), 200)):
        with serving(body, status=status) as settings.FX_FEED_URL:
            assert fx_feed.refresh(now=NOON + timedelta(minutes=10)) is None
    state = FxFeed.objects.get()
    assert (state.failures, state.failed_at) == (3, NOON + timedelta(minutes=10))
    assert "longer than" in state.last_error
    assert fx.current(now=NOON + timedelta(minutes=10)).rate == Decimal("7.1")
    assert any("ALERT" in record.message for record in caplog.records)


def test_a_redirect_is_not_followed(settings: Any) -> None:
    seen: list[str] = []
    with (
        serving(b'{"rates": {"CNY": 7.3}}', seen=seen) as target,
        serving(b"", status=302, location=target) as settings.FX_FEED_URL,
    ):
        assert fx_feed.refresh(now=NOON) is None
    assert seen == []


def test_silence_is_a_refusal(settings: Any) -> None:
    assert fx_feed.refresh(now=NOON) is None
    assert "does not answer" in FxFeed.objects.get().last_error


@pytest.mark.parametrize("rate", ["4.99", "10.01", "0.14", "730"])
def test_a_rate_outside_the_limits_is_not_believed(rate: str) -> None:
    with pytest.raises(FeedRefused):
        fx_feed.accept(told(rate), now=NOON)
    assert not FxRate.objects.exists()


def test_a_jump_of_more_than_a_tenth_is_not_believed_unless_the_last_rate_is_old() -> None:
    fx_feed.accept(told("7.0"), now=NOON)
    for jump in ("7.71", "6.29"):
        with pytest.raises(FeedRefused):
            fx_feed.accept(told(jump), now=NOON + timedelta(hours=1))
    assert fx_feed.accept(told("7.70"), now=NOON + timedelta(hours=1)).rate == Decimal("7.70")
    weeks = NOON + timedelta(days=20)
    assert fx_feed.accept(told("9.2"), now=weeks).rate == Decimal("9.2")


def test_a_feed_that_is_silent_for_too_long_gives_way_to_the_fixed_rate_which_says_so(settings: Any) -> None:
    fx_feed.accept(told("7.1"), now=NOON)
    last = NOON + timedelta(seconds=settings.FX_FEED_MAX_AGE)
    assert (fx.current(now=last).source, fx.current(now=last).stale) == ("feed", False)
    after = fx.current(now=last + timedelta(seconds=1))
    assert (after.rate, after.source, after.stale) == (Decimal("7.3"), "fixed", True)

    quote = fx.lock(factories.account().pk, now=last + timedelta(seconds=1))
    assert (quote.rate, quote.source) == (Decimal("7.3"), "fixed")
    settings.FX_FEED_URL = ""
    assert fx.current(now=last).stale is False


def test_the_time_that_the_feed_tells_counts_not_the_time_of_asking(settings: Any) -> None:
    settings.FX_FEED_TIME_PATH = "time"

    def document(at: Any) -> Told:
        return fx_feed.read(json.dumps({"time": at, "rates": {"CNY": 7.2}}).encode())

    old = document((NOON - timedelta(hours=5)).isoformat())
    with pytest.raises(FeedRefused):
        fx_feed.accept(old, now=NOON)
    with pytest.raises(FeedRefused):
        fx_feed.accept(document((NOON + timedelta(hours=1)).isoformat()), now=NOON)
    for nonsense in (None, "soon", True, 10**30, "2026-99-99T00:00:00Z"):
        with pytest.raises(FeedRefused):
            document(nonsense)

    fresh = document(int((NOON - timedelta(minutes=30)).timestamp()))
    assert fx_feed.accept(fresh, now=NOON).effective_at == NOON - timedelta(minutes=30)
    fx_feed.accept(fresh, now=NOON + timedelta(minutes=10))  # the same edition again: no new row
    assert FxRate.objects.count() == 1
    assert fx.current(now=NOON + timedelta(minutes=31)).source == "fixed"


def test_the_feed_is_asked_by_one_worker_when_it_is_time(settings: Any) -> None:
    settings.FX_FEED_EVERY = 600
    assert [fx_feed.is_due(now=NOON), fx_feed.is_due(now=NOON + timedelta(seconds=5))] == [True, False]
    assert fx_feed.is_due(now=NOON + timedelta(seconds=600))
    settings.FX_FEED_URL = ""
    assert not fx_feed.is_due(now=NOON + timedelta(days=1))
