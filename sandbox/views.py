"""The hosted checkout page. It works without JavaScript: every button posts a form."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config import clock
from sandbox import cards, checkout, qr, setup_page, store, switches
from sandbox.forms import CardForm
from sandbox.models import StoredObject
from sandbox.store import Moment

View = Callable[..., HttpResponse]
DECIMALS = {"jpy": 0, "krw": 0, "vnd": 0}
DEMO_EXPIRY, DEMO_CVC = "12/34", "123"
WALLET_OUTCOMES = {
    "succeed": (cards.SUCCESS, False),
    "fail": (checkout.PROVIDER_DECLINE, False),
    "cancel": (checkout.CUSTOMER_DECLINE, False),
    "expire": (checkout.PROVIDER_EXPIRED, False),
    "delayed_succeed": (cards.SUCCESS, True),
    "delayed_fail": (checkout.PROVIDER_DECLINE, True),
}


def _page(view: View) -> View:
    """Show the session's page in the session's language, and let its forms end where the session returns to."""

    @wraps(view)
    def shown(request: HttpRequest, session_id: str) -> HttpResponse:
        session = store.find("checkout.session", session_id)
        if session is None:
            raise Http404("There is no such checkout session.")
        locale = session.data["locale"] or "auto"
        language = {"zh": "zh-hans", "en": "en"}.get(locale[:2], translation.get_language() or "en")
        with translation.override(language):
            response = view(request, session)
        # A browser applies `form-action` to redirects too, and the merchant may live at another origin.
        origins = {f"{url.scheme}://{url.netloc}" for url in _returns(session)}
        response._csp_update = {"form-action": sorted(origins)}  # type: ignore[attr-defined]
        response["Cache-Control"] = "no-store"
        return response

    return shown


def _returns(session: StoredObject) -> list[SplitResult]:
    return [urlsplit(session.data[name]) for name in ("success_url", "cancel_url") if session.data[name]]


@require_GET
@_page
def checkout_page(request: HttpRequest, session: StoredObject) -> HttpResponse:
    return setup_page.shown(request, session) if session.data["mode"] == "setup" else _render(request, session)


@require_POST
@_page
def pay_by_card(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """Try the card. A success leads back to the merchant, a decline stays here with its message."""
    now = clock.now()
    form = CardForm(request.POST, year_now=now.year, month_now=now.month)
    if not form.is_valid():
        return _render(request, session, form=form, status=422)
    data = form.cleaned_data
    card = cards.lookup(data["number"])
    month, year = data["expiry"]
    outcome = cards.chosen(data["outcome"]) or card.outcome
    if asks_to_confirm(card):
        return _challenge(session, card, outcome, data, Moment(now)) or _render(request, _fresh(session), status=409)
    try:
        with transaction.atomic():
            charge = checkout.pay_by_card(
                store.get("checkout.session", session.object_id, lock=True),
                card,
                outcome,
                month=month,
                year=year,
                email=data["email"],
                name=data["name"],
                moment=Moment(now),
            )
    except checkout.SessionClosed:
        return _render(request, _fresh(session), status=409)
    if charge.data["status"] == "failed":
        return _render(request, _fresh(session), form=form, declined=charge.data["failure_message"], status=402)
    return _back(session)


@require_POST
@_page
def pay_by_wallet(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """What the customer does in the app of Alipay or WeChat Pay: approve, refuse, or approve with a delay."""
    kind, wish = request.POST.get("kind", ""), request.POST.get("outcome", "")
    if kind not in session.data["payment_method_types"] or kind == "card" or wish not in WALLET_OUTCOMES:
        raise Http404("There is no such payment method.")
    outcome, delayed = WALLET_OUTCOMES[wish]
    if wish == "succeed" and (mood := switches.current().wallets) != "at_once":
        outcome, delayed = (cards.SUCCESS, True) if mood == "delayed" else (checkout.PROVIDER_AWAY, False)
    try:
        with transaction.atomic():
            charge = checkout.pay_by_wallet(
                store.get("checkout.session", session.object_id, lock=True),
                kind,
                outcome,
                delayed=delayed,
                email=(session.data["customer_details"] or {}).get("email") or "customer@example.com",
                moment=Moment(clock.now()),
            )
    except checkout.SessionClosed:
        return _render(request, _fresh(session), status=409)
    if charge.data["status"] == "failed":
        return _render(request, _fresh(session), declined=charge.data["failure_message"], status=402)
    return _back(session)


def asks_to_confirm(card: cards.TestCard) -> bool:
    """Whether the bank of this card wants 3-D Secure."""
    mood = switches.current().three_d_secure
    return card.challenge if mood == "card" else mood == "always"


def _challenge(
    session: StoredObject, card: cards.TestCard, outcome: cards.Outcome, data: dict[str, Any], moment: Moment
) -> HttpResponse | None:
    """On to the bank's page; None when the session is closed."""
    path = reverse("sandbox:three_d_secure", args=[session.object_id])
    month, year = data["expiry"]
    try:
        with transaction.atomic():
            checkout.challenge(
                store.get("checkout.session", session.object_id, lock=True),
                card,
                outcome,
                month=month,
                year=year,
                email=data["email"],
                name=data["name"],
                url=f"{settings.PUBLIC_URL}{path}",
                moment=moment,
            )
    except checkout.SessionClosed:
        return None
    return HttpResponseRedirect(path, status=303)


