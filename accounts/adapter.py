"""Hooks of django-allauth: a new user gets an account of their own, and mail goes out in the user's language."""

import zoneinfo
from types import SimpleNamespace
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import translation

from accounts import onboarding
from accounts.models import User
from config import clock

# Mails name the product, not the host that the request happened to use.
SITE = SimpleNamespace(name=settings.SITE_NAME, domain=settings.PUBLIC_URL)


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up makes the user, a personal account and its wallet in one transaction."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Store the user and everything a customer needs to begin."""
        with transaction.atomic():
            user.locale = translation.get_language() or ""
            zone = request.COOKIES.get("time_zone", "")
            if zone in zoneinfo.available_timezones():
                user.time_zone = zone
            user = super().save_user(request, user, form, commit=commit)
            if commit:
                onboarding.open_account(user, now=clock.now())
        return user

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Render in the language of the user whom the mail is for."""
        user = context.get("user")
        context = {"current_site": SITE, **context}
        with translation.override(getattr(user, "locale", "") or translation.get_language() or "en"):
            super().send_mail(template_prefix, email, context)
