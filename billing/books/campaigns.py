"""Voucher campaigns: made as a draft, given codes, activated by a second person where much is at stake, and ended.

A campaign's worth is what it gives when every redemption is used. What one person starts alone within a day counts
together, so that a large campaign is not started in small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Sum
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.books import voucher_codes
from billing.books.models_vouchers import VoucherBatch, VoucherCampaign
from billing.books.voucher_codes import Code
from billing.errors import Conflict, InvalidRequest, SecondPersonNeeded
from billing.money import Money
from config.ids import uuid7

Status = VoucherCampaign.Status
COUNTED_TOGETHER: Final = timedelta(hours=24)
MOST_CODES_AT_ONCE: Final = 100_000
_COPY: Final = (
    "COPY billing_voucher (id, campaign_id, batch_id, digest, last_four, shared, created_at) FROM STDIN (FORMAT binary)"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a campaign gives, to whom and until when."""

    name: str
    kind: str
    amount: Decimal
    total: int
    valid_from: datetime
    valid_until: datetime | None = None
    per_account: int = 1
    credit_days: int | None = None
    credit_until: datetime | None = None
    priority: int = 100
    note: str = ""


def _check(terms: Terms, now: datetime) -> None:
    wrong: list[tuple[bool, str, Any]] = [
        (not terms.name.strip(), "name", _("Give the campaign a name.")),
        (Money(terms.amount).amount <= 0, "amount", _("The amount must be above zero.")),
        (terms.total < 1, "total", _("A campaign allows at least one redemption.")),
        (terms.per_account < 1, "per_account", _("An account may redeem at least once.")),
        (
            terms.valid_until is not None and terms.valid_until <= max(now, terms.valid_from),
            "valid_until",
            _("The end lies before the beginning, or in the past."),
        ),
        (
            terms.credit_days is not None and terms.credit_until is not None,
            "credit_until",
            _("The credit lasts for so many days, or until a date: not both."),
        ),
        (
            terms.credit_until is not None and terms.credit_until <= (terms.valid_until or max(now, terms.valid_from)),
            "credit_until",
            _("The credit would end before the last code can be redeemed."),
        ),
        (terms.credit_days is not None and terms.credit_days < 1, "credit_days", _("At least one day.")),
    ]
    for is_wrong, field, sentence in wrong:
        if is_wrong:
            raise InvalidRequest(sentence, field=field)


@transaction.atomic
def create(terms: Terms, *, actor: User | None, reason: str, now: datetime, key: UUID | None = None) -> VoucherCampaign:
    """A draft; nothing can be redeemed yet. The same key again returns the first."""
    _require(reason)
    _check(terms, now)
    if key is not None and (before := VoucherCampaign.objects.filter(pk=key).first()) is not None:
        return before
    campaign = VoucherCampaign.objects.create(
        id=key or uuid7(),
        name=terms.name.strip(),
        kind=VoucherCampaign.Kind(terms.kind),
        amount=Money(terms.amount).amount,
        total=terms.total,
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
        per_account=terms.per_account,
        credit_days=terms.credit_days,
        credit_until=terms.credit_until,
        priority=terms.priority,
        note=terms.note.strip(),
        created_by=actor,
        created_at=now,
        status_at=now,
    )
    told = {"name": campaign.name, "amount": str(campaign.amount), "total": campaign.total, "kind": campaign.kind}
    _audit(campaign, "campaign_created", actor=actor, reason=reason, now=now, after=told)
    return campaign


def activate(campaign_id: UUID, *, actor: User | None, reason: str, now: datetime) -> VoucherCampaign:
    """Let codes be redeemed from the campaign's beginning on, also after a pause. Repeats change nothing.

    Above the limit of what one person may give, whoever made the campaign does not start it.
    """
    _require(reason)
    with transaction.atomic():
        if actor is not None:  # what one person starts counts together, so it is started one after the other
            User.objects.select_for_update(of=("self",), no_key=True).get(pk=actor.pk)
        campaign = _locked(campaign_id)
        if campaign.status == Status.ACTIVE:
            return campaign
        before = campaign.status
        own = actor is not None and actor.pk == campaign.created_by_id and campaign.activated_at is None
        if own and _started_alone(actor, now) + campaign.value > settings.SECOND_PERSON_ABOVE_USD:
            raise SecondPersonNeeded(
                _("This campaign may give %(worth)s USD: somebody other than the person who made it activates it."),
                worth=f"{campaign.value.normalize():f}",
            )
        campaign.move_to(Status.ACTIVE, now=now)
        if campaign.activated_at is None:
            campaign.activated_by, campaign.activated_at = actor, now
        campaign.save(update_fields=["status", "status_at", "activated_by", "activated_at"])
        _moved(campaign, before, "campaign_activated", actor=actor, reason=reason, now=now)
    return campaign


def pause(campaign_id: UUID, *, actor: User | None, reason: str, now: datetime) -> VoucherCampaign:
    """Nothing is redeemed until it is activated again."""
    return _move(campaign_id, Status.PAUSED, "campaign_paused", actor=actor, reason=reason, now=now)


