"""Errors in the shape that Stripe gives them."""

from http import HTTPStatus
from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """A refusal: `{"error": {"type", "code", "message", "param"}}` with its HTTP status.

    Raised, it undoes the work of the request; returned by an endpoint, the work so far is kept (a declined payment
    is an answer and also a fact).
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int = HTTPStatus.BAD_REQUEST,
        type: str = "invalid_request_error",
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.body: Json = {"type": type, "message": message, **more}
        if code:
            self.body["code"] = code
            self.body["doc_url"] = f"https://docs.stripe.com/error-codes#{code.replace('_', '-')}"
        if param:
            self.body["param"] = param


class SessionClosed(Exception):
    """The session is complete or has expired, so nothing more can be paid with it."""


def not_found(label: str, object_id: str, param: str = "id") -> ApiError:
    """The 404 of an id that does not exist, or that names something of another kind."""
    return ApiError(
        f"No such {label}: '{object_id}'", code="resource_missing", param=param, status=HTTPStatus.NOT_FOUND
    )


def missing(param: str) -> ApiError:
    """A required parameter was not sent."""
    return ApiError(f"Missing required param: {param}.", code="parameter_missing", param=param)
