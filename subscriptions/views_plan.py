"""The pages that buy, change and end a plan: each shows first what will happen, in words and sums (F076, C26, C29)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any
from uuid import UUID, uuid4

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import may, role_in
from accounts.models import Account, User
from accounts.portal import named_here, payer
from billing.errors import BillingError
from billing.money import USD, from_minor_units
from billing.payments import failures
from billing.payments.models import PaymentCustomer
from billing.payments.processor import ProcessorUnavailable
from billing.payments.stripe_processor import get_processor
from config import clock
from subscriptions import lifecycle, settling
from subscriptions.forms_plan import ConfirmForm, TokenForm
from subscriptions.models import FlowStanding, Invoice, PlanChange, Subscription
from subscriptions.models_plans import FlowClass
from subscriptions.plans import FREE

# A browser applies `form-action` to the redirect after the form, too: the provider's pages must be named.
to_provider: Any = csp_update(
    {"form-action": ["https://checkout.stripe.com", "https://billing.stripe.com", settings.PUBLIC_URL]}
)
View = Callable[..., HttpResponse]


def _payer(view: View) -> View:
    """Members who may pay; the account is the one in force. What is sent must come from a page that named it: nobody
    pays for one account while looking at another."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        account, _user = payer(request)
        if request.method == "POST" and not named_here(request, account):
            return redirect("subscriptions:cockpit")
        return view(request, account, *args, **kwargs)

    return checked


def card_context(request: HttpRequest, account: Account) -> dict[str, Any]:
    """What `plan_card.html` needs."""
    held, unpaid, failure = lifecycle.held_by(account.pk, now=clock.now()), None, None
    if held is not None and held.status == Subscription.Status.PAST_DUE:
        unpaid = Invoice.objects.filter(subscription=held, status=Invoice.Status.OPEN).order_by("-at").first()
        failure = failures.reason(unpaid.failure) if unpaid is not None and unpaid.failure else None
    return {
        "held": held,
        "account": account,
        "may_pay": may(role_in(request.user, account), "pay"),
        "token": uuid4().hex,
        "unpaid": unpaid,
        "unpaid_usd": from_minor_units(unpaid.amount_minor, unpaid.currency) if unpaid is not None else None,
        "failure": failure,
    }


# --- subscribe -------------------------------------------------------------------------------------------------------


@to_provider
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_payer
def checkout(request: HttpRequest, account: Account) -> HttpResponse:
    """What a plan costs and gives, and the way to the provider's page."""
    now = clock.now()
    sent = request.POST if request.method == "POST" else request.GET
    plan = _plan(sent.get("plan"), now)
    if plan is None or plan.free:
        return redirect("plans:plans")
    if lifecycle.held_by(account.pk, now=now) is not None:
        return redirect(f"{reverse('plan:change')}?plan={plan.code}")
    problem: BillingError | None = None
    if request.method == "POST":
        form = TokenForm(request.POST)
        if form.is_valid():
            assert isinstance(request.user, User)  # noqa: S101  # `login_required` lets nobody else in
            try:
                row = lifecycle.subscribe(
                    account.pk,
                    plan.code,
                    client_key=form.cleaned_data["token"],
                    actor=request.user,
                    locale=get_language() or "en",
                    processor=get_processor(),
                    now=now,
                )
                return HttpResponseRedirect(row.checkout_url or reverse("subscriptions:cockpit"))
            except BillingError as refusal:
                problem = refusal
        else:
            problem = BillingError(_("Please load the page again."))
    context = {
        "plan": plan,
        "account": account,
        "problem": problem,
        "token": uuid4().hex,
        "set_up": bool(settings.STRIPE_SECRET_KEY),
        "as_of": now,
    }
    status = 200 if problem is None else int(problem.status)
    return render(request, "subscriptions/checkout.html", context, status=status)


def _plan(code: str | None, now: datetime) -> Any:
    try:
        return lifecycle.plan_called(code or "", now)
    except BillingError:
        return None


@require_safe
@never_cache
@login_required
def returned(request: HttpRequest, subscription_id: UUID) -> HttpResponse:
    """Back from the provider's page: the same door as the webhook, so that nobody waits for one."""
    row = get_object_or_404(Subscription.objects.visible_to(request.user), pk=subscription_id)
    try:
        row = settling.settle(
            row.pk, processor=get_processor(), now=clock.now(), session_id=request.GET.get("session_id", "")
        )
    except ProcessorUnavailable:
        messages.warning(request, _("The payment provider does not answer just now. Your plan follows by itself."))
    except BillingError as refusal:
        if refusal.code == "not_found":
            raise Http404 from None
        messages.warning(request, str(refusal.detail or refusal.title))
    else:
        if row.in_force:
            name = row.plan_version.plan.name
            messages.success(request, _("%(plan)s is in force. Your Flows are below.") % {"plan": name})
        elif row.status == Subscription.Status.DUPLICATE:
            messages.warning(
                request,
                _("This account had a paid plan already. The second one was ended, and its payment goes back to you."),
            )
        else:
            messages.info(request, _("The payment has not arrived yet. The plan follows by itself as soon as it does."))
    return redirect("subscriptions:cockpit")


