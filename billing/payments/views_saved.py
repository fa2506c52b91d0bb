"""`/billing/auto-top-up`: what will happen, what did happen, and the cards it happens with."""

from __future__ import annotations

import logging
import re
import uuid
from typing import Any, Final
from uuid import UUID

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import may, role_in
from accounts.authentication import signed_in_recently
from accounts.models import Account
from accounts.portal import account_in_force, named_here, payer
from billing.books.models import Wallet
from billing.errors import BillingError
from billing.paging import Key, page
from billing.payments import auto_setting, auto_text, auto_topup, forms_saved, risk, saved, tasks_saved, timeline
from billing.payments.models_saved import AutoTopUp, AutoTopUpRun, CardSetup, PaymentMethod
from billing.payments.stripe_processor import get_processor
from billing.payments.views import _to_checkout
from billing.waking import wake
from config import clock

log = logging.getLogger(__name__)

BY_ORDER: Final = Key(("order_id",), lambda run: str(run.order_id), lambda text: (UUID(text),))
RUNS_SHOWN: Final = 20
_TOKEN: Final = re.compile(r"[0-9a-f]{32}")
_recent_sign_in: Any = reauthentication_required(enabled=lambda request: not signed_in_recently(request, request.user))


@_to_checkout
@login_required
@never_cache
@require_safe
def auto_top_up(request: HttpRequest) -> HttpResponse:
    """What will happen, the cards, and what happened."""
    account = account_in_force(request)
    return _page(request, account, forms_saved.fresh(_row(account), saved.cards(account.pk)))


def _row(account: Account) -> AutoTopUp | None:
    rows = AutoTopUp.objects.select_related("payment_method", "stopped_order", "pending_order", "consent", "changed_by")
    return rows.filter(pk=account.pk).first()


def _page(
    request: HttpRequest,
    account: Account,
    form: forms_saved.AutoTopUpForm,
    problem: BillingError | None = None,
    status: int = 200,
) -> HttpResponse:
    row, now = _row(account), clock.now()
    cards = saved.cards(account.pk)
    runs = AutoTopUpRun.objects.filter(account=account).select_related("order", "order__risk", "payment_method")
    found = page(runs, BY_ORDER, request.GET, size=RUNS_SHOWN)
    context = {
        "account": account,
        "row": row,
        "form": form,
        "cards": cards,
        "usable": [card for card in cards if card.state == PaymentMethod.State.ACTIVE],
        "sentences": auto_text.what_happens(row.terms, row.payment_method) if row and row.payment_method else [],
        "spent": auto_topup.spent(account.pk, now=now) if row else None,
        "balance": Wallet.objects.get(pk=account.pk).net,
        "allowed": may(role_in(request.user, account), "pay"),
        "set_up": bool(settings.STRIPE_SECRET_KEY),
        "agreement": auto_text.save_card(),
        "token": uuid.uuid4().hex,
        "runs": [(run, *timeline.badge(run.order, risk.of(run.order))) for run in found.rows],
        "page": found,
        "problem": problem,
    }
    return render(request, "billing/auto_top_up.html", context, status=status)


# --- On and off -----------------------------------------------------------------------------------------------------


@_to_checkout
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_recent_sign_in
def turn_on(request: HttpRequest) -> HttpResponse:
    """GET shows what will happen with these terms; POST agrees to it."""
    account, user = payer(request)
    cards = saved.cards(account.pk)
    posted = request.method == "POST"
    if (posted and not named_here(request, account)) or not (posted or request.GET):
        return redirect("payments:auto_top_up")
    form = forms_saved.AutoTopUpForm(request.POST if posted else request.GET, cards=cards)
    if not form.is_valid():
        return _page(request, account, form, status=422)
    card = next(one for one in cards if str(one.pk) == form.cleaned_data["payment_method"])
    problem: BillingError | None = None
    if posted and request.POST.get("agree"):
        try:
            auto_setting.configure(
                account.pk,
                form.terms,
                card_id=card.pk,
                text=auto_text.consent(form.terms, card),
                version=auto_text.VERSION,
                locale=get_language() or "",
                actor=user,
                label=user.email,
                now=clock.now(),
            )
        except BillingError as refusal:
            problem = refusal
        else:
            wake(tasks_saved.run_auto_top_up, str(account.pk))
            messages.success(request, _("Auto top-up is on."))
            return redirect("payments:auto_top_up")
    balance = Wallet.objects.get(pk=account.pk).net
    context = {
        "account": account,
        "form": form,
        "card": card,
        "sentences": auto_text.what_happens(form.terms, card),
        "balance": balance,
        "threshold": form.terms.threshold,
        "at_once": balance < form.terms.threshold,
        "unagreed": posted and problem is None,
        "problem": problem,
    }
    status = int(problem.status) if problem else (422 if posted else 200)
    return render(request, "billing/auto_top_up_on.html", context, status=status)


