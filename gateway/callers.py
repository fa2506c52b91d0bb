"""Who calls: the terms of API keys and of accounts behind first-party apps, read afresh for every batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts.models import Account, ApiKey
from gateway.parsing import Call
from subscriptions import conversations


@dataclass(frozen=True, slots=True)
class Caller:
    """Who pays, as of this moment: an API key's terms, or an account's for first-party apps."""

    account_id: UUID
    account_status: str
    user_discount: Decimal
    rpm: int
    key_id: UUID | None = None
    key_masked: str = ""
    kind: str = "payg"
    disabled: bool = False
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    allowed_models: frozenset[str] | None = None
    group_models: frozenset[str] | None = None


def callers_of(calls: Sequence[Call]) -> dict[bytes | UUID, Caller]:
    """The callers behind key hashes and account ids, in at most two queries."""
    hashes = {call.key_hash for call in calls if call.key_hash}
    ids = {call.account_id for call in calls if call.account_id}
    found: dict[bytes | UUID, Caller] = {}
    if hashes:
        rows = ApiKey.objects.filter(hash__in=hashes).values_list(
            "hash", "id", "prefix", "last_four", "kind", "disabled_at", "expires_at", "last_used_at", "allowed_models",
            "group__allowed_models", "account_id", "account__status", "account__benefit_level__discount",
            "account__benefit_level__rpm",
        )  # fmt: skip
        for (
            hash_,
            key,
            prefix,
            last,
            kind,
            disabled,
            expires,
            used,
            models,
            of_group,
            account,
            status,
            discount,
            rpm,
        ) in rows:
            found[bytes(hash_)] = Caller(
                account, status, discount or Decimal(1), rpm or settings.DEFAULT_RPM, key, f"{prefix}…{last}", kind,
                disabled is not None, expires, used, frozenset(models) if models else None,
                frozenset(of_group) if of_group else None,
            )  # fmt: skip
    if ids:
        accounts = Account.objects.filter(pk__in=ids).values_list(
            "pk", "status", "benefit_level__discount", "benefit_level__rpm"
        )
        for account, status, discount, rpm in accounts:
            found[account] = Caller(account, status, discount or Decimal(1), rpm or settings.DEFAULT_RPM)
    return found


def in_conversations(calls: Sequence[Call]) -> Sequence[Call]:
    """The calls, with the billing modes of the conversations that they leave it to (F084): as it is at this moment, so
    that switching concerns the next call. Without such a call nothing is asked."""
    named = {(call.account_id, call.conversation) for call in calls if not call.billing_mode and call.account_id}
    if not named:
        return calls
    modes = conversations.modes_of(named)
    return [
        call
        if call.billing_mode or call.account_id is None
        else replace(call, billing_mode=modes[call.account_id, call.conversation])
        for call in calls
    ]


def wants_flows(call: Call, caller: Caller) -> bool:
    """A subscription is asked first: by its key, or by a first-party app's billing mode (F079, F084)."""
    return caller.kind == "subscription" or (caller.key_id is None and call.billing_mode == "subscription")


def touch_keys(callers: Mapping[UUID | None, Caller], now: datetime) -> None:
    """Last use, written at most once a minute and key."""
    touch_stale({key: caller.last_used_at for key, caller in callers.items() if key}, now)


def touch_stale(last_uses: Mapping[UUID, datetime | None], now: datetime) -> None:
    """The same, from the keys' last uses as they were read."""
    stale = [key for key, last in last_uses.items() if last is None or last < now - timedelta(minutes=1)]
    if stale:
        with connection.cursor() as cursor:
            # Two batches may share keys: whoever comes second leaves the row to the first.
            cursor.execute(
                "UPDATE accounts_apikey SET last_used_at = %s WHERE id IN "
                "(SELECT id FROM accounts_apikey WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)",
                [now, stale],
            )
