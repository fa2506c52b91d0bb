"""API keys, management keys and gateway tokens: issue, rotate, disable. The secret is returned once and never kept."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from django.db import transaction

from accounts import audit, secrets
from accounts.models import Account, ApiKey, Credential, GatewayToken, KeyGroup, ManagementKey, User

PREFIX = {ApiKey.Kind.PAYG: "sk-pg-v1-", ApiKey.Kind.SUBSCRIPTION: "sk-ss-v1-"}


class Moved(Protocol):
    """Lets what names the old key name the new one, in the rotation's transaction."""

    def __call__(self, old: ApiKey, new: ApiKey, *, actor: User | None, actor_label: str, now: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Follower:
    """Something that names keys and goes with them when they are rotated. `lock` takes the account's lock that `moved`
    writes under; it is taken before the key's own. `says` tells in words that it names a key, and what follows."""

    lock: Callable[[UUID], Any]
    moved: Moved
    says: Callable[[ApiKey], str]


_followers: list[Follower] = []


def follows_rotation(follower: Follower) -> None:
    """Register a follower; apps to the right do, from `AppConfig.ready()`."""
    if follower not in _followers:
        _followers.append(follower)


def what_names(key: ApiKey) -> list[str]:
    """What depends on this key, in sentences: for whoever is about to stop it."""
    return [said for follower in _followers if (said := follower.says(key))]


def _fields(secret: secrets.Secret) -> dict[str, Any]:
    return {"hash": secret.hash, "prefix": secret.prefix, "last_four": secret.last_four}


@transaction.atomic
def issue(
    account: Account,
    *,
    name: str,
    now: datetime,
    actor: User | None,
    kind: str = ApiKey.Kind.PAYG,
    group: KeyGroup | None = None,
    allowed_models: list[str] | None = None,
    expires_at: datetime | None = None,
    actor_label: str = "",
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is shown once. `actor_label` names an actor who is no user, for the audit."""
    secret = secrets.new(PREFIX[ApiKey.Kind(kind)])
    key = ApiKey.objects.create(
        account=account,
        name=name,
        kind=kind,
        group=group,
        allowed_models=allowed_models or None,
        expires_at=expires_at,
        created_at=now,
        created_by=actor,
        **_fields(secret),
    )
    after = {"name": name, "key": key.masked, "kind": kind}
    audit.record(actor=actor, actor_label=actor_label, action="key_issued", subject=key, now=now, after=after)
    return key, secret.text


@transaction.atomic
def rotate(
    key_id: UUID, *, now: datetime, actor: User | None, grace: timedelta = timedelta(), actor_label: str = ""
) -> tuple[ApiKey, str]:
    """A successor with the same name, kind, group and models; the old secret stops after `grace`. What names the old
    key names the successor from now on."""
    account_id = ApiKey.objects.values_list("account_id", flat=True).get(pk=key_id)
    for follower in _followers:
        follower.lock(account_id)
    old = ApiKey.objects.select_for_update(of=("self",)).select_related("account", "group").get(pk=key_id)
    new, text = issue(
        old.account,
        name=old.name,
        now=now,
        actor=actor,
        kind=old.kind,
        group=old.group,
        allowed_models=old.allowed_models,
        expires_at=old.expires_at,
        actor_label=actor_label,
    )
    new.rotated_from = old
    new.save(update_fields=["rotated_from"])
    if grace:
        old.expires_at = min(filter(None, [old.expires_at, now + grace]))
    else:
        old.disabled_at = old.disabled_at or now
    old.save(update_fields=["expires_at", "disabled_at"])
    after = {"successor": new.masked}
    audit.record(actor=actor, actor_label=actor_label, action="key_rotated", subject=old, now=now, after=after)
    for follower in _followers:
        follower.moved(old, new, actor=actor, actor_label=actor_label, now=now)
    return new, text


@transaction.atomic
def disable(key_id: UUID, *, now: datetime, actor: User | None, reason: str = "", actor_label: str = "") -> ApiKey:
    """Stop a key for good. Repeats change nothing."""
    key = ApiKey.objects.select_for_update(of=("self",)).get(pk=key_id)
    if key.disabled_at is None:
        key.disabled_at = now
        key.save(update_fields=["disabled_at"])
        audit.record(
            actor=actor, actor_label=actor_label, action="key_disabled", subject=key, now=now, reason=reason,
            after={"key": key.masked},
        )  # fmt: skip
    return key


@transaction.atomic
def rename(
    key_id: UUID,
    *,
    name: str,
    allowed_models: list[str] | None,
    now: datetime,
    actor: User | None,
    actor_label: str = "",
) -> ApiKey:
    """Change a key's name and the models it may call (None: all)."""
    key = ApiKey.objects.select_for_update(of=("self",)).get(pk=key_id)
    before = {"name": key.name, "allowed_models": key.allowed_models}
    key.name, key.allowed_models = name, allowed_models or None
    key.save(update_fields=["name", "allowed_models"])
    after = {"name": key.name, "allowed_models": key.allowed_models}
    if before != after:
        audit.record(
            actor=actor, actor_label=actor_label, action="key_changed", subject=key, now=now, before=before, after=after
        )
    return key


@transaction.atomic
def issue_gateway_token(
    name: str, *, now: datetime, actor: User | None, allowed_ips: list[str] | None = None, reason: str = ""
) -> tuple[GatewayToken, str]:
    """A token for a gateway, and its secret, which is shown once."""
    secret = secrets.new("gw-")
    token = GatewayToken.objects.create(name=name, created_at=now, allowed_ips=allowed_ips or [], **_fields(secret))
    audit.record(
        actor=actor, action="gateway_token_issued", subject=token, now=now, reason=reason, after={"name": name}
    )
    return token, secret.text


@transaction.atomic
def revoke_gateway_token(token_id: UUID, *, now: datetime, actor: User | None, reason: str) -> GatewayToken:
    """Stop a token for good; gateways notice within seconds. Repeats change nothing."""
    token = GatewayToken.objects.select_for_update(of=("self",)).get(pk=token_id)
    if token.disabled_at is None:
        token.disabled_at = now
        token.save(update_fields=["disabled_at"])
        after = {"token": token.masked}
        audit.record(actor=actor, action="gateway_token_revoked", subject=token, now=now, reason=reason, after=after)
    return token


@transaction.atomic
def issue_management_key(
    account: Account, *, name: str, role: str, now: datetime, actor: User | None
) -> tuple[ManagementKey, str]:
    """A key for a customer's program, and its secret, which is shown once."""
    secret = secrets.new("mk-")
    key = ManagementKey.objects.create(
        account=account, name=name, role=role, created_at=now, created_by=actor, **_fields(secret)
    )
    audit.record(actor=actor, action="management_key_issued", subject=key, now=now, after={"name": name, "role": role})
    return key, secret.text


def is_allowed_from(address: str, allowed: Sequence[str]) -> bool:
    """True when the list of addresses and networks is empty, or holds this address."""
    if not allowed:
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(entry, strict=False) for entry in allowed)


def touch(credential: Credential, *, now: datetime) -> None:
    """Note the last use, at most once a minute (07-reliability 7.2)."""
    if credential.last_used_at is None or credential.last_used_at < now - timedelta(minutes=1):
        type(credential)._default_manager.filter(pk=credential.pk).update(last_used_at=now)


def is_live(credential: Credential, now: datetime) -> bool:
    """True when the credential is neither disabled nor expired."""
    return credential.disabled_at is None and (credential.expires_at is None or credential.expires_at > now)
