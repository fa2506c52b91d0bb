"""What staff look at before they decide about a plan's refund, and after it (F091, C09, C14). Reads only, each through
an index and with an end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Prefetch, Subquery, prefetch_related_objects
from django.db.models.expressions import RawSQL

from billing.metering.models import Authorization, Funding
from billing.money import EXACT
from refunds import listing, quote_plan, shown
from refunds.facts import WORTH
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.quote_plan import Used
from subscriptions.models import FlowHold, Invoice, QuotaWindow

MOST_CALLS: Final = 50_000
"""The newest calls of the period that are added up: more than any plan's Flows pay for within the hours to ask in."""
TOP: Final = 5
"""Keys and models that are named."""
OPEN_CALLS: Final = 100
PAYMENTS: Final = 12
CHANGES: Final = 20
"""Windows of a period that was changed: none has more."""
_OPENS_A_PERIOD: Final = frozenset({Invoice.Kind.SUBSCRIBE, Invoice.Kind.RENEWAL})


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls that have ended: how many, their Flows, and what these were worth when they were admitted, USD. `of` says
    which: a key's name, a model, or what a dollar was worth; `flow_class` only there."""

    of: Any
    calls: int
    flows: Decimal
    usd: Decimal
    flow_class: str = ""


@dataclass(frozen=True, slots=True)
class Open:
    """A call that has not ended: what it may take at most, USD."""

    call: Authorization
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. `whole`: every call of the period was added up, and not the newest `MOST_CALLS` alone."""

    refund: PlanRefund
    since: datetime | None
    until: datetime
    classes: list[Usage]
    models: list[Usage]
    keys: list[Usage]
    open: list[Open]
    parts: list[Refund]
    payments: list[Invoice]
    others: list[listing.Row]

    @property
    def calls(self) -> int:
        """Ended ones."""
        return sum(one.calls for one in self.classes)

    @property
    def whole(self) -> bool:
        """See above."""
        return self.calls < MOST_CALLS

    @property
    def usage_minor(self) -> int:
        """Cents that the ended calls come to, rounded as the quote's are."""
        return _cents(Used(one.flows, one.of) for one in self.classes)

    @property
    def open_minor(self) -> int:
        """Cents that the open ones come to at most."""
        return quote_plan.half_up(sum((one.usd for one in self.open), Decimal(0)) * 100)


def gather(refund: PlanRefund, *, now: datetime) -> Evidence:
    """The evidence of a plan's refund, as of when its calls were settled or it ended; else as of now."""
    until = refund.submitted_at or (now if refund.status in PlanRefund.OPEN else refund.status_at)
    windows = _windows(refund)
    since = windows[-1].starts_at if windows else None
    classes, models, keys = _usage(refund.account_id, since, until) if since else ([], [], [])
    prefetch_related_objects([refund], Prefetch("payments", Refund.objects.select_related("invoice")))
    return Evidence(
        refund=refund,
        since=since,
        until=until,
        classes=classes,
        models=models,
        keys=keys,
        open=_open(refund, windows) if refund.status in PlanRefund.CANCELLABLE else [],
        parts=shown.parts_of(refund),
        payments=_payments(refund),
        others=_others(refund),
    )


def _windows(refund: PlanRefund) -> list[QuotaWindow]:
    """Those of the billing period in which it was asked for, the newest first. Its plan admitted no call since."""
    rows = QuotaWindow.objects.filter(
        subscription_id=refund.subscription_id, kind=QuotaWindow.Kind.PERIOD, starts_at__lte=refund.created_at
    )
    newest = list(rows.order_by("-ends_at", "-starts_at")[:CHANGES])
    by_id: dict[UUID | None, QuotaWindow] = {one.pk: one for one in newest}
    found: list[QuotaWindow] = newest[:1]
    while found and found[-1].follows_id in by_id:
        found.append(by_id[found[-1].follows_id])
    return found


