"""The console's first page: is money coming in, is anything stuck, who is refused; each number leads to its desk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Q, Subquery, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from billing.books.models import CreditProposal, Wallet
from billing.catalog.models_drafts import PriceDraft
from billing.metering.models import Authorization, RollupState, UsageRecord, UsageRollup
from billing.metering.models_quarantine import QuarantinedUsage
from billing.metering.models_rerating import Correction
from billing.models_notices import Notice
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.models_disputes import Dispute, EarlyFraudWarning
from billing.payments.models_fx import FxFeed
from billing.payments.models_jobs import CreditJob, LateCredit
from billing.payments.models_reconciling import Difference
from billing.payments.models_risk import RiskAssessment
from config import clock, dashboard_refunds
from config.admin_cells import list_url
from config.admin_finding import first_id
from config.templatetags import ui
from gateway.models import DecisionReceipt

KEPT_SECONDS: Final = 20
"""The page may be this old; it says so. Many may look at it, and the numbers are sums over everything."""
DAYS: Final = 30
ZERO: Final = Decimal(0)
AGES: Final = ((60, "1 min"), (300, "5 min"), (900, "15 min"), (None, ""))


@dataclass(frozen=True, slots=True)
class Stat:
    """A number, what it says, and where it leads."""

    label: str
    value: str
    note: str
    url: str
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of the chart, in the drawing's own units."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Board:
    """What this person may see of it."""

    as_of: datetime
    stats: list[Stat] = field(default_factory=list)
    charges: dict[str, Any] | None = None
    holds: dict[str, Any] | None = None
    refusals: dict[str, Any] | None = None
    refunds: dashboard_refunds.Card | None = None


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What unfold asks for before it renders the index."""
    numbers: Any = cache.get_or_set("admin-dashboard-7", lambda: measure(clock.now()), KEPT_SECONDS)
    return {**context, "title": _("Dashboard"), "board": board(numbers, request.user.has_perm)}


# --- Numbers ------------------------------------------------------------------------------------------------------
def measure(now: datetime) -> dict[str, Any]:
    """Everything that the page shows, in a dozen small queries."""
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    month = today - timedelta(days=DAYS - 1)
    waiting = Q(status__in=[*TopUp.OPEN, TopUp.Status.PAID]) | Q(in_review=True)
    orders = TopUp.objects.filter(waiting | Q(credited_at__gte=month)).aggregate(
        month=Sum("amount_usd", filter=Q(credited_at__gte=month)),
        month_orders=Count("pk", filter=Q(credited_at__gte=month)),
        today=Sum("amount_usd", filter=Q(credited_at__gte=today)),
        today_orders=Count("pk", filter=Q(credited_at__gte=today)),
        open=Count("pk", filter=Q(status__in=TopUp.OPEN)),
        paid=Count("pk", filter=Q(status=TopUp.Status.PAID)),
        review=Count("pk", filter=Q(in_review=True)),
    )
    events = PaymentEvent.objects.exclude(state__in=["processed", "ignored"]).aggregate(
        received=Count("pk", filter=Q(state="received")),
        late=Count("pk", filter=Q(state="received", due_at__lte=now)),
        parked=Count("pk", filter=Q(state="parked")),
        quarantined=Count("pk", filter=Q(state="quarantined")),
    )
    day_ago = now - timedelta(hours=24)
    refused = (
        DecisionReceipt.objects.filter(pk__gte=first_id(day_ago), at__gte=day_ago)
        .values_list("code")
        .annotate(times=Count("pk"))
        .order_by("-times")
    )
    return {
        "as_of": now,
        "orders": orders,
        "events": events,
        "overdraft": Wallet.objects.filter(overdraft__gt=0).aggregate(sum=Sum("overdraft"), accounts=Count("pk")),
        **_waiting(now),
        "holds": _holds(now),
        "refused": list(refused),
        "charges": _charges(month.date(), today.date()),
    }


