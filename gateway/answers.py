"""What the gateway is told: the bodies of 03-http-api 3.3. Money as decimal strings, times in UTC. Pure."""

from __future__ import annotations

from typing import Any

from billing.errors import BillingError
from billing.metering.usage import Charged
from config import problems
from config.problems import plain
from gateway.admission import Admitted


def authorization(admitted: Admitted) -> dict[str, Any]:
    """The answer to an authorization that stands."""
    held = admitted.held
    return {
        "id": str(held.id),
        "status": held.status,
        "account": str(admitted.caller.account_id),
        "key": admitted.caller.key_masked or None,
        "funding": held.funding,
        "held": plain(held.held),
        "held_flows": plain(held.held_flows),
        "expires_at": problems.rfc3339(held.expires_at),
        "trace_id": held.trace_id,
        "rpm": {
            "limit": admitted.rpm.limit,
            "remaining": admitted.rpm.remaining,
            "resets_at": problems.rfc3339(admitted.rpm.resets_at),
        },
    }


def capture(charged: Charged) -> dict[str, Any]:
    """The answer to a capture; to a repeat the same."""
    return {
        "usage_record": str(charged.id),
        "charge": plain(charged.charge),
        "flows": plain(charged.flows),
        "list_price": plain(charged.list_price),
        "balance": plain(charged.balance),
        "funding": charged.funding,
        "status": "captured",
        "late": charged.late,
    }


def item(answer: tuple[int, Any] | BaseException) -> dict[str, Any]:
    """One place in a batch's list: the single call's body with its status, or its problem document."""
    if isinstance(answer, BillingError):
        trace = str(answer.evidence.pop("trace_id", ""))
        return problems.document(answer, trace)
    if isinstance(answer, BaseException):
        raise answer
    status, body = answer
    return {**body, "http_status": status}


def language_of(header: str) -> str:
    """`zh-hans` for a caller who prefers Chinese, else `en`; only the first preference counts."""
    return "zh-hans" if header.strip().lower().startswith("zh") else "en"
