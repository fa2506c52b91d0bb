"""Plain functions that make what a test needs, through the same operations as everywhere else."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts import api_keys, onboarding
from accounts.models import Account, ApiKey, User
from billing.books import credits
from billing.books.models import CreditGrant, JournalEntry, System
from billing.catalog import book
from billing.catalog.models import (
    CatalogState,
    Channel,
    FieldMultiplier,
    Model,
    PriceComponent,
    PriceTier,
    PriceVersion,
)
from billing.catalog.usage import Usage
from billing.metering import holds, usage
from config.ids import uuid7

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_numbers = itertools.count(1)


PASSWORD = "correct horse battery"  # of users that exist for one test


def user(email: str = "", *, password: str | None = None, **fields: Any) -> User:
    """A user; hashing a password takes long, so only a test that signs in by form asks for one."""
    return User.objects.create_user(email or f"user{next(_numbers)}@example.com", password, **fields)


def account(owner: User | None = None, *, now: datetime = NOON, name: str = "") -> Account:
    """An account with a wallet and an owner."""
    return onboarding.open_account(owner or user(), now=now, name=name)


def credit(to: Account, usd: str, *, now: datetime = NOON, **terms: Any) -> CreditGrant:
    """Credit in a wallet; a gift unless `paid` and `kind` say otherwise."""
    key = f"test:{next(_numbers)}"
    return credits.give(
        to.pk,
        Decimal(usd),
        kind=terms.pop("kind", "promotion"),
        entry_kind=terms.pop("entry_kind", JournalEntry.Kind.MANUAL_CREDIT),
        funded_by=terms.pop("funded_by", System.MANUAL),
        key=terms.pop("key", key),
        source=key,
        now=now,
        **terms,
    )


def funded(usd: str = "10", *, now: datetime = NOON) -> Account:
    """An account with this much credit (0: none)."""
    made = account(now=now)
    if Decimal(usd):
        credit(made, usd, now=now)
    return made


def key(of: Account, *, now: datetime = NOON, **terms: Any) -> tuple[ApiKey, str]:
    """An API key and its secret."""
    return api_keys.issue(of, name=terms.pop("name", "test"), now=now, actor=None, **terms)


def price(
    slug: str = "test/model",
    *,
    channel: str = "default",
    kind: str = "chat",
    at: datetime = NOON - timedelta(days=30),
    components: dict[str, dict[str, str]] | None = None,
    tiers: list[dict[str, Any]] | None = None,
    multipliers: list[tuple[str, str, str]] | None = None,
    max_output_tokens: int | None = 4096,
    **terms: Any,
) -> PriceVersion:
    """A model with a price: $1 per 1K input and $2 per 1K output tokens unless told otherwise."""
    model, _ = Model.objects.get_or_create(
        slug=slug,
        defaults={"name": slug, "vendor": slug.partition("/")[0], "kind": kind, "max_output_tokens": max_output_tokens},
    )
    where, _ = Channel.objects.get_or_create(code=channel)
    if "type" not in terms:
        terms = {"type": "per_token", "input_per_1k": Decimal(1), "output_per_1k": Decimal(2)} | terms
    with transaction.atomic():  # a version is sealed when the transaction that wrote it ends
        version = PriceVersion.objects.create(
            model=model,
            channel=where,
            number=PriceVersion.objects.filter(model=model, channel=where).count() + 1,
            effective_from=at,
            created_at=at,
            **terms,
        )
        for name, how in (components or {}).items():
            PriceComponent.objects.create(version=version, component=name, **how)
        for tier in tiers or []:
            PriceTier.objects.create(version=version, **tier)
        for field, equals, multiplier in multipliers or []:
            FieldMultiplier.objects.create(version=version, field=field, equals=equals, multiplier=Decimal(multiplier))
    CatalogState.objects.filter(id=1).update(revision=1 + CatalogState.objects.get(id=1).revision)
    book.forget()
    return version


def hold_request(of: Account, version: PriceVersion, usd: str, **terms: Any) -> holds.HoldRequest:
    """What admission would ask for, without asking the gates."""
    number = next(_numbers)
    terms = {
        "id": uuid7(),
        "account_id": of.pk,
        "api_key_id": None,
        "token_id": None,
        "request_id": f"req-{number}",
        "digest": b"\0" * 32,
        "model_id": version.model_id,
        "channel_id": version.channel_id,
        "price_version_id": version.pk,
        "channel_discount": Decimal(1),
        "user_discount": Decimal(1),
        "fields": {},
        "hold": Decimal(usd),
        "trace_id": f"trace{number}",
    } | terms
    return holds.HoldRequest(**terms)


def hold(of: Account, version: PriceVersion, usd: str, *, now: datetime = NOON, **terms: Any) -> holds.Held:
    """One hold."""
    return holds.authorize([hold_request(of, version, usd, **terms)], now=now, expires_at=now + timedelta(minutes=15))[
        0
    ]


def capture(authorization_id: UUID, *, now: datetime = NOON, **quantities: Any) -> Any:
    """Charge one authorised call; the answer, or the refusal raised."""
    [answer] = usage.capture([usage.Capture(authorization_id=authorization_id, usage=Usage(**quantities))], now=now)
    if isinstance(answer, Exception):
        raise answer
    return answer
