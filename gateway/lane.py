"""The lane: a small ASGI app beside Django for the calls that a gateway makes thousands of times a second.

Concurrent calls are gathered into batches and each batch is one function call and one commit in PostgreSQL; every
caller waits for its own durable commit (06-performance). The work itself is done by the same Python doors as
everywhere, on a few threads with their own database connections.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from billing import errors
from billing.errors import BillingError
from billing.metering import holds, quarantine, usage
from config import clock, problems
from config.batching import Batcher, Receive, Scope, Send, read_body, reply, with_connection
from config.middleware import clean_trace_id
from gateway import admission, answers, parsing, reports, tokens

log = logging.getLogger(__name__)


class Lane:
    """The ASGI app. One per process; its threads start with the first call."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(max_workers=settings.LANE_WORKERS * 2, thread_name_prefix="lane")
        self.loop: asyncio.AbstractEventLoop | None = None
        self._make_batchers()

    def _make_batchers(self) -> None:
        self.authorizations: Batcher[tuple[UUID, parsing.Call], Any] = Batcher(_authorize, self.executor)
        self.captures: Batcher[tuple[UUID, usage.Capture], Any] = Batcher(_capture, self.executor)
        self.voids: Batcher[tuple[UUID, str], Any] = Batcher(_void, self.executor)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of the gateway."""
        loop = asyncio.get_running_loop()
        if self.loop is not loop:
            self.loop = loop
            self._make_batchers()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        trace = clean_trace_id(headers.get("x-trace-id"))
        try:
            status, body = await self._answer(scope, headers, receive, loop)
            extra: dict[str, str] = {}
            kind = "application/json"
        except BillingError as refusal:
            trace = str(refusal.evidence.pop("trace_id", "") or trace)
            status, extra = problems.status_of(refusal), problems.headers(refusal)
            body = problems.document(refusal, trace, answers.language_of(headers.get("accept-language", "")))
            kind = problems.CONTENT_TYPE
            if status == 401:
                extra["WWW-Authenticate"] = "Bearer"
        except Exception:
            log.exception("the lane failed at %s", scope["path"])
            status, extra, kind = 500, {}, problems.CONTENT_TYPE
            body = problems.document(
                problems.internal_error(), trace, answers.language_of(headers.get("accept-language", ""))
            )
        await reply(send, status, orjson.dumps(body), kind, {**extra, "X-Trace-Id": trace})

    async def _answer(
        self, scope: Scope, headers: dict[str, str], receive: Receive, loop: asyncio.AbstractEventLoop
    ) -> tuple[int, Any]:
        if scope["method"] != "POST":
            refusal = errors.BadRequest(_("Use POST here."))
            refusal.status, refusal.code = HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed"  # type: ignore[misc]
            raise refusal
        token = await tokens.identify(
            headers.get("authorization", ""), _client_of(scope, headers), loop, self.executor, now=clock.now()
        )
        route, hold = route_of(scope["path"])
        body = parsing.json_object(await read_body(receive, headers))
        if route == "authorize":
            return await self._authorize(token, body)
        if route == "authorize_batch":
            items = parsing.items_of(body, "authorizations")
            found = await asyncio.gather(*(self._authorize(token, item) for item in items), return_exceptions=True)
            return 200, {"results": [answers.item(answer) for answer in found]}
        if route == "capture":
            return await self._capture(token, hold, body)
        if route == "capture_batch":
            items = parsing.items_of(body, "captures")
            found = await asyncio.gather(*(self._capture_item(token, item) for item in items), return_exceptions=True)
            return 200, {"results": [answers.item(answer) for answer in found]}
        if route == "void":
            status = await self.voids.submit((hold, parsing.reason_of(body)))  # type: ignore[arg-type]
            return 200, {"id": str(hold), "status": status}
        events = parsing.items_of(body, "events")
        return 200, {
            "results": await loop.run_in_executor(self.executor, with_connection, partial(_report, token), events)
        }

    async def _authorize(self, token: UUID, body: Any) -> tuple[int, Any]:
        call = parsing.call_of(body)
        try:
            admitted = await self.authorizations.submit((token, call))
        except BillingError as refusal:
            refusal.evidence["trace_id"] = call.trace_id
            raise
        return (200 if admitted.repeated else 201), answers.authorization(admitted)

    async def _capture(self, token: UUID, hold: UUID | None, body: Any) -> tuple[int, Any]:
        used = parsing.used_of(body)
        wanted = usage.Capture(
            authorization_id=hold,  # type: ignore[arg-type]
            usage=used.usage,
            upstream_status=used.upstream_status,
            latency_ms=used.latency_ms,
        )
        return 200, answers.capture(await self.captures.submit((token, wanted)))

    async def _capture_item(self, token: UUID, item: Any) -> tuple[int, Any]:
        if not isinstance(item, dict):
            raise errors.InvalidRequest(_("%(field)s must be an object."), field="captures")
        return await self._capture(token, uuid_of(item.get("id")), item)


def route_of(path: str) -> tuple[str, UUID | None]:
    """What a path asks for, and the authorization that it names. Raises NotFound."""
    parts = path.strip("/").split("/")[2:]
    match parts:
        case ["authorizations"]:
            return "authorize", None
        case ["authorizations", "batch"]:
            return "authorize_batch", None
        case ["authorizations", hold, "capture" | "void" as verb]:
            return verb, uuid_of(hold)
        case ["captures", "batch"]:
            return "capture_batch", None
        case ["usage"]:
            return "report", None
    raise errors.NotFound


def takes(scope: Scope) -> bool:
    """True for what the lane answers; everything else is Django's."""
    path = scope["path"]
    return path.startswith(("/api/v1/authorizations", "/api/v1/captures")) or (
        path in ("/api/v1/usage", "/api/v1/usage/") and scope["method"] == "POST"
    )


