"""Redeeming a voucher code, once, and compensation that needs no code (02-domain 2.5; F010, F011, F013).

Locks are taken in one order: the wallet, the code, the campaign. Everything that decides is read after the lock that
guards it. A refusal is a row, too, so that "what became of my code?" has an answer; none names another account.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import Account, User
from billing.books import credits, ledger, voucher_codes, voucher_throttle
from billing.books.models import CreditGrant, JournalEntry, System
from billing.books.models_vouchers import Redemption, Voucher, VoucherCampaign
from billing.books.voucher_codes import Code
from billing.books.voucher_throttle import Permit
from billing.errors import (
    AccountSuspended,
    BillingError,
    IdempotencyConflict,
    InvalidRequest,
    VoucherEnded,
    VoucherExhausted,
    VoucherExpired,
    VoucherLimitReached,
    VoucherMistyped,
    VoucherNotYetValid,
    VoucherPaused,
    VoucherUnknown,
    VoucherUsed,
)

Result = Redemption.Result
Status = VoucherCampaign.Status

# What a campaign's credit is in the books: the entry's kind, and who bears it.
BOOKED: Final[dict[str, tuple[str, str]]] = {
    VoucherCampaign.Kind.VOUCHER: (JournalEntry.Kind.VOUCHER, System.EXPENSE_PROMOTION),
    VoucherCampaign.Kind.PROMOTION: (JournalEntry.Kind.VOUCHER, System.EXPENSE_PROMOTION),
    VoucherCampaign.Kind.COMPENSATION: (JournalEntry.Kind.COMPENSATION, System.EXPENSE_COMPENSATION),
}


def redeem(account_id: UUID, typed: str, *, user: User | None, key: str, ip: str, now: datetime) -> Redemption:
    """Credit the account with what the code gives. The same code again answers with the first redemption.

    `key` names the intent: the same key and code give the same answer, a refusal included; another code under it
    raises `IdempotencyConflict`. A refusal is raised after its row is kept.
    """
    who = voucher_throttle.caller(account_id, ip)
    try:
        code = voucher_codes.read(typed)
    except VoucherMistyped:
        voucher_throttle.take(who, now=now)
        raise
    before = _answered(account_id, key, code)
    if before is None:
        permit = voucher_throttle.take(who, now=now)
        with transaction.atomic():
            before = _redeem_under_lock(code, user=user, key=key, permit=permit, now=now)
        if before.result == Result.REDEEMED:
            permit.give_back()
        else:
            permit.charge(now=now)
    if before.result != Result.REDEEMED:
        raise refusal(before)
    return before


def _answered(account_id: UUID, key: str, code: Code) -> Redemption | None:
    """What this intent came to before."""
    before: Redemption | None = (
        Redemption.objects.select_related("campaign", "grant").filter(account_id=account_id, key=key).first()
    )
    if before is not None and bytes(before.digest) != code.digest:
        raise IdempotencyConflict(key=key)
    return before


def _redeem_under_lock(code: Code, *, user: User | None, key: str, permit: Permit, now: datetime) -> Redemption:
    account_id = permit.caller.account_id
    ledger.lock_wallet(account_id)
    if (before := _answered(account_id, key, code)) is not None:
        return before
    if not Account.objects.filter(pk=account_id, status=Account.Status.ACTIVE).exists():
        raise AccountSuspended(_("This account is not active and cannot redeem a voucher."))
    voucher = _locked(code)
    if voucher is not None and (mine := _redeemed_by(account_id, voucher)) is not None:
        return mine
    voucher_throttle.check_rows(permit.caller, now=now)
    result = Result.UNKNOWN if voucher is None else _decide(account_id, voucher, now)
    row = Redemption(
        account_id=account_id,
        user=user,
        at=now,
        result=result,
        voucher=voucher,
        campaign=voucher.campaign if voucher else None,
        shared=bool(voucher and voucher.shared),
        last_four=code.last_four,
        digest=code.digest,
        key=key,
        client=permit.caller.client,
    )
    if result == Result.REDEEMED and voucher is not None:
        row.grant, row.amount = _credit(account_id, voucher, now), voucher.campaign.amount
        if not voucher.shared:
            Voucher.objects.filter(pk=voucher.pk).update(used_at=now)
    row.save(force_insert=True)
    return row


def _locked(code: Code) -> Voucher | None:
    """The code's row, locked; what it says of its campaign may be old, but for the terms, which never change."""
    found: Voucher | None = (
        Voucher.objects.locked().select_related("campaign", "batch").filter(digest=code.digest).first()
    )
    return found


def _redeemed_by(account_id: UUID, voucher: Voucher) -> Redemption | None:
    found: Redemption | None = (
        Redemption.objects.select_related("campaign", "grant")
        .filter(voucher=voucher, account_id=account_id, result=Result.REDEEMED)
        .first()
    )
    return found


