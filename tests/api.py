"""A customer's program: a client that speaks JSON with a management key."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from accounts import api_keys
from accounts.models import Account
from tests.factories import NOON


class Program(Client):
    """`get`, `post`, … on paths below `/api/v1/`; bodies are JSON."""

    def __init__(self, secret: str = "", **more: Any) -> None:
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        super().__init__(headers=headers, raise_request_exception=True, **more)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """One request; `body` is sent as JSON, bytes as they are."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        path = path if path.startswith("/") else f"/api/v1/{path}"
        return self.generic(
            method, path, body or b"", content_type=more.pop("content_type", "application/json"), **more
        )


def management_key(of: Account, role: str = "admin") -> str:
    """The secret of a new management key."""
    return api_keys.issue_management_key(of, name="test", role=role, now=NOON, actor=None)[1]


def program(of: Account, role: str = "admin") -> Program:
    """A program that acts for the account with the rights of the role."""
    return Program(management_key(of, role))


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The answer as a problem document with this status and code, or an assertion that says what came instead."""
    assert answer.status_code == status, (answer.status_code, answer.content[:500])
    assert answer["Content-Type"] == "application/problem+json", answer["Content-Type"]
    body = json.loads(answer.content)
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["trace_id"] == answer["X-Trace-Id"]
    assert body["title"]
    assert body["type"] == f"urn:meterhall:problem:{code}"
    return body
