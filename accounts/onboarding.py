"""Opening an account. Apps to the right register what else a new account needs (a wallet, for one)."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from accounts.models import Account, BenefitLevel, Membership, User

_on_open: list[Callable[[Account, datetime], None]] = []


def on_open(hook: Callable[[Account, datetime], None]) -> Callable[[Account, datetime], None]:
    """Register something that every new account needs; runs in the transaction that opens it."""
    if hook not in _on_open:
        _on_open.append(hook)
    return hook


@transaction.atomic
def open_account(owner: User, *, now: datetime, name: str = "", kind: str = Account.Kind.PERSONAL) -> Account:
    """A new account with this owner (F001, F003), at the lowest benefit level."""
    account = Account.objects.create(
        name=name or owner.get_short_name(),
        kind=kind,
        created_at=now,
        benefit_level=BenefitLevel.objects.order_by("threshold_usd").first(),
    )
    Membership.objects.create(user=owner, account=account, role=Membership.Role.OWNER, created_at=now)
    for hook in _on_open:
        hook(account, now)
    return account
