"""The published schema: who may call, what refusals look like, and the page that shows it all."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.utils.translation import get_language
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from billing.errors import type_of

PROBLEM = {"$ref": "#/components/responses/Problem"}
DENIAL = {"$ref": "#/components/responses/Denial"}


class ManagementKeyScheme(OpenApiAuthenticationExtension):
    """A customer's program."""

    target_class = "accounts.authentication.ManagementKeyAuthentication"
    name = "ManagementKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """`Authorization: Bearer mk-…`."""
        return {"type": "http", "scheme": "bearer", "description": "A management key of one account: `mk-…`."}


class GatewayTokenScheme(OpenApiAuthenticationExtension):
    """A gateway."""

    target_class = "accounts.authentication.GatewayTokenAuthentication"
    name = "GatewayToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """`Authorization: Bearer gw-…`."""
        return {"type": "http", "scheme": "bearer", "description": "A gateway's service token: `gw-…`."}


class PortalSessionScheme(OpenApiAuthenticationExtension):
    """The portal in a browser."""

    target_class = "accounts.authentication.PortalSessionAuthentication"
    name = "PortalSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """The session cookie; writing needs the CSRF header too."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The portal's session; requests that write need `X-CSRFToken`.",
        }


class VisitorSessionScheme(OpenApiAuthenticationExtension):
    """The same session where it is not required."""

    target_class = "accounts.authentication.VisitorSessionAuthentication"
    name: list[str] = []

    def get_security_requirement(self, auto_schema: Any) -> dict[str, Any]:
        """Named as the portal's, which defines it."""
        return {"PortalSession": []}

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        """None of its own."""
        return []


# --- Refusals ------------------------------------------------------------------------------------------------------

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `code` never changes; `title` and `detail` follow `Accept-Language` (en, zh-hans). "
    "Members that belong to the code stand beside these.",
    "required": ["type", "title", "status", "detail", "code", "trace_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "examples": ["invalid_request"]},
        "trace_id": {"type": "string"},
        "field": {"type": "string", "description": "The first field that is not right."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_NULLABLE_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_DENIAL_SCHEMA: dict[str, Any] = {
    "description": "A call that was not admitted, with its decision receipt: the gates in the order in which they were "
    "asked, up to the one that refused.",
    "allOf": [
        {"$ref": "#/components/schemas/Problem"},
        {
            "type": "object",
            "required": ["limit_source", "needed", "available", "resets_at", "gates"],
            "properties": {
                "limit_source": {"type": "string"},
                "needed": {**_NULLABLE_TEXT, "description": "What the call needs: USD, requests or Flows."},
                "available": {**_NULLABLE_TEXT},
                "resets_at": {"type": ["string", "null"], "format": "date-time"},
                "gates": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["gate", "verdict", "value", "limit"],
                        "properties": {
                            "gate": {"type": "string"},
                            "verdict": {"type": "string", "enum": ["pass", "refuse"]},
                            "value": {**_NULLABLE_TEXT},
                            "limit": {**_NULLABLE_TEXT},
                        },
                    },
                },
            },
        },
    ],
}


def example(code: str, **members: Any) -> dict[str, Any]:
    """A problem document of this code."""
    error = type_of[code]
    return {
        "type": f"urn:meterhall:problem:{code}",
        "title": str(error.title),
        "status": int(error.status),
        "detail": str(error.title),
        "code": code,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        **members,
    }


def _response(description: str, schema: str, **examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "content": {
            "application/problem+json": {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook: what every operation may answer besides its own."""
    components = result["components"]
    codes = ", ".join(f"`{code}`" for code in sorted(type_of) if code != "billing_error")
    problem = {**_PROBLEM_SCHEMA, "description": f"{_PROBLEM_SCHEMA['description']} Codes: {codes}."}
    components["schemas"] |= {"Problem": problem, "Denial": _DENIAL_SCHEMA}
    gates = [
        {"gate": "key", "verdict": "pass", "value": "sk-pg-v1-…9f3a", "limit": None},
        {"gate": "account", "verdict": "pass", "value": "active", "limit": None},
        {"gate": "model", "verdict": "pass", "value": "anthropic/claude-opus-4.6", "limit": None},
        {"gate": "price", "verdict": "pass", "value": "v1", "limit": None},
        {"gate": "rpm", "verdict": "pass", "value": "1", "limit": "600"},
        {"gate": "balance", "verdict": "refuse", "value": "0.1084000000", "limit": "0.0200000000"},
    ]
    wallet = {"limit_source": "balance", "needed": "0.1084000000", "available": "0.0200000000", "resets_at": None}
    components["responses"] = {
        "Problem": _response(
            "The request was refused.",
            "Problem",
            credential=example("invalid_credential"),
            field=example(
                "invalid_request", field="from", errors=[{"field": "from", "message": "Write a time such as …"}]
            ),
        ),
        "Denial": _response(
            "The call is not admitted.", "Denial", balance=example("insufficient_balance", **wallet, gates=gates)
        ),
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"].setdefault("default", PROBLEM)
    return result


@cache
def published(language: str) -> dict[str, Any]:
    """The schema in this language, made once per process: it takes half a second and changes only with the code."""
    return dict(SchemaGenerator().get_schema(request=None, public=True))


class ApiSchema(SpectacularAPIView):
    """The schema as YAML or JSON."""

    def _get_schema_response(self, request: Request) -> Response:
        filename = self._get_filename(request, "")
        return Response(
            published(get_language() or ""), headers={"Content-Disposition": f'inline; filename="{filename}"'}
        )


class ApiDocs(SpectacularSwaggerSplitView):
    """The schema to read and to try. Its script is a file, as the site's policy wants it (7.2)."""

    template_name = "api/docs.html"