_WAITING: Final = f"""
  SELECT (SELECT count(*) FROM billing_creditproposal WHERE state = 'proposed'),
         (SELECT sum(amount) FROM billing_creditproposal WHERE state = 'proposed'),
         (SELECT count(*) FROM billing_quarantinedusage WHERE state = 'waiting'),
         (SELECT count(DISTINCT account_id) FROM billing_quarantinedusage WHERE state = 'waiting'),
         (SELECT count(*) FROM billing_dispute WHERE state IN ('inquiry', 'open')),
         (SELECT count(*) FROM billing_earlyfraudwarning WHERE state = 'frozen'),
         (SELECT count(*) FROM billing_pricedraft WHERE state = 'proposed'),
         (SELECT count(*) FROM billing_correction WHERE state IN ('proposed', 'reversal_asked')),
         (SELECT count(*) FROM billing_creditjob WHERE state = 'failed'),
         (SELECT count(*) FROM billing_creditjob WHERE state IN ('due', 'retrying') AND due_at <= %(now)s),
         (SELECT count(*) FROM billing_latecredit WHERE state = 'proposed'),
         (SELECT count(*) FROM billing_riskassessment WHERE state = 'held'),
         (SELECT count(*) FROM billing_difference WHERE state = 'open'),
         (SELECT count(*) FROM billing_notice WHERE sent_at IS NULL AND last_error <> ''),
         (SELECT max(failures) FROM billing_fxfeed),
         {dashboard_refunds.COUNTS}"""  # noqa: S608  # of constants


