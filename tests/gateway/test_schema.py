"""The published schema is valid, complete, and what the lane does."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from billing.errors import type_of
from config import openapi
from tests import factories


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The document as it is published."""
    return json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True)))


def resolved(schema: dict[str, Any], part: Any) -> Any:
    """The part with what it refers to."""
    while isinstance(part, dict) and "$ref" in part:
        found: Any = schema
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def conforms(schema: dict[str, Any], operation: dict[str, Any], status: int, kind: str, body: Any) -> None:
    """The answer is one that the operation publishes."""
    responses = operation["responses"]
    response = resolved(schema, responses.get(str(status), responses["default"]))
    assert kind in response["content"], (status, kind, list(response["content"]))
    part = {**response["content"][kind]["schema"], "components": schema["components"]}
    faults = [f"{list(fault.path)}: {fault.message}" for fault in Draft202012Validator(part).iter_errors(body)]
    assert not faults, faults


def test_the_schema_has_no_warnings_and_is_valid():
    call_command("spectacular", "--fail-on-warn", "--validate", stdout=io.StringIO())


def test_the_schema_is_openapi_3_1_also_with_the_lanes_parts(schema):
    assert schema["openapi"].startswith("3.1")
    validate_schema(schema)


def test_every_schema_in_it_is_a_json_schema(schema):
    for part in schema["components"]["schemas"].values():
        Draft202012Validator.check_schema(part)


def test_every_operation_of_the_contract_is_there(schema):
    wanted = {
        "/api/v1/authorizations": "post",
        "/api/v1/authorizations/{id}/capture": "post",
        "/api/v1/authorizations/{id}/void": "post",
        "/api/v1/authorizations/batch": "post",
        "/api/v1/captures/batch": "post",
        "/api/v1/usage": "get post",
        "/api/v1/usage/{record_id}": "get",
        "/api/v1/usage/summary": "get",
        "/api/v1/quotes": "post",
        "/api/v1/models": "get",
        "/api/v1/account": "get",
        "/api/v1/balance": "get",
        "/api/v1/transactions": "get",
        "/api/v1/keys": "get post",
        "/api/v1/keys/{key_id}": "get patch delete",
        "/api/v1/keys/{key_id}/rotate": "post",
        "/api/v1/top-ups": "get post",
        "/api/v1/fx/usd-cny": "get",
    }
    assert {path: set(methods.split()) for path, methods in wanted.items()}.items() <= {
        path: set(operations) for path, operations in schema["paths"].items()
    }.items()


def test_operation_ids_are_unique_and_every_operation_has_a_summary_a_tag_and_problems(schema):
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        assert operation["responses"]["default"]["$ref"].endswith("/Problem"), operation["operationId"]
        assert operation["security"], operation["operationId"]


def test_every_code_is_published(schema):
    told = schema["components"]["schemas"]["Problem"]["description"]
    assert [code for code in type_of if code != "billing_error" and f"`{code}`" not in told] == []


def test_every_example_is_what_its_schema_says(schema):
    def examples(part: Any) -> Any:
        if isinstance(part, dict):
            if "schema" in part and "examples" in part and isinstance(part["examples"], dict):
                yield from ((part["schema"], example["value"]) for example in part["examples"].values())
            for inner in part.values():
                yield from examples(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from examples(inner)

    found = list(examples(schema["paths"])) + list(examples(schema["components"]["responses"]))
    assert len(found) >= 15
    for part, value in found:
        faults = [
            f"{list(fault.path)}: {fault.message}"
            for fault in Draft202012Validator({**part, "components": schema["components"]}).iter_errors(value)
        ]
        assert not faults, (value, faults)


def test_the_schema_and_its_page_are_public():
    for path in ("/api/schema/", "/api/docs/"):
        assert Client().get(path).status_code == 200
    assert Client().get("/api/schema/", headers={"accept": "application/json"}).json()["openapi"].startswith("3.1")


def test_the_schema_is_made_once_for_each_language():
    first = Client().get("/api/schema/?lang=zh-hans", headers={"accept": "application/json"}).json()
    assert openapi.published("zh-hans") is openapi.published("zh-hans")
    assert first["paths"].keys() == openapi.published("en")["paths"].keys()


def test_the_lane_answers_as_the_schema_says(schema, gateway):
    version = factories.price()
    account = factories.funded("1")
    _, secret = factories.key(account)
    assert version.pk

    def ask(path: str, body: Any, *, at: str = "", status: int) -> Any:
        answer = gateway.post(at or path, json=body)
        assert answer.status_code == status, answer.text
        kind = answer.headers["content-type"].partition(";")[0]
        conforms(schema, schema["paths"][path]["post"], status, kind, answer.json())
        return answer.json()

    call = {"request_id": "r1", "api_key": secret, "model": "test/model", "estimate": {"max_output_tokens": 10}}
    one = "/api/v1/authorizations"
    held = ask(one, call, status=201)
    ask(one, call, status=200)
    ask(one, call | {"estimate": {}}, status=409)
    ask(one, call | {"request_id": "r2", "estimate": {"max_output_tokens": 4000}}, status=402)
    ask(one, call | {"request_id": "r3", "model": "no/such"}, status=422)
    ask(one, call | {"api_key": "sk-x"}, status=401)
    other = {"request_id": "r4"}
    ask(
        f"{one}/batch", {"authorizations": [call | other, call | {"model": 1}, call | {"request_id": "r2"}]}, status=200
    )
    ask(f"{one}/batch", {"authorizations": []}, status=422)

    capture, usage = f"{one}/{{id}}/capture", {"usage": {"output_tokens": 3}}
    at = f"{one}/{held['id']}"
    ask(capture, usage, at=f"{at}/capture", status=200)
    ask(capture, {"usage": {}}, at=f"{at}/capture", status=409)
    ask(capture, {}, at=f"{at}/capture", status=422)
    ask(capture, usage, at=f"{one}/{account.pk}/capture", status=404)
    ask("/api/v1/captures/batch", {"captures": [{"id": held["id"], **usage}, {"id": "x"}, 7]}, status=200)
    second = ask(one, call | {"request_id": "r5"}, status=201)
    ask(f"{one}/{{id}}/void", {"reason": "upstream_error"}, at=f"{one}/{second['id']}/void", status=200)
    ask(f"{one}/{{id}}/void", {}, at=f"{at}/void", status=409)
    event = {"request_id": "e1", "api_key": secret, "model": "test/model", "usage": {"input_tokens": 1}}
    ask("/api/v1/usage", {"events": [event, event, event | {"model": "no/such"}, None]}, status=200)
