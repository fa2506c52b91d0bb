"""The lane's endpoints in the published OpenAPI schema: the lane is not a DRF view, so they are described here.

`tests/gateway/test_schema.py` calls the lane and checks its answers against what is said here.
"""

from __future__ import annotations

from typing import Any

from billing.catalog import images
from billing.catalog.usage import Usage
from config.openapi import DENIAL, PROBLEM
from gateway import parsing

Schema = dict[str, Any]

_HOLD = "01930f6e-8a2b-7c3d-9e4f-5a6b7c8d9e0f"
_ACCOUNT = "6f1c2d3e-4b5a-4968-8776-5a4b3c2d1e0f"
_AT = "2026-11-22T12:15:04.123456Z"

_UUID: Schema = {"type": "string", "format": "uuid"}
_AMOUNT: Schema = {"type": "string", "format": "decimal", "examples": ["0.0123400000"]}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _text(most: int, **more: Any) -> Schema:
    return {"type": "string", "maxLength": most, **more}


def _object(properties: dict[str, Schema], required: tuple[str, ...] = (), **more: Any) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {}), **more}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


# --- Schemas -------------------------------------------------------------------------------------------------------

_SPECIAL = {
    "input_tokens": "Including its cache, audio and image tokens.",
    "output_tokens": "Including its reasoning, audio and image tokens.",
    "cache_tokens": "Automatic caching; the same tokens as `cache_read_tokens` unless the price says otherwise.",
    "requests": "For models priced by request; 1 when absent.",
}


def _usage() -> Schema:
    found = {
        name: {**_COUNT, **({"description": _SPECIAL[name]} if name in _SPECIAL else {})} for name in Usage._fields
    }
    found["seconds"] = {"type": ["string", "integer"], "description": "A decimal string: `4.5`.", "examples": ["4.5"]}
    return _object(
        found, additionalProperties=False, description="Canonical usage: all members optional, none negative."
    )


_SIDE: Schema = {"type": "integer", "minimum": 1, "maximum": images.LONGEST, "description": "Pixels."}
_IMAGES: Schema = {
    "type": "array",
    "maxItems": images.MOST_IMAGES,
    "items": _object(
        {"width": _SIDE, "height": _SIDE, "detail": {"type": "string", "enum": list(images.DETAILS)}},
        ("width", "height"),
        additionalProperties=False,
    ),
    "description": "Images of the input: their tokens are counted by the model's rule and added to `input_tokens` and "
    "`input_image_tokens` of the estimate. A capture charges what the provider counted.",
}
_CALL: dict[str, Schema] = {
    "request_id": _text(200, description="Names the call for ever: unique within the account."),
    "api_key": _text(200, description="The customer's key. Send this, or `account`."),
    "account": {**_UUID, "description": "For first-party apps, in place of `api_key`."},
    "billing_mode": {
        "type": "string", "enum": sorted(parsing.BILLING_MODES),
        "description": "With `account`. Absent: what the `conversation` was set to, else `payg`.",
    },
    "conversation": _text(
        200,
        description="With `account`: the app's name of a conversation, whose billing mode (see `PUT "
        "/api/v1/conversations/{conversation}/billing-mode`; `subscription` until it is set) applies when "
        "`billing_mode` is absent. One that is sent overrides it for this call and is not stored.",
    ),
    "model": _text(120),
    "channel": {"type": ["string", "null"], "maxLength": 60, "description": "Absent: `default`."},
    "fields": _object(
        {}, additionalProperties={"type": ["string", "number", "boolean", "null"]}, maxProperties=64,
        description='Request fields and headers that a price may depend on: `{"header:x-priority": "true"}`.',
    ),
    "fingerprint": _text(128, description="A hash of the request's content; finds possible duplicates."),
    "trace_id": _text(64, description="Made when absent or not well formed."),
}  # fmt: skip
_PROVIDER: dict[str, Schema] = {
    "usage": _ref("CanonicalUsage"),
    "provider_usage": _object({}, additionalProperties=True, description="The provider's own object, untouched."),
    "format": {
        "type": "string",
        "enum": ["openai.chat", "openai.responses", "anthropic.messages", "gemini.generate", "litellm"],
    },
}
_WHO: Schema = {"oneOf": [{"required": ["api_key"]}, {"required": ["account"]}]}
_WHAT: Schema = {"oneOf": [{"required": ["usage"]}, {"required": ["provider_usage", "format"]}]}


