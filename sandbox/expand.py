"""`expand[]`: references in an answer replaced by the objects that they name."""

from collections.abc import Callable
from typing import Any

from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject

REFERENCES: dict[str, set[str]] = {"": {"charge", "payment_intent", "price", "subscription"}}
"""kind of object -> fields that hold the id of another object; "" for parts of an object that have no kind."""
INCLUDED: dict[tuple[str, str], Callable[[Json], Any]] = {}
"""(kind, field) -> what to show in a field that is absent unless it is asked for."""
MAX_DEPTH = 4


def expanded(body: Json, paths: list[str]) -> Json:
    """A copy of the answer with each path expanded; a path that cannot be is refused as Stripe does."""
    for position, path in enumerate(paths):
        segments = path.split(".")
        if len(segments) > MAX_DEPTH + (segments[0] == "data"):
            raise ApiError("You cannot expand more than 4 levels of a property.", param=f"expand[{position}]")
        body = _walk(body, segments, path, position)
    return body


def _walk(value: Any, segments: list[str], path: str, position: int) -> Any:
    if not segments or value is None:
        return value
    if isinstance(value, list):
        return [_walk(item, segments, path, position) for item in value]
    name, *rest = segments
    kind = value.get("object", "") if isinstance(value, dict) else ""
    if (kind, name) in INCLUDED and name not in value:
        inner = INCLUDED[kind, name](value)
    elif isinstance(value, dict) and name in value:
        inner = value[name]
        if isinstance(inner, str):
            if name not in REFERENCES.get(kind, ()):
                raise _cannot(path, position)
            row = StoredObject.objects.filter(object_id=inner).first()
            inner = row.data if row else inner
        elif not isinstance(inner, dict | list) and name not in REFERENCES.get(kind, ()):
            raise _cannot(path, position)
    else:
        raise _cannot(path, position)
    return {**value, name: _walk(inner, rest, path, position) if not isinstance(inner, str) else inner}


def _cannot(path: str, position: int) -> ApiError:
    return ApiError(
        f"This property cannot be expanded ({path}). You may want to try expanding one of its parents.",
        param=f"expand[{position}]",
    )
