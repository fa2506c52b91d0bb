"""Subscriptions that somebody should look at: the mark is taken away by a person, with a reason (I12)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.errors import InvalidRequest, InvalidTransition
from subscriptions import settling
from subscriptions.models import Subscription


def looked(subscription_id: UUID, *, actor: User, reason: str, now: datetime) -> Subscription:
    """Somebody has looked. Nothing about the plan changes; what it was marked for stands in the audit."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        row = settling.locked(subscription_id)
        if not row.review_reason:
            raise InvalidTransition(_("Nothing is to be looked at any more."))
        before, row.review_reason = row.review_reason, ""
        row.save(update_fields=["review_reason"])
        audit.record(
            actor=actor,
            action="subscription_looked",
            subject=row,
            account=row.account,
            now=now,
            reason=reason.strip(),
            before={"to be looked at": before},
            after={"to be looked at": ""},
        )
    return row
