"""What an endpoint accepts, field by field. A name that ends in `!` is required; every other name is refused.

Only what the sandbox honours, or keeps and shows back, is listed. A parameter that it would silently ignore is an
error here, because code would then be tested against something that does not happen.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sandbox.errors import ApiError, missing

INT_LIMIT = 2**53


class Field(Protocol):
    def parse(self, value: Any, param: str) -> Any:
        """The typed value, or an `ApiError` that names the parameter."""


def _scalar(value: Any, param: str, kind: str) -> str:
    if isinstance(value, dict):
        raise ApiError(f"Invalid {kind}: {param} does not take an object.", param=param)
    return str(value)


@dataclass(frozen=True)
class Text:
    choices: tuple[str, ...] = ()
    max_length: int = 5000
    unset: bool = False  # the empty string is allowed and means null

    def parse(self, value: Any, param: str) -> str | None:
        text = _scalar(value, param, "string")
        if text == "":
            if self.unset:
                return None
            raise ApiError(
                f"You passed an empty string for '{param}'. Empty values are taken as an attempt to unset a parameter, "
                f"and '{param}' cannot be unset.",
                code="parameter_invalid_empty",
                param=param,
            )
        if len(text) > self.max_length:
            raise ApiError(f"Invalid string: {param} is longer than {self.max_length}.", param=param)
        if self.choices and text not in self.choices:
            raise ApiError(f"Invalid {param}: must be one of {', '.join(self.choices)}", param=param)
        return text


@dataclass(frozen=True)
class Currency:
    def parse(self, value: Any, param: str) -> str:
        text = _scalar(value, param, "currency").lower()
        if not re.fullmatch(r"[a-z]{3}", text):
            raise ApiError(f"Invalid currency: {text[:20]}.", param=param)
        return text


@dataclass(frozen=True)
class Email:
    def parse(self, value: Any, param: str) -> str:
        text = _scalar(value, param, "email")
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) or len(text) > 512:
            raise ApiError(f"Invalid email address: {text[:100]}", code="email_invalid", param=param)
        return text


@dataclass(frozen=True)
class Integer:
    low: int = -INT_LIMIT
    high: int = INT_LIMIT

    def parse(self, value: Any, param: str) -> int:
        text = _scalar(value, param, "integer")
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ApiError(f"Invalid integer: {text[:40]}", code="parameter_invalid_integer", param=param)
        number = int(text)
        if number < self.low:
            raise ApiError(
                f"This value must be greater than or equal to {self.low}.",
                code="parameter_invalid_integer",
                param=param,
            )
        if number > self.high:
            raise ApiError(
                f"This value must be less than or equal to {self.high}.", code="parameter_invalid_integer", param=param
            )
        return number


@dataclass(frozen=True)
class Boolean:
    def parse(self, value: Any, param: str) -> bool:
        text = _scalar(value, param, "boolean")
        if text not in ("true", "false"):
            raise ApiError(f"Invalid boolean: {text[:40]}", param=param)
        return text == "true"


@dataclass(frozen=True)
class Metadata:
    def parse(self, value: Any, param: str) -> dict[str, str]:
        """At most 50 keys of 40 characters with values of 500. An empty value removes its key; so does "" for all."""
        if value == "":
            return {}
        if not isinstance(value, dict):
            raise ApiError("Invalid metadata: must be a hash.", param=param)
        if len(value) > 50:
            raise ApiError("Metadata holds at most 50 keys.", param=param)
        for key, text in value.items():
            if isinstance(text, dict):
                raise ApiError(f"Invalid metadata: {param}[{key}] must be a string.", param=f"{param}[{key}]")
            if len(key) > 40:
                raise ApiError(f"Metadata keys have at most 40 characters: {key[:60]}", param=param)
            if len(text) > 500:
                raise ApiError(f"Metadata values have at most 500 characters: {key}", param=f"{param}[{key}]")
        return dict(value)


@dataclass(frozen=True)
class Array:
    item: Field
    most: int = 100

    def parse(self, value: Any, param: str) -> list[Any]:
        if value == "":
            return []
        if not isinstance(value, dict) or not all(key.isdigit() for key in value):
            raise ApiError(f"Invalid array: {param}", param=param)
        if len(value) > self.most:
            raise ApiError(f"Invalid array: {param} has more than {self.most} elements.", param=param)
        return [self.item.parse(value[key], f"{param}[{key}]") for key in sorted(value, key=int)]


class Object:
    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.fields = {name.rstrip("!"): field for name, field in fields.items()}
        self.required = tuple(name.rstrip("!") for name in fields if name.endswith("!"))

    def parse(self, value: Any, param: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ApiError(f"Invalid object: {param}", param=param)

        def path(name: str) -> str:
            return f"{param}[{name}]" if param else name

        for name in value:
            if name not in self.fields:
                raise ApiError(f"Received unknown parameter: {path(name)}", code="parameter_unknown", param=path(name))
        for name in self.required:
            if name not in value:
                raise missing(path(name))
        return {name: self.fields[name].parse(inner, path(name)) for name, inner in value.items()}


@dataclass(frozen=True)
class TimeRange:
    """`created=1700000000` or `created[gte]=…`; parsed to bounds of whole seconds."""

    def parse(self, value: Any, param: str) -> dict[str, int]:
        if isinstance(value, dict):
            bounds: dict[str, Field] = {name: Integer() for name in ("gt", "gte", "lt", "lte")}
            return Object(bounds).parse(value, param)
        moment = Integer().parse(value, param)
        return {"gte": moment, "lte": moment}


NOTHING: dict[str, Field] = {}
LIST: dict[str, Field] = {
    "limit": Integer(1, 100),
    "starting_after": Text(),
    "ending_before": Text(),
}
ADDRESS = Object({name: Text(unset=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")})