def end(campaign_id: UUID, *, actor: User | None, reason: str, now: datetime) -> VoucherCampaign:
    """Nothing is redeemed any more. Credit that was given stays."""
    return _move(campaign_id, Status.ENDED, "campaign_ended", actor=actor, reason=reason, now=now)


def _move(
    campaign_id: UUID, status: str, action: str, *, actor: User | None, reason: str, now: datetime
) -> VoucherCampaign:
    _require(reason)
    with transaction.atomic():
        campaign = _locked(campaign_id)
        if campaign.status == status:
            return campaign
        before = campaign.status
        campaign.move_to(status, now=now)
        campaign.save(update_fields=["status", "status_at"])
        _moved(campaign, before, action, actor=actor, reason=reason, now=now)
    return campaign


# --- Codes ------------------------------------------------------------------------------------------------------------
def make_codes(
    campaign_id: UUID, count: int, *, shared: bool, actor: User | None, reason: str, key: str, now: datetime
) -> list[str]:
    """Make codes and return them, as they are printed: this once. All are made, or none.

    `shared` makes one code that many accounts may redeem, each once. The same key again is refused, as the codes that
    it made are known to nobody any more.
    """
    _require(reason)
    if shared and count != 1:
        raise InvalidRequest(_("A shared code is made one at a time."), field="count")
    if not 1 <= count <= MOST_CODES_AT_ONCE:
        raise InvalidRequest(_("1 to %(most)s codes at once."), field="count", most=MOST_CODES_AT_ONCE)
    with transaction.atomic():
        campaign = _locked(campaign_id)
        if VoucherBatch.objects.filter(campaign=campaign, key=key).exists():
            raise Conflict(_("These codes were made and handed out already; they cannot be shown again."))
        if campaign.status == Status.ENDED:
            raise Conflict(_("The campaign has ended."))
        if not shared and campaign.codes_made + count > campaign.total:
            raise InvalidRequest(
                _("The campaign allows %(left)s more codes."), field="count", left=campaign.total - campaign.codes_made
            )
        batch = VoucherBatch.objects.create(
            campaign=campaign, key=key, size=count, shared=shared, created_by=actor, created_at=now
        )
        codes = [voucher_codes.new() for _number in range(count)]
        _write(codes, batch)
        if not shared:
            VoucherCampaign.objects.filter(pk=campaign.pk).update(codes_made=F("codes_made") + count)
        told = {"batch": str(batch.pk), "codes": count, "shared": shared}
        _audit(campaign, "voucher_codes_made", actor=actor, reason=reason, now=now, after=told)
    return [code.shown for code in codes]


def _write(codes: list[Code], batch: VoucherBatch) -> None:
    """By COPY: a hundred thousand rows in seconds."""
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(["uuid", "uuid", "uuid", "bytea", "text", "bool", "timestamptz"])
        for code in codes:
            row = (uuid7(), batch.campaign_id, batch.pk, code.digest, code.last_four, batch.shared, batch.created_at)
            copy.write_row(row)


def withdraw(batch_id: UUID, *, actor: User, reason: str, now: datetime) -> VoucherBatch:
    """Codes of this batch that are not redeemed yet never will be: the file was lost, or seen by others."""
    _require(reason)
    with transaction.atomic():
        campaign = _locked(VoucherBatch.objects.values_list("campaign_id", flat=True).get(pk=batch_id))
        batch = VoucherBatch.objects.get(pk=batch_id)
        if batch.withdrawn_at is None:
            batch.withdrawn_at = now
            batch.save(update_fields=["withdrawn_at"])
            told = {"batch": str(batch.pk), "codes": batch.size}
            _audit(campaign, "voucher_codes_withdrawn", actor=actor, reason=reason, now=now, after=told)
    return batch


# --- Within -----------------------------------------------------------------------------------------------------------
def _locked(campaign_id: UUID) -> VoucherCampaign:
    """Stands last in the order of locks: whoever holds it takes no wallet and no code."""
    return VoucherCampaign.objects.select_for_update(of=("self",), no_key=True).get(pk=campaign_id)


def _started_alone(actor: User | None, now: datetime) -> Decimal:
    """USD that this person's own campaigns may give, of those that they started themselves within a day."""
    own = VoucherCampaign.objects.filter(
        created_by=actor, activated_by=actor, activated_at__gt=now - COUNTED_TOGETHER
    ).aggregate(worth=Sum(F("amount") * F("total")))
    return own["worth"] or Decimal(0)


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")


def _moved(
    campaign: VoucherCampaign, before: str, action: str, *, actor: User | None, reason: str, now: datetime
) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=campaign,
        now=now,
        reason=reason.strip(),
        before={"status": str(before)},
        after={"status": str(campaign.status)},
    )


def _audit(
    campaign: VoucherCampaign, action: str, *, actor: User | None, reason: str, now: datetime, after: dict[str, Any]
) -> None:
    audit.record(actor=actor, action=action, subject=campaign, now=now, reason=reason.strip(), after=after)
