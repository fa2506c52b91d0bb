"""`/billing/refunds`: what went back or is on its way; and the button that gives a plan back (F093-F096, C14).

The button opens a dialog: preview, submit, status. Without JavaScript each of them is a page of the same address.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import may, role_in
from accounts.models import Account, User
from accounts.portal import account_in_force, named_here, payer
from billing.errors import BillingError, NotFound
from billing.waking import wake
from config import clock
from config.exports import stream
from refunds import confirming, deciding, listing, plan_lifecycle, shown
from refunds.deciding import BY_CUSTOMER
from refunds.forms import SubmitForm
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.quote_plan import Lines
from refunds.quotes import RefundQuoteExpired
from refunds.tasks import go_on_with_plan

BOM: Final = "\ufeff"


# --- The list --------------------------------------------------------------------------------------------------------
@require_safe
@never_cache
@login_required
def history(request: HttpRequest) -> HttpResponse:
    """Every refund of the account."""
    account = account_in_force(request)
    kind, status = request.GET.get("kind", ""), request.GET.get("status", "")
    found = listing.page(listing.of(account.pk, kind=kind, status=status), request.GET)
    context = {
        "rows": [(row, shown.goes_back(row), shown.agreed(row)) for row in found.rows],
        "page": found,
        "kind": kind,
        "status": status,
        "kinds": [("subscription", _("Plan")), ("top_up", _("Top-up"))],
        "statuses": [(one, words) for one, words in dict(PlanRefund.IN_WORDS.values()).items()],
        "filtered": bool(kind or status),
        "as_of": clock.now(),
    }
    return render(request, "refunds/history.html", context)


@require_safe
@login_required
def history_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The same as a table, with the same filters."""
    account = account_in_force(request)
    halves = listing.of(account.pk, kind=request.GET.get("kind", ""), status=request.GET.get("status", ""))

    def tables() -> Iterator[list[list[Any]]]:
        for rows in listing.batches(halves):
            yield [_cells(row) for row in rows]

    columns = [
        BOM + _("Time (UTC)"), _("Refund"), _("Kind"), _("Of"), _("Status"), _("Agreed amount"),
        _("Goes back"), _("Fee"), _("Currency"), _("Sent to the provider (UTC)"), _("Since (UTC)"), _("Reason"),
    ]  # fmt: skip
    return stream(request, columns, tables(), name=f"refunds-{account.pk}")


def _cells(row: listing.Row) -> list[Any]:
    if isinstance(row, PlanRefund):
        of, fee, currency, kind = row.plan_version.plan.name, shown.dollars(row.fee_minor), "USD", _("Plan")
    else:
        of, fee, currency, kind = row.of_number, row.fee, row.currency, row.get_kind_display()
    return [
        row.created_at, row.number, kind, of, row.in_words, shown.agreed(row), shown.goes_back(row), fee, currency,
        row.submitted_at, row.status_at, row.reason,
    ]  # fmt: skip


# --- One refund ------------------------------------------------------------------------------------------------------
def _own(request: HttpRequest, refund_id: UUID) -> listing.Row:
    """A refund of the accounts of this person; 404 for every other."""
    found = listing.find(refund_id, Q(account__in=Account.objects.visible_to(request.user)))
    if found is None:
        raise Http404
    return found


def _context(request: HttpRequest, refund: listing.Row) -> dict[str, Any]:
    pays = may(role_in(request.user, refund.account), "pay")
    plan = refund if isinstance(refund, PlanRefund) else None
    single = refund if isinstance(refund, Refund) else None
    return {
        "refund": refund,
        "plan": plan,
        "single": single,
        "account": refund.account,
        "lines": _lines(refund),
        "why": shown.why(refund),
        "changed": shown.changed(plan) if plan else "",
        "steps": shown.steps(refund),
        "may_cancel": pays and shown.may_cancel(refund),
        "may_confirm": bool(
            single
            and single.needs_confirmation
            and isinstance(request.user, User)
            and confirming.may_confirm(request.user, refund.account)
        ),
        "poll": shown.asks_again(refund, now=clock.now()),
        "goes_to": shown.goes_to(refund),
    }


def _lines(refund: listing.Row) -> list[shown.Line]:
    if isinstance(refund, Refund):
        return shown.lines_of_payment(refund)
    told = Lines.read(refund.settled or refund.quoted)
    return shown.lines(told, refund.policy, status=refund.customer_status)


@require_safe
@never_cache
@login_required
def detail(request: HttpRequest, refund_id: UUID) -> HttpResponse:
    """One refund: its lines, what happened, and what can be done."""
    refund = _own(request, refund_id)
    # The reason that `cancel` keeps for a customer is no answer of ours.
    answer = refund.answer if refund.decided_by_id and refund.answer != BY_CUSTOMER else ""
    parts = shown.parts_of(refund) if isinstance(refund, PlanRefund) else []
    context = _context(request, refund) | {"answer": answer, "parts": parts, "entries": shown.entries(refund)}
    return render(request, "refunds/detail.html", context)


