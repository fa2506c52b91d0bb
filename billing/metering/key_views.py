"""API keys: list, make, change, rotate, disable; the secret is shown once (C22, F078).

They stand here and not in `accounts` because they show what each key spent and which models there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts import api_keys
from accounts.access import current_account, may, role_in
from accounts.authentication import signed_in_recently
from accounts.models import Account, ApiKey, KeyGroup
from billing.catalog.book import Book, current_book
from billing.metering import filters, rollups
from billing.metering.key_forms import KeyForm, NewKeyForm, RotateForm
from billing.metering.rollups import Scope, Sums
from config import clock

DAYS: Final = 30
MOST_KEYS: Final = 500
SENT_SECONDS: Final = 86_400


# Asks for the password or second factor again, unless this session gave one within ACCOUNT_REAUTHENTICATION_TIMEOUT.
_recent_sign_in: Any = reauthentication_required(enabled=lambda request: not signed_in_recently(request, request.user))


@dataclass(frozen=True, slots=True)
class Shown:
    """A key as the list shows it."""

    key: ApiKey
    status: str
    label: Any
    spend: Sums | None
    models: list[str]


def _account(request: HttpRequest) -> Account:
    account = current_account(request)
    if account is None:
        raise Http404
    return account


def _allowed(request: HttpRequest, account: Account) -> bool:
    return may(role_in(request.user, account), "keys")


def _permitted(request: HttpRequest) -> Account:
    """The account in force, if the reader's role may change its keys."""
    account = _account(request)
    if not _allowed(request, account):
        raise PermissionDenied(_("Your role in this account does not allow changing keys."))
    return account


def first_time(request: HttpRequest) -> bool:
    """False for a form that was sent before: reloading the page with the secret must not make another key."""
    token = filters.uuid_of(request.POST.get("token"))
    return token is not None and bool(cache.add(f"key-form:{request.user.pk}:{token}", 1, SENT_SECONDS))


def _again(request: HttpRequest) -> HttpResponse:
    messages.info(request, _("That form was sent before. A secret is shown only once; rotate the key if it is lost."))
    return redirect("metering:keys")


def _key(request: HttpRequest, account: Account, key_id: UUID) -> ApiKey:
    rows = ApiKey.objects.visible_to(request.user).select_related("group", "created_by", "rotated_from")
    found: ApiKey = get_object_or_404(rows, pk=key_id, account=account)
    return found


def status_of(key: ApiKey, now: datetime) -> tuple[str, Any]:
    """Whether the key works, in a word."""
    if key.disabled_at is not None:
        return "disabled", _("Disabled")
    if key.expires_at is not None and key.expires_at <= now:
        return "expired", _("Expired")
    if key.expires_at is not None and key.expires_at <= now + timedelta(days=7):
        return "expiring", _("Expires soon")
    return "active", _("Active")


def _spend(account: Account, today: date) -> dict[UUID | None, Sums]:
    scope = Scope(account.pk, first=today - timedelta(days=DAYS - 1), last=today)
    return {row.api_key_id: row for row in rollups.sums(scope, by=["api_key_id"])}


def _shown(key: ApiKey, now: datetime, spend: dict[UUID | None, Sums], book: Book) -> Shown:
    names = [book.models[slug].name if slug in book.models else slug for slug in key.allowed_models or []]
    return Shown(key, *status_of(key, now), spend.get(key.pk), names)


def _kind(request: HttpRequest) -> str:
    """The kind of key that the address names; empty for any."""
    told = request.GET.get("kind", "")
    return told if told in ApiKey.Kind.values else ""


@require_safe
@login_required
def keys(request: HttpRequest) -> HttpResponse:
    """Every key of the account, or those of a kind: the working ones first, the stopped ones below."""
    account, now, kind = _account(request), clock.now(), _kind(request)
    book, spend = current_book(), _spend(account, now.date())
    rows = ApiKey.objects.filter(account=account, **({"kind": kind} if kind else {}))
    found = rows.select_related("group").order_by("-created_at", "-pk")[:MOST_KEYS]
    shown = [_shown(key, now, spend, book) for key in found]
    return render(
        request,
        "keys/list.html",
        {
            "live": [row for row in shown if row.status in ("active", "expiring")],
            "stopped": [row for row in shown if row.status not in ("active", "expiring")],
            "allowed": _allowed(request, account),
            "days": DAYS,
            "kind": kind,
            "kinds": ApiKey.Kind.choices,
        },
    )


@require_safe
@login_required
def key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """One key: what it may call, what it spent, and what can be done with it."""
    account, now = _account(request), clock.now()
    found, book = _key(request, account, key_id), current_book()
    today = now.date()
    scope = Scope(account.pk, first=today - timedelta(days=DAYS - 1), last=today, api_key_id=found.pk)
    by_model = sorted(rollups.sums(scope, by=["model_id"]), key=lambda row: (-row.flows, -row.charge))
    names = {card.id: card.name for card in book.models.values()}
    return _page(
        request,
        found,
        allowed=_allowed(request, account),
        spend_by_model=[(names.get(row.model_id or 0, "–"), row) for row in by_model],
        spent=sum(row.charge for row in by_model),
        spent_flows=sum(row.flows for row in by_model),
    )


