"""The page of vouchers: redeem a code, and what became of every one that was tried."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import current_account, may, role_in
from accounts.authentication import client_of
from accounts.models import Account
from billing.books import vouchers as operations
from billing.books.models import CreditGrant, JournalEntry
from billing.books.models_vouchers import Redemption
from billing.errors import (
    BillingError,
    PermissionDenied,
    VoucherExpired,
    VoucherMistyped,
    VoucherNotYetValid,
    VoucherThrottled,
    VoucherUnknown,
)
from billing.paging import Key, batches, page
from config import clock, problems
from config.exports import stream
from config.templatetags import ui

BOM: Final = "\ufeff"
_TOKEN: Final = re.compile(r"[0-9a-f]{32}")
BY_ID: Final = Key(("pk",), lambda row: row.pk.hex, lambda text: (uuid.UUID(hex=text),))
REDEEMED, REFUSED = "redeemed", "refused"
FILTERS: Final = [(REDEEMED, gettext_lazy("Redeemed")), (REFUSED, gettext_lazy("Refused"))]


class RedeemForm(forms.Form):
    """A code, and the token that makes a second click the same intent."""

    code = forms.CharField(label=gettext_lazy("Voucher code"), max_length=200, strip=True)
    token = forms.CharField(widget=forms.HiddenInput)

    def clean_token(self) -> str:
        """The page made it; anything else is not from our page."""
        token: str = self.cleaned_data["token"]
        if not _TOKEN.fullmatch(token):
            raise forms.ValidationError(_("Please load the page again."))
        return token


@dataclass(frozen=True, slots=True)
class Shown:
    """One attempt, as the list tells it."""

    row: Redemption
    entry_id: uuid.UUID | None

    @property
    def message(self) -> Any:
        """What happened, in one sentence."""
        return operations.message(self.row)

    @property
    def tone(self) -> str:
        """The colour of its badge."""
        return "green" if self.row.result == Redemption.Result.REDEEMED else "yellow"


def _account(request: HttpRequest) -> Account:
    account = current_account(request)
    if account is None:
        raise Http404
    return account


def _rows(account: Account, which: str) -> QuerySet[Redemption]:
    rows: QuerySet[Redemption] = Redemption.objects.filter(account=account)
    if which == REDEEMED:
        rows = rows.filter(result=Redemption.Result.REDEEMED)
    elif which == REFUSED:
        rows = rows.exclude(result=Redemption.Result.REDEEMED)
    return rows.select_related("campaign", "grant", "user")


@sensitive_post_parameters("code")
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def vouchers(request: HttpRequest) -> HttpResponse:
    """Redeem, and what was redeemed: how much is left of it, and until when."""
    account = _account(request)
    allowed = may(role_in(request.user, account), "pay")
    if request.method != "POST":
        return _page(request, account, _fresh(), allowed)
    if not allowed:
        return _page(request, account, _fresh(), allowed, PermissionDenied(), status=403)
    # The page named an account; another one may have been put in force in another tab meanwhile (F003).
    if request.POST.get("account") != str(account.pk):
        messages.warning(
            request, _("The account in force has changed. Check for which account you want to redeem the code.")
        )
        return redirect("books:vouchers")
    form = RedeemForm(request.POST)
    if not form.is_valid():
        return _page(request, account, form, allowed, status=422)
    now = clock.now()
    try:
        row = operations.redeem(
            account.pk,
            form.cleaned_data["code"],
            user=request.user,  # type: ignore[arg-type]  # login_required
            key=operations.form_key(form.cleaned_data["token"], form.cleaned_data["code"]),
            ip=client_of(request),  # type: ignore[arg-type]  # reads META only
            now=now,
        )
    except BillingError as refusal:
        # A slip of the pen is mended in the field; any other code is a new intent.
        kept = form if isinstance(refusal, VoucherMistyped) else _fresh()
        answer = _page(request, account, kept, allowed, refusal, status=int(refusal.status))
        for name, value in problems.headers(refusal).items():
            answer[name] = value
        return answer
    if row.at == now:
        told = _("%(amount)s was credited to %(account)s.")
        said = told % {"amount": ui.usd_text(row.amount), "account": account.name}
        if row.grant and row.grant.expires_at:
            said += " " + _("It expires on %(at)s.") % {"at": _moment(row.grant.expires_at)}
        messages.success(request, said)
    else:
        told = _("%(account)s redeemed this voucher on %(at)s; nothing was credited again.")
        messages.info(request, told % {"account": account.name, "at": _moment(row.at)})
    return redirect("books:vouchers")


def _moment(at: datetime) -> str:
    """A time in the reader's zone, for a sentence."""
    local = timezone.localtime(at)
    return f"{date_format(local, pgettext('date format', 'M j, Y, H:i'))} {local.tzname()}"


