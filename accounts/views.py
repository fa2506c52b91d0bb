"""Pages about oneself: profile, security, members; and the two switches in the header."""

from typing import Any, cast

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import SESSION_KEY, accounts_of, current_account, may
from accounts.forms import ProfileForm
from accounts.models import Membership, User


def _back(request: HttpRequest) -> HttpResponseRedirect:
    """To the page the form was on, if it is one of ours."""
    to = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(to, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(to if ours else "/")


def _remember_language(response: HttpResponse, code: str) -> None:
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        code,
        max_age=365 * 24 * 3600,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Keep the language on the user; a visitor keeps it in a cookie."""
    code = request.POST.get("language", "")
    response = _back(request)
    if code in dict(settings.LANGUAGES):
        if request.user.is_authenticated:
            request.user.locale = code
            request.user.save(update_fields=["locale"])
        _remember_language(response, code)
    return response


@require_POST
@login_required
def switch(request: HttpRequest) -> HttpResponse:
    """Put another of the user's accounts in force for this session (F003); someone else's is 404."""
    chosen = next((a for a in accounts_of(request.user) if str(a.pk) == request.POST.get("account")), None)
    if chosen is None:
        raise Http404
    request.session[SESSION_KEY] = str(chosen.pk)
    messages.info(request, _("You now act for %(name)s.") % {"name": chosen.name})
    # A page about one row of the other account would answer 404; lists and forms exist for every account.
    to = request.POST.get("next", "")
    if any(part.count("-") == 4 or any(c.isdigit() for c in part) for part in to.partition("?")[0].split("/")):
        return redirect("/overview")
    return _back(request)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """Name, language, time zone."""
    user = cast(User, request.user)
    form = ProfileForm(
        request.POST or None, instance=user, initial={"locale": user.locale or translation.get_language()}
    )
    if request.method == "POST" and form.is_valid():
        form.save()
        with translation.override(user.locale):
            messages.success(request, _("Your profile is saved."))
        response = redirect("accounts:profile")
        _remember_language(response, user.locale)
        return response
    return render(request, "accounts/profile.html", {"form": form})


@require_safe
@login_required
def security(request: HttpRequest) -> HttpResponse:
    """How well the sign-in is protected, with a way to each setting."""
    kinds = set(Authenticator.objects.filter(user=request.user).values_list("type", flat=True))
    return render(
        request,
        "accounts/security.html",
        {
            "has_second_factor": bool(kinds - {Authenticator.Type.RECOVERY_CODES}),
            "has_recovery_codes": Authenticator.Type.RECOVERY_CODES in kinds,
            "addresses": EmailAddress.objects.filter(user=request.user).order_by("-primary", "email"),
            "session_count": UserSession.objects.filter(user=request.user).count(),
        },
    )


@require_safe
@login_required
def members(request: HttpRequest) -> HttpResponse:
    """Who belongs to the account in force, and what each role may do."""
    account = current_account(request)
    rows = (
        Membership.objects.filter(account=account).select_related("user").order_by("created_at", "pk")
        if account
        else []
    )
    return render(request, "accounts/members.html", {"members": rows, "role_table": _role_table()})


def _role_table() -> list[dict[str, Any]]:
    """The table of `accounts.access.MAY` in words."""
    actions = [
        (None, _("See usage and money")),
        ("keys", _("Make and disable keys")),
        ("pay", _("Top up, redeem, ask for refunds")),
        ("members", _("Change members and account")),
    ]
    return [
        {
            "label": role.label,
            "cells": [{"label": label, "allowed": action is None or may(role, action)} for action, label in actions],
        }
        for role in Membership.Role
    ]
