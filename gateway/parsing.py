"""What the gateway sends, checked and typed, before anything is asked or written. Pure but for the keys' hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.utils.translation import gettext_lazy as _

from accounts import secrets
from billing.catalog.reading import ToldUsage, fields_of, told_usage
from billing.catalog.usage import Usage
from billing.errors import BadRequest, InvalidRequest
from config.middleware import clean_trace_id

KINDS = frozenset({"call", "image", "video", "batch"})
BILLING_MODES = frozenset({"payg", "subscription"})
MAX_BATCH = 1000
_TEXT_LIMITS = {"request_id": 200, "model": 120, "channel": 60, "fingerprint": 128, "conversation": 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that asks to be authorised, or reports itself: who, what, and on which terms.

    `billing_mode` is empty where a first-party app names a `conversation` and no mode: the conversation's own applies.
    """

    request_id: str
    key_hash: bytes | None
    account_id: UUID | None
    billing_mode: str
    model: str
    channel: str | None
    estimate: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    trace_id: str
    kind: str = "call"
    digest: bytes = b""
    conversation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a finished call used, in canonical form or as its provider told it."""

    usage: Usage | ToldUsage
    upstream_status: int | None
    latency_ms: int | None


def json_object(body: bytes) -> dict[str, Any]:
    """The body as an object. Raises BadRequest."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest(_("The body is not JSON.")) from None
    if not isinstance(found, dict):
        raise BadRequest(_("The body must be a JSON object."))
    return found


def items_of(body: Mapping[str, Any], name: str) -> list[Any]:
    """The list under `name`, of 1 to 1,000 items."""
    found = body.get(name)
    if not isinstance(found, list) or not found:
        raise InvalidRequest(_("%(field)s must be a list with at least one item."), field=name)
    if len(found) > MAX_BATCH:
        raise InvalidRequest(_("%(field)s takes at most 1,000 items."), field=name)
    return found


def call_of(body: Any) -> Call:
    """An authorization's body. Raises InvalidRequest naming the field."""
    if not isinstance(body, dict):
        raise InvalidRequest(_("%(field)s must be an object."), field="body")
    key_hash, account_id, mode, conversation = _who(body)
    estimate = body.get("estimate")
    if estimate is None:
        estimate = {}
    if not isinstance(estimate, dict):
        raise InvalidRequest(_("%(field)s must be an object."), field="estimate")
    kind = body.get("kind", "call")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidRequest(_("%(field)s must be call, image, video or batch."), field="kind")
    request_id, model = _text(body, "request_id", required=True), _text(body, "model", required=True)
    channel, fingerprint = _text(body, "channel") or None, _text(body, "fingerprint")
    fields = fields_of(body)
    told = [
        key_hash and key_hash.hex(),
        account_id and str(account_id),
        mode,
        model,
        channel,
        estimate,
        fields,
        fingerprint,
        kind,
        *([conversation] if conversation else []),
    ]
    try:
        digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()
    except (orjson.JSONEncodeError, TypeError):
        raise InvalidRequest(_("%(field)s has a value that cannot be read."), field="estimate") from None
    return Call(
        request_id=request_id,
        key_hash=key_hash,
        account_id=account_id,
        billing_mode=mode,
        model=model,
        channel=channel,
        estimate=estimate,
        fields=fields,
        fingerprint=fingerprint,
        trace_id=clean_trace_id(_text(body, "trace_id", limit=64)),
        kind=kind,
        digest=digest,
        conversation=conversation,
    )


def used_of(body: Any) -> Used:
    """A capture's body: canonical usage, or the provider's own object, which is read once its channel is known."""
    if not isinstance(body, dict):
        raise InvalidRequest(_("%(field)s must be an object."), field="body")
    return Used(
        usage=told_usage(body),
        upstream_status=_whole(body, "upstream_status", 999),
        latency_ms=_whole(body, "latency_ms", 2_000_000_000),
    )


def moment_of(body: Mapping[str, Any], name: str, *, now: datetime) -> datetime:
    """An RFC 3339 time with an offset, not in the future and at most 35 days back; absent: now."""
    text = body.get(name)
    if text is None:
        return now
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise InvalidRequest(_("%(field)s must be a time such as 2026-11-22T12:00:00Z."), field=name) from None
    if found.tzinfo is None:
        raise InvalidRequest(_("%(field)s must say its time zone."), field=name)
    if not now - timedelta(days=35) <= found <= now + timedelta(minutes=5):
        raise InvalidRequest(_("%(field)s lies too far back or in the future."), field=name)
    return min(found, now)


def reason_of(body: Mapping[str, Any]) -> str:
    """Why a hold is released; free text of up to 200 characters."""
    return _text(body, "reason", limit=200)


def _who(body: Mapping[str, Any]) -> tuple[bytes | None, UUID | None, str, str]:
    """The key's hash or the account, the billing mode, and the conversation that decides where no mode is sent."""
    key, account = body.get("api_key"), body.get("account")
    if (key is None) == (account is None):
        raise InvalidRequest(_("Send either api_key, or account with billing_mode."), field="api_key")
    if key is not None:
        text = key if isinstance(key, str) else ""
        # A key that cannot be ours is looked up like any other, so that the answer gives no hint.
        return secrets.digest(text) if secrets.is_well_formed(text) else b"\0" * 32, None, "payg", ""
    conversation = _text(body, "conversation")
    # A mode that is sent overrides the conversation's, and is not stored.
    mode = body.get("billing_mode", None if conversation else "payg")
    if not (conversation and mode is None) and (not isinstance(mode, str) or mode not in BILLING_MODES):
        raise InvalidRequest(_("%(field)s must be subscription or payg."), field="billing_mode")
    try:
        return None, UUID(account), mode or "", conversation
    except (TypeError, ValueError, AttributeError):
        raise InvalidRequest(_("%(field)s must be a UUID."), field="account") from None


def _text(body: Mapping[str, Any], name: str, *, required: bool = False, limit: int | None = None) -> str:
    found = body.get(name)
    if found is None and not required:
        return ""
    if not isinstance(found, str) or (required and not found.strip()):
        raise InvalidRequest(_("%(field)s must be a text."), field=name)
    if len(found) > (limit or _TEXT_LIMITS[name]):
        raise InvalidRequest(_("%(field)s is too long."), field=name)
    if "\0" in found:
        raise InvalidRequest(_("%(field)s has a character that cannot be kept."), field=name)
    return found


def _whole(body: Mapping[str, Any], name: str, most: int) -> int | None:
    found = body.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= most:
        raise InvalidRequest(_("%(field)s must be a whole number that is not negative."), field=name)
    return found
