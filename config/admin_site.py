"""The staff console's site: who may enter, by which door, and what its pages may load."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite

# Unfold's pages are driven by Alpine.js, which compiles the expressions in its attributes, and carry a style element
# with the theme's colours. Here, behind the staff login, and nowhere else (docs/decisions/0010).
POLICY: Final = {"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]}


class StaffSite(UnfoldAdminSite):
    """Staff sign in where everybody does, so that rate limits, the second factor and the session list hold for them."""

    site_title = index_title = _("Staff console")
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Active staff; with STAFF_MFA_REQUIRED only those with a second factor."""
        return super().has_permission(request) and not _lacks_second_factor(request)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        """As Django's, and the answer carries the console's own policy."""
        guarded = super().admin_view(view, cacheable)

        @wraps(guarded)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            response: HttpResponse = guarded(request, *args, **kwargs)
            response._csp_update = POLICY  # type: ignore[attr-defined]
            return response

        return answer

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """To the ordinary sign-in, or to the setting of a second factor for staff who lack one."""
        wanted = request.GET.get("next") or reverse("admin:index")
        if self.has_permission(request):
            return redirect("admin:index")
        if not request.user.is_authenticated:
            return redirect(f"{reverse('account_login')}?{urlencode({'next': wanted})}")
        if super().has_permission(request):
            messages.warning(request, _("Staff sign in with a second factor. Set one up to enter the console."))
            return redirect("mfa_activate_totp")
        raise PermissionDenied

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The session ends as it does in the portal."""
        if request.method == "POST":
            get_adapter().logout(request)
        return redirect("account_login")

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one page for it."""
        return redirect("account_change_password")

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """The language form comes back to the page it was on."""
        return {**super().each_context(request), "redirect_to": request.get_full_path()}


def _lacks_second_factor(request: HttpRequest) -> bool:
    if not settings.STAFF_MFA_REQUIRED:
        return False
    if not hasattr(request, "_second_factor"):
        request._second_factor = is_mfa_enabled(request.user)  # type: ignore[attr-defined]
    return not request._second_factor  # type: ignore[attr-defined]
