"""What every page may name: the account in force, the accounts to choose from, and whom to write to."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.access import current_account, role_in


def portal(request: HttpRequest) -> dict[str, Any]:
    """Looked up only by pages that show them; `current_account` is None for someone who has none (F001, F003)."""

    def accounts() -> list[Any]:
        current_account(request)
        return request._accounts  # type: ignore[attr-defined]  # set by current_account

    def role() -> str | None:
        account = current_account(request)
        return role_in(request.user, account) if account else None

    return {
        "current_account": SimpleLazyObject(lambda: current_account(request)),
        "accounts": SimpleLazyObject(accounts),
        "role": SimpleLazyObject(role),
        "site_name": settings.SITE_NAME,
        "support_email": settings.SUPPORT_EMAIL,
        "mailbox": settings.DEBUG,
    }
