"""Errors as RFC 9457 problem documents, rendered in one place for the lane, the API and the pages (03-http-api 3.2)."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse
from django.utils import translation
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response

from billing import errors
from billing.errors import BillingError
from config.middleware import current_trace_id

CONTENT_TYPE = "application/problem+json"
BALANCE_CODES = frozenset(
    {
        "insufficient_balance",
        "group_quota_exceeded",
        "key_limit_exceeded",
        "promo_expired",
        "task_cost_exceeds_balance",
        "extra_usage_cap",
    }
)


def plain(value: Any) -> Any:
    """A member as JSON has it: decimals and ids as strings, times as RFC 3339 in UTC."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T12:04:31.123456Z`."""
    return moment.isoformat().replace("+00:00", "Z")


def status_of(error: BillingError) -> int:
    """The HTTP status; gateways that need it get 403 for a refusal about money (C04)."""
    if error.code in BALANCE_CODES:
        return settings.BALANCE_DENIAL_STATUS
    return int(error.status)


def document(error: BillingError, trace_id: str, language: str | None = None) -> dict[str, Any]:
    """The body of a refusal. `title` and `detail` follow the language; `code` never changes."""
    with translation.override(language) if language else nullcontext():
        return {
            "type": f"{settings.PUBLIC_URL}/help/errors#{error.code}",
            "title": str(error.title),
            "status": status_of(error),
            "detail": error.detail,
            "code": error.code,
            "trace_id": trace_id,
            **plain(error.members),
        }


def headers(error: BillingError) -> dict[str, str]:
    """Headers that go with a refusal: `Retry-After` in whole seconds where the evidence says when."""
    after = error.evidence.get("retry_after")
    return {"Retry-After": str(after)} if after is not None else {}


def response(error: BillingError, request: HttpRequest) -> JsonResponse:
    """The refusal as an answer of a plain Django view."""
    found = JsonResponse(
        document(error, getattr(request, "trace_id", current_trace_id())), status=status_of(error), headers=headers(error)
    )
    found["Content-Type"] = CONTENT_TYPE
    if found.status_code == 401:
        found["WWW-Authenticate"] = "Bearer"
    return found


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exceptions and our refusals as problem documents; a bug is not caught."""
    error = _as_billing_error(exc)
    if error is None:
        return None
    found = Response(
        document(error, getattr(context["request"], "trace_id", current_trace_id())),
        status=status_of(error),
        headers=headers(error),
        content_type=CONTENT_TYPE,
    )
    if found.status_code == 401:
        found["WWW-Authenticate"] = "Bearer"
    return found


def _as_billing_error(exc: Exception) -> BillingError | None:
    if isinstance(exc, BillingError):
        return exc
    if isinstance(exc, Http404 | exceptions.NotFound):
        return errors.NotFound()
    if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return errors.InvalidCredential()
    if isinstance(exc, exceptions.PermissionDenied):
        return errors.PermissionDenied(str(exc.detail) if str(exc.detail) else "")
    if isinstance(exc, exceptions.ValidationError):
        return errors.InvalidRequest(_("Some fields are not right."), errors=_flat(exc.detail))
    if isinstance(exc, exceptions.Throttled):
        return errors.RpmExceeded(retry_after=int(exc.wait or 1))
    if isinstance(exc, exceptions.APIException):
        refused = errors.BadRequest(str(exc.detail))
        refused.status = exc.status_code  # type: ignore[misc]  # 405, 406, 415: DRF knows which
        return refused
    return None


def _flat(detail: Any, at: str = "") -> list[dict[str, str]]:
    if isinstance(detail, dict):
        return [row for key, inner in detail.items() for row in _flat(inner, f"{at}.{key}" if at else str(key))]
    if isinstance(detail, list):
        return [row for inner in detail for row in _flat(inner, at)]
    return [{"field": at, "message": str(detail)}]

