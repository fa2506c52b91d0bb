"""Which function serves which method and path, and what it accepts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox import params
from sandbox.errors import ApiError, Json
from sandbox.store import Moment

EXPAND = params.Array(params.Text())


@dataclass(frozen=True)
class Call:
    """One API request: its parsed parameters, the ids of its path, and its moment."""

    params: Json
    ids: dict[str, str]
    moment: Moment

    @property
    def now(self) -> datetime:
        return self.moment.now


Handler = Callable[[Call], Json | ApiError]


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: str
    accepts: params.Object
    handler: Handler
    pattern: re.Pattern[str] = field(repr=False)


ENDPOINTS: list[Endpoint] = []


def endpoint(
    method: str, path: str, accepts: Mapping[str, params.Field] = params.NOTHING
) -> Callable[[Handler], Handler]:
    """Register a function for `POST /v1/refunds/{refund}`; all that answer with an object also accept `expand`."""
    fields = dict(accepts) if method == "DELETE" else {**accepts, "expand": EXPAND}

    def register(handler: Handler) -> Handler:
        pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))
        ENDPOINTS.append(Endpoint(method, path, params.Object(fields), handler, pattern))
        return handler

    return register


def match(method: str, path: str) -> tuple[Endpoint, dict[str, Any]]:
    """The endpoint for a path below the API's base, or Stripe's refusal of an unknown URL."""
    for candidate in ENDPOINTS:
        hit = candidate.pattern.fullmatch(path)
        if hit and candidate.method == method:
            return candidate, hit.groupdict()
    raise ApiError(f"Unrecognized request URL ({method}: {path[:200]}). The sandbox does not serve it.", status=404)
