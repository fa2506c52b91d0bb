"""Turning auto top-up on and off: checked terms, the consent in the words that were shown, an audit of every change.

What happens by itself afterwards is in `auto_topup`.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import Account, User
from billing import notices
from billing.books import ledger
from billing.errors import AccountSuspended, Conflict, InvalidRequest, NotFound
from billing.money import parse_decimal
from billing.payments import auto_state, saved, topups
from billing.payments.auto_rules import Terms
from billing.payments.models_saved import AutoTopUp, Consent, PaymentMethod

MOST_A_DAY: Final = 24


def parse_terms(told: dict[str, Any]) -> Terms:
    """Terms out of text, each checked against the others; `invalid_request` names the field."""
    least, most = settings.TOPUP_MIN_USD, settings.TOPUP_MAX_USD
    amount = topups.parse_amount(told["amount"]) if "amount" in told else Decimal(0)
    threshold = _usd(told.get("threshold"), "threshold", least=Decimal(1), most=most)
    daily = _usd(told.get("daily_amount"), "daily_amount", least=least, most=most * MOST_A_DAY)
    monthly = _usd(told.get("monthly_amount"), "monthly_amount", least=least, most=most * MOST_A_DAY * 31)
    try:
        count = int(str(told.get("daily_count", "")))
    except ValueError:
        count = 0
    if not 1 <= count <= MOST_A_DAY:
        raise InvalidRequest(
            _("Choose between 1 and %(maximum)s charges a day."), field="daily_count", maximum=MOST_A_DAY
        )
    if daily < amount:
        raise InvalidRequest(_("The daily limit is less than one charge."), field="daily_amount")
    if monthly < amount:
        raise InvalidRequest(_("The monthly limit is less than one charge."), field="monthly_amount")
    return Terms(threshold, amount, count, daily, monthly)


def _usd(value: object, field: str, *, least: Decimal, most: Decimal) -> Decimal:
    evidence = {"field": field, "minimum": f"{least:f}", "maximum": f"{most:f}"}
    try:
        found = parse_decimal(value)
    except ValueError:
        raise InvalidRequest(_("Write the amount as a number of US dollars, for instance 20.00."), **evidence) from None
    if not least <= found <= most:
        raise InvalidRequest(_("The amount must be between $%(minimum)s and $%(maximum)s."), **evidence)
    if found != found.quantize(Decimal("0.01")):
        raise InvalidRequest(_("The amount has more than two decimal places; cents are the smallest unit."), **evidence)
    return found.quantize(Decimal("0.01"))


def configure(
    account_id: UUID,
    terms: Terms,
    *,
    card_id: UUID,
    text: str,
    version: str,
    locale: str,
    actor: User | None,
    label: str,
    now: datetime,
) -> AutoTopUp:
    """Turn it on with these terms, or change them; `text` is what was agreed to. A stop of before is over."""
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        if Account.objects.get(pk=account_id).status != Account.Status.ACTIVE:
            raise AccountSuspended
        card = _usable(account_id, card_id, now=now)
        consent = saved.agree(
            account_id,
            purpose=Consent.Purpose.AUTO_TOP_UP,
            text=text,
            version=version,
            locale=locale,
            actor=actor,
            label=label,
            now=now,
        )
        before = AutoTopUp.objects.select_related("payment_method").filter(pk=account_id).first()
        row = before or AutoTopUp(account_id=account_id)
        was = _told(before)
        row.enabled, row.payment_method, row.consent = True, card, consent
        row.threshold_usd, row.amount_usd = terms.threshold, terms.amount
        row.daily_count, row.daily_usd, row.monthly_usd = terms.daily_count, terms.daily_usd, terms.monthly_usd
        row.changed_by, row.changed_at = actor, now
        _go_on(row, now=now)
        row.save()
        _audit(row, "auto_top_up_on", was, actor=actor, label=label, now=now)
        if was == _told(row):
            return row  # the same again: a consent and an audit record more, and no second mail
        notices.tell(
            account_id,
            "auto_top_up_on",
            key=f"auto_top_up:on:{now.isoformat()}",
            context={
                "by": label,
                "card": card.name,
                "threshold_usd": f"{terms.threshold:.2f}",
                "amount_usd": f"{terms.amount:.2f}",
                "daily_count": str(terms.daily_count),
                "daily_usd": f"{terms.daily_usd:.2f}",
                "monthly_usd": f"{terms.monthly_usd:.2f}",
            },
            now=now,
        )
    return row


def _usable(account_id: UUID, card_id: UUID | None, *, now: datetime) -> PaymentMethod:
    found = PaymentMethod.objects.filter(account_id=account_id)
    card: PaymentMethod | None = found.filter(pk=card_id).first() if card_id else None
    if card is None or card.state == PaymentMethod.State.REMOVED:
        raise InvalidRequest(_("Choose one of the saved cards."), field="payment_method")
    if card.state != PaymentMethod.State.ACTIVE or card.ends_on <= now.date():
        raise InvalidRequest(_("This card has expired. Save another one first."), field="payment_method")
    return card


def _go_on(row: AutoTopUp, *, now: datetime) -> None:
    row.stopped_reason, row.stopped_at, row.stopped_order = "", None, None
    row.capped_by, row.look_at = "", now


def _told(row: AutoTopUp | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {
        "status": row.status,
        "threshold": f"{row.threshold_usd:.2f}",
        "amount": f"{row.amount_usd:.2f}",
        "daily_count": row.daily_count,
        "daily_amount": f"{row.daily_usd:.2f}",
        "monthly_amount": f"{row.monthly_usd:.2f}",
        "card": row.payment_method.name if row.payment_method else "",
        "stopped": str(row.stopped_reason),
    }


def _audit(
    row: AutoTopUp,
    action: str,
    before: dict[str, Any],
    *,
    actor: User | None,
    label: str,
    now: datetime,
    reason: str = "",
) -> None:
    audit.record(
        actor=actor,
        actor_label=label,
        action=action,
        subject=row,
        now=now,
        reason=reason,
        before=before,
        after=_told(row),
    )


def _row(account_id: UUID) -> AutoTopUp:
    """Under the wallet's lock."""
    ledger.lock_wallet(account_id)
    row: AutoTopUp | None = AutoTopUp.objects.select_related("payment_method").filter(pk=account_id).first()
    if row is None:
        raise NotFound
    return row


