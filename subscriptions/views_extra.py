"""`/platform/subscription/extra-usage`: Extra Usage and the subscription's keys (F078, F080-F083, C22).

The cards are templates of their own, which the subscription's page includes with the context of `card_context` and
`keys_context`. The "Select a Key" dialog is a page without JavaScript.
"""

from __future__ import annotations

from datetime import datetime
from functools import wraps
from typing import Any, Final
from uuid import UUID, uuid4

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import api_keys
from accounts.access import may, role_in
from accounts.authentication import signed_in_recently
from accounts.models import Account, ApiKey
from accounts.portal import account_in_force, named_here, payer
from billing.errors import BillingError
from billing.metering.key_views import first_time, status_of
from config import clock
from subscriptions import extra, extra_state, extra_text, forms_extra
from subscriptions.models import ExtraUsageMonth

PAGE: Final = "extra:page"
MONTHS: Final = 12
MOST_KEYS: Final = 100
# Where the card stands; a form of it leads back there.
BACK: Final = ("/platform/subscription", "/platform/subscription/extra-usage")


def _back(request: HttpRequest) -> HttpResponse:
    """To the page that the card stood on; a dialog lets its page load again."""
    if getattr(request, "htmx", False):
        return HttpResponse(headers={"HX-Refresh": "true"})
    wanted = request.POST.get("back", "")
    return redirect(wanted if wanted in BACK else PAGE)


