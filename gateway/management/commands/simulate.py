"""`manage.py simulate --days 30 --calls N`: fill an account through the public HTTP API with realistic calls.

Most calls are reported in batches with the time at which they happened; the last few thousand are authorised and
captured one by one, some of them are voided, and some are refused on purpose, so that every page has something to show.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import api_keys
from accounts.demo import DEMO_LOGINS
from accounts.models import Account, GatewayToken
from billing.books import credits
from billing.books.models import JournalEntry, System
from billing.books.summary import summary
from billing.catalog.book import current_book
from config import clock
from config.ids import uuid7
from gateway import traffic

REPORTED_AT_ONCE = 500
LIVE_SHARE, LIVE_MOST = 0.1, 2000
CONNECTIONS = 8
CREDIT_PER_CALL = Decimal("0.25")


class Command(BaseCommand):
    """Make traffic."""

    help = "Fill an account with made-up calls through the HTTP API of a running installation."

    def add_arguments(self, parser: CommandParser) -> None:
        """How much, how far back, where, for whom."""
        parser.add_argument("--days", type=int, default=30)
        parser.add_argument("--calls", type=int, default=2000)
        parser.add_argument("--url", default=f"http://{settings.HOST}:{settings.PORT}")
        parser.add_argument("--account", type=UUID, help="default: the demo customer's first account")
        parser.add_argument("--seed", type=int, default=None, help="default: different traffic each time")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what was done, with how many and how fast."""
        if not 1 <= options["days"] <= 34:
            raise CommandError("--days goes from 1 to 34: older calls are not taken.")
        if options["calls"] < 1:
            raise CommandError("--calls must be at least 1.")
        account, now = _account(options["account"]), clock.now()
        self.api = Api(options["url"])
        book = current_book(fresh=True)
        models = traffic.favourites(book, now)
        if not models:
            raise CommandError("No model has a price yet: import a catalogue first (manage.py import_catalog).")
        needed = CREDIT_PER_CALL * options["calls"]
        _fund(account, needed, now)
        token, secret = api_keys.issue_gateway_token("simulate", now=now, actor=None, reason="simulate")
        self.api.token = secret
        self.secrets, self.run = _keys(account, now), f"sim-{uuid7().hex[:12]}-{uuid7().hex[-4:]}"
        seed = options["seed"] if options["seed"] is not None else int(now.timestamp())
        made = traffic.calls(
            book, models, count=options["calls"], since=now - timedelta(days=options["days"]), until=now, seed=seed
        )
        live = min(LIVE_MOST, max(1, int(options["calls"] * LIVE_SHARE)))
        numbered = enumerate(made)
        began = time.perf_counter()
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        try:
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                for _ in pool.map(self._report, _chunks(islice(numbered, options["calls"] - live), REPORTED_AT_ONCE)):
                    pass
                for _ in pool.map(self._live, numbered):
                    pass
                for _ in pool.map(self._refused, range(max(1, live // 50))):
                    pass
        finally:
            GatewayToken.objects.filter(pk=token.pk).update(disabled_at=clock.now())
        seconds = time.perf_counter() - began
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        self.stdout.write(f"simulate: {options['calls']:,} calls in {seconds:.1f} s for {account.pk}: {told}")
        left = summary(account.pk, now=clock.now())
        self.stdout.write(f"balance {left.balance:.2f} USD, held {left.held:.2f} USD")

    def _count(self, **counts: int) -> None:
        with self.lock:
            self.counts.update(counts)

    def _body(self, number: int, call: traffic.Made) -> dict[str, Any]:
        return {"request_id": f"{self.run}-{number}", "api_key": self.secrets[call.application], "model": call.model}

    def _report(self, chunk: list[tuple[int, traffic.Made]]) -> None:
        events = [
            self._body(number, call)
            | {
                "usage": call.usage,
                "occurred_at": call.at.isoformat(),
                "latency_ms": call.latency_ms,
                "upstream_status": 200,
            }
            for number, call in chunk
        ]
        answer = self.api.post("/api/v1/usage", {"events": events}, expect=(200,))[1]
        states = Counter(result["status"] for result in answer["results"])
        self._count(reported=states["created"], rejected=states["rejected"])

    def _live(self, item: tuple[int, traffic.Made]) -> None:
        number, call = item
        estimate = {name: value for name, value in call.usage.items() if name not in _ONLY_KNOWN_AFTERWARDS}
        if "output_tokens" in call.usage:
            estimate["max_output_tokens"] = 8192
        status, held = self.api.post(
            "/api/v1/authorizations",
            self._body(number, call) | {"estimate": estimate, "fingerprint": f"{call.application}-{number}"},
            expect=(201, 402, 429),
        )
        if status != 201:
            self._count(refused=1)
        elif number % 40 == 7:
            self.api.post(f"/api/v1/authorizations/{held['id']}/void", {"reason": "upstream_error"}, expect=(200,))
            self._count(voided=1)
        else:
            used = {"usage": call.usage, "latency_ms": call.latency_ms, "upstream_status": 200}
            self.api.post(f"/api/v1/authorizations/{held['id']}/capture", used, expect=(200,))
            self._count(captured=1)

    def _refused(self, number: int) -> None:
        """A model that no one may call, and a model that does not exist: both end in a problem document."""
        body = {"request_id": f"{self.run}-no-{number}", "api_key": self.secrets[0], "model": "no/such-model"}
        self.api.post("/api/v1/authorizations", body, expect=(422,))
        self._count(refused=1)


_ONLY_KNOWN_AFTERWARDS = {"output_tokens", "reasoning_tokens", "cache_read_tokens", "cache_write_5m_tokens"}


class Api:
    """The HTTP API, with one kept-alive connection a thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"{url} is not an http address.")
        self.parts, self.token, self.local = parts, "", threading.local()

    def post(self, path: str, body: dict[str, Any], *, expect: tuple[int, ...]) -> tuple[int, Any]:
        """Status and body; raises CommandError for an answer that was not expected.

        A kept-alive connection that the server has closed meanwhile is opened again; every request may be repeated.
        """
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = json.dumps(body)
        try:
            try:
                status, found = self._send(path, data, headers)
            except (OSError, http.client.HTTPException):
                self.local.connection = None
                status, found = self._send(path, data, headers)
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"{self.parts.geturl()} does not answer ({error}). Is `make run` running?") from None
        except ValueError:
            raise CommandError(f"{path} answered something that is not JSON.") from None
        if status not in expect:
            raise CommandError(f"{path} answered {status}: {found.get('code')} {found.get('detail')}")
        return status, found

    def _send(self, path: str, data: str, headers: dict[str, str]) -> tuple[int, Any]:
        connection = getattr(self.local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self.parts.scheme == "https" else http.client.HTTPConnection
            connection = self.local.connection = kind(self.parts.hostname or "", self.parts.port, timeout=60)
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def _account(wanted: UUID | None) -> Account:
    found: Account | None
    if wanted is not None:
        found = Account.objects.filter(pk=wanted).first()
    else:
        found = Account.objects.filter(memberships__user__email=DEMO_LOGINS[0][1]).order_by("created_at").first()
    if found is None:
        raise CommandError("There is no such account; `manage.py load_demo` makes one.")
    return found


def _fund(account: Account, needed: Decimal, now: Any) -> None:
    """Enough credit that the calls do not run the account into debt."""
    missing = needed - summary(account.pk, now=now).available
    if missing > 0:
        key = f"simulate:{uuid7()}"
        credits.give(
            account.pk, missing.quantize(Decimal("0.01")), kind=credits.Kind.PROMOTION,
            entry_kind=JournalEntry.Kind.MANUAL_CREDIT,
            funded_by=System.EXPENSE_PROMOTION, key=key, source=key, note="simulate", now=now,
        )  # fmt: skip


def _keys(account: Account, now: Any) -> list[str]:
    """One key for each application; their secrets stay in the data folder for the next run."""
    kept = Path(settings.DATA_DIR) / f"simulate-{account.pk}.json"
    if kept.exists():
        found: list[str] = json.loads(kept.read_text())
        return found
    secrets = [
        api_keys.issue(account, name=f"{name} (simulated)", now=now, actor=None)[1] for name, *_ in traffic.APPLICATIONS
    ]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch(mode=0o600)
    kept.write_text(json.dumps(secrets))
    return secrets


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    waiting = iter(items)
    while chunk := list(islice(waiting, size)):
        yield chunk