@login_required
@require_POST
def turn_off(request: HttpRequest) -> HttpResponse:
    """No further charge."""
    account, user = payer(request)
    if named_here(request, account):
        try:
            row = auto_setting.turn_off(account.pk, actor=user, label=user.email, now=clock.now())
        except BillingError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, _("Auto top-up is off."))
            if row.pending_order_id:
                messages.info(request, _("A charge that is under way at this moment may still arrive."))
    return redirect("payments:auto_top_up")


@login_required
@require_POST
@_recent_sign_in
def resume(request: HttpRequest) -> HttpResponse:
    """Go on after a stop."""
    account, user = payer(request)
    if named_here(request, account):
        try:
            auto_setting.resume(account.pk, actor=user, label=user.email, now=clock.now())
        except BillingError as refusal:
            messages.error(request, str(refusal))
        else:
            wake(tasks_saved.run_auto_top_up, str(account.pk))
            messages.success(request, _("Auto top-up goes on."))
    return redirect("payments:auto_top_up")


# --- Cards ----------------------------------------------------------------------------------------------------------


@_to_checkout
@login_required
@never_cache
@require_POST
def add_card(request: HttpRequest) -> HttpResponse:
    """Agree to keep a card, then on to the provider's page."""
    account, user = payer(request)
    if not named_here(request, account):
        return redirect("payments:auto_top_up")
    token = request.POST.get("token", "")
    if not _TOKEN.fullmatch(token) or not request.POST.get("agree"):
        messages.error(request, _("Tick the box below: without your consent we may not keep a card."))
        return redirect("payments:auto_top_up")
    try:
        setup = saved.begin(
            account.pk,
            client_key=f"form:{token}",
            text=auto_text.save_card(),
            version=auto_text.VERSION,
            locale=get_language() or "",
            actor=user,
            processor=get_processor(),
            now=clock.now(),
        )
    except BillingError as refusal:
        messages.error(request, str(refusal))
        return redirect("payments:auto_top_up")
    return HttpResponseRedirect(setup.url) if setup.url else redirect("payments:auto_top_up")


@login_required
@never_cache
@require_safe
def card_given(request: HttpRequest, setup_id: UUID) -> HttpResponse:
    """Back from the provider's page: the same door as the webhook, whichever comes first."""
    row = get_object_or_404(CardSetup, pk=setup_id, account__in=Account.objects.visible_to(request.user))
    session_id = request.GET.get("session_id", "")
    if session_id and row.session_id and session_id != row.session_id:
        raise Http404
    try:
        row = saved.finish(row.pk, processor=get_processor(), now=clock.now(), session_id=session_id)
    except BillingError as refusal:
        log.warning("The card of %s could not be read on the return: %s", row.pk, refusal.code)
        messages.warning(
            request, _("The payment provider does not answer just now. Your card appears here as soon as it does.")
        )
    else:
        if row.payment_method is not None:
            wake_detaching(row)
            messages.success(request, _("%(card)s is saved.") % {"card": row.payment_method.name})
        else:
            messages.info(request, _("No card was saved."))
    return redirect("payments:auto_top_up")


def wake_detaching(row: CardSetup) -> None:
    """The older row of the same card, if there was one, is forgotten at the provider."""
    for card_id in PaymentMethod.objects.filter(
        account_id=row.account_id, state=PaymentMethod.State.REMOVED, detached_at=None
    ).values_list("pk", flat=True)[:5]:
        wake(tasks_saved.detach_card, str(card_id))


def _card(request: HttpRequest, account: Account, card_id: UUID) -> PaymentMethod:
    rows = PaymentMethod.objects.visible_to(request.user).exclude(state=PaymentMethod.State.REMOVED)
    found: PaymentMethod = get_object_or_404(rows, pk=card_id, account=account)
    return found


@login_required
@require_POST
def default_card(request: HttpRequest, card_id: UUID) -> HttpResponse:
    """Offer this card first."""
    account, user = payer(request)
    card = _card(request, account, card_id)
    try:
        saved.make_default(account.pk, card.pk, actor=user, now=clock.now())
    except BillingError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("%(card)s is the default card.") % {"card": card.name})
    return redirect("payments:auto_top_up")


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def remove_card(request: HttpRequest, card_id: UUID) -> HttpResponse:
    """GET says what will happen; POST forgets the card."""
    account, user = payer(request)
    card = _card(request, account, card_id)
    row = _row(account)
    if request.method != "POST":
        in_use = row is not None and row.running and row.payment_method_id == card.pk
        return render(request, "billing/card_remove.html", {"card": card, "in_use": in_use})
    try:
        saved.remove(account.pk, card.pk, actor=user, now=clock.now())
    except BillingError as refusal:
        messages.error(request, str(refusal))
    else:
        wake(tasks_saved.detach_card, str(card.pk))
        messages.success(request, _("%(card)s is removed.") % {"card": card.name})
    return redirect("payments:auto_top_up")