def _schemas() -> dict[str, Schema]:
    outcome = {
        "upstream_status": {"type": ["integer", "null"], "minimum": 0, "maximum": 999},
        "latency_ms": {"type": ["integer", "null"], "minimum": 0, "maximum": 2_000_000_000},
    }
    capture = _object({**_PROVIDER, **outcome}, **_WHAT, description="What the call used; one of the two forms.")
    authorized = _object(
        {
            "id": _UUID,
            "status": {"type": "string", "enum": ["open", "captured", "voided", "expired"]},
            "account": _UUID,
            "key": {"type": ["string", "null"], "description": "Masked."},
            "funding": {"type": "string", "enum": ["payg", "subscription", "extra_usage"]},
            "held": {**_AMOUNT, "description": "USD."},
            "held_flows": _AMOUNT,
            "expires_at": _TIME,
            "trace_id": {"type": "string"},
            "rpm": _object(
                {"limit": _COUNT, "remaining": _COUNT, "resets_at": _TIME}, ("limit", "remaining", "resets_at")
            ),
        },
        ("id", "status", "account", "key", "funding", "held", "held_flows", "expires_at", "trace_id", "rpm"),
    )
    captured = _object(
        {
            "usage_record": _UUID,
            "charge": {**_AMOUNT, "description": "USD: what the call cost, even beyond its hold."},
            "flows": _AMOUNT,
            "list_price": _AMOUNT,
            "balance": {**_AMOUNT, "description": "After this charge; negative in overdraft."},
            "funding": {"type": "string", "enum": ["payg", "subscription", "extra_usage"]},
            "status": {"type": "string", "const": "captured"},
            "late": {"type": "boolean", "description": "The hold had expired."},
        },
        ("usage_record", "charge", "flows", "list_price", "balance", "funding", "status", "late"),
    )
    status = _object({"http_status": {"type": "integer"}}, ("http_status",))
    return {
        "CanonicalUsage": _usage(),
        "AuthorizationInput": _object(
            {
                **_CALL,
                "estimate": _object(
                    {"max_output_tokens": _COUNT, "input_images": _IMAGES},
                    additionalProperties=True,
                    description="Canonical usage as far as known, and `max_output_tokens`; an upper bound is held.",
                ),
                "kind": {"type": "string", "enum": sorted(parsing.KINDS), "default": "call"},
            },
            ("request_id", "model"),
            **_WHO,
        ),
        "Authorization": authorized,
        "AuthorizationBatchInput": _batch("authorizations", _ref("AuthorizationInput")),
        "AuthorizationBatch": _results(
            {"anyOf": [{"allOf": [_ref("Authorization"), status]}, _ref("Denial"), _ref("Problem")]}
        ),
        "CaptureInput": capture,
        "Capture": captured,
        "CaptureBatchInput": _batch(
            "captures",
            {"allOf": [_object({"id": {**_UUID, "description": "The authorization."}}, ("id",)), _ref("CaptureInput")]},
        ),
        "CaptureBatch": _results({"anyOf": [{"allOf": [_ref("Capture"), status]}, _ref("Problem")]}),
        "VoidInput": _object({"reason": _text(200)}),
        "Void": _object({"id": _UUID, "status": {"type": "string", "enum": ["voided", "expired"]}}, ("id", "status")),
        "UsageEvent": _object(
            {
                **_CALL,
                **_PROVIDER,
                **outcome,
                "occurred_at": {
                    **_TIME,
                    "description": "Prices are those in force then. At most 35 days ago; absent: now.",
                },
            },
            ("request_id", "model"),
            allOf=[_WHO, _WHAT],
        ),
        "UsageEventsInput": _batch("events", _ref("UsageEvent")),
        "UsageEvents": _results(
            _object(
                {
                    "request_id": {"type": ["string", "null"]},
                    "status": {"type": "string", "enum": ["created", "duplicate", "rejected"]},
                    "charge": {"type": ["string", "null"], "format": "decimal"},
                    "flows": {"type": "string", "format": "decimal", "description": "Of a call of a subscription."},
                    "funding": {"type": "string", "enum": ["payg", "subscription", "extra_usage"]},
                    "code": {"type": ["string", "null"], "description": "Why it was rejected."},
                    "detail": {"type": "string"},
                },
                ("request_id", "status", "charge", "code"),
            )
        ),
    }