@require_safe
@never_cache
@login_required
def current(request: HttpRequest) -> HttpResponse:
    """The plan's refund that is under way, else the list: where a paused plan's pages lead to."""
    account = account_in_force(request)
    found = PlanRefund.objects.filter(account=account, status__in=PlanRefund.OPEN).order_by("-pk").first()
    return redirect("refunds:detail", found.pk) if found is not None else redirect("refunds:history")


@require_safe
@never_cache
@login_required
def status(request: HttpRequest, refund_id: UUID) -> HttpResponse:
    """What changes on the page or in the dialog while it is under way; asked for again and again."""
    name = "status_dialog" if request.GET.get("in") == "dialog" else "status_card"
    return render(request, f"refunds/{name}.html", _context(request, _own(request, refund_id)))


@login_required
@never_cache
@require_POST
def cancel(request: HttpRequest, refund_id: UUID) -> HttpResponse:
    """Take it back while nothing was sent."""
    refund = _own(request, refund_id)
    if not may(role_in(request.user, refund.account), "pay") or not isinstance(request.user, User):
        raise PermissionDenied(_("Your role in this account does not allow this."))
    if named_here(request, refund.account):
        try:
            if isinstance(refund, PlanRefund):
                plan_lifecycle.cancel(refund.pk, actor=request.user, reason=BY_CUSTOMER, now=clock.now())
                wake(go_on_with_plan, str(refund.pk))
            else:
                deciding.take_back(refund.pk, actor=request.user, reason=BY_CUSTOMER, now=clock.now())
            messages.success(request, _("The refund is cancelled. Nothing was sent."))
        except BillingError as refusal:
            messages.error(request, str(refusal.detail or refusal.title))
    if getattr(request, "htmx", False):
        return HttpResponse(headers={"HX-Refresh": "true"})
    return redirect("refunds:detail", refund_id)


# --- Give the plan back -----------------------------------------------------------------------------------------------
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def plan(request: HttpRequest) -> HttpResponse:
    """The preview, and the submission that it leads to."""
    account, user = payer(request)
    if request.method != "POST":
        return _preview(request, account)
    if not named_here(request, account):
        if getattr(request, "htmx", False):
            return HttpResponse(headers={"HX-Refresh": "true"})
        return redirect("refunds:plan")
    form = SubmitForm(request.POST)
    if not form.is_valid():
        return _preview(request, account, problem=BillingError(_("Please load the page again.")))
    try:
        refund = plan_lifecycle.submit(
            account.pk,
            form.cleaned_data["quote"],
            client_key=f"portal:{form.cleaned_data['token']}",
            reason=form.cleaned_data["reason"],
            actor=user,
            now=clock.now(),
        )
    except RefundQuoteExpired as expired:
        return _preview(request, account, problem=expired)
    except BillingError as refusal:
        return _preview(request, account, problem=refusal)
    wake(go_on_with_plan, str(refund.pk))
    return _followed(request, account, refund.pk)


def _followed(request: HttpRequest, account: Account, refund_id: UUID) -> HttpResponse:
    """The status in the dialog, or on its page."""
    if not getattr(request, "htmx", False):
        return redirect("refunds:detail", refund_id)
    found = listing.find(refund_id, Q(account=account))
    assert found is not None  # noqa: S101  # the caller has just read or made it
    return render(request, "refunds/status_dialog.html", _context(request, found))


def _preview(request: HttpRequest, account: Account, *, problem: BillingError | None = None) -> HttpResponse:
    name = "plan_dialog" if getattr(request, "htmx", False) else "plan_page"
    context: dict[str, Any] = {"account": account, "problem": problem, "token": uuid4().hex}
    try:
        quote = plan_lifecycle.preview(account.pk, now=clock.now())
    except NotFound:
        return render(request, f"refunds/{name}.html", context)
    facts = quote.facts
    under_way = facts.before if facts.before and facts.before.status in PlanRefund.OPEN else None
    if under_way is not None and problem is None:
        return _followed(request, account, under_way.pk)
    context |= {
        "quote": quote,
        "facts": facts,
        "held": facts.subscription,
        "under_way": under_way,
        "lines": shown.lines(
            quote.lines,
            facts.policy,
            usage_note=shown.usage_note(facts),
            sent=shown.card_of(facts),
            possible=quote.possible,
        ),
        "arrives": shown.money(quote.lines.final),
        "band": shown.band(quote.lines, facts),
        "nothing_paid": not facts.invoices,
    }
    # A dialog that says why not is an answer, and htmx swaps in no refusal.
    code = 200 if problem is None or getattr(request, "htmx", False) else int(problem.status)
    return render(request, f"refunds/{name}.html", context, status=code)
