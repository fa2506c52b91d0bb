"""Calls of the past under other prices: what each would have cost, and which the balance would not have covered. Pure.

Whether a call would newly have been refused is decided as admission would have: the calls of an account are walked in
the order in which they were charged, beside what the balance really was at each. A call is newly refused when its
charge fitted into the balance as it was and does not fit under the other prices; it is then not made, so what it cost
stays in the balance for the calls after it. A call that went beyond the balance in reality (its usage was more than
its hold) is refused only when nothing would have been left at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

from billing.catalog.plans import Plan
from billing.catalog.rating import Sheet, rate
from billing.catalog.usage import parse_usage
from billing.errors import BillingError, Text

ZERO: Final = Decimal(0)
SUBSCRIPTION: Final = "subscription"

Place = tuple[int, int]  # model id, channel id


@dataclass(frozen=True, slots=True)
class Tariff:
    """The other prices: plans by model and channel, and channels' factors that change."""

    plans: Mapping[Place, Plan]
    discounts: Mapping[int, Decimal]


@dataclass(slots=True)
class OfAccount:
    """An account's calls so far. USD."""

    calls: int = 0
    before: Decimal = ZERO
    after: Decimal = ZERO
    refused: int = 0
    refused_charge: Decimal = ZERO
    refused_since: datetime | None = None
    more: Decimal = ZERO  # what has been paid more than in reality, so far
    left: Decimal | None = None  # what was really left after the call before


@dataclass(slots=True)
class OfModel:
    """A model's calls on one channel."""

    calls: int = 0
    before: Decimal = ZERO
    after: Decimal = ZERO
    by_flows: int = 0
    list_before: Decimal = ZERO
    list_after: Decimal = ZERO
    unpriced: int = 0
    reason: str = ""


@dataclass(slots=True)
class Outcome:
    """All that a replay found."""

    accounts: dict[UUID, OfAccount] = field(default_factory=dict)
    models: dict[Place, OfModel] = field(default_factory=dict)


def replay(rows: Iterable[tuple[Any, ...]], tariff: Tariff, plans: Mapping[int, Plan], outcome: Outcome) -> None:
    """Add calls to the outcome. Rows: account, model, channel, price version, usage and fields as JSON text (None: the
    call's price does not change), channel discount, user discount, funding, list price, charge, time as text (few are
    read), what was left.

    `plans` are the versions that rated the calls, for models whose channel alone changes. An account's rows come in the
    order in which they were charged.
    """
    accounts, models = outcome.accounts, outcome.models
    for row in rows:
        account, model, channel, version, used, fields, of_channel, of_user, funding, listed, charge, at, left = row
        mine = accounts.get(account)
        if mine is None:
            mine = accounts[account] = OfAccount()
        now = charge
        if used is not None:
            place = (model, channel)
            theirs = models.get(place)
            if theirs is None:
                theirs = models[place] = OfModel()
            sheet = _again(tariff, plans, place, version, used, fields, of_channel, of_user)
            if isinstance(sheet, Sheet):
                if funding == SUBSCRIPTION:
                    theirs.by_flows += 1
                else:
                    now = sheet.charge
                theirs.calls += 1
                theirs.before += charge
                theirs.after += now
                theirs.list_before += listed
                theirs.list_after += sheet.list_price
                mine.calls += 1
                mine.before += charge
                mine.after += now
            else:
                theirs.unpriced += 1
                theirs.reason = theirs.reason or str(sheet)[:200]
        if left is None:
            left = mine.left if mine.left is None else mine.left - charge
        mine.left = left
        if left is not None and funding != SUBSCRIPTION and _newly_refused(left + charge, charge, mine.more, now):
            mine.refused += 1
            mine.refused_charge += now
            mine.refused_since = mine.refused_since or datetime.fromisoformat(at)
            mine.more -= charge
        else:
            mine.more += now - charge


def _newly_refused(had: Decimal, charge: Decimal, more: Decimal, now: Decimal) -> bool:
    """Whether a call that was made with `had` in the balance would not have been, had `more` been paid before it."""
    would_have = had - more
    if now == 0 or had <= 0:
        return False
    return would_have < now if charge <= had else would_have <= 0


def _again(
    tariff: Tariff,
    plans: Mapping[int, Plan],
    place: Place,
    version: int,
    used: str,
    fields: str,
    of_channel: Decimal,
    of_user: Decimal,
) -> Sheet | Text:
    """The call's sheet under the tariff, or why there is none."""
    try:
        plan = tariff.plans.get(place) or plans[version]
        return rate(
            plan,
            parse_usage(orjson.loads(used)),
            channel_discount=tariff.discounts.get(place[1], of_channel),
            user_discount=of_user,
            fields=orjson.loads(fields) if fields != "{}" else None,
        )
    except BillingError as refusal:
        return refusal.detail
    except KeyError:
        return "its price version cannot be read"