def _batch(name: str, item: Schema) -> Schema:
    return _object({name: {"type": "array", "items": item, "minItems": 1, "maxItems": parsing.MAX_BATCH}}, (name,))


def _results(item: Schema) -> Schema:
    return _object({"results": {"type": "array", "items": item, "description": "In the order sent."}}, ("results",))


# --- Examples ------------------------------------------------------------------------------------------------------

_AUTHORIZE = {
    "request_id": "req-7f3a",
    "api_key": "sk-pg-v1-…",
    "model": "anthropic/claude-opus-4.6",
    "channel": "aws-us",
    "estimate": {"input_tokens": 1200, "max_output_tokens": 4096},
    "fields": {"header:x-priority": "true"},
    "fingerprint": "b1946ac92492d2347c6235b4d2611184",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "kind": "call",
}
_AUTHORIZED = {
    "id": _HOLD,
    "status": "open",
    "account": _ACCOUNT,
    "key": "sk-pg-v1-…9f3a",
    "funding": "payg",
    "held": "0.1084000000",
    "held_flows": "0.000000",
    "expires_at": _AT,
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "rpm": {"limit": 60, "remaining": 59, "resets_at": _AT},
}
_CAPTURE = {
    "usage": {"input_tokens": 1200, "output_tokens": 310, "cache_read_tokens": 800},
    "upstream_status": 200,
    "latency_ms": 1830,
}
_PROVIDERS = {
    "openai": {
        "format": "openai.chat",
        "provider_usage": {
            "prompt_tokens": 1200,
            "completion_tokens": 310,
            "total_tokens": 1510,
            "prompt_tokens_details": {"cached_tokens": 800},
        },
    },
    "anthropic": {
        "format": "anthropic.messages",
        "provider_usage": {"input_tokens": 400, "cache_read_input_tokens": 800, "output_tokens": 310},
    },
}
_CAPTURED = {
    "usage_record": _HOLD,
    "charge": "0.0123400000",
    "flows": "0.000000",
    "list_price": "0.0123400000",
    "balance": "9.9876600000",
    "funding": "payg",
    "status": "captured",
    "late": False,
}
_EVENT = {
    "request_id": "req-8c1d",
    "api_key": "sk-pg-v1-…",
    "model": "openai/gpt-5.2",
    "usage": {"input_tokens": 900, "output_tokens": 120},
    "occurred_at": _AT,
}
_REPORTED = {
    "results": [
        {
            "request_id": "req-8c1d",
            "status": "created",
            "charge": "0.0032550000",
            "flows": "0.000000",
            "funding": "payg",
            "code": None,
        },
        {
            "request_id": "req-8c1e",
            "status": "rejected",
            "charge": None,
            "code": "unknown_model",
            "detail": "There is …",
        },
    ]
}


# --- Operations ----------------------------------------------------------------------------------------------------


def _content(schema: str, examples: dict[str, Any]) -> Schema:
    return {"application/json": {"schema": _ref(schema), "examples": {n: {"value": v} for n, v in examples.items()}}}


def _answer(description: str, schema: str, **examples: Any) -> Schema:
    return {"description": description, "content": _content(schema, examples)}


