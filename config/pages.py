"""The pages that belong to no single app: the landing page and the overview of an account."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What this is, prices at a glance, sign up."""
    return render(request, "landing.html")


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """What is left, what today cost, the last calls, and what is still to be done to begin."""
    return render(request, "overview.html")