def _page(request: HttpRequest, found: ApiKey, *, status: int = 200, **more: Any) -> HttpResponse:
    now, book = clock.now(), current_book()
    form = KeyForm(
        initial={
            "name": found.name,
            "which": "some" if found.allowed_models else "all",
            "models": found.allowed_models or [],
        },
        book=book,
    )
    successor = ApiKey.objects.filter(rotated_from=found).first()
    context = {"shown": _shown(found, now, {}, book), "form": form, "days": DAYS, "successor": successor}
    context["named_by"] = api_keys.what_names(found)
    return render(request, "keys/detail.html", context | more, status=status)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_recent_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """Make a key. The answer to the form is the one page that ever shows its secret."""
    account = _permitted(request)
    now = clock.now()
    form = NewKeyForm(
        request.POST or None,
        book=current_book(),
        groups=KeyGroup.objects.filter(account=account).order_by("name"),
        today=timezone.localtime(now).date(),
        initial={"kind": _kind(request) or ApiKey.Kind.PAYG},
    )
    if request.method == "POST" and form.is_valid():
        if not first_time(request):
            return _again(request)
        made, secret = api_keys.issue(
            account,
            name=form.cleaned_data["name"],
            now=now,
            actor=request.user,  # type: ignore[arg-type]  # login_required
            kind=form.cleaned_data["kind"],
            group=form.cleaned_data["group"],
            allowed_models=form.allowed,
            expires_at=form.expires_at(now),
        )
        return _secret(request, made, secret)
    return render(request, "keys/new.html", {"form": form, "token": uuid4()}, status=422 if form.is_bound else 200)


def _secret(request: HttpRequest, made: ApiKey, secret: str, old: ApiKey | None = None) -> HttpResponse:
    """Shown in the answer itself: it is stored nowhere, so reloading cannot bring it back."""
    book, now = current_book(), clock.now()
    return render(
        request,
        "keys/secret.html",
        {"key": made, "secret": secret, "old": old, "base_url": _gateway_url(), "model": _example(made, book, now)},
    )


def _gateway_url() -> str:
    return str(settings.GATEWAY_URL).rstrip("/")


def _example(made: ApiKey, book: Book, now: datetime) -> str:
    """A model for the snippet that this key may call and that has a price."""
    priced = [price.plan.spec.model for price in book.prices(now) if book.models[price.plan.spec.model].kind == "chat"]
    allowed = [slug for slug in priced if not made.allowed_models or slug in made.allowed_models]
    return next(iter(allowed or made.allowed_models or priced), "openai/gpt-5-mini")


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_recent_sign_in
def rotate(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """A new secret for the same key; the old one stops at once or after a day."""
    account = _permitted(request)
    found, now = _key(request, account, key_id), clock.now()
    form = RotateForm(request.POST or None)
    if not api_keys.is_live(found, now):
        messages.error(request, _("This key has stopped working, so there is nothing to rotate. Make a new one."))
        return redirect("metering:key", key_id)
    if request.method == "POST" and form.is_valid():
        if not first_time(request):
            return _again(request)
        made, secret = api_keys.rotate(found.pk, now=now, actor=request.user, grace=form.duration)  # type: ignore[arg-type]
        found.refresh_from_db()
        return _secret(request, made, secret, found)
    return render(
        request,
        "keys/rotate.html",
        {"key": found, "form": form, "token": uuid4()},
        status=422 if form.is_bound else 200,
    )


@login_required
@require_http_methods(["POST"])
def change(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """Another name, other models."""
    account = _permitted(request)
    found, book = _key(request, account, key_id), current_book()
    form = KeyForm(request.POST, initial={"models": found.allowed_models or []}, book=book)
    if not form.is_valid():
        return _page(request, found, status=422, form=form, allowed=True)
    api_keys.rename(
        found.pk,
        name=form.cleaned_data["name"],
        allowed_models=form.allowed,
        now=clock.now(),
        actor=request.user,  # type: ignore[arg-type]
    )
    messages.success(request, _("The key is changed. New calls follow it at once."))
    return redirect("metering:key", key_id)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def disable(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """Ask first, say what will happen, then stop the key for good."""
    account = _permitted(request)
    found, now = _key(request, account, key_id), clock.now()
    if request.method == "POST":
        api_keys.disable(found.pk, now=now, actor=request.user)  # type: ignore[arg-type]  # login_required
        messages.success(
            request, _("%(name)s is disabled. Calls with it are refused from now on.") % {"name": found.name}
        )
        return redirect("metering:keys")
    shown = _shown(found, now, _spend(account, now.date()), current_book())
    return render(request, "keys/disable.html", {"shown": shown, "named_by": api_keys.what_names(found)})
