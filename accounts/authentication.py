"""Who calls the API: a management key of one account, or the portal session (03-http-api 3.1)."""

import time
from typing import Any

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from accounts import access, api_keys, secrets
from accounts.models import Account, GatewayToken, ManagementKey
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


class Gateway:
    """A gateway's service token: it may ask for prices on behalf of any account, and belongs to none."""

    is_authenticated = True
    is_anonymous = False
    is_active = True
    account, role = None, None

    def __init__(self, token: GatewayToken) -> None:
        self.token, self.pk = token, f"gateway:{token.pk}"


class GatewayTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer gw-…`, for the few endpoints outside the lane that gateways may ask."""

    def authenticate(self, request: Request) -> tuple[Gateway, GatewayToken] | None:
        """The gateway; other kinds of bearer are left to the next class."""
        words = get_authorization_header(request).split()
        if len(words) != 2 or words[0].lower() != b"bearer" or not words[1].startswith(b"gw-"):
            return None
        text, now = words[1].decode("latin-1"), clock.now()
        token = GatewayToken.objects.filter(hash=secrets.digest(text)).first() if secrets.is_well_formed(text) else None
        if token is None or not api_keys.is_live(token, now):
            raise AuthenticationFailed
        if not api_keys.is_allowed_from(client_of(request), token.allowed_ips):
            raise PermissionDenied(_("This address is not on the allow-list."))
        api_keys.touch(token, now=now)
        return Gateway(token), token

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


class VisitorSessionAuthentication(PortalSessionAuthentication):
    """For public endpoints: a session adds what concerns its account; who has no account reads as a visitor."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """The caller, or nobody."""
        user = getattr(request._request, "user", None)
        if user is None or isinstance(user, AnonymousUser) or access.current_account(request._request) is None:
            return None
        return super().authenticate(request)


def client_of(request: Request) -> str:
    """The caller's address: behind a proxy that we trust, the last one that it names."""
    if settings.SECURE_PROXY_SSL_HEADER and (told := request.META.get("HTTP_X_FORWARDED_FOR")):
        return str(told).rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def signed_in_recently(request: HttpRequest, user: Any) -> bool:
    """True when this session gave its password, or a second factor, within `ACCOUNT_REAUTHENTICATION_TIMEOUT`."""
    records = get_authentication_records(request, user)
    # The records are stamped by the machine's clock, not by ours.
    return any(time.time() - record["at"] < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT for record in records[-5:])
