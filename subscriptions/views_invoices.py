"""The billing history: a list, a page and a table of what was asked for plans (F077), and the way to each receipt."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import may, role_in
from accounts.models import Account
from accounts.portal import account_in_force
from billing.books.details import language_for
from billing.books.models import JournalEntry
from billing.books.statement_views import pdf_response
from billing.errors import BillingError, NotFound
from billing.money import from_minor_units
from billing.paging import batches, by_time_and_id, page
from billing.payments import failures
from billing.payments.models_disputes import Dispute
from billing.payments.stripe_processor import get_processor
from config import clock
from config.exports import stream
from subscriptions import disputes, lifecycle, receipts
from subscriptions.models import Invoice, Subscription

BOM: Final = "\ufeff"
INVOICES_SHOWN: Final = 25
NEWEST_SHOWN: Final = 5
BY_DATE: Final = by_time_and_id("at")


def paid(invoice: Invoice) -> Decimal:
    """What was or is to be paid, in US dollars."""
    if invoice.status == Invoice.Status.PAID:
        return Decimal(invoice.paid_usd)
    return from_minor_units(invoice.amount_minor, invoice.currency)


def paid_back(invoice: Invoice) -> Decimal:
    """What of it has gone back, in US dollars."""
    return from_minor_units(invoice.paid_back_minor, invoice.currency)


def history_context(request: HttpRequest, account: Account, *, size: int = INVOICES_SHOWN) -> dict[str, Any]:
    """What `billing_history.html` needs."""
    invoices = Invoice.objects.filter(account=account).select_related("plan_version__plan")
    found = page(invoices, BY_DATE, request.GET, size=size)
    held = lifecycle.held_by(account.pk, now=clock.now())
    return {
        "held": held,
        "give_back": _given_back_from(held),
        "account": account,
        "invoices": [(one, paid(one), paid_back(one)) for one in found.rows],
        "invoice_page": found,
        "short": size == NEWEST_SHOWN,
        "may_pay": may(role_in(request.user, account), "pay"),
    }


def _given_back_from(held: Subscription | None) -> UUID | None:
    """The plan in force is given back from its newest payment (F093); whether it may be, the preview says."""
    if held is None or held.paused_at is not None:
        return None
    paid_for = Invoice.objects.filter(subscription=held, status=Invoice.Status.PAID, paid_minor__gt=0)
    return paid_for.order_by("-at", "-pk").values_list("pk", flat=True).first()


@require_safe
@never_cache
@login_required
def history(request: HttpRequest) -> HttpResponse:
    """Every payment for a plan."""
    return render(request, "subscriptions/history.html", history_context(request, account_in_force(request)))


@require_safe
@login_required
def history_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The list as a table, all of it."""
    account = account_in_force(request)
    rows = Invoice.objects.filter(account=account).select_related("plan_version__plan")

    def tables() -> Iterator[list[list[Any]]]:
        for invoices in batches(rows, BY_DATE):
            yield [
                [
                    one.at, one.number, one.get_kind_display(), one.plan_version.plan.name, one.get_status_display(),
                    paid(one), from_minor_units(one.tax_minor, one.currency), one.period_start, one.period_end,
                    one.paid_at, one.card_last_four, one.pk,
                ]
                for one in invoices
            ]  # fmt: skip

    columns = [
        BOM + _("Time (UTC)"), _("Number"), _("Kind"), _("Plan"), _("Status"), _("Amount, USD"), _("Tax, USD"),
        _("Period from (UTC)"), _("Period until (UTC)"), _("Paid (UTC)"), _("Last four digits of the card"),
        _("Invoice"),
    ]  # fmt: skip
    return stream(request, columns, tables(), name=f"plan-payments-{account.pk}")


def _own(request: HttpRequest, invoice_id: UUID) -> Invoice:
    """An invoice of the accounts of this person; 404 for every other."""
    rows = Invoice.objects.visible_to(request.user).select_related("account", "plan_version__plan", "subscription")
    found: Invoice = get_object_or_404(rows, pk=invoice_id)
    return found


def _told(dispute: Dispute, row: Invoice) -> dict[str, Any]:
    """A dispute as its customer reads of it, with its amount."""
    return {
        "row": dispute,
        "amount": from_minor_units(dispute.amount_minor, dispute.currency),
        "kept": row.subscription.in_force,
    }


@require_safe
@never_cache
@login_required
def invoice(request: HttpRequest, invoice_id: UUID) -> HttpResponse:
    """One payment: what it was for, how it was tried, and where it stands in the books."""
    row = _own(request, invoice_id)
    booked = JournalEntry.objects.filter(account_id=row.account_id, key=receipts.paid_key(row)).first()
    context = {
        "invoice": row,
        "amount": paid(row),
        "tax": from_minor_units(row.tax_minor, row.currency),
        "failure": failures.reason(row.failure) if row.failure else None,
        "entry": booked,
        "paid_back": paid_back(row),
        "disputed": from_minor_units(row.disputed_minor, row.currency),
        "disputes": [_told(one, row) for one in disputes.of_invoice(row)],
        "may_pay": may(role_in(request.user, row.account), "pay"),
    }
    if context["may_pay"] and row.account == account_in_force(request):  # that is what the refund's page is about
        context["give_back"] = row.pk == _given_back_from(lifecycle.held_by(row.account_id, now=clock.now()))
    return render(request, "subscriptions/invoice.html", context)


@require_safe
@login_required
def receipt(request: HttpRequest, invoice_id: UUID) -> HttpResponse:
    """The receipt of a payment for a plan; 404 while it is not paid. `lang` chooses the language."""
    try:
        return receipt_pdf(_own(request, invoice_id), request.GET.get("lang"))
    except NotFound:
        raise Http404 from None


def receipt_pdf(invoice: Invoice, asked: str | None) -> HttpResponse:
    """The document in the language asked for, else the account's. Raises NotFound for what was never paid."""
    content = receipts.render(invoice, language_for(invoice.account, asked))
    return pdf_response(content, receipts.file_name(invoice))


@require_safe
@never_cache
@login_required
def pay(request: HttpRequest, invoice_id: UUID) -> HttpResponse:
    """To the provider's page of the invoice, where it is paid with any card while it is open."""
    row = _own(request, invoice_id)
    if not may(role_in(request.user, row.account), "pay"):
        raise PermissionDenied(_("Your role in this account does not allow this."))
    try:
        address = get_processor().invoice_page(row.provider_id)
    except BillingError as refusal:
        messages.error(request, str(refusal.title))
        return redirect("plan:invoice", row.pk)
    if not address:
        messages.warning(request, _("The payment provider has no page for this invoice."))
        return redirect("plan:invoice", row.pk)
    return HttpResponseRedirect(address)