def _post(
    name: str, summary: str, schema: str, examples: dict[str, Any], responses: dict[str, Any], *, on_hold: bool = False,
    description: str = "", optional: bool = False,
) -> Schema:  # fmt: skip
    hold = {"name": "id", "in": "path", "required": True, "schema": _UUID, "description": "The authorization."}
    return {
        "operationId": name,
        "summary": summary,
        **({"description": description} if description else {}),
        "tags": ["Gateway"],
        "security": [{"GatewayToken": []}],
        **({"parameters": [hold]} if on_hold else {}),
        "requestBody": {"required": not optional, "content": _content(schema, examples)},
        "responses": responses | {"401": PROBLEM, "422": PROBLEM, "503": PROBLEM},
    }


def _paths() -> dict[str, Schema]:
    held = _answer("Held.", "Authorization", held=_AUTHORIZED)
    again = _answer(
        "The same `request_id` with the same body: the same authorization.", "Authorization", held=_AUTHORIZED
    )
    captured = _answer("Charged, durably.", "Capture", captured=_CAPTURED)
    conflict = {"404": PROBLEM, "409": PROBLEM}
    return {
        "/api/v1/authorizations": _post(
            "authorizations_create",
            "Admit a call and hold its funds",
            "AuthorizationInput",
            {"key": _AUTHORIZE, "account": {"request_id": "req-1", "account": _ACCOUNT, "model": "openai/gpt-5.2"}},
            {"201": held, "200": again, "402": DENIAL, "403": DENIAL, "404": PROBLEM, "409": PROBLEM, "429": DENIAL},
            description="The gates are asked in this order: credential, key, account, model permission, "
            "price, requests a minute, quotas, balance. A refusal carries the receipt. `funding` is chosen here, once.",
        ),
        "/api/v1/authorizations/batch": _post(
            "authorizations_batch",
            "Admit up to 1,000 calls",
            "AuthorizationBatchInput",
            {"one": {"authorizations": [_AUTHORIZE]}},
            {
                "200": _answer(
                    "One answer for each, in order.",
                    "AuthorizationBatch",
                    one={"results": [_AUTHORIZED | {"http_status": 201}]},
                )
            },
        ),
        "/api/v1/authorizations/{id}/capture": _post(
            "authorizations_capture",
            "Charge what a call used",
            "CaptureInput",
            {"canonical": _CAPTURE, **_PROVIDERS},
            {"200": captured, **conflict},
            on_hold=True,
            description="The actual usage is charged, also beyond the hold. The same usage again gets the same answer, "
            "other usage 409 `already_captured`. After `expires_at` the call is still charged, and marked `late`.",
        ),
        "/api/v1/authorizations/{id}/void": _post(
            "authorizations_void",
            "Release a hold and charge nothing",
            "VoidInput",
            {"upstream": {"reason": "upstream_error"}},
            {
                "200": _answer("Released; repeats are harmless.", "Void", voided={"id": _HOLD, "status": "voided"}),
                **conflict,
            },
            on_hold=True,
        ),
        "/api/v1/captures/batch": _post(
            "captures_batch",
            "Charge up to 1,000 calls",
            "CaptureBatchInput",
            {"one": {"captures": [{"id": _HOLD, **_CAPTURE}]}},
            {
                "200": _answer(
                    "One answer for each, in order.",
                    "CaptureBatch",
                    one={"results": [_CAPTURED | {"http_status": 200}]},
                )
            },
        ),
        "/api/v1/usage": _post(
            "usage_report",
            "Charge calls that were made without a hold",
            "UsageEventsInput",
            {"one": {"events": [_EVENT]}},
            {"200": _answer("One bad event rejects only itself.", "UsageEvents", mixed=_REPORTED)},
        ),
    }


def add_lane(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook."""
    result["components"]["schemas"] |= _schemas()
    for path, operation in _paths().items():
        result["paths"].setdefault(path, {})["post"] = operation
    result["paths"] = dict(sorted(result["paths"].items()))
    return result
