"""The calls of a correction, rated again: which they are, what each costs now, and what it should have cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from django.db import connection

from billing.books.settlement import ZERO
from billing.catalog.plans import Plan
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import parse_usage
from billing.errors import BillingError
from billing.metering.models import Funding
from billing.metering.models_rerating import CorrectedAccount, Correction

BY_FLOWS: Final = "paid with Flows"
_FIRST: Final = UUID(int=0)

_CALLS: Final = """
  SELECT u.account_id, u.id, u.authorized_at, u.usage::text, u.fields::text, u.channel_discount, u.user_discount, u.funding,
         u.charge, u.entry_id, u.charge_from,
         (SELECT sum(a.delta) FROM billing_chargeadjustment a WHERE a.account_id = u.account_id AND a.record_id = u.id)
  FROM billing_usagerecord u
  WHERE u.account_id = ANY(%(accounts)s) AND u.model_id = %(model)s AND u.channel_id = %(channel)s
    AND u.authorized_at >= %(low)s AND u.authorized_at < %(until)s AND u.created_at <= %(as_of)s
    AND (u.authorized_at > %(low)s OR u.id > %(low_id)s)
"""  # noqa: E501
_IN_ORDER: Final = " ORDER BY u.authorized_at, u.id LIMIT %(limit)s"


class Call(NamedTuple):
    """A usage record as it is rated again. USD."""

    account: UUID
    record: UUID
    at: datetime
    used: str
    fields: str
    of_channel: Decimal
    of_user: Decimal
    funding: str
    charge: Decimal
    entry: UUID | None
    charge_from: Decimal
    adjusted: Decimal | None

    @property
    def current(self) -> Decimal:
        """What it costs now."""
        return self.charge + (self.adjusted or ZERO)


def calls_of(row: Correction, accounts: list[CorrectedAccount], limit: int | None) -> list[Call]:
    """Their calls; with a limit, those of the one account after its cursor, in order."""
    first = accounts[0]
    params: dict[str, Any] = {
        "accounts": [one.account_id for one in accounts],
        "model": row.model_id,
        "channel": row.channel_id,
        "until": row.until,
        "as_of": row.as_of,
        "low": (limit and first.cursor_at) or row.since,
        "low_id": (limit and first.cursor_id) or _FIRST,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CALLS + (_IN_ORDER if limit else ""), params)
        return [Call(*found) for found in cursor.fetchall()]


def again(call: Call, plan: Plan) -> Sheet | str:
    """The call's sheet under the right price, by its own discounts and fields; or why it is left out."""
    if call.funding == Funding.SUBSCRIPTION:
        return BY_FLOWS
    try:
        return rate(
            plan,
            parse_usage(orjson.loads(call.used)),
            channel_discount=call.of_channel,
            user_discount=call.of_user,
            fields=orjson.loads(call.fields) if call.fields != "{}" else None,
        )
    except BillingError as refusal:
        return str(refusal)[:200]


def owed(favour: str, current: Decimal, charge: Decimal) -> Decimal:
    """What the call costs once corrected."""
    return charge if favour == Correction.Favour.BOTH or charge < current else current
