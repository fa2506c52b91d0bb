"""What staff look at before they decide about a top-up's refund (F019-F022). Reads only, each through an index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import F, OuterRef, Subquery, Sum

from billing.books.models import JournalEntry, Posting
from billing.catalog.models import Model
from billing.metering import rollups
from billing.metering.models import Funding
from billing.payments.models import TopUp
from billing.payments.models_disputes import Dispute, EarlyFraudWarning, RiskFlag
from billing.payments.models_risk import RiskAssessment
from refunds import lifecycle, tools
from refunds.models import Refund
from refunds.models_plan import PlanRefund

MODELS: Final = 5
EARLIER: Final = 5
LOOKED_AT: Final = 50
"""Debits at either end of a grant among which the first and the last call are looked for."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What calls took out of the payment's grant. USD; the times are of the first and the last entry of calls."""

    credited: Decimal
    used: Decimal
    held: Decimal
    remaining: Decimal
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What the account's calls of one model cost in that time, USD."""

    slug: str
    calls: int
    charge: Decimal


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it."""

    refund: Refund
    order: TopUp
    spending: Spending | None
    models: list[ModelUse]
    age: timedelta
    until: datetime | None
    tools: tuple[str, ...]
    third_party: bool
    earlier: list[Refund]
    plans: list[PlanRefund]
    disputes: list[Dispute]
    warnings: list[EarlyFraudWarning]
    flag: RiskFlag | None
    check: RiskAssessment | None


def gather(refund: Refund, *, now: datetime) -> Evidence:
    """The evidence of a top-up's refund."""
    order = _order(refund)
    spending = _spending(order)
    of_account = {"account_id": refund.account_id}
    named = tools.named_in(refund.reason)
    flag = getattr(order.account, "risk_flag", None)
    return Evidence(
        refund=refund,
        order=order,
        spending=spending,
        models=_models(order, spending),
        age=now - (order.paid_at or order.created_at),
        until=lifecycle.refundable_until(order, now=now),
        tools=named,
        third_party=bool(named) or refund.category == Refund.Category.THIRD_PARTY,
        earlier=list(
            Refund.objects.filter(**of_account, plan_refund=None)
            .exclude(pk=refund.pk)
            .select_related("top_up", "invoice")
            .order_by("-pk")[:EARLIER]
        ),
        plans=list(
            PlanRefund.objects.filter(**of_account).select_related("plan_version__plan").order_by("-pk")[:EARLIER]
        ),
        disputes=list(Dispute.objects.filter(**of_account).select_related("top_up").order_by("-pk")[:EARLIER]),
        warnings=list(
            EarlyFraudWarning.objects.filter(**of_account).select_related("top_up").order_by("-pk")[:EARLIER]
        ),
        flag=flag if flag is not None and flag.cleared_at is None else None,
        check=getattr(order, "risk", None),
    )


def _order(refund: Refund) -> TopUp:
    """The payment with its grant, what is known of its risk, and what refunds, disputes and warnings hold of it."""

    def sum_of(rows: Any, amount: Any) -> Any:
        return Subquery(rows.filter(top_up=OuterRef("pk")).order_by().values("top_up").annotate(s=amount).values("s"))

    live = sum_of(Refund.objects.live(), Sum(F("requested_usd") - F("overdrawn_usd")))
    disputed = sum_of(Dispute.objects.filter(state__in=Dispute.COUNTED), Sum(F("from_frozen") + F("from_grant")))
    frozen = sum_of(
        EarlyFraudWarning.objects.filter(state=EarlyFraudWarning.State.FROZEN),
        Sum(F("frozen_usd") - F("used_usd") - F("released_usd")),
    )
    rows = TopUp.objects.select_related("grant", "fx_quote", "risk", "account__risk_flag")
    found: TopUp = rows.annotate(refunds_hold=live, disputes_hold=disputed, warnings_hold=frozen).get(
        pk=refund.payment.pk
    )
    return found


def _spending(order: Any) -> Spending | None:
    """Out of what the order and its few refunds, disputes and warnings say, not out of a million postings."""
    grant = order.grant
    if grant is None:
        return None
    held = sum((one for one in (order.refunds_hold, order.disputes_hold, order.warnings_hold) if one), Decimal(0))
    times = _calls(order)
    return Spending(
        credited=grant.amount,
        used=max(Decimal(0), grant.amount - grant.remaining - held),
        held=held,
        remaining=grant.remaining,
        first_at=min(times, default=None),
        last_at=max(times, default=None),
    )


def _calls(order: TopUp) -> list[datetime]:
    """When calls took something out of the grant: those at both ends of its index, so the first and the last."""
    # Entries of calls are nearly all of the grant's debits; the others are its refunds and disputes.
    debits = Posting.objects.filter(account_id=order.account_id, ledger_id=order.grant_id, side=Posting.DEBIT)
    first, last = (_entries(order, debits.order_by(direction)) for direction in ("entry_id", "-entry_id"))
    return list(first.union(last, all=True))


def _entries(order: TopUp, debits: Any) -> Any:
    ids = debits.values("entry_id")[:LOOKED_AT]
    entries = JournalEntry.objects.filter(account_id=order.account_id, pk__in=ids, kind=JournalEntry.Kind.USAGE)
    return entries.order_by().values_list("at", flat=True)


def _models(order: TopUp, spending: Spending | None) -> list[ModelUse]:
    """What the account paid out of its balance between the first and the last day, by model, dearest first.

    From the rollups by day, so that it is as fast after ten million calls; other credit of those days counts, too.
    """
    if spending is None or spending.first_at is None or spending.last_at is None:
        return []
    scope = rollups.Scope(
        order.account_id,
        first=spending.first_at.astimezone(UTC).date(),
        last=spending.last_at.astimezone(UTC).date(),
    )
    found: dict[Any, tuple[int, Decimal]] = {}
    for one in rollups.sums(scope, by=("model_id", "funding")):
        if one.funding != Funding.SUBSCRIPTION:
            calls, charge = found.get(one.model_id, (0, Decimal(0)))
            found[one.model_id] = (calls + one.calls, charge + one.charge)
    dearest = sorted(found.items(), key=lambda pair: (-pair[1][1], str(pair[0])))[:MODELS]
    slugs = dict(Model.objects.filter(pk__in=[pk for pk, _sums in dearest]).values_list("pk", "slug"))
    return [ModelUse(slugs.get(pk, "–"), calls, charge) for pk, (calls, charge) in dearest]
