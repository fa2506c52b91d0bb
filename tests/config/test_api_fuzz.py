"""Nonsense in every place that the published schema names: always an answer below 500, and refusals in one form."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests import factories
from tests.api import Program, management_key
from tests.nonsense import CUSTOMERS, OPERATIONS, SCHEMA, TEXTS, VALUES, is_fine, members, paths, sound

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows(settings: Any) -> dict[str, str]:
    """A customer with a row for each parameter, and the secret of a management key."""
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    account = factories.funded("10")
    version = factories.price("anthropic/claude-opus-4.6", at=factories.NOON.replace(year=2020))
    key, _ = factories.key(account)
    held = factories.hold(account, version, "1", api_key_id=key.pk)
    factories.capture(held.id, input_tokens=10)
    return {
        "key_id": str(key.pk),
        "record_id": str(held.id),
        "number": "product_0",
        "secret": management_key(account, "owner"),
    }


@pytest.mark.parametrize("name", CUSTOMERS)
def test_nonsense_in_a_query_is_refused_or_answered(name, rows):
    method, path, operation = OPERATIONS[name]
    caller, at = Program(rows["secret"]), paths(path, rows)
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query":
            for text in TEXTS:
                is_fine(caller.call(method, f"{at}?{urlencode({parameter['name']: text})}"), (parameter["name"], text))
            is_fine(caller.call(method, f"{at}?{parameter['name']}=%ff%fe"), parameter["name"])
            is_fine(caller.call(method, f"{at}?{parameter['name']}=1&{parameter['name']}=2"), parameter["name"])
    if method == "GET":
        is_fine(caller.call(method, f"{at}?%00=%00&\u202e=1&a[]=1"), "unknown parameters")


@pytest.mark.parametrize("name", [name for name in CUSTOMERS if "{" in OPERATIONS[name][1]])
def test_nonsense_in_a_path_is_not_found(name, rows):
    method, path, _operation = OPERATIONS[name]
    caller = Program(rows["secret"])
    for text in TEXTS:
        at = path
        for parameter in ("key_id", "record_id", "number"):
            at = at.replace(f"{{{parameter}}}", quote(text, safe=""))
        is_fine(caller.call(method, at), text)


@pytest.mark.parametrize("name", [name for name in CUSTOMERS if members(OPERATIONS[name][2])])
def test_nonsense_in_a_body_is_refused_or_answered(name, rows):
    method, path, operation = OPERATIONS[name]
    caller, at = Program(rows["secret"]), paths(path, rows)
    for member in [*members(operation), "\0", "no_such_member"]:
        for value in VALUES:
            with transaction.atomic():
                body = sound(operation) | {member: value}
                is_fine(caller.call(method, at, body, headers={"idempotency-key": "k"}), (member, value))
                transaction.set_rollback(True)
    for value in TEXTS:
        if value.isprintable() and value.isascii():
            is_fine(caller.call(method, at, {}, headers={"idempotency-key": value}), ("header", value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
USAGE = list(SCHEMA["components"]["schemas"]["CanonicalUsage"]["properties"])


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON, usage=st.dictionaries(st.sampled_from(USAGE), JSON, max_size=4), provider=JSON, fields=JSON)
def test_any_json_at_all_is_answered_by_the_calculator(rows, body, usage, provider, fields):
    caller = Program()
    model = {"model": "anthropic/claude-opus-4.6"}
    is_fine(caller.call("POST", "quotes", body), body)
    is_fine(caller.call("POST", "quotes", model | {"usage": usage, "fields": fields}), usage)
    is_fine(caller.call("POST", "quotes", model | {"provider_usage": provider, "format": "openai.chat"}), provider)
