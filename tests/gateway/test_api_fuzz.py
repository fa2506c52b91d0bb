"""Nonsense told by a gateway: always an answer below 500, and refusals in one form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import factories
from tests.nonsense import OPERATIONS, VALUES, is_fine, members


def lane_bodies(secret: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each member of each body of the lane, wrong in each way."""
    call = {"request_id": "r", "api_key": secret, "model": "anthropic/claude-opus-4.6"}
    estimate = {"estimate": {"max_output_tokens": 5}}
    used = {"usage": {"input_tokens": 1}}
    for name, base in (
        ("authorizations_create", call | estimate),
        ("authorizations_capture", used),
        ("authorizations_void", {}),
        ("usage_report", {"events": [call | used]}),
    ):
        path, operation = OPERATIONS[name][1], OPERATIONS[name][2]
        for value in VALUES:
            for member in members(operation):
                yield path, base | {member: value}
            if name == "usage_report":
                for member in [
                    *call,
                    *used,
                    "channel",
                    "fields",
                    "occurred_at",
                    "format",
                    "provider_usage",
                    "latency_ms",
                ]:
                    yield path, {"events": [call | used | {member: value}]}
            if name == "authorizations_create":
                for member in ("max_output_tokens", "input_tokens", "seconds"):
                    yield path, call | {"estimate": {member: value}}


@pytest.mark.slow
def test_nonsense_told_by_a_gateway_is_refused_or_answered(gateway):
    factories.price("anthropic/claude-opus-4.6", at=factories.NOON.replace(year=2020))
    account = factories.funded("10")
    _, secret = factories.key(account)
    asked = 0
    for path, body in lane_bodies(secret):
        answer = gateway.post(path.replace("{id}", str(account.pk)), content=json.dumps(body).encode())
        is_fine(answer, (path, str(body)[:200]))
        asked += 1
    for raw in (b"", b"{", b"[]", b"\xff", b"[" * 5000, b'{"request_id": "\\ud800"}'):
        is_fine(gateway.post("/api/v1/authorizations", content=raw), raw[:20])
    assert asked > 500
