"""Pages that a customer looks at without buying: the portal with cards and invoices, and one invoice by itself."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from config import clock
from sandbox import cards, dashboard_subscriptions, events, standing, store
from sandbox.models import StoredObject
from sandbox.setup_page import DEMO_CVC, DEMO_EXPIRY, SetupForm
from sandbox.store import Moment
from sandbox.views import amount_text

View = Callable[..., HttpResponse]


def _portal(view: View) -> View:
    """Find the session, and speak its language."""

    @wraps(view)
    def shown(request: HttpRequest, session_id: str) -> HttpResponse:
        session = store.find("billing_portal.session", session_id)
        if session is None:
            raise Http404("There is no such portal session.")
        locale = session.data["locale"] or "auto"
        language = {"zh": "zh-hans", "en": "en"}.get(locale[:2], translation.get_language() or "en")
        with translation.override(language):
            response = view(request, session)
        response["Cache-Control"] = "no-store"
        return response

    return shown


@require_GET
@_portal
def portal(request: HttpRequest, session: StoredObject) -> HttpResponse:
    return _render(request, session)


def _render(
    request: HttpRequest, session: StoredObject, *, form: SetupForm | None = None, declined: str = "", status: int = 200
) -> HttpResponse:
    customer, now = store.get("customer", session.data["customer"]).data, clock.now()
    if form is None:
        first = {"email": customer["email"] or "", "expiry": DEMO_EXPIRY, "cvc": DEMO_CVC, "confirmed": "yes"}
        form = SetupForm(initial=first, year_now=now.year, month_now=now.month)
    context = {
        "session": session.data,
        "customer": customer,
        "cards": [one.data for one in _cards(customer["id"])],
        "default": _default(customer),
        "invoices": [invoice_row(one) for one in _invoices(customer["id"])],
        "form": form,
        "declined": declined,
        "decline_text": _(declined) if declined else "",
        "merchant": settings.SITE_NAME,
    }
    return render(request, "sandbox/portal.html", context, status=status)


def _cards(customer: str) -> list[StoredObject]:
    return list(StoredObject.objects.filter(kind="payment_method", customer=customer, data__type="card").order_by("pk"))


def _invoices(customer: str) -> list[StoredObject]:
    return list(StoredObject.objects.filter(kind="invoice", customer=customer).order_by("-pk")[:25])


def _subscriptions(customer: str) -> list[str]:
    rows = StoredObject.objects.filter(
        kind="subscription", customer=customer, data__status__in=[*standing.RUNNING, "incomplete"]
    )
    return list(rows.order_by("pk").values_list("object_id", flat=True))


def _default(customer: dict[str, Any]) -> str | None:
    """The card that the next invoice is charged to."""
    for subscription in _subscriptions(customer["id"]):
        card = store.get("subscription", subscription).data["default_payment_method"]
        if card:
            return str(card)
    return customer["invoice_settings"]["default_payment_method"]


def invoice_row(row: StoredObject) -> dict[str, Any]:
    data = row.data
    return {**data, "at": row.created, "amount": amount_text_signed(data["total"], data["currency"])}


def amount_text_signed(amount: int, currency: str) -> str:
    return f"-{amount_text(-amount, currency)}" if amount < 0 else amount_text(amount, currency)


def make_default(customer_id: str, method_id: str, moment: Moment) -> None:
    """Charge what comes to this card: the customer's invoices, and those of the subscriptions that name another."""
    for subscription_id in _subscriptions(customer_id):
        subscription = store.get("subscription", subscription_id, lock=True)
        standing.change(subscription, moment, default_payment_method=method_id)
    customer = store.get("customer", customer_id, lock=True)
    kept = {**customer.data["invoice_settings"], "default_payment_method": method_id}
    before = store.change(customer, invoice_settings=kept)
    if before:
        events.record("customer.updated", customer, moment, previous=before)


@require_POST
@_portal
def set_default(request: HttpRequest, session: StoredObject) -> HttpResponse:
    card = store.find("payment_method", request.POST.get("card"))
    if card is None or card.data["customer"] != session.data["customer"]:
        raise Http404("There is no such card.")
    with transaction.atomic():
        make_default(session.data["customer"], card.object_id, Moment(clock.now()))
    messages.success(request, _("This card is charged from now on."))
    return HttpResponseRedirect(reverse("sandbox:portal", args=[session.object_id]))


@require_POST
@_portal
def add_card(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """A new card, which becomes the default."""
    now = clock.now()
    form = SetupForm(request.POST, year_now=now.year, month_now=now.month)
    if not form.is_valid():
        return _render(request, session, form=form, status=422)
    card = cards.lookup(form.cleaned_data["number"])
    outcome = card.setup_outcome(confirmed=form.cleaned_data["confirmed"] != "no")
    if not outcome.succeeds:
        return _render(request, session, form=form, declined=outcome.message, status=402)
    with transaction.atomic():
        kept = dashboard_subscriptions.keep_card(session.data["customer"], card.number, Moment(now))
        make_default(session.data["customer"], kept.object_id, Moment(now))
    messages.success(request, _("This card is charged from now on."))
    return HttpResponseRedirect(reverse("sandbox:portal", args=[session.object_id]))


# --- one invoice ----------------------------------------------------------------------------------------------------


@require_GET
def invoice(request: HttpRequest, invoice_id: str) -> HttpResponse:
    return _invoice_page(request, invoice_id)


def _invoice_page(request: HttpRequest, invoice_id: str, *, declined: str = "", status: int = 200) -> HttpResponse:
    row = store.find("invoice", invoice_id)
    if row is None:
        raise Http404("There is no such invoice.")
    lines = [
        {**line, "amount": amount_text_signed(line["amount"], line["currency"])} for line in row.data["lines"]["data"]
    ]
    context = {
        "invoice": invoice_row(row),
        "lines": lines,
        "due": amount_text(row.data["amount_remaining"], row.data["currency"]),
        "cards": [one.data for one in _cards(row.data["customer"])],
        "declined": declined,
        "decline_text": _(declined) if declined else "",
        "merchant": settings.SITE_NAME,
    }
    return render(request, "sandbox/invoice.html", context, status=status)


@require_POST
def pay_invoice(request: HttpRequest, invoice_id: str) -> HttpResponse:
    """Pay an open invoice with one of the customer's cards."""
    found, card = store.find("invoice", invoice_id), store.find("payment_method", request.POST.get("card"))
    if found is None or card is None or card.data["customer"] != found.data["customer"]:
        raise Http404("There is no such invoice or card.")
    with transaction.atomic():
        named = found.data["parent"]["subscription_details"]["subscription"]
        subscription = store.get("subscription", named, lock=True)
        row = store.get("invoice", invoice_id, lock=True)
        if row.data["status"] == "open":
            retry_at = row.data["next_payment_attempt"]
            standing.collect(subscription, row, Moment(clock.now()), method=card, retry_at=retry_at)
            if row.data["status"] == "open":
                return _invoice_page(request, invoice_id, declined=standing.refusal(row).body["message"], status=402)
    return HttpResponseRedirect(reverse("sandbox:invoice", args=[invoice_id]), status=303)


@require_GET
def invoice_pdf(request: HttpRequest, invoice_id: str) -> HttpResponse:
    """The sandbox prints nothing: where a real provider has a file, it shows the page."""
    return HttpResponseRedirect(reverse("sandbox:invoice", args=[invoice_id]))