@require_http_methods(["GET", "POST"])
@_page
def three_d_secure(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """The bank's page: the holder confirms the payment, refuses it, or walks away."""
    intent = checkout.intent_of(session)
    if intent is None or intent.data["status"] != "requires_action" or session.data["status"] != "open":
        return HttpResponseRedirect(reverse("sandbox:checkout", args=[session.object_id]))
    if request.method != "POST":
        method = store.get("payment_method", intent.data["payment_method"])
        return render(request, "sandbox/three_d_secure.html", {**_about(session), "card": method.data["card"]})
    try:
        with transaction.atomic():
            charge = checkout.answer_challenge(
                store.get("checkout.session", session.object_id, lock=True),
                request.POST.get("outcome") == "succeed",
                Moment(clock.now()),
            )
    except checkout.SessionClosed:
        return _render(request, _fresh(session), status=409)
    if charge is None:
        return _render(request, _fresh(session), declined=checkout.NOT_CONFIRMED, status=402)
    if charge.data["status"] == "failed":
        return _render(request, _fresh(session), declined=charge.data["failure_message"], status=402)
    return _back(session)


@require_GET
@_page
def alipay(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """Where a real checkout redirects to: the customer approves, refuses, or comes back without either."""
    return _wallet_page(request, session, "alipay")


@require_GET
@_page
def wechat_pay(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """The page with the code to scan."""
    return _wallet_page(request, session, "wechat_pay")


def _wallet_page(request: HttpRequest, session: StoredObject, kind: str) -> HttpResponse:
    if session.data["status"] != "open" or kind not in session.data["payment_method_types"]:
        return HttpResponseRedirect(reverse("sandbox:checkout", args=[session.object_id]))
    return render(request, f"sandbox/{kind}.html", _about(session))


def _about(session: StoredObject) -> dict[str, Any]:
    data = session.data
    total = amount_text(data["amount_total"], data["currency"])
    return {"session": data, "total": total, "merchant": settings.SITE_NAME}


@require_GET
@_page
def qr_picture(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """A picture that looks like a QR code and differs from session to session. It cannot be scanned."""
    return HttpResponse(qr.picture(session.object_id), content_type="image/svg+xml")


@require_POST
@_page
def expire(request: HttpRequest, session: StoredObject) -> HttpResponse:
    """Let the session expire now, as it would by itself a day later."""
    with transaction.atomic():
        row = store.get("checkout.session", session.object_id, lock=True)
        if row.data["status"] == "open":
            checkout.expire(row, Moment(clock.now()))
    return HttpResponseRedirect(request.path.removesuffix("/expire"))


def _fresh(session: StoredObject) -> StoredObject:
    return store.get("checkout.session", session.object_id)


def _back(session: StoredObject) -> HttpResponse:
    """Return to the merchant, with the session's id where `success_url` asks for it."""
    response = HttpResponseRedirect(return_url(session))
    response.status_code = 303
    return response


def return_url(session: StoredObject) -> str:
    return str(session.data["success_url"]).replace("{CHECKOUT_SESSION_ID}", quote(session.object_id))


def amount_text(amount: int, currency: str) -> str:
    """Minor units as a person reads them."""
    digits = DECIMALS.get(currency, 2)
    whole, part = divmod(amount, 10**digits)
    number = f"{whole:,}.{part:0{digits}d}" if digits else f"{whole:,}"
    return f"{number} {currency.upper()}"


def _render(
    request: HttpRequest,
    session: StoredObject,
    *,
    form: CardForm | None = None,
    declined: str = "",
    status: int = 200,
) -> HttpResponse:
    now, data = clock.now(), session.data
    if form is None:
        email = (data["customer_details"] or {}).get("email") or ""
        number = "".join(digit for digit in request.GET.get("card", "") if digit.isdigit())[:19]
        first = {"email": email, "number": number, "expiry": DEMO_EXPIRY, "cvc": DEMO_CVC}
        form = CardForm(initial=first, year_now=now.year, month_now=now.month)
    items = [
        {
            "name": item["description"],
            "about": item["price"]["product"] and _product_text(item["price"]["product"]),
            "quantity": item["quantity"],
            "amount": amount_text(item["amount_total"], item["currency"]),
            "every": item["price"]["recurring"] and item["price"]["recurring"]["interval"],
        }
        for item in session.private["line_items"]
    ]
    context = {
        "session": data,
        "items": items,
        "total": amount_text(data["amount_total"], data["currency"]),
        "form": form,
        "declined": declined,
        "decline_text": _(declined) if declined else "",
        "test_cards": cards.CARDS,
        "expires_at": store.from_seconds(data["expires_at"]),
        "return_url": return_url(session),
        "merchant": settings.SITE_NAME,
        "methods": data["payment_method_types"],
    }
    return render(request, "sandbox/checkout.html", context, status=status)


def _product_text(product_id: str) -> str:
    product = store.find("product", product_id)
    return str((product.data["description"] if product else "") or "")