# The account's calls by time, which a small index has; `<> 'payg'` is what it is made for. To each the worth of a Flow
# as the refund counts it, then the sums by worth, by model and by key in one pass.
_USAGE: Final = f"""
  WITH newest AS (
    SELECT u.flows, u.flow_class, u.model_id, u.api_key_id, {WORTH.format("u", "authorized_at")} AS per_usd
    FROM billing_usagerecord u
    WHERE u.account_id = %s AND u.funding = 'subscription' AND u.funding <> 'payg' AND u.flows > 0
      AND u.authorized_at >= %s AND u.authorized_at <= %s
    ORDER BY u.authorized_at DESC, u.id DESC LIMIT {MOST_CALLS}),
  sums AS (
    SELECT grouping(per_usd, model_id, api_key_id) AS kind, flow_class, per_usd, model_id, api_key_id,
           count(*) AS calls, sum(flows) AS flows, sum(flows / per_usd) AS usd
    FROM newest GROUP BY GROUPING SETS ((flow_class, per_usd), (model_id), (api_key_id))),
  ranked AS (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY flows DESC) AS place FROM sums)
  SELECT r.kind, r.flow_class, r.per_usd, m.slug, k.name, r.calls, r.flows, r.usd
  FROM ranked r LEFT JOIN billing_model m ON m.id = r.model_id LEFT JOIN accounts_apikey k ON k.id = r.api_key_id
  WHERE r.place <= {TOP} OR r.kind = {0b011} ORDER BY r.kind, r.place"""  # noqa: S608  # of constants
_BY_CLASS, _BY_MODEL, _BY_KEY = 0b011, 0b101, 0b110


def _usage(account_id: UUID, since: datetime, until: datetime) -> tuple[list[Usage], list[Usage], list[Usage]]:
    """By what a dollar was worth, by model and by key, each the largest first."""
    with connection.cursor() as cursor:
        cursor.execute(_USAGE, [account_id, since, until])
        rows = cursor.fetchall()
    found: dict[int, list[Usage]] = {_BY_CLASS: [], _BY_MODEL: [], _BY_KEY: []}
    for kind, flow_class, per_usd, slug, name, calls, flows, usd in rows:
        of = {_BY_CLASS: per_usd, _BY_MODEL: slug, _BY_KEY: name}[kind]
        found[kind].append(Usage(of, calls, flows, usd, flow_class or ""))
    return found[_BY_CLASS], found[_BY_MODEL], found[_BY_KEY]


def _open(refund: PlanRefund, windows: list[QuotaWindow]) -> list[Open]:
    """Calls that still hold Flows of the period: looked for while its windows have any."""
    periods = [window.pk for window in windows if window.held]
    if not periods:
        return []
    hold = FlowHold.objects.filter(pk=OuterRef("pk"))
    rows = Authorization.objects.filter(
        account_id=refund.account_id, status=Authorization.Status.OPEN, funding=Funding.SUBSCRIPTION
    ).annotate(
        period=Subquery(hold.values("period")),
        worth=RawSQL(WORTH.format("billing_authorization", "created_at"), []),  # noqa: S611  # of constants
    )
    calls = rows.filter(period__in=periods).select_related("model").order_by("expires_at")[:OPEN_CALLS]
    return [Open(one, EXACT.divide(one.held_flows, one.worth)) for one in calls]


def _payments(refund: PlanRefund) -> list[Invoice]:
    """What was paid for that period, the newest first: down to the payment that began it (C13)."""
    rows = Invoice.objects.filter(
        subscription_id=refund.subscription_id,
        status=Invoice.Status.PAID,
        paid_minor__gt=0,
        at__lte=refund.created_at,
    )
    found: list[Invoice] = []
    for one in rows.order_by("-at", "-pk")[:PAYMENTS]:
        found.append(one)
        if one.kind in _OPENS_A_PERIOD:
            break
    return found


def _others(refund: PlanRefund) -> list[listing.Row]:
    """The account's other refunds of both kinds, the newest first."""
    rows = listing.page(listing.of(refund.account_id), {}, size=TOP + 1).rows
    return [one for one in rows if one.pk != refund.pk][:TOP]


def _cents(used: Iterable[Used]) -> int:
    return quote_plan.half_up(EXACT.multiply(quote_plan.worth(used), Decimal(100)))