def _waiting(now: datetime) -> dict[str, Any]:
    """What waits for a person, in one look: each of these is small, and an index knows it."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"now": now} | dashboard_refunds.terms(now))
        found = cursor.fetchone()
    proposals, amount, calls, accounts, disputes, warnings, drafts, corrections, failed, due, late, *more = found
    held, differences, unsent, silent, *refunds = more
    return {
        "proposals": {"number": proposals, "sum": amount},
        "quarantined": {"calls": calls, "accounts": accounts},
        "banks": {"disputes": disputes, "warnings": warnings},
        "prices": {"drafts": drafts, "corrections": corrections},
        "jobs": {"failed": failed, "due": due, "late": late},
        "payments": {"held": held, "differences": differences, "unsent": unsent, "silent": silent or 0},
        "refunds": dashboard_refunds.read(refunds),
    }


def _holds(now: datetime) -> list[dict[str, Any]]:
    """Open holds by how long they have been open; the last line is those whose end has passed."""
    limits = {f"to_{index}": now - timedelta(seconds=seconds) for index, (seconds, _l) in enumerate(AGES) if seconds}
    filters, younger = [], Q()
    for moment in limits.values():
        filters.append(Q(created_at__gt=moment) & younger)
        younger = Q(created_at__lte=moment)
    filters.append(younger)
    alive = Q(expires_at__gt=now)
    sums: dict[str, Any] = {}
    for index, of_age in enumerate(filters):
        sums |= {f"n{index}": Count("pk", filter=of_age & alive), f"usd{index}": Sum("held", filter=of_age & alive)}
    sums |= {"n_over": Count("pk", filter=~alive), "usd_over": Sum("held", filter=~alive)}
    found = Authorization.objects.filter(status="open").aggregate(**sums)
    return [
        {"number": found[f"n{name}"], "held": found[f"usd{name}"] or ZERO} for name in (*range(len(filters)), "_over")
    ]


def _charges(first: date, last: date) -> list[tuple[date, Decimal, int]]:
    """USD charged for usage and calls, by day: the rollups, and the calls written since their watermark."""
    days: dict[date, tuple[Decimal, int]] = {
        first + timedelta(days=n): (ZERO, 0) for n in range((last - first).days + 1)
    }
    mark = RollupState.objects.values("watermark")[:1]
    rolled = list(
        UsageRollup.objects.filter(day__gte=first)
        .values_list("day")
        .annotate(Sum("charge"), Sum("calls"), mark=Subquery(mark))
    )
    # The mark comes with the sums, in one statement, so that no call is missed or counted twice. Without sums there is
    # nothing to miss: every call of these days is still to be read.
    tail = UsageRecord.objects.all()
    if rolled:
        tail = tail.filter(created_at__gte=rolled[0][-1], pk__gte=first_id(rolled[0][-1]))
    raw = (
        tail.filter(authorized_at__gte=datetime.combine(first, time(), UTC))
        .values_list("authorized_at__date")
        .annotate(Sum("charge"), Count("pk"))
    )
    with timezone.override(UTC):
        for day, charge, calls in [*(row[:3] for row in rolled), *raw]:
            if day in days:
                days[day] = (days[day][0] + charge, days[day][1] + calls)
    return [(day, charge, calls) for day, (charge, calls) in days.items()]


# --- Words --------------------------------------------------------------------------------------------------------
def board(numbers: dict[str, Any], may: Callable[[str], bool]) -> Board:
    """The numbers in words, less what this person may not see."""
    found = Board(
        as_of=numbers["as_of"],
        charges=_chart(numbers["charges"]) if may("billing.view_usagerecord") else None,
        holds=_hold_rows(numbers["holds"]) if may("billing.view_authorization") else None,
        refusals=_refusal_rows(numbers["refused"]) if may("gateway.view_decisionreceipt") else None,
        refunds=dashboard_refunds.card(numbers["refunds"], may),
    )
    if may("billing.view_topup"):
        found.stats.extend(_money_in(numbers["orders"]))
        found.stats.append(_orders(numbers["orders"]))
    if may("billing.view_paymentevent"):
        found.stats.append(_events(numbers["events"]))
    if may("billing.view_wallet"):
        found.stats.append(_overdraft(numbers["overdraft"]))
    if may("billing.view_creditproposal"):
        found.stats.append(_proposals(numbers["proposals"]))
    if may("billing.view_quarantinedusage") and numbers["quarantined"]["calls"]:
        found.stats.append(_quarantined(numbers["quarantined"]))
    for name, title, note, model, filters in (
        ("disputes", _("Disputes"), _("wait for the bank or for evidence"), Dispute, {"waiting": "yes"}),
        ("warnings", _("Fraud warnings"), _("with frozen credit"), EarlyFraudWarning, {"state__exact": "frozen"}),
    ):
        number = numbers["banks"][name]
        if number and may(f"billing.view_{model._meta.model_name}"):
            found.stats.append(Stat(title, ui.count(number), note, list_url(model, **filters), True))
    for name, title, priced in (
        ("drafts", _("Price drafts"), PriceDraft),
        ("corrections", _("Price corrections"), Correction),
    ):
        number = numbers["prices"][name]
        if number and may(f"billing.view_{priced._meta.model_name}"):
            found.stats.append(Stat(title, ui.count(number), _("for a second person"), list_url(priced), True))
    found.stats.extend(_credit_waiting(numbers["jobs"], may))
    for name, title, note, looked, filters in (
        ("held", _("Payments on hold"), _("to be released or refused"), RiskAssessment, {"state__exact": "held"}),
        (
            "differences",
            _("Differences"),
            _("between the provider and the books"),
            Difference,
            {"state__exact": "open"},
        ),
        ("unsent", _("Mails not delivered"), _("to customers, about their money"), Notice, {"state": "unsent"}),
        ("silent", _("Exchange rate feed"), _("failures in a row"), FxFeed, {}),
    ):
        number = numbers["payments"][name]
        if number and may(f"billing.view_{looked._meta.model_name}"):
            found.stats.append(Stat(title, ui.count(number), note, list_url(looked, **filters), True))
    refunds = dashboard_refunds.alarm(numbers["refunds"], may)
    if refunds is not None:
        found.stats.append(Stat(_("Refunds waiting"), *refunds, alarm=True))
    return found


def _credit_waiting(jobs: dict[str, int], may: Callable[[str], bool]) -> list[Stat]:
    """Credit that did not come by itself, and credit that came late through our fault."""
    found = []
    if (jobs["failed"] or jobs["due"]) and may("billing.view_creditjob"):
        note = _("%(failed)s failed, %(due)s due") % {"failed": ui.count(jobs["failed"]), "due": ui.count(jobs["due"])}
        url = list_url(CreditJob, state__exact="failed" if jobs["failed"] else "due")
        value = ui.count(jobs["failed"] + jobs["due"])
        found.append(Stat(_("Credit jobs"), value, note, url, bool(jobs["failed"])))
    if jobs["late"] and may("billing.view_latecredit"):
        url = list_url(LateCredit, state__exact="proposed")
        found.append(Stat(_("Late credit"), ui.count(jobs["late"]), _("to be decided"), url, True))
    return found


def _money_in(credited: dict[str, Any]) -> list[Stat]:
    def orders(number: int) -> str:
        return ngettext("%(n)s order", "%(n)s orders", number) % {"n": ui.count(number)}

    return [
        Stat(
            _("Money in, today"),
            ui.usd_text(credited["today"] or ZERO),
            _("%(orders)s credited, UTC") % {"orders": orders(credited["today_orders"])},
            list_url(TopUp, since="24h"),
        ),
        Stat(
            _("Money in, 30 days"),
            ui.usd_text(credited["month"] or ZERO),
            orders(credited["month_orders"]),
            list_url(TopUp, since="30d"),
        ),
    ]


def _orders(orders: dict[str, int]) -> Stat:
    value = orders["open"] + orders["paid"]
    note = _("%(paid)s paid and not credited, %(review)s for staff") % {
        "paid": ui.count(orders["paid"]),
        "review": ui.count(orders["review"]),
    }
    alarm = bool(orders["paid"] or orders["review"])
    waiting = "review" if orders["review"] else "paid" if orders["paid"] else "open"
    return Stat(_("Orders waiting"), ui.count(value), note, list_url(TopUp, waiting=waiting), alarm)


def _events(events: dict[str, int]) -> Stat:
    stuck = events["parked"] + events["quarantined"]
    note = _("%(parked)s parked or quarantined, %(late)s overdue") % {
        "parked": ui.count(stuck),
        "late": ui.count(events["late"]),
    }
    state = next((one for one in ("parked", "quarantined") if events[one]), "received")
    url = list_url(PaymentEvent, state__exact=state)
    value = ui.count(events["received"] + stuck)
    return Stat(_("Events waiting"), value, note, url, bool(stuck or events["late"]))


def _overdraft(owed: dict[str, Any]) -> Stat:
    number = owed["accounts"]
    note = ngettext("%(n)s account", "%(n)s accounts", number) % {"n": ui.count(number)}
    return Stat(_("Overdrafts"), ui.usd_text(owed["sum"] or ZERO), note, list_url(Wallet, owing="yes"))


def _proposals(waiting: dict[str, Any]) -> Stat:
    note = _("%(sum)s for a second person") % {"sum": ui.usd_text(waiting["sum"] or ZERO)}
    url = list_url(CreditProposal, state__exact="proposed")
    return Stat(_("Credit proposals"), ui.count(waiting["number"]), note, url, bool(waiting["number"]))


def _quarantined(waiting: dict[str, int]) -> Stat:
    """Calls that were made and are not charged, because their usage contradicts itself."""
    number = waiting["accounts"]
    note = ngettext("of %(n)s account, not charged", "of %(n)s accounts, not charged", number) % {"n": ui.count(number)}
    url = list_url(QuarantinedUsage, state__exact="waiting")
    return Stat(_("Refused usage"), ui.count(waiting["calls"]), note, url, True)


def _chart(days: list[tuple[date, Decimal, int]]) -> dict[str, Any]:
    """Bars of a drawing 300 wide and 100 high; the numbers are said in words on each."""
    top = max((charge for _day, charge, _calls in days), default=ZERO) or Decimal(1)
    step = 300 / len(days)
    bars = []
    for index, (day, charge, calls) in enumerate(days):
        height = max(float(charge / top) * 100, 0.6 if charge else 0)
        told = _("%(day)s: %(usd)s, %(calls)s calls") % {
            "day": _day(day),
            "usd": ui.usd_text(charge),
            "calls": ui.count(calls),
        }
        bars.append(Bar(index * step + step * 0.12, 100 - height, step * 0.76, height, told))
    return {
        "bars": bars,
        "total": ui.usd_text(sum((charge for _day, charge, _calls in days), ZERO)),
        "calls": ui.count(sum(calls for _day, _charge, calls in days)),
        "top": ui.usd_text(top),
        "first": _day(days[0][0]),
        "last": _day(days[-1][0]),
        "url": list_url(UsageRecord),
    }


def _day(day: date) -> str:
    """A day of this year, in the order of the reader's language."""
    return date_format(day, pgettext("date format, this year", "M j"))


def _hold_rows(holds: list[dict[str, Any]]) -> dict[str, Any]:
    labels = [
        _("under 1 minute"),
        _("1 to 5 minutes"),
        _("5 to 15 minutes"),
        _("over 15 minutes"),
        _("past their end"),
    ]
    rows = [
        {"label": label, "number": ui.count(hold["number"]), "held": ui.usd(hold["held"])}
        for label, hold in zip(labels, holds, strict=True)
    ]
    return {
        "rows": rows,
        "number": ui.count(sum(hold["number"] for hold in holds)),
        "held": ui.usd(sum((hold["held"] for hold in holds), ZERO)),
        "url": list_url(Authorization, status__exact="open"),
    }


def _refusal_rows(refused: list[tuple[str, int]]) -> dict[str, Any]:
    most = max((times for _code, times in refused), default=1)
    rows = [{"code": code, "times": ui.count(times), "share": round(times / most * 100, 1)} for code, times in refused]
    return {"rows": rows[:12], "url": list_url(DecisionReceipt, since="24h")}
