"""How the customers' API reads a request's body. A module of its own, because REST framework's settings import it."""

from __future__ import annotations

from typing import Any

import orjson
from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions, status
from rest_framework.parsers import JSONParser


class PayloadTooLarge(exceptions.APIException):
    """The body is longer than `DATA_UPLOAD_MAX_MEMORY_SIZE`."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
    default_detail = _("The request body is too large.")


class StrictJsonParser(JSONParser):
    """JSON of a bounded size and depth, without NaN, without half surrogates: what PostgreSQL can keep."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """The body's value; 413 when it is too long, 400 when it is no JSON."""
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(most + 1)
        if len(body) > most:
            raise PayloadTooLarge
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise exceptions.ParseError(_("The body is not JSON.")) from None
