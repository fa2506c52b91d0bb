"""Errors as RFC 9457 problem documents, rendered in one place for the lane, the API and the pages (03-http-api 3.2)."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from billing import errors
from billing.errors import BillingError
from config import pool
from config.middleware import current_trace_id

log = logging.getLogger(__name__)

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


_TITLES = {
    405: gettext_lazy("This address does not know this method."),
    406: gettext_lazy("The answer cannot be given in this format."),
    415: gettext_lazy("Send the body as application/json."),
}


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
        return int(settings.BALANCE_DENIAL_STATUS)
    return int(error.status)


def document(error: BillingError, trace_id: str, language: str | None = None) -> dict[str, Any]:
    """The body of a refusal. `title` and `detail` follow the language; `code` never changes."""
    with translation.override(language) if language else nullcontext():
        return {
            "type": f"urn:meterhall:problem:{error.code}",
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


def internal_error() -> BillingError:
    """A bug of ours: nothing of it is told but that it happened."""
    error = BillingError(_("Something broke on our side; it has been recorded."))
    error.code, error.status, error.title = "internal_error", 500, _("Internal error")  # type: ignore[misc]
    return error


def response(error: BillingError, request: HttpRequest) -> JsonResponse:
    """The refusal as an answer of a plain Django view."""
    found = JsonResponse(
        document(error, getattr(request, "trace_id", current_trace_id())),
        status=status_of(error),
        headers=headers(error),
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
        rows = _flat(exc.detail)
        return errors.InvalidRequest(
            _("Some fields are not right."), field=rows[0]["field"] if rows else "", errors=rows
        )
    if isinstance(exc, exceptions.Throttled):
        return errors.RpmExceeded(retry_after=int(exc.wait or 1))  # type: ignore[attr-defined]
    if isinstance(exc, OperationalError | InterfaceError):
        pool.heal()
        log.error("the database did not answer: %s", exc)
        return errors.ServiceUnavailable(retry_after=1)
    if isinstance(exc, RequestDataTooBig):
        return errors.BodyTooLarge()
    if isinstance(exc, UnreadablePostError):
        return errors.BadRequest()
    if isinstance(exc, exceptions.APIException):
        refused = errors.BodyTooLarge() if exc.status_code == 413 else errors.BadRequest(str(exc.detail))
        if exc.status_code in (405, 406, 415):  # REST framework knows which
            refused.status, refused.code = exc.status_code, exc.default_code  # type: ignore[misc,assignment]
            refused.title = _TITLES[exc.status_code]  # type: ignore[misc]
        return refused
    return None


def _flat(detail: Any, at: str = "") -> list[dict[str, str]]:
    if isinstance(detail, dict):
        return [row for key, inner in detail.items() for row in _flat(inner, _place(at, str(key)))]
    if isinstance(detail, list):
        return [row for inner in detail for row in _flat(inner, at)]
    return [{"field": at, "message": str(detail)}]


def _place(at: str, key: str) -> str:
    if key == api_settings.NON_FIELD_ERRORS_KEY:
        return at
    return f"{at}.{key}" if at else key
