"""Who calls the API: a management key of one account, or the portal session (03-http-api 3.1)."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import access, api_keys, secrets
from accounts.models import Account, ManagementKey
from config import clock


class Caller:
    """Someone who acts for one account with the rights of a role."""

    is_authenticated = True
    is_anonymous = False
    is_active = True

    def __init__(self, account: Account, role: str | None, key: ManagementKey | None = None, user: Any = None) -> None:
        self.account, self.role, self.key, self.user = account, role, key, user
        self.pk = f"management-key:{key.pk}" if key else user.pk

    @property
    def label(self) -> str:
        """The name that the audit shows."""
        return f"management key {self.key.masked}" if self.key else str(self.user)


class ManagementKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer mk-…`."""

    def authenticate(self, request: Request) -> tuple[Caller, ManagementKey] | None:
        """The caller behind the header; 401 without a hint which part is wrong."""
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != b"bearer":
            return None
        text = words[1].decode("latin-1") if len(words) == 2 else ""
        now = clock.now()
        key = None
        if text.startswith("mk-") and secrets.is_well_formed(text):
            key = ManagementKey.objects.select_related("account").filter(hash=secrets.digest(text)).first()
        if key is None or not api_keys.is_live(key, now):
            raise AuthenticationFailed
        api_keys.touch(key, now=now)
        return Caller(key.account, key.role, key=key), key

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"


class PortalSessionAuthentication(SessionAuthentication):
    """The portal's own session, with CSRF; acts for the account in force."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """The signed-in user acting for the account chosen in the header."""
        user = getattr(request._request, "user", None)
        if user is None or isinstance(user, AnonymousUser) or not user.is_active:
            return None
        self.enforce_csrf(request)
        account = access.current_account(request._request)
        if account is None:
            raise AuthenticationFailed
        return Caller(account, access.role_in(user, account), user=user), None

    def authenticate_header(self, request: Request) -> str:
        """A session gives no challenge of its own; the API's is Bearer."""
        return "Bearer"
