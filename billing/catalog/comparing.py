"""The same call on every model that could have made it: by the function that charges (F055, F107)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.catalog.book import Book, ModelCard
from billing.catalog.plans import ONE
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import Usage
from billing.errors import BillingError


def same_call(
    book: Book,
    usage: Usage,
    *,
    kind: str,
    type: str,
    channel: str,
    now: datetime,
    fields: Mapping[str, Any] | None = None,
    channel_discount: Decimal = ONE,
    user_discount: Decimal = ONE,
) -> Iterator[tuple[ModelCard, Sheet]]:
    """Every model of the kind that is priced the same way on this channel and whose context holds the call."""
    tokens = usage.total_tokens
    for card in book.models.values():
        if card.kind != kind or not card.active or card.coming_soon:
            continue
        if card.context_window is not None and tokens > card.context_window:
            continue
        price = book.current(card.slug, channel, now)
        if price is None or price.plan.spec.type != type:
            continue
        try:
            yield (
                card,
                rate(price.plan, usage, channel_discount=channel_discount, user_discount=user_discount, fields=fields),
            )
        except BillingError:
            continue  # priced by a quantity that this call does not tell
