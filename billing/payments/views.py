"""The top-up page, an order's page, and the door at which the provider rings."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import current_account, may, role_in
from accounts.models import Account
from billing.errors import BillingError, NotFound, PermissionDenied
from billing.money import from_minor_units
from billing.payments import forms, fx, intake, risk, settling, tasks, timeline, topups
from billing.payments.models import TopUp
from billing.payments.stripe_processor import get_processor
from config import clock

log = logging.getLogger(__name__)

# A browser applies `form-action` to the redirect after the form, too: the provider's page must be named.
_to_checkout: Any = csp_update({"form-action": ["https://checkout.stripe.com", settings.PUBLIC_URL]})
ASK_WHILE_POLLING: Final = timedelta(seconds=8)


def _account(request: HttpRequest) -> Account:
    account = current_account(request)
    if account is None:
        raise Http404
    return account


def _order(request: HttpRequest, number: str) -> TopUp:
    """An order of one of the user's accounts; any other is 404."""
    rows = TopUp.objects.visible_to(request.user).select_related("account", "fx_quote", "grant", "created_by")
    found: TopUp = get_object_or_404(rows, number=number)
    return found


def _may_pay(request: HttpRequest, account: Account) -> bool:
    return may(role_in(request.user, account), "pay")


@_to_checkout
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def top_up(request: HttpRequest) -> HttpResponse:
    """Choose an amount and a method; then on to the provider's page."""
    account = _account(request)
    allowed = _may_pay(request, account) and bool(settings.STRIPE_SECRET_KEY)
    if request.method != "POST":
        form = forms.fresh(request.GET.get("amount", "20")[:40], _method(request.GET.get("method", "")))
        return _known(request, _choose(request, account, form, allowed))
    if not allowed:
        return _choose(request, account, forms.fresh(), allowed, PermissionDenied(), status=403)
    # The page named an account; another one may have been put in force in another tab meanwhile (F003).
    if request.POST.get("account") != str(account.pk):
        messages.warning(request, _("The account in force has changed. Check which account you want to top up."))
        return redirect("payments:top_up")
    form = forms.TopUpForm(request.POST)
    if not form.is_valid():
        return _choose(request, account, form, allowed, status=422)
    device, cookie = _device(request)
    try:
        order = topups.start(
            account.pk,
            form.amount,
            method=form.cleaned_data["method"],
            client_key=form.client_key,
            actor=request.user,  # type: ignore[arg-type]  # login_required
            locale=get_language() or "",
            processor=get_processor(),
            now=clock.now(),
            quote_id=form.quote_id,
            device=device,
        )
    except BillingError as refusal:
        return _choose(request, account, form, allowed, refusal, status=int(refusal.status))
    return _with_cookie(_onwards(order), cookie)


def _onwards(order: TopUp) -> HttpResponse:
    """To the provider's page, or to the order that says why there is none."""
    return HttpResponseRedirect(order.checkout_url) if order.may_pay else redirect("payments:order", order.number)


def _method(name: str) -> str:
    return name if name in topups.METHODS else TopUp.Method.CARD


# --- The browser's cookie, by which a device is known again (F028) ----------------------------------------------------
def _device(request: HttpRequest) -> tuple[bytes, str]:
    """The device's hash, and the cookie to set where there was none of ours."""
    known = risk.device_of(request.COOKIES.get(risk.COOKIE, ""))
    if known is not None:
        return known, ""
    cookie, device = risk.new_device()
    return device, cookie


