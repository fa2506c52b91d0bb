"""Hooks of django-allauth: a new user gets an account of their own, and mail goes out in the user's language."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.db import transaction
from django.http import HttpRequest
from django.utils import translation

from accounts import onboarding
from accounts.models import User
from config import clock


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up makes the user, a personal account and its wallet in one transaction."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Store the user and everything a customer needs to begin."""
        with transaction.atomic():
            user.locale = translation.get_language() or ""
            user = super().save_user(request, user, form, commit=commit)
            if commit:
                onboarding.open_account(user, now=clock.now())
        return user

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Render in the language of the user whom the mail is for."""
        user = context.get("user")
        with translation.override(getattr(user, "locale", "") or translation.get_language() or "en"):
            super().send_mail(template_prefix, email, context)