def uuid_of(text: Any) -> UUID:
    """An id from a path or a body. What is no UUID names nothing: NotFound."""
    try:
        return UUID(text)
    except (TypeError, ValueError, AttributeError):
        raise errors.NotFound from None


def _authorize(items: list[tuple[UUID, parsing.Call]]) -> list[Any]:
    """One batch; calls of several gateways may meet in it."""
    now = clock.now()
    found: list[Any] = [None] * len(items)
    for token in {token for token, _call in items}:
        places = [place for place, (of, _call) in enumerate(items) if of == token]
        got = admission.authorize([items[place][1] for place in places], token_id=token, now=now)
        for place, answer in zip(places, got, strict=True):
            found[place] = answer
    return found


def _capture(items: list[tuple[UUID, usage.Capture]]) -> list[Any]:
    now = clock.now()
    found = list(usage.capture([wanted for _token, wanted in items], now=now))
    quarantine.keep_captures(((*item, answer) for item, answer in zip(items, found, strict=True)), now=now)
    return found


def _void(items: list[tuple[UUID, str]]) -> list[Any]:
    accounts = holds.accounts_of([hold for hold, _reason in items])
    known = [(hold, accounts[hold], reason) for hold, reason in items if hold in accounts]
    released = dict(zip([hold for hold, *_ in known], holds.void(known, now=clock.now()), strict=True))
    found: list[Any] = []
    for hold, _reason in items:
        answer = released.get(hold)
        if answer is None or answer.outcome == "not_found":
            found.append(errors.NotFound())
        elif answer.outcome == "already_captured":
            found.append(errors.AlreadyCaptured())
        else:
            found.append(answer.status)
    return found


def _report(token: UUID, events: list[Any]) -> list[dict[str, Any]]:
    return reports.record(events, token_id=token, now=clock.now())


def _client_of(scope: Scope, headers: dict[str, str]) -> str:
    """The caller's address: behind a proxy that we trust, the last one that it names."""
    if settings.SECURE_PROXY_SSL_HEADER and "x-forwarded-for" in headers:
        return headers["x-forwarded-for"].split(",")[-1].strip()
    return scope["client"][0] if scope.get("client") else ""
