"""`/billing/alerts`: what is watched, what was told; make, change, pause, delete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_UP, Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import current_account, role_in
from accounts.models import Account
from billing.books.summary import summary
from billing.errors import BillingError
from billing.metering import alerts, rollups
from billing.metering.alert_forms import AlertForm, initial_of
from billing.metering.models_alerts import AlertFiring, SpendAlert
from billing.paging import Key, batches, page
from config import clock
from config.exports import stream

BY_ID: Final = Key(("pk",), lambda row: row.pk.hex, lambda text: (UUID(hex=text),))
LEAST_SUGGESTED: Final = Decimal(5)
COLUMNS: Final = ("at", "kind", "scope", "on", "period", "step_percent", "amount_usd", "threshold_usd", "id")


@dataclass(frozen=True, slots=True)
class Shown:
    """An alert as the list shows it."""

    alert: SpendAlert
    spent: Decimal | None
    may_manage: bool


def _account(request: HttpRequest) -> Account:
    account = current_account(request)
    if account is None:
        raise Http404
    return account


def _may(request: HttpRequest, account: Account, *, of_account: bool) -> bool:
    return alerts.may_manage(role_in(request.user, account), of_account=of_account)


def _permitted(request: HttpRequest, account: Account, *, of_account: bool) -> None:
    if not _may(request, account, of_account=of_account):
        raise PermissionDenied(_("Your role in this account allows alerts on keys and groups only."))


def _alert(request: HttpRequest, account: Account, alert_id: UUID) -> SpendAlert:
    rows = SpendAlert.objects.visible_to(request.user).select_related("group", "api_key")
    found: SpendAlert = get_object_or_404(rows, pk=alert_id, account=account, deleted_at=None)
    _permitted(request, account, of_account=found.scope == "account")
    return found


def told(account: Account) -> QuerySet[AlertFiring]:
    """What was mailed, unordered."""
    rows: QuerySet[AlertFiring] = AlertFiring.objects.filter(account=account, mailed=True)
    return rows.select_related("alert", "alert__group", "alert__api_key")


def suggested(account: Account, now: Any) -> Decimal:
    """A first low-balance threshold: three days of the last week's spend, in whole dollars."""
    today = now.date()
    spent = rollups.total(rollups.Scope(account.pk, first=today - timedelta(days=6), last=today)).charge
    return max(LEAST_SUGGESTED, (spent * 3 / 7).quantize(Decimal(1), rounding=ROUND_UP))


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """The alerts with how near they are, and what was told."""
    account, now = _account(request), clock.now()
    rows = list(alerts.watched(account))
    spent = alerts.spent_now(account, rows, now)
    of_account, of_keys = _may(request, account, of_account=True), _may(request, account, of_account=False)
    shown = page(told(account), BY_ID, request.GET)
    return render(
        request,
        "alerts/list.html",
        {
            "alerts": [
                Shown(one, spent.get(one.pk), of_account if one.scope == "account" else of_keys) for one in rows
            ],
            "net": summary(account.pk, now=now).balance,
            "told": shown.rows,
            "page": shown,
            "may_create": of_keys,
            "of_account": of_account,
            "suggested": suggested(account, now) if of_account and not rows else None,
            "now": now,
        },
    )


@require_safe
@login_required
def told_csv(request: HttpRequest) -> StreamingHttpResponse:
    """All that was told."""
    account = _account(request)

    def tables() -> Iterator[list[list[Any]]]:
        for rows in batches(told(account), BY_ID):
            yield [
                [
                    one.at, one.alert.kind, one.alert.scope, one.alert.on,
                    one.period if one.alert.period else "", one.step, one.amount_usd, one.threshold_usd, one.pk,
                ]
                for one in rows
            ]  # fmt: skip

    return stream(request, COLUMNS, tables(), name="alerts")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest) -> HttpResponse:
    """A new alert; `?kind=` and `?threshold=` fill the form in."""
    account = _account(request)
    _permitted(request, account, of_account=False)
    of_account = _may(request, account, of_account=True)
    wished = {name: request.GET[name] for name in ("kind", "threshold", "scope") if name in request.GET}
    kind = "low_balance" if of_account and not wished.get("scope") else "spend"
    first: dict[str, Any] = {"kind": kind, "period": "day", "steps": ["100"]}
    form = AlertForm(request.POST or None, initial=first | wished, account=account, of_account=of_account)
    if request.method == "POST" and form.is_valid():
        try:
            alerts.create(account, form.terms, actor=request.user, now=clock.now())  # type: ignore[arg-type]
        except BillingError as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("The alert is set. It is looked at every half minute."))
            return redirect("metering:alerts")
    return _form(request, form)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def change(request: HttpRequest, alert_id: UUID) -> HttpResponse:
    """Watch something else."""
    account = _account(request)
    alert = _alert(request, account, alert_id)
    of_account = _may(request, account, of_account=True)
    form = AlertForm(request.POST or None, initial=initial_of(alert), account=account, of_account=of_account)
    if request.method == "POST" and form.is_valid():
        try:
            alerts.change(alert.pk, form.terms, now=clock.now())
        except BillingError as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("The alert is changed."))
            return redirect("metering:alerts")
    return _form(request, form, alert)


def _form(request: HttpRequest, form: AlertForm, alert: SpendAlert | None = None) -> HttpResponse:
    status = 422 if form.is_bound else 200
    return render(request, "alerts/form.html", {"form": form, "alert": alert}, status=status)


@login_required
@require_POST
def pause(request: HttpRequest, alert_id: UUID) -> HttpResponse:
    """Stop watching, or begin again."""
    account = _account(request)
    alert = _alert(request, account, alert_id)
    paused = request.POST.get("pause") != "0"
    alerts.pause(alert.pk, paused=paused, now=clock.now())
    messages.success(request, _("The alert is paused.") if paused else _("The alert watches again."))
    return redirect("metering:alerts")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, alert_id: UUID) -> HttpResponse:
    """Ask first; what it told stays in the history."""
    account = _account(request)
    alert = _alert(request, account, alert_id)
    if request.method == "POST":
        alerts.delete(alert.pk, now=clock.now())
        messages.success(request, _("The alert is deleted. What it told stays in the history."))
        return redirect("metering:alerts")
    return render(request, "alerts/delete.html", {"alert": alert})