def _known(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Give the browser its cookie when it sees the page for the first time."""
    return _with_cookie(response, _device(request)[1])


def _with_cookie(response: HttpResponse, cookie: str) -> HttpResponse:
    if cookie:
        response.set_cookie(
            risk.COOKIE,
            cookie,
            max_age=risk.COOKIE_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )
    return response


def _choose(
    request: HttpRequest,
    account: Account,
    form: forms.TopUpForm,
    allowed: bool,
    problem: BillingError | None = None,
    status: int = 200,
) -> HttpResponse:
    now = clock.now()
    rate = fx.current(now=now)
    quote = fx.offer(account.pk, now=now) if allowed else None
    recent = list(
        TopUp.objects.filter(account=account).select_related("created_by", "fx_quote", "risk").order_by("-id")[:10]
    )
    shown = quote.rate if quote else rate.rate
    context = {
        "account": account,
        "form": form,
        "allowed": allowed,
        "set_up": bool(settings.STRIPE_SECRET_KEY),
        "problem": problem,
        "presets": [{"value": p, "cny": fx.to_cny(Decimal(p), shown)} for p in forms.PRESETS],
        "methods": _methods(form),
        "minimum": settings.TOPUP_MIN_USD,
        "maximum": settings.TOPUP_MAX_USD,
        "rate": rate,
        "quote": quote,
        "quote_left": int((quote.expires_at - now).total_seconds()) if quote else 0,
        "locked_minutes": int(fx.LOCKED_FOR.total_seconds() // 60),
        "last": timeline.shown(recent[0]) if recent else None,
        "recent": recent,
        "earlier": [(one, *timeline.badge(one, getattr(one, "risk", None))) for one in recent[1:]],
    }
    return render(request, "billing/top_up.html", context, status=status)


_NOTES: Final = {
    TopUp.Method.CARD: gettext_lazy("in US dollars; your bank may ask you to confirm"),
    TopUp.Method.ALIPAY: gettext_lazy("in yuan, confirmed in Alipay"),
    TopUp.Method.WECHAT_PAY: gettext_lazy("in yuan, by scanning a QR code"),
}


def _methods(form: forms.TopUpForm) -> list[dict[str, Any]]:
    """The ways to pay, and in what."""
    chosen = form["method"].value()
    return [
        {
            "value": method.value,
            "label": method.label,
            "note": _NOTES[method],
            "currency": topups.PAID_IN[method],
            "chosen": chosen == method.value,
        }
        for method in topups.METHODS
    ]


@_to_checkout
@login_required
@never_cache
@require_GET
def order(request: HttpRequest, number: str) -> HttpResponse:
    """One order: what happened, why, and what to do. Also the page to which the provider sends the customer back."""
    found = _order(request, number)
    session_id = request.GET.get("session_id", "")
    problem: BillingError | None = None
    if session_id and found.checkout_session_id and session_id != found.checkout_session_id:
        raise Http404
    try:
        if session_id:  # back from paying: the same door as the webhook, whichever comes first
            found = tasks.after(
                settling.settle(found.pk, processor=get_processor(), now=clock.now(), session_id=session_id)
            )
        elif "left" in request.GET:
            found = tasks.after(
                settling.refresh(
                    found.pk, processor=get_processor(), now=clock.now(), at_most_every=timedelta(seconds=2)
                )[0]
            )
    except NotFound:
        raise Http404 from None
    except BillingError as refusal:
        problem = refusal
        log.warning("Top-up %s could not be settled on its page: %s", found.number, refusal.code)
    return render(request, "billing/top_up_order.html", _context(request, _order(request, number), problem))


def _may_be_refunded(found: TopUp) -> bool:
    """Whether the button is of use. What comes back, and every reason against it, says the page that it leads to."""
    left = found.amount_minor - found.refunded_minor - found.disputed_minor
    whole_cents = found.grant is not None and found.grant.remaining >= Decimal("0.01")
    return found.status in (TopUp.Status.CREDITED, TopUp.Status.PARTIALLY_REFUNDED) and left > 0 and whole_cents


def _context(request: HttpRequest, found: TopUp, problem: BillingError | None = None) -> dict[str, Any]:
    return {
        "order": found,
        "shown": timeline.shown(found),
        "attempts": list(found.attempts.order_by("at", "pk")),
        "cny": fx.to_cny(found.amount_usd, found.fx_quote.rate),
        "refunded": from_minor_units(found.refunded_minor, found.currency),
        "disputed": from_minor_units(found.disputed_minor, found.currency),
        "allowed": _may_pay(request, found.account),
        "may_be_refunded": _may_be_refunded(found),
        "other_account": found.account != current_account(request),
        "problem": problem,
        "poll": found.status in TopUp.OPEN,
    }


@login_required
@never_cache
@require_GET
def status(request: HttpRequest, number: str) -> HttpResponse:
    """The part of the order's page that changes; asked for again and again while the outcome is open."""
    found = _order(request, number)
    if found.status in TopUp.OPEN and found.checkout_session_id:
        try:
            tasks.after(
                settling.refresh(found.pk, processor=get_processor(), now=clock.now(), at_most_every=ASK_WHILE_POLLING)[
                    0
                ]
            )
        except BillingError as refusal:
            log.warning("Top-up %s could not be settled while polling: %s", found.number, refusal.code)
    return render(request, "billing/top_up_status.html", _context(request, _order(request, number)))


@_to_checkout
@login_required
@never_cache
@require_POST
def pay(request: HttpRequest, number: str) -> HttpResponse:
    """On to the provider's page of this order, or, when that is closed, to a new order of the same amount."""
    found = _order(request, number)
    if not _may_pay(request, found.account):
        messages.error(request, str(PermissionDenied()))
        return redirect("payments:order", number)
    device, cookie = _device(request)
    try:
        if found.status == TopUp.Status.CREATED:
            found = topups.open_checkout(found.pk, processor=get_processor(), now=clock.now())
        elif found.status in (TopUp.Status.FAILED, TopUp.Status.EXPIRED):
            # The closed order names the new one, so that a second click does not make a second order.
            found = topups.start(
                found.account_id,
                found.amount_usd,
                method=found.method,
                client_key=f"again:{found.number}",
                actor=request.user,  # type: ignore[arg-type]  # login_required
                locale=get_language() or "",
                processor=get_processor(),
                now=clock.now(),
                device=device,
            )
    except BillingError as refusal:
        messages.error(request, str(refusal))
        return redirect("payments:order", number)
    return _with_cookie(_onwards(found), cookie)


@login_required
@require_POST
def check_now(request: HttpRequest, number: str) -> HttpResponse:
    """The customer doubts: ask the provider now, at most every few seconds."""
    found = _order(request, number)
    try:
        found, asked = settling.refresh(
            found.pk, processor=get_processor(), now=clock.now(), at_most_every=settling.CHECK_NOW_EVERY
        )
        tasks.after(found)
    except BillingError as refusal:
        messages.error(request, str(refusal))
    else:
        if asked and found.status in TopUp.OPEN:
            messages.info(request, _("We asked the payment provider just now: the payment has not arrived yet."))
        elif not asked and found.status in TopUp.OPEN:
            messages.info(request, _("We asked the payment provider a moment ago. Please wait a few seconds."))
    return redirect("payments:order", number)


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """The same door where Django is served without the ASGI app beside it."""
    status, answer, headers = intake.take_in(request.body, request.headers.get("Stripe-Signature", ""))
    return JsonResponse(answer, status=status, headers=headers)
