"""Credit given by hand, and the second person that a large sum needs (07-reliability 7.2).

What one person gives one account within a day counts together, so that a large sum is not given in small ones.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import AuditRecord, User
from billing.books import credits, ledger, vouchers
from billing.books.models import CreditGrant, CreditProposal, JournalEntry
from billing.errors import IdempotencyConflict, InvalidRequest, SecondPersonNeeded
from billing.money import Money

State = CreditProposal.State
Kind = CreditProposal.Kind
COUNTED_TOGETHER: Final = timedelta(hours=24)


@transaction.atomic
def give_or_propose(
    account_id: UUID,
    amount: Decimal,
    *,
    actor: User,
    reason: str,
    key: str,
    now: datetime,
    expires_at: datetime | None = None,
    kind: str = Kind.MANUAL,
) -> CreditGrant | CreditProposal:
    """Give the credit, or keep it as a proposal when it is above the limit. The same key again answers the same."""
    _require(reason)
    money = Money(amount)
    if money.amount <= 0:
        raise InvalidRequest(_("The amount must be above zero."), field="amount")
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest(_("The expiry lies in the past."), field="expires")
    ledger.lock_wallet(account_id)
    known = CreditProposal.objects.filter(account_id=account_id, key=key).first()
    if known is not None:
        if known.amount != money.amount or known.kind != kind:
            raise IdempotencyConflict(key=key)
        return known
    already_given = JournalEntry.objects.filter(account_id=account_id, key=key).exists()
    if already_given or _given_lately(account_id, actor, now) + money.amount <= settings.SECOND_PERSON_ABOVE_USD:
        return _give(
            kind, account_id, money.amount, actor=actor, reason=reason, key=key, now=now, expires_at=expires_at
        )
    proposal = CreditProposal.objects.create(
        account_id=account_id,
        kind=Kind(kind),
        amount=money.amount,
        expires_at=expires_at,
        reason=reason.strip(),
        key=key,
        proposed_by=actor,
        created_at=now,
    )
    audit.record(
        actor=actor,
        action="credit_proposed",
        subject=proposal,
        now=now,
        reason=reason.strip(),
        after={"amount": str(proposal.amount)},
    )
    return proposal


def approve(proposal_id: UUID, *, actor: User, reason: str, now: datetime) -> CreditProposal:
    """Another person says yes: the credit is given now, once."""
    _require(reason)
    with transaction.atomic():
        proposal = _locked(proposal_id)
        if proposal.state == State.GIVEN and proposal.decided_by_id == actor.pk:
            return proposal
        if proposal.proposed_by_id == actor.pk:
            raise SecondPersonNeeded(proposal=str(proposal.pk))
        if proposal.expires_at is not None and proposal.expires_at <= now:
            raise InvalidRequest(_("The expiry lies in the past."), field="expires")
        proposal.move_to(State.GIVEN, by=actor, now=now)
        proposal.answer = reason.strip()
        proposal.grant = _give(
            proposal.kind,
            proposal.account_id,
            proposal.amount,
            actor=actor,
            reason=f"{proposal.reason} (proposed by {proposal.proposed_by.email}; {proposal.answer})",
            key=f"manual:proposal:{proposal.pk}",
            now=now,
            expires_at=proposal.expires_at,
        )
        proposal.save(update_fields=["state", "decided_by", "decided_at", "answer", "grant"])
        _audit(proposal, "credit_approved", actor=actor, now=now)
    return proposal


def reject(proposal_id: UUID, *, actor: User, reason: str, now: datetime) -> CreditProposal:
    """Nothing is given. Whoever proposed it may take it back this way, too."""
    _require(reason)
    with transaction.atomic():
        proposal = _locked(proposal_id)
        if proposal.state == State.REJECTED and proposal.decided_by_id == actor.pk:
            return proposal
        proposal.move_to(State.REJECTED, by=actor, now=now)
        proposal.answer = reason.strip()
        proposal.save(update_fields=["state", "decided_by", "decided_at", "answer"])
        _audit(proposal, "credit_rejected", actor=actor, now=now)
    return proposal


def _give(
    kind: str,
    account_id: UUID,
    amount: Decimal,
    *,
    actor: User,
    reason: str,
    key: str,
    now: datetime,
    expires_at: datetime | None,
) -> CreditGrant:
    """A gift, or what makes a fault of ours good: they are borne by different places in the books."""
    operation = vouchers.compensate if kind == Kind.COMPENSATION else credits.give_manually
    return operation(account_id, amount, actor=actor, reason=reason, key=key, now=now, expires_at=expires_at)


def _locked(proposal_id: UUID) -> CreditProposal:
    """The wallet first, then what belongs to it."""
    ledger.lock_wallet(CreditProposal.objects.values_list("account_id", flat=True).get(pk=proposal_id))
    return CreditProposal.objects.select_related("proposed_by").get(pk=proposal_id)


def _given_lately(account_id: UUID, actor: User, now: datetime) -> Decimal:
    """USD that this person gave this account within a day, without anyone else's word."""
    given = AuditRecord.objects.filter(
        account_id=account_id,
        actor=actor,
        action__in=["manual_credit", "compensation"],
        at__gt=now - COUNTED_TOGETHER,
    )
    approved = CreditProposal.objects.filter(
        account_id=account_id, decided_by=actor, state=State.GIVEN, decided_at__gt=now - COUNTED_TOGETHER
    )
    apart = {str(pk) for pk in approved.values_list("grant_id", flat=True)}
    rows = given.values_list("subject_id", "after__amount")
    return sum((Decimal(amount) for grant, amount in rows if grant not in apart), Decimal(0))


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")


def _audit(proposal: CreditProposal, action: str, *, actor: User, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=proposal,
        now=now,
        reason=proposal.answer,
        before={"state": str(State.PROPOSED)},
        after={"state": str(proposal.state), "amount": str(proposal.amount)},
    )