def _decide(account_id: UUID, voucher: Voucher, now: datetime) -> str:
    """What becomes of the attempt; when it is to succeed, its place in the campaign is taken."""
    campaign = voucher.campaign
    if voucher.used_at is not None:
        return Result.USED
    if voucher.batch.withdrawn_at is not None:
        return Result.ENDED
    if now < campaign.valid_from:
        return Result.NOT_YET_VALID
    if _is_over(campaign, now):
        return Result.EXPIRED
    redeemed = Redemption.objects.filter(account_id=account_id, campaign=campaign, result=Result.REDEEMED)
    if redeemed.count() >= campaign.per_account:
        return Result.LIMIT_REACHED
    # One statement decides, under the row's lock: whether the campaign runs, and whether there is a place left.
    taken = VoucherCampaign.objects.filter(pk=campaign.pk, status=Status.ACTIVE, redeemed__lt=F("total"))
    if taken.update(redeemed=F("redeemed") + 1):
        return Result.REDEEMED
    status = VoucherCampaign.objects.values_list("status", flat=True).get(pk=campaign.pk)
    if status == Status.ACTIVE:
        return Result.EXHAUSTED
    return Result.ENDED if status == Status.ENDED else Result.PAUSED


def _is_over(campaign: VoucherCampaign, now: datetime) -> bool:
    """Nothing is given that would be worthless at once."""
    ends = [end for end in (campaign.valid_until, campaign.credit_until) if end is not None]
    return any(now >= end for end in ends)


def _credit(account_id: UUID, voucher: Voucher, now: datetime) -> CreditGrant:
    campaign = voucher.campaign
    entry_kind, funded_by = BOOKED[campaign.kind]
    return credits.give(
        account_id,
        campaign.amount,
        kind=campaign.kind,
        entry_kind=entry_kind,
        funded_by=funded_by,
        key=f"voucher:{voucher.pk}:redeemed",  # as `entry_key` says
        source=f"voucher:{campaign.pk}",
        priority=campaign.priority,
        expires_at=expiry_of(campaign, now),
        note=campaign.note,
        meta={"voucher": str(voucher.pk), "campaign": str(campaign.pk)},
        now=now,
    )


def form_key(token: str, typed: str) -> str:
    """The same page sent twice is one intent; sent again with another code it is another one."""
    try:
        return f"form:{token}:{voucher_codes.read(typed).digest.hex()[:16]}"
    except VoucherMistyped:
        return f"form:{token}"


def entry_key(row: Redemption) -> str:
    """The key of the entry by which a redemption was credited."""
    return f"voucher:{row.voucher_id}:redeemed"


def expiry_of(campaign: VoucherCampaign, now: datetime) -> datetime | None:
    """When credit that is given now expires."""
    if campaign.credit_days is not None:
        return now + timedelta(days=campaign.credit_days)
    return campaign.credit_until


# --- What happened, in words ------------------------------------------------------------------------------------------
def refusal(row: Redemption) -> BillingError:
    """A refused attempt as the error that tells it. It names no account but the one that asked."""
    campaign = row.campaign
    if campaign is None or row.result == Result.UNKNOWN:
        return VoucherUnknown()
    if row.result == Result.NOT_YET_VALID:
        return VoucherNotYetValid(valid_from=campaign.valid_from)
    if row.result == Result.EXPIRED:
        ends = [end for end in (campaign.valid_until, campaign.credit_until) if end is not None]
        return VoucherExpired(valid_until=min(ends)) if ends else VoucherExpired()
    if row.result == Result.LIMIT_REACHED:
        return VoucherLimitReached(limit=campaign.per_account)
    return _PLAIN[row.result]()


_PLAIN: Final[dict[str, type[BillingError]]] = {
    Result.USED: VoucherUsed,
    Result.PAUSED: VoucherPaused,
    Result.ENDED: VoucherEnded,
    Result.EXHAUSTED: VoucherExhausted,
}


def message(row: Redemption) -> Any:
    """The result in one sentence, for lists."""
    return _("Redeemed.") if row.result == Result.REDEEMED else refusal(row).title


# --- Compensation without a code --------------------------------------------------------------------------------------
@transaction.atomic
def compensate(
    account_id: UUID,
    amount: Decimal,
    *,
    reason: str,
    key: str,
    actor: User | None,
    expires_at: datetime | None,
    now: datetime,
) -> CreditGrant:
    """Make something good (F010): credit that we bear, once for this key, with its reason in the audit.

    `actor` is None when the system does it by a rule. What a person gives beyond the limit goes through `proposals`.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest(_("The expiry lies in the past."), field="expires")
    ledger.lock_wallet(account_id)
    first_time = not JournalEntry.objects.filter(account_id=account_id, key=key).exists()
    grant = credits.give(
        account_id,
        amount,
        kind=CreditGrant.Kind.COMPENSATION,
        entry_kind=JournalEntry.Kind.COMPENSATION,
        funded_by=System.EXPENSE_COMPENSATION,
        key=key,
        source=key[:120],
        note=reason.strip()[:200],
        expires_at=expires_at,
        now=now,
    )
    if first_time:
        audit.record(
            actor=actor,
            action="compensation",
            subject=grant,
            now=now,
            reason=reason.strip(),
            after={"amount": str(grant.amount)},
        )
    return grant
