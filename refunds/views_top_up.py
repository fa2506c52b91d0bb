"""`/billing/top-up/<order>/refund`: the unused credit of a payment is asked back (F019-F022), and a company confirms.

Three answers to a POST: without `step` only the lines of the amount that is typed (htmx); `preview` shows what will
happen; `submit` asks for it. `change` leads from the preview back to the form.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import current_account, may, role_in
from accounts.models import Account, User
from accounts.portal import named_here
from billing.books.models import Wallet
from billing.errors import BillingError
from billing.money import CNY, from_minor_units
from billing.payments.models import PaymentAttempt, TopUp
from config import clock
from config.templatetags import ui
from refunds import confirming, lifecycle
from refunds.errors import NotRefundable
from refunds.forms_top_up import TopUpRefundForm, fresh
from refunds.models import Refund


def page_of(refund: Refund) -> str:
    """Where the customer follows a refund."""
    return f"/billing/refunds/{refund.pk}"


class Asker(NamedTuple):
    """Who asks, and as what in the account."""

    user: User
    role: str | None

    @property
    def finance(self) -> bool:
        """Speaks for a company's finance."""
        return self.role in confirming.FINANCE


def _order(request: HttpRequest, number: str) -> tuple[TopUp, Asker]:
    """An order of one of the user's accounts whose role may pay there; any other account's is 404."""
    rows = TopUp.objects.visible_to(request.user).select_related("account", "fx_quote", "grant")
    found: TopUp = get_object_or_404(rows, number=number)
    return found, _payer(request, found.account)


def _payer(request: HttpRequest, account: Account) -> Asker:
    role = role_in(request.user, account)
    if not may(role, "pay") or not isinstance(request.user, User):
        raise PermissionDenied(_("Your role in this account does not allow this."))
    return Asker(request.user, role)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, number: str) -> HttpResponse:
    """The form, its preview, and the request."""
    order, asker = _order(request, number)
    if request.method != "POST":
        return _page(request, order, asker)
    if not named_here(request, order.account):
        return redirect("refunds_top_up:ask", number)
    form, step = TopUpRefundForm(request.POST), request.POST.get("step", "")
    valid = form.is_valid()
    if step not in ("preview", "submit"):
        name = "top_up_lines" if getattr(request, "htmx", False) else "top_up_ask"
        return _page(request, order, asker, form, name=name)
    if not valid:
        return _page(request, order, asker, form, status=422)
    if step == "preview":
        return _page(request, order, asker, form, preview=True)
    data = form.cleaned_data
    confirms = data["confirm"] and asker.finance
    try:
        refund = lifecycle.request(
            order.pk,
            data["amount"],
            reason=data["reason"],
            category=data["category"],
            actor=asker.user,
            client_key=form.client_key,
            confirmed_by=asker.user if confirms else None,
            now=clock.now(),
        )
    except BillingError as refusal:
        return _page(request, order, asker, form, problem=refusal, status=int(refusal.status))
    messages.success(request, _("Your request is with our staff. The credit is set aside until they decide."))
    return redirect(page_of(refund))


@login_required
@never_cache
@require_POST
def confirm(request: HttpRequest, top_up_refund_id: UUID) -> HttpResponse:
    """A company's finance member says that the original payment method is right (F022)."""
    rows = Refund.objects.visible_to(request.user).filter(top_up__isnull=False).select_related("account")
    refund: Refund = get_object_or_404(rows, pk=top_up_refund_id)
    asker = _payer(request, refund.account)
    if named_here(request, refund.account):
        try:
            confirming.confirm(refund.pk, actor=asker.user, now=clock.now())
        except BillingError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, _("Thank you: the payment method is confirmed, and our staff can decide now."))
    return redirect(page_of(refund))