def _recent_sign_in(view: Any) -> Any:
    """Asks for the password or second factor again; a dialog becomes a page first, because that question is one."""
    asked = reauthentication_required(enabled=lambda request: not signed_in_recently(request, request.user))(view)

    @wraps(view)
    def wrapped(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
        if getattr(request, "htmx", False) and not signed_in_recently(request, request.user):
            return HttpResponse(headers={"HX-Redirect": reverse("extra:select")})
        answer: HttpResponse = asked(request, *arguments, **named)
        return answer

    return wrapped


# --- The page and its cards -------------------------------------------------------------------------------------------


def card_context(request: HttpRequest, account: Account, *, now: datetime) -> dict[str, Any]:
    """What `subscriptions/extra_usage_card.html` needs."""
    state = extra_state.state_of(account.pk, now=now)
    return {
        "account": account,
        "extra": state,
        "may_pay": may(role_in(request.user, account), "pay"),
        "cap_form": forms_extra.CapForm(initial={"monthly_cap": f"{state.cap:.2f}" if state.cap else ""}),
        "back": request.path,
    }


def keys_context(request: HttpRequest, account: Account, *, now: datetime) -> dict[str, Any]:
    """What `subscriptions/keys_card.html` needs: the subscription's keys that work, newest first."""
    rows = ApiKey.objects.filter(account=account, kind=ApiKey.Kind.SUBSCRIPTION, disabled_at=None)
    live = rows.exclude(expires_at__lte=now).order_by("-created_at", "-pk")[:MOST_KEYS]
    return {
        "subscription_keys": [(key, *status_of(key, now)) for key in live],
        "may_keys": may(role_in(request.user, account), "keys"),
    }


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """What Extra Usage does and has spent, and the keys whose calls it carries on."""
    return _page(request, account_in_force(request))


def _page(request: HttpRequest, account: Account, *, status: int = 200, **more: Any) -> HttpResponse:
    now = clock.now()
    context = card_context(request, account, now=now) | keys_context(request, account, now=now)
    context["months"] = ExtraUsageMonth.objects.filter(account=account, calls__gt=0).order_by("-month")[:MONTHS]
    context["back"] = reverse(PAGE)
    return render(request, "subscriptions/extra_usage.html", context | more, status=status)


# --- Select a Key -----------------------------------------------------------------------------------------------------


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_recent_sign_in
def select(request: HttpRequest) -> HttpResponse:
    """The dialog: which key pays. When Extra Usage is off it asks for the cap and the consent, too, and turns it on."""
    account, user = payer(request)
    now = clock.now()
    if request.method != "POST":
        return _dialog(request, account, now=now)
    if not named_here(request, account):
        return _back(request)
    form = _form(account, now=now, data=request.POST)
    if not form.is_valid():
        return _dialog(request, account, now=now, form=form, status=422)
    key_id = UUID(form.cleaned_data["api_key"])
    try:
        if isinstance(form, forms_extra.TurnOnForm):
            extra.turn_on(
                account.pk,
                key_id=key_id,
                monthly_cap=form.cleaned_data["monthly_cap"],
                agreed_text=extra_text.consent(),
                actor=user,
                label=user.email,
                now=now,
            )
            said = _("Extra Usage is on. Keep an eye on the balance: when it is empty, calls are refused.")
        else:
            extra.reselect(account.pk, key_id=key_id, actor=user, label=user.email, now=now)
            said = _("Another key pays from now on.")
    except BillingError as refusal:
        return _dialog(request, account, now=now, form=form, problem=refusal, status=422)
    messages.success(request, said)
    return _back(request)


def _form(account: Account, *, now: datetime, data: Any = None, chosen: UUID | None = None) -> Any:
    """The dialog's form: for turning on, or for another key."""
    state, keys = extra_state.state_of(account.pk, now=now), extra_state.payable_keys(account.pk, now=now)
    kept = state.key.pk if state.key and state.key in keys else None
    first = chosen or kept or (keys[0].pk if len(keys) == 1 else "")
    if state.on:
        made: Any = forms_extra.ReselectForm(data, initial={"api_key": str(first)}, keys=keys)
    else:
        cap = f"{state.cap:.2f}" if state.cap else forms_extra.FIRST_CAP
        made = forms_extra.TurnOnForm(data, initial={"api_key": str(first), "monthly_cap": cap}, keys=keys)
    made.keys, made.state = keys, state
    return made


def _dialog(
    request: HttpRequest,
    account: Account,
    *,
    now: datetime,
    form: Any = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    form = form or _form(account, now=now)
    context = {
        "account": account,
        "form": form,
        "keys": form.keys,
        "turns_on": isinstance(form, forms_extra.TurnOnForm),
        "extra": form.state,
        "consent": extra_text.consent(),
        "may_keys": may(role_in(request.user, account), "keys"),
        "new_form": forms_extra.NewKeyForm(prefix="new"),
        "token": uuid4().hex,
        "asked_cap": form["monthly_cap"].value() if "monthly_cap" in form.fields else "",
    }
    name = "dialog" if getattr(request, "htmx", False) else "page"
    return render(request, f"subscriptions/select_key_{name}.html", context | more, status=status)


@login_required
@never_cache
@require_POST
@_recent_sign_in
def new_key(request: HttpRequest) -> HttpResponse:
    """Create a pay-as-you-go key inside the dialog. This answer alone shows its secret; what was filled in stays."""
    account, user = payer(request)
    now = clock.now()
    if not named_here(request, account):
        return _back(request)
    if not may(role_in(user, account), "keys"):
        raise PermissionDenied(_("Your role in this account does not allow changing keys."))
    named = forms_extra.NewKeyForm(request.POST, prefix="new")
    if not named.is_valid():
        return _dialog(request, account, now=now, form=_as_filled(request, account, now), new_form=named, status=422)
    if not first_time(request):
        messages.info(
            request, _("That form was sent before. A secret is shown only once; rotate the key if it is lost.")
        )
        return _back(request)
    made, secret = api_keys.issue(account, name=named.cleaned_data["name"], now=now, actor=user)
    form = _as_filled(request, account, now, chosen=made.pk)
    return _dialog(request, account, now=now, form=form, made=made, secret=secret)


def _as_filled(request: HttpRequest, account: Account, now: datetime, chosen: UUID | None = None) -> Any:
    """The dialog's form with what was typed, without complaints about what is still missing."""
    form = _form(account, now=now)
    keys = {str(key.pk) for key in form.keys}
    told = str(chosen) if chosen else request.POST.get("api_key", "")
    form.initial |= {"api_key": told} if told in keys else {}
    if "monthly_cap" in form.fields and "monthly_cap" in request.POST:
        form.initial["monthly_cap"] = request.POST["monthly_cap"][:40]
        form.initial["agree"] = bool(request.POST.get("agree"))
    return form


# --- The cap, and off -------------------------------------------------------------------------------------------------


@login_required
@require_POST
@_recent_sign_in
def set_cap(request: HttpRequest) -> HttpResponse:
    """Another monthly cap."""
    account, user = payer(request)
    if not named_here(request, account):
        return _back(request)
    form = forms_extra.CapForm(request.POST)
    if not form.is_valid():
        return _page(request, account, cap_form=form, status=422)
    try:
        extra.set_cap(
            account.pk, monthly_cap=form.cleaned_data["monthly_cap"], actor=user, label=user.email, now=clock.now()
        )
    except BillingError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("The monthly cap is changed. The next call follows it."))
    return _back(request)


@login_required
@require_POST
def turn_off(request: HttpRequest) -> HttpResponse:
    """Calls stop at the quota again."""
    account, user = payer(request)
    if named_here(request, account):
        extra.turn_off(account.pk, actor=user, label=user.email, now=clock.now())
        messages.success(request, _("Extra Usage is off. When a quota window is full, calls wait for its end."))
    return _back(request)
