"""What is answered where no view answers: problem documents below the API's addresses, pages elsewhere."""

from __future__ import annotations

import sys

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from billing import errors
from config import pool, problems

API = ("/api/", "/v1/", "/webhooks/")
PAGES = ("/api/docs", "/api/schema")
_TOO_BIG = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


def is_api(request: HttpRequest) -> bool:
    """True below the addresses that programs ask."""
    return request.path.startswith(API)


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """Below `/api/` an unknown address is a problem document, also where Django would show its own page (DEBUG)."""
    if request.path in PAGES:
        return redirect(f"{request.path}/")
    return problems.response(errors.NotFound(), request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, and 413 for a body that is too large."""
    if not is_api(request):
        return defaults.bad_request(request, exception)
    refusal = errors.BodyTooLarge() if isinstance(exception, _TOO_BIG) else errors.BadRequest()
    return problems.response(refusal, request)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    if not is_api(request):
        return defaults.permission_denied(request, exception)
    return problems.response(errors.PermissionDenied(), request)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    if not is_api(request):
        return defaults.page_not_found(request, exception)
    return problems.response(errors.NotFound(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 when the database is away, otherwise a bug: 500 without a trace of it in the answer."""
    away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    if away:
        pool.heal()
    if not is_api(request):
        page = defaults.server_error(request)
        if away:
            page.status_code = 503
            page["Retry-After"] = "5"
        return page
    return problems.response(errors.ServiceUnavailable(retry_after=1) if away else problems.internal_error(), request)
