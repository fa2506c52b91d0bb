"""The risk flag of an account: set by disputes and warnings, kept or cleared by staff."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.errors import InvalidRequest, RiskBlocked
from billing.payments.models_disputes import RiskFlag


def set_flag(account_id: UUID, reason: str, *, now: datetime) -> RiskFlag:
    """Flag an account; a flag that stands keeps its first reason. The caller holds the wallet's lock."""
    flag, made = RiskFlag.objects.get_or_create(account_id=account_id, defaults={"reason": reason[:300], "set_at": now})
    if not made and flag.cleared_at is not None:
        flag.reason, flag.set_at, flag.cleared_at, flag.blocks_top_ups = reason[:300], now, None, False
        flag.save()
    return flag


def blocked(account_id: UUID) -> bool:
    """Whether a flag of this account stops it from buying credit and plans."""
    return RiskFlag.objects.filter(account_id=account_id, cleared_at=None, blocks_top_ups=True).exists()


def may_top_up(account_id: UUID) -> None:
    """Refuse while a flag of this account blocks top-ups."""
    if blocked(account_id):
        raise RiskBlocked(_("Top-ups of this account are stopped while our staff look at a payment of it."))


def may_buy_plan(account_id: UUID) -> None:
    """Refuse a plan, a bigger one or its renewal while a flag of this account blocks what is bought."""
    if blocked(account_id):
        raise RiskBlocked(_("No plan can be bought for this account while our staff look at a payment of it."))


def decide(account_id: UUID, *, blocks_top_ups: bool, clear: bool, actor: User, reason: str, now: datetime) -> RiskFlag:
    """Staff block top-ups, allow them, or clear the flag, with the reason in the audit (I12)."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        flag = RiskFlag.objects.select_for_update(no_key=True).get(pk=account_id)
        before = {"blocks_top_ups": flag.blocks_top_ups, "cleared": flag.cleared_at is not None}
        flag.blocks_top_ups = blocks_top_ups and not clear
        flag.cleared_at = now if clear else None
        flag.save(update_fields=["blocks_top_ups", "cleared_at"])
        audit.record(
            actor=actor,
            action="risk_flag",
            subject=flag,
            now=now,
            reason=reason.strip(),
            before=before,
            after={"blocks_top_ups": flag.blocks_top_ups, "cleared": clear},
        )
    return flag
