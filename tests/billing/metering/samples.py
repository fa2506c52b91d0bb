"""Calls for the tests of pages and rollups, made through the same door as everywhere."""

from __future__ import annotations

import itertools
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.models import Account, ApiKey
from billing.catalog.models import PriceVersion
from billing.catalog.usage import Usage
from billing.metering import usage
from tests.factories import NOON

_numbers = itertools.count(1)


def call(
    of: Account,
    version: PriceVersion,
    *,
    at: datetime = NOON,
    written: datetime | None = None,
    key: ApiKey | None = None,
    channel_discount: str = "1",
    user_discount: str = "1",
    fields: dict[str, Any] | None = None,
    request_id: str = "",
    **quantities: Any,
) -> usage.Charged:
    """One reported call, made at `at` and written at `written`; ten input tokens unless told otherwise."""
    number = next(_numbers)
    report = usage.Report(
        account_id=of.pk,
        api_key_id=key.pk if key else None,
        request_id=request_id or f"sample-{number}",
        model_id=version.model_id,
        channel_id=version.channel_id,
        price_version_id=version.pk,
        channel_discount=Decimal(channel_discount),
        user_discount=Decimal(user_discount),
        fields=fields or {},
        usage=Usage(**(quantities or {"input_tokens": 10})),
        occurred_at=at,
        trace_id=f"trace-{number}",
    )
    [answer] = usage.report([report], now=written or at)
    if isinstance(answer, Exception):
        raise answer
    return answer
