"""The audit: one record for every change that a person makes to money, prices, status or limits (I12)."""

from datetime import datetime
from typing import Any

from accounts.models import Account, AuditRecord, User


def record(
    *,
    actor: User | None,
    action: str,
    subject: Any,
    now: datetime,
    reason: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    account: Account | None = None,
    actor_label: str = "",
) -> AuditRecord:
    """Write the record, in the caller's transaction. `subject` is a model row; `before` and `after` hold no secrets."""
    return AuditRecord.objects.create(
        at=now,
        actor=actor,
        actor_label=actor_label or (actor.email if actor else "system"),
        account=account or getattr(subject, "account", None) or (subject if isinstance(subject, Account) else None),
        action=action,
        subject_type=subject._meta.model_name,
        subject_id=str(subject.pk),
        before=before or {},
        after=after or {},
        reason=reason,
    )
