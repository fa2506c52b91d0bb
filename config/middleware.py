"""A trace id for every request: taken from the caller when well formed, otherwise made, and sent back."""

import re
import secrets
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

_trace: ContextVar[str] = ContextVar("trace_id", default="")
_WELL_FORMED = re.compile(r"[0-9A-Za-z._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def new_trace_id() -> str:
    """32 hexadecimal digits, as W3C trace context has them."""
    return secrets.token_hex(16)


def clean_trace_id(text: str | None) -> str:
    """The caller's trace id, or a new one when theirs is missing or not well formed."""
    return text if text and _WELL_FORMED.fullmatch(text) else new_trace_id()


def current_trace_id() -> str:
    """The trace id of the request that is being answered."""
    return _trace.get() or new_trace_id()


def trace_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Keep the trace id for log lines and problem documents, and answer with it in `X-Trace-Id`."""

    def middleware(request: HttpRequest) -> HttpResponse:
        parent = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
        found = clean_trace_id(parent[1] if parent else request.headers.get("x-trace-id"))
        request.trace_id = found  # type: ignore[attr-defined]
        token = _trace.set(found)
        try:
            response = get_response(request)
        finally:
            _trace.reset(token)
        response["X-Trace-Id"] = found
        return response

    return middleware
