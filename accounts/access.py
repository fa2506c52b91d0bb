"""What someone may see and do: the root of every scoped read, and the table of roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser

from accounts.models import Account, AccountQuerySet, Membership, User

if TYPE_CHECKING:
    from django.http import HttpRequest

Role = Membership.Role

# What a role may do beyond reading its account. An owner may do everything.
MAY: dict[str, frozenset[str]] = {
    Role.OWNER: frozenset({"keys", "pay", "members", "account"}),
    Role.ADMIN: frozenset({"keys", "pay", "members", "account"}),
    Role.FINANCE: frozenset({"pay"}),
    Role.DEVELOPER: frozenset({"keys"}),
}


def accounts_of(user: User | AnonymousUser) -> AccountQuerySet:
    """The accounts that this user is a member of, oldest first."""
    return Account.objects.visible_to(user).order_by("created_at", "pk")


def role_in(user: User | AnonymousUser, account: Account) -> str | None:
    """The user's role in the account; None for someone who is not a member."""
    if not user.is_authenticated:
        return None
    return Membership.objects.filter(user=user, account=account).values_list("role", flat=True).first()


def may(role: str | None, action: str) -> bool:
    """True when the table lets this role do it."""
    return role is not None and action in MAY.get(role, frozenset())


SESSION_KEY = "account"


def current_account(request: HttpRequest) -> Account | None:
    """The account in force for this portal session: the one chosen in the header, else the user's first (F003)."""
    if not hasattr(request, "_account"):
        mine = list(accounts_of(request.user)[:50]) if request.user.is_authenticated else []
        chosen = request.session.get(SESSION_KEY) if mine else None
        request._account = next((a for a in mine if str(a.pk) == chosen), mine[0] if mine else None)  # type: ignore[attr-defined]
        request._accounts = mine  # type: ignore[attr-defined]
    return request._account  # type: ignore[attr-defined]