def turn_off(account_id: UUID, *, actor: User | None, label: str, now: datetime) -> AutoTopUp:
    """No further charge. One that is under way at this moment may still arrive."""
    with transaction.atomic():
        row = _row(account_id)
        if row.enabled:
            was = _told(row)
            row.enabled, row.changed_by, row.changed_at = False, actor, now
            _go_on(row, now=now)
            row.save()
            _audit(row, "auto_top_up_off", was, actor=actor, label=label, now=now)
    return row


def resume(account_id: UUID, *, actor: User | None, label: str, now: datetime) -> AutoTopUp:
    """Go on after a stop, with the terms that were agreed."""
    with transaction.atomic():
        row = _row(account_id)
        if not row.enabled or not row.stopped_reason:
            raise Conflict(_("Auto top-up is not stopped."))
        if Account.objects.get(pk=account_id).status != Account.Status.ACTIVE:
            raise AccountSuspended
        _usable(account_id, row.payment_method_id, now=now)
        was = _told(row)
        row.changed_by, row.changed_at = actor, now
        _go_on(row, now=now)
        row.save()
        _audit(row, "auto_top_up_resume", was, actor=actor, label=label, now=now)
    return row


def stop_by_hand(account_id: UUID, *, actor: User, reason: str, now: datetime) -> AutoTopUp:
    """Staff stop it, with the reason in the audit (I12). The customer is told and may resume."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        row = _row(account_id)
        was = _told(row)
        if not auto_state.stop(row, AutoTopUp.Stop.STAFF, now=now):
            raise Conflict(_("Auto top-up is not running."))
        _audit(row, "auto_top_up_stop", was, actor=actor, label=actor.email, now=now, reason=reason.strip())
    return row
