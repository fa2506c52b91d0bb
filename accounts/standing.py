"""Whether an account may call: suspended by staff, and active again. Balance and keys stay as they are."""

from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import Account, User

Status = Account.Status


def suspend(account_id: UUID, *, actor: User, reason: str, now: datetime) -> Account:
    """Every new call is refused (`account_suspended`); what is under way is still charged. Repeats change nothing."""
    return _move(account_id, Status.ACTIVE, Status.SUSPENDED, "account_suspended", actor=actor, reason=reason, now=now)


def reactivate(account_id: UUID, *, actor: User, reason: str, now: datetime) -> Account:
    """Calls are admitted again. Repeats change nothing."""
    return _move(
        account_id, Status.SUSPENDED, Status.ACTIVE, "account_reactivated", actor=actor, reason=reason, now=now
    )


@transaction.atomic
def _move(
    account_id: UUID, before: str, after: str, action: str, *, actor: User, reason: str, now: datetime
) -> Account:
    require_reason(reason)
    account: Account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    if account.status == after:
        return account
    if account.status != before:
        raise ValidationError(_("This is not possible: the account is %(status)s."), params={"status": account.status})
    account.status = after
    account.save(update_fields=["status"])
    audit.record(
        actor=actor,
        action=action,
        subject=account,
        now=now,
        reason=reason.strip(),
        before={"status": str(before)},
        after={"status": str(after)},
    )
    return account


def require_reason(reason: str) -> None:
    """What a person changes has a reason (I12)."""
    if not reason.strip():
        raise ValidationError(_("Say why: the reason is kept in the audit."))
