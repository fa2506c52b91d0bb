"""The sandbox against the schema of the installed SDK.

Every test that uses the `sandbox` fixture is checked at its end (requests, answers, events). Here is what such a run
cannot show: that parameters are declared as Stripe has them, and that what is expandable is.
"""

import pytest
from django.conf import settings

from sandbox import expand, params, routes
from tests.contract import conformance

ENDPOINTS = sorted(routes.ENDPOINTS, key=lambda endpoint: (endpoint.path, endpoint.method))


@pytest.fixture(scope="module")
def checker():
    checker = conformance.checker()
    if checker is None:
        pytest.skip(conformance.ABSENT)
    return checker


def test_the_checker_finds_what_is_wrong(checker):
    """A checker that is content with everything would be content with us."""
    assert checker.request("POST", "/v1/customers", "emial=x")
    assert checker.request("POST", "/v1/nothing", "")
    assert checker.answer("GET", "/v1/customers/cus_1", {"id": "cus_1", "object": "customer"})
    assert not checker.request("POST", "/v1/customers", "email=a@example.com")


def _matches(field, schema, at):
    """What differs between a declared field and the SDK's type, as sentences."""
    options = schema.get("anyOf", [schema])
    kinds = {option.get("type") for option in options}
    if isinstance(field, params.TimeRange | params.Metadata):
        return [] if "object" in kinds else [f"{at}: not an object in the SDK"]
    if isinstance(field, params.Object):
        objects = [option for option in options if "properties" in option]
        return _fields(field, objects[0], at) if objects else [f"{at}: not an object in the SDK"]
    if isinstance(field, params.Array):
        arrays = [option for option in options if option.get("type") == "array"]
        return _matches(field.item, arrays[0]["items"], f"{at}[]") if arrays else [f"{at}: not an array in the SDK"]
    wanted = {params.Integer: "integer", params.Boolean: "boolean"}.get(type(field), "string")
    if wanted not in kinds:
        return [f"{at}: {wanted} here, {kinds} in the SDK"]
    known = {value for option in options for value in option.get("enum", [])}
    strange = set(getattr(field, "choices", ())) - known if known else set()
    return [f"{at}: the SDK does not know {sorted(strange)}"] if strange else []


def _fields(declared, schema, at=""):
    found = []
    for name, field in declared.fields.items():
        if name not in schema["properties"]:
            found.append(f"{at}[{name}]: the SDK has no such parameter")
        else:
            found += _matches(field, schema["properties"][name], f"{at}[{name}]")
    missing = set(schema.get("required", [])) - set(declared.required) - {"expand"}
    return found + [f"{at}[{name}] is required in the SDK" for name in sorted(missing & set(declared.fields))]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_and_parameter_exists_in_the_sdk(checker, endpoint):
    operation = checker.spec["paths"][endpoint.path][endpoint.method.lower()]
    schema = checker.tools["core"].request_schema(operation, endpoint.method.lower())
    assert _fields(endpoint.accepts, schema) == []


@pytest.mark.parametrize("kind", sorted(expand.REFERENCES))
def test_every_reference_is_expandable_in_the_sdk(checker, kind):
    properties = checker.spec["components"]["schemas"][kind]["properties"]
    for name in expand.REFERENCES[kind]:
        assert "x-expansionResources" in properties[name], f"{kind}.{name}"


def test_the_endpoint_list_is_not_empty():
    assert settings.SANDBOX_ENABLED
    assert len(ENDPOINTS) > 20