# --- change ----------------------------------------------------------------------------------------------------------


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_payer
def change(request: HttpRequest, account: Account) -> HttpResponse:
    """The preview of another plan, and its confirmation."""
    now = clock.now()
    sent = request.POST if request.method == "POST" else request.GET
    code = sent.get("plan", "")
    if code == FREE:
        return redirect("plan:cancel")
    problem: BillingError | None = None
    if request.method == "POST":
        form = ConfirmForm(request.POST)
        try:
            if not form.is_valid():
                raise lifecycle.PreviewExpired
            assert isinstance(request.user, User)  # noqa: S101  # `login_required` lets nobody else in
            done = lifecycle.change(
                account.pk,
                form.cleaned_data["plan"],
                at=form.cleaned_data["at"],
                due_usd=form.cleaned_data["due_usd"],
                client_key=form.cleaned_data["token"],
                actor=request.user,
                processor=get_processor(),
                now=now,
            )
            _say_changed(request, done)
            return redirect("subscriptions:cockpit")
        except lifecycle.NoSubscription:
            return redirect(f"{reverse('plan:checkout')}?plan={code}")
        except BillingError as refusal:
            problem = refusal
    try:
        shown = lifecycle.preview(account.pk, code, processor=get_processor(), now=now)
    except lifecycle.NoSubscription:
        return redirect(f"{reverse('plan:checkout')}?plan={code}")
    except lifecycle.SamePlan:
        return redirect("subscriptions:cockpit")
    except BillingError as refusal:
        messages.error(request, str(refusal.detail or refusal.title))
        return redirect("plans:plans")
    context = {
        "account": account,
        "preview": shown,
        "lines": [(line, from_minor_units(line.amount_minor, USD)) for line in shown.lines],
        "problem": problem,
        "token": uuid4().hex,
        "as_of": now,
    }
    return render(request, "subscriptions/change.html", context, status=200 if problem is None else int(problem.status))


def _say_changed(request: HttpRequest, done: PlanChange) -> None:
    name = done.to_version.plan.name
    if done.status == PlanChange.Status.DONE:
        messages.success(request, _("%(plan)s is in force, with new windows.") % {"plan": name})
    else:
        messages.success(request, _("%(plan)s begins with your next billing period.") % {"plan": name})


@login_required
@require_POST
@_payer
def withdraw(request: HttpRequest, account: Account) -> HttpResponse:
    """Keep the present plan after all."""
    return _done(
        request,
        lambda user: lifecycle.withdraw(account.pk, actor=user, processor=get_processor(), now=clock.now()),
        _("Your plan stays as it is."),
    )


# --- cancel ----------------------------------------------------------------------------------------------------------


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_payer
def cancel(request: HttpRequest, account: Account) -> HttpResponse:
    """What ending the renewal means, and its confirmation (C29)."""
    held = lifecycle.held_by(account.pk, now=clock.now())
    if held is None or held.cancel_at_period_end:
        return redirect("subscriptions:cockpit")
    if request.method == "POST":
        return _renewal(request, account, on=False, said=_("The renewal is cancelled. Your plan stays until its end."))
    insider = FlowStanding.objects.filter(pk=account.pk, flow_class=FlowClass.INSIDER).exists()
    context = {"account": account, "held": held, "insider": insider, "token": uuid4().hex}
    return render(request, "subscriptions/cancel.html", context)


@login_required
@require_POST
@_payer
def resume(request: HttpRequest, account: Account) -> HttpResponse:
    """Take the cancellation back."""
    return _renewal(request, account, on=True, said=_("Your plan renews again."))


def _renewal(request: HttpRequest, account: Account, *, on: bool, said: str) -> HttpResponse:
    form = TokenForm(request.POST)
    key = form.cleaned_data["token"] if form.is_valid() else uuid4().hex
    return _done(
        request,
        lambda user: lifecycle.renew(
            account.pk, on=on, client_key=key, actor=user, processor=get_processor(), now=clock.now()
        ),
        said,
    )


def _done(request: HttpRequest, work: Callable[[User], Any], said: str) -> HttpResponse:
    assert isinstance(request.user, User)  # noqa: S101  # `login_required` lets nobody else in
    try:
        work(request.user)
        messages.success(request, said)
    except BillingError as refusal:
        messages.error(request, str(refusal.detail or refusal.title))
    return redirect("subscriptions:cockpit")


@login_required
@require_POST
@_payer
def provider_page(request: HttpRequest, account: Account) -> HttpResponse:
    """To the provider's own page for the card and the invoices."""
    customer = PaymentCustomer.objects.filter(pk=account.pk).exclude(customer_id=None).first()
    if customer is None or not customer.customer_id:
        return redirect("subscriptions:cockpit")
    try:
        url = get_processor().billing_page(
            customer.customer_id, return_url=f"{settings.PUBLIC_URL}{reverse('subscriptions:cockpit')}"
        )
    except BillingError as refusal:
        messages.error(request, str(refusal.title))
        return redirect("subscriptions:cockpit")
    return HttpResponseRedirect(url)
