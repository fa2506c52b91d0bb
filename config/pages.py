"""The pages that belong to no single app: the landing page and the overview of an account."""

from allauth.account.models import EmailAddress
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import current_account
from config import clock
from config import overview as facts


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What this is, prices at a glance, sign up."""
    now = clock.now()
    return render(
        request, "landing.html", {"price_glance": facts.price_glance(now), "model_count": facts.model_count()}
    )


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """What is left, what was spent, the last calls, and what is still to be done to begin."""
    account = current_account(request)
    if account is None:
        return render(request, "overview.html", {})
    now = clock.now()
    verified = EmailAddress.objects.filter(user=request.user, verified=True).exists()
    return render(
        request,
        "overview.html",
        {
            "today": facts.spent_since(account.pk, facts.today(now)),
            "month": facts.month(account.pk, now),
            "calls": facts.last_calls(account.pk),
            "steps": facts.first_steps(account, verified=verified),
            "level": account.benefit_level,
        },
    )