def _page(
    request: HttpRequest,
    order: TopUp,
    asker: Asker,
    form: TopUpRefundForm | None = None,
    *,
    problem: BillingError | None = None,
    preview: bool = False,
    name: str = "top_up_ask",
    status: int = 200,
) -> HttpResponse:
    now = clock.now()
    context: dict[str, Any] = {
        "order": order,
        "account": order.account,
        "email": asker.user.email,
        "method": method_text(order),
        "other_account": order.account != current_account(request),
        "problem": problem,
    }
    try:
        offer = lifecycle.offer(order, Wallet.objects.get(pk=order.account_id), now=now)
    except NotRefundable as why_not:
        waiting = Refund.objects.filter(top_up=order, status__in=Refund.WAITING).order_by("-pk").first()
        context |= {"why_not": why_not, "waiting": waiting and page_of(waiting)}
        return render(request, f"refunds/{name}.html", context, status=status)
    form = form or fresh(offer.unused_usd)
    form.fields["amount"].help_text = _("At most %(unused)s: what is unused of this payment.") % {
        "unused": ui.usd_text(offer.unused_usd)
    }
    asked = _asked(form, offer)
    try:
        context |= _lines(order, offer, asked, context["method"])
    except NotRefundable as too_much:
        context |= _lines(order, offer, offer.unused_usd, context["method"])
        if form.is_bound and "amount" not in form.errors:
            form.add_error("amount", str(too_much))
        preview, status = False, 200 if name == "top_up_lines" else 422
    context |= {
        "form": form,
        "preview": preview,
        "offer": offer,
        "company": order.account.kind == Account.Kind.COMPANY,
        "finance": asker.finance,
        "until": lifecycle.refundable_until(order, now=now),
        "categories": Refund.Category.choices,
        "category": dict(Refund.Category.choices).get(form.chosen, ""),
    }
    return render(request, f"refunds/{name}.html", context, status=status)


def method_text(order: TopUp) -> str:
    """How it was paid: `Card · Visa •••• 4242`."""
    paid = order.attempts.filter(outcome=PaymentAttempt.Outcome.SUCCEEDED).order_by("-at").first()
    card = paid.card if paid is not None and order.method == TopUp.Method.CARD else ""
    return " · ".join(filter(None, (str(order.get_method_display()), card)))


def _asked(form: TopUpRefundForm, offer: lifecycle.Offer) -> Decimal:
    """The amount in the form; all that is unused while there is none."""
    if not form.is_bound:
        return offer.unused_usd
    found: Decimal = form.cleaned_data.get("amount", offer.unused_usd)
    return found


def _lines(order: TopUp, offer: lifecycle.Offer, asked_usd: Decimal, method: str) -> dict[str, Any]:
    """The lines in what was paid: label, note, sign, amount, how strong it is."""
    found = offer.lines(asked_usd)
    rate = ui.percent(offer.fee_rate, 2)

    def money(minor: int) -> str:
        amount = from_minor_units(minor, order.currency)
        return ui.cny_text(amount) if order.currency == CNY else ui.usd_text(amount)

    rows: list[tuple[str, str, str, str, str]] = [
        (_("Paid"), "", "", money(found.paid), ""),
        (_("Used"), _("by calls, with those under way and parts of a cent"), "−", money(found.used), ""),
    ]
    if found.refunded:
        rows.append((_("Already refunded or on its way"), "", "−", money(found.refunded), ""))
    if found.disputed:
        rows.append((_("Disputed at the bank"), "", "−", money(found.disputed), ""))
    rows.append((_("Unused, can be refunded"), "", "", money(found.unused), "sum"))
    if found.kept:
        rows.append((_("Stays as credit"), "", "−", money(found.kept), ""))
        rows.append((_("You ask for"), "", "", money(found.requested), "sum"))
    rows.append((_("Fee of %(rate)s") % {"rate": rate}, _("kept from every refund"), "−", money(found.fee), ""))
    rows.append((_("You receive"), method, "", money(found.sent), "total"))
    return {
        "lines": rows,
        "asked_usd": asked_usd,
        "arrives": money(found.sent),
        "requested": money(found.requested),
        "all_of_it": asked_usd == offer.unused_usd,
        "in_yuan": order.currency == CNY,
    }
