"""Values that programs send by mistake or in malice, and the places that the published schema has for them."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.generators import SchemaGenerator

TEXTS = [
    "",
    "0",
    "-1",
    "9" * 40,
    "1e309",
    "null",
    "[]",
    "\0",
    "a\0b",
    "💸" * 30,
    "\u202eabc",
    "x" * 3000,
    "'; DROP TABLE billing_wallet; --",
    "%s%s%(field)s",
    "2026-02-30",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59.999999-23:59",
    "00000000-0000-0000-0000-000000000000",
]
DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]
VALUES: list[Any] = [
    None, True, -1, 2**63, 10**300, 0.5, -1e300, [], [None], {"": None}, {"a": {"b": []}}, DEEP, ["x"] * 1500, *TEXTS,
]  # fmt: skip


def published() -> dict[str, Any]:
    """The schema's paths and components."""
    return json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True)))


SCHEMA = published()
LANE = ("authorizations_", "captures_", "usage_report")
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, operations in SCHEMA["paths"].items()
    for method, operation in operations.items()
}
CUSTOMERS = [name for name in OPERATIONS if not name.startswith(LANE)]


def resolved(part: Any) -> Any:
    """The part with what it refers to."""
    while "$ref" in part:
        found: Any = SCHEMA
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def members(operation: dict[str, Any]) -> list[str]:
    """The names of the body's members."""
    if "requestBody" not in operation:
        return []
    return list(resolved(operation["requestBody"]["content"]["application/json"]["schema"])["properties"])


def sound(operation: dict[str, Any]) -> dict[str, Any]:
    """A body that is right, so that one wrong member is looked at and not the first missing one."""
    examples = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    return dict(next(iter(examples.values()))["value"]) if examples else {}


def paths(path: str, rows: dict[str, str]) -> str:
    """The path with rows that exist."""
    for name, value in rows.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def is_fine(answer: Any, about: object) -> None:
    """Below 500; a refusal is a problem document. That the payment provider is away, as here, may be said, too."""
    content_type = answer.headers["content-type"] if answer.status_code != 204 else ""
    away = answer.status_code == 503 and json.loads(answer.content)["code"] == "processor_unavailable"
    assert answer.status_code < 500 or away, (about, answer.status_code)
    if answer.status_code >= 400:
        assert content_type == "application/problem+json", (about, answer.status_code, content_type)
        assert json.loads(answer.content)["status"] == answer.status_code
