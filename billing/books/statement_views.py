"""Statements to look at and to take away, and the billing details that stand on them."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import current_account, may, role_in
from accounts.models import Account
from billing.books import details, statement_pdf, statements
from billing.books.models_details import BillingDetails
from billing.books.months import Month
from billing.errors import PermissionDenied
from config import clock
from config.exports import stream

BOM: Final = "\ufeff"


def _account(request: HttpRequest) -> Account:
    account = current_account(request)
    if account is None:
        raise Http404
    return account


def _statement(request: HttpRequest, month: str) -> statements.Statement:
    account, now, wanted = _account(request), clock.now(), Month.read(month)
    if wanted is None or wanted not in statements.months(account, now=now):
        raise Http404
    return statements.statement(account, wanted, now=now)


@require_safe
@login_required
def statement(request: HttpRequest, month: str) -> HttpResponse:
    """A month: opening balance, all that moved by kind and by day, closing balance."""
    told = _statement(request, month)
    moves, more = told.moves()
    known = statements.months(told.account, now=clock.now())
    return render(
        request,
        "billing/statement.html",
        {
            "told": told,
            "moves": moves,
            "more": more,
            "older": told.month.before if told.month.before in known else None,
            "newer": told.month.next if told.month.next in known else None,
        },
    )


@require_safe
@login_required
def statement_choice(request: HttpRequest) -> HttpResponse:
    """Where the picker of months leads: the month as a page, a PDF or a table."""
    month = Month.read(request.GET.get("month", ""))
    if month is None:
        return redirect("books:transactions")
    return redirect("books:statement", str(month))


@require_safe
@login_required
def statement_document(request: HttpRequest, month: str) -> HttpResponse:
    """The month as a PDF, in the language asked for or else the account's."""
    told = _statement(request, month)
    language = details.language_for(told.account, request.GET.get("lang"))
    return pdf_response(statement_pdf.render(told, language), f"statement-{told.month}.pdf")


def pdf_response(content: bytes, name: str) -> HttpResponse:
    """A PDF to open or to keep; nobody on the way keeps it."""
    return HttpResponse(
        content,
        content_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "no-store"},
    )


@require_safe
@login_required
def statement_csv(request: HttpRequest, month: str) -> StreamingHttpResponse:
    """The month as a table: opening, every movement, usage by day, closing."""
    told = _statement(request, month)
    columns = [BOM + statements.COLUMNS[0], *statements.COLUMNS[1:]]
    return stream(request, columns, statements.table(told), name=f"statement-{told.month}-{told.account.pk}")


class DetailsForm(forms.ModelForm):
    """What stands on documents."""

    class Meta:
        model = BillingDetails
        fields = BillingDetails.TOLD
        widgets: ClassVar[dict[str, Any]] = {"address": forms.Textarea(attrs={"rows": 3})}
        help_texts: ClassVar[dict[str, Any]] = {
            "company_name": gettext_lazy("Without one, documents carry the account's name."),
            "email": gettext_lazy("Printed on documents."),
            "language": gettext_lazy("Each document can also be had in the other language."),
            "statement_mail": gettext_lazy("To every member who may pay, on the first day of the next month."),
        }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def billing_details(request: HttpRequest) -> HttpResponse:
    """Company name, tax ID and address for receipts and statements."""
    account = _account(request)
    allowed = may(role_in(request.user, account), "pay")
    row = details.of(account)
    if request.method == "POST" and not allowed:
        return _details(request, account, DetailsForm(instance=row), allowed, PermissionDenied(), status=403)
    if request.method != "POST":
        return _details(request, account, DetailsForm(instance=row), allowed)
    if request.POST.get("account") != str(account.pk):  # switched in another tab meanwhile (F003)
        messages.warning(request, _("The account in force has changed. Check whose details you want to change."))
        return redirect("books:billing_details")
    form = DetailsForm(request.POST, instance=row)
    if not form.is_valid():
        return _details(request, account, form, allowed, status=422)
    details.save(account.pk, form.cleaned_data, actor=request.user, now=clock.now())  # type: ignore[arg-type]
    messages.success(request, _("The billing details are saved. Receipts issued from now on carry them."))
    return redirect("books:billing_details")


def _details(
    request: HttpRequest,
    account: Account,
    form: DetailsForm,
    allowed: bool,
    problem: PermissionDenied | None = None,
    status: int = 200,
) -> HttpResponse:
    if not allowed:
        for field in form.fields.values():
            field.disabled = True
    context = {"form": form, "account": account, "allowed": allowed, "problem": problem}
    return render(request, "billing/billing_details.html", context, status=status)