def _fresh() -> RedeemForm:
    return RedeemForm(initial={"token": uuid.uuid4().hex})


def _page(
    request: HttpRequest,
    account: Account,
    form: RedeemForm,
    allowed: bool,
    problem: BillingError | None = None,
    status: int = 200,
) -> HttpResponse:
    which = request.GET.get("show", "")
    which = which if which in dict(FILTERS) else ""
    shown = page(_rows(account, which), BY_ID, request.GET)
    keys = [operations.entry_key(row) for row in shown.rows if row.grant_id]
    entries = dict(JournalEntry.objects.filter(account=account, key__in=keys).values_list("key", "pk"))
    left = CreditGrant.objects.filter(account=account, remaining__gt=0, paid=False).burn_order()[:1].first()
    context = {
        "account": account,
        "form": form,
        "allowed": allowed,
        "problem": problem,
        "advice": _advice(problem),
        "token": form["token"].value() or uuid.uuid4().hex,
        "filters": FILTERS,
        "which": which,
        "rows": [Shown(row, entries.get(operations.entry_key(row))) for row in shown.rows],
        "page": shown,
        "next_spent": left,
        "now": clock.now(),
    }
    return render(request, "billing/vouchers.html", context, status=status)


def _advice(problem: BillingError | None) -> str:
    """What to do about it, in words."""
    if isinstance(problem, VoucherThrottled):
        minutes = -(-int(problem.evidence.get("retry_after", 60)) // 60)
        return _("Try again in %(minutes)s min. Copy the code from where you got it instead of typing it.") % {
            "minutes": minutes
        }
    if isinstance(problem, VoucherNotYetValid) and "valid_from" in problem.evidence:
        return _("It can be redeemed from %(at)s on.") % {"at": _moment(problem.evidence["valid_from"])}
    if isinstance(problem, VoucherExpired) and "valid_until" in problem.evidence:
        return _("It could be redeemed until %(at)s.") % {"at": _moment(problem.evidence["valid_until"])}
    if isinstance(problem, VoucherUnknown):
        return _(
            "Compare the code with where you got it. If it is right, write to us and name its last four characters."
        )
    return ""


@require_safe
@login_required
def vouchers_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The list as it is filtered, all of it."""
    account = _account(request)
    which = request.GET.get("show", "")

    def tables() -> Iterator[list[list[Any]]]:
        for rows in batches(_rows(account, which), BY_ID):
            yield [
                [
                    row.at, row.masked, row.get_result_display(), str(operations.message(row)), row.amount,
                    row.grant.remaining if row.grant else None, row.grant.expires_at if row.grant else None,
                    row.user.email if row.user else "", row.pk,
                ]
                for row in rows
            ]  # fmt: skip

    columns = [
        BOM + _("Time (UTC)"), _("Code"), _("Result"), _("Message"), _("Amount, USD"), _("Left, USD"),
        _("Expires (UTC)"), _("By"), _("Redemption"),
    ]  # fmt: skip
    return stream(request, columns, tables(), name=f"vouchers-{account.pk}")
