"""A company's finance says that the money goes back the right way before staff may approve it (F022, 02-domain 2.8)."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts.access import role_in
from accounts.models import Account, Membership, User
from billing import notices
from billing.errors import InvalidRequest, InvalidTransition, PermissionDenied
from refunds import outcomes, telling
from refunds.models import Refund

Role = Membership.Role
FINANCE: Final = (Role.OWNER, Role.FINANCE)
"""Who speaks for a company's finance."""


def may_confirm(user: User, account: Account) -> bool:
    """Whether this person speaks for the account's finance."""
    return role_in(user, account) in FINANCE


def ask_for(refund: Refund, *, now: datetime) -> None:
    """A mail to each of the company's finance people, in the transaction of the request."""
    rows = Membership.objects.filter(account_id=refund.account_id, role__in=FINANCE, user__is_active=True)
    for user_id in rows.order_by("pk").values_list("user_id", flat=True):
        notices.tell(
            refund.account_id,
            "refund_confirmation",
            key=f"refund:{refund.pk}:confirm:{user_id}",
            context={
                "refund": refund.number,
                "id": str(refund.pk),
                "order": refund.of_number,
                "currency": refund.currency,
                "requested": f"{refund.requested:.2f}",
                "sent": f"{refund.sent:.2f}",
                "method": refund.method,
                "reason": refund.reason,
                "by": str(refund.requested_by) if refund.requested_by else "",
                "status_at": refund.status_at.isoformat(),
            },
            now=now,
            user_id=user_id,
        )


def confirm(refund_id: UUID, *, actor: User, now: datetime) -> Refund:
    """An owner or a finance member of the account confirms. Again: nothing more happens."""
    with transaction.atomic():
        refund, _wallet = outcomes.locked(refund_id)
        if not may_confirm(actor, refund.account):
            raise PermissionDenied(_("Only an owner or a finance member of the account can confirm this."))
        return _confirm(refund, "refund_confirm", actor=actor, reason="", now=now)


def note(refund_id: UUID, *, actor: User, reason: str, now: datetime) -> Refund:
    """Staff note a confirmation that reached them another way; `reason` says from whom and how."""
    if not reason.strip():
        raise InvalidRequest(_("Say who confirmed it, and how: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        refund, _wallet = outcomes.locked(refund_id)
        if actor.pk == refund.requested_by_id:
            raise PermissionDenied(_("Who asked for a refund cannot note its confirmation as staff."))
        return _confirm(refund, "refund_confirm_noted", actor=actor, reason=reason, now=now)


def _confirm(refund: Refund, action: str, *, actor: User, reason: str, now: datetime) -> Refund:
    if refund.confirmed_at is not None:
        return refund
    if not refund.needs_confirmation:
        raise InvalidTransition(
            _("This refund does not wait for a confirmation."),
            refund=refund.number,
            current=str(refund.status),
            wanted="confirmed",
        )
    refund.confirmed_by, refund.confirmed_at = actor, now
    refund.save(update_fields=["confirmed_by", "confirmed_at"])
    telling.record(action, refund, actor=actor, reason=reason, before=str(refund.status), now=now)
    return refund
