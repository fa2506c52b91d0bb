"""The door of the REST API: key, route, parameters, faults, idempotency, and the answer with its headers."""

import asyncio
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from config import clock
from sandbox import API_VERSION, encoding, idempotency, routes, store, switches
from sandbox.errors import ApiError, Json
from sandbox.expand import expanded
from sandbox.models import Fault, IdempotentRequest, RequestLog
from sandbox.store import Moment

log = logging.getLogger(__name__)


@csrf_exempt
def serve(request: HttpRequest, path: str) -> HttpResponseBase:
    """Answer one request as Stripe would, or misbehave as the switches say."""
    now = clock.now()
    method, url = request.method or "GET", f"/v1/{path}"
    entry = RequestLog(
        request_id=store.new_id("request", now),
        at=now,
        method=method,
        path=url[:500],
        idempotency_key=request.headers.get("Idempotency-Key", "")[:255],
    )
    fault: Fault | None = None
    try:
        text = _form_text(request)
        entry.query = text
        _authenticate(request)
        fault = switches.take_fault(url)
        if fault and fault.kind == Fault.Kind.FAIL:
            raise _injected(fault)
        entry.status, entry.answer, entry.replayed = answer(method, url, text, entry, now)
    except ApiError as refusal:
        entry.status, entry.answer = refusal.status, {"error": {**refusal.body, "request_log_url": None}}
    except Exception:
        # What Stripe does when it breaks; the traceback goes to our own log.
        log.exception("The sandbox failed at %s %s", method, url)
        entry.status = 500
        entry.answer = {"error": {"type": "api_error", "message": "The sandbox failed; its log says why."}}
    entry.fault = fault.kind if fault else ""
    entry.save(force_insert=True)
    if fault and fault.kind == Fault.Kind.LOSE:
        return _lost(request, fault, entry)
    return _response(entry, entry.status, entry.answer)


def answer(method: str, url: str, text: str, entry: RequestLog, now: Any) -> tuple[int, Json, bool]:
    found, ids = routes.match(method, url)
    params = found.accepts.parse(encoding.decode(text))
    moment = Moment(now, entry.request_id, entry.idempotency_key or None)
    paths = params.pop("expand", [])

    def work() -> tuple[int, Json]:
        result = found.handler(routes.Call(params, ids, moment))
        if isinstance(result, ApiError):
            return result.status, {"error": result.body}
        return 200, expanded(result, paths)

    if method != "POST" or not entry.idempotency_key:
        with transaction.atomic():
            return *work(), False
    row, answered = idempotency.claim(entry.idempotency_key, idempotency.fingerprint(method, url, text), now)
    if answered:
        return row.status or 200, row.body or {}, True
    return *_once(row, work), False


def _once(row: IdempotentRequest, work: Callable[[], tuple[int, Json]]) -> tuple[int, Json]:
    """Do the work and keep its answer in one transaction. A refusal is an answer and is kept; a breakdown is not."""
    try:
        with transaction.atomic():
            row.status, row.body = work()
            row.save(update_fields=["status", "body"])
    except ApiError as refusal:
        row.status, row.body = refusal.status, {"error": refusal.body}
        row.save(update_fields=["status", "body"])
    except BaseException:
        row.delete()
        raise
    return row.status, row.body


def _form_text(request: HttpRequest) -> str:
    if request.method == "POST":
        try:
            return request.body.decode()
        except UnicodeDecodeError as wrong:
            raise ApiError("The request body is not UTF-8.") from wrong
    return request.META.get("QUERY_STRING", "")


def _authenticate(request: HttpRequest) -> None:
    sent = request.headers.get("Authorization", "")
    key = sent.removeprefix("Bearer ") if sent.startswith("Bearer ") else ""
    if not key:
        raise ApiError("You did not provide an API key.", status=401)
    if not settings.STRIPE_SECRET_KEY or not hmac.compare_digest(key.encode(), settings.STRIPE_SECRET_KEY.encode()):
        masked = key[:8] + "*" * 8
        raise ApiError(f"Invalid API Key provided: {masked}", status=401)
    version = request.headers.get("Stripe-Version", API_VERSION)
    if version != API_VERSION:
        raise ApiError(f"The sandbox speaks API version {API_VERSION}, not {version[:40]}.")


def _injected(fault: Fault) -> ApiError:
    status = fault.status or 500
    kind = "invalid_request_error" if status < 429 else "api_error"
    code = "rate_limit" if status == 429 else None
    return ApiError("This failure was asked for on the sandbox's control page.", status=status, type=kind, code=code)


def _response(entry: RequestLog, status: int, body: Any) -> HttpResponse:
    response = JsonResponse(body, status=status, json_dumps_params={"indent": 2})
    response["Request-Id"] = entry.request_id
    response["Stripe-Version"] = API_VERSION
    if entry.idempotency_key:
        response["Idempotency-Key"] = re.sub(r"[\r\n]", "", entry.idempotency_key)
    if entry.replayed:
        response["Idempotent-Replayed"] = "true"
    return response


def _lost(request: HttpRequest, fault: Fault, entry: RequestLog) -> HttpResponseBase:
    """The work is done and its answer does not arrive: an error instead, or a connection that is cut in the answer."""
    if fault.status or not isinstance(request, ASGIRequest):
        error = {"error": {"type": "api_error", "message": "This answer was lost on its way."}}
        response = _response(entry, fault.status or 500, error)
        response.headers.pop("Idempotent-Replayed", None)
        return response
    body = json.dumps(entry.answer).encode()
    cut = StreamingHttpResponse(_half(body), content_type="application/json")
    cut["Content-Length"] = str(len(body))
    return cut


async def _half(body: bytes) -> AsyncIterator[bytes]:
    """Half of an answer, and then what the server takes for a cancelled request: it closes the connection."""
    yield body[: len(body) // 2]
    raise asyncio.CancelledError
