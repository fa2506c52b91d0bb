"""Extra Usage on and off: which key, up to how much a month, and who agreed to what (F080-F083, C07).

Every change is under the wallet's lock, where admission reads the row (`sql/admit_flows.sql`), and in the audit. What
calls then spend is kept by the functions that admit and settle them; the mails at 50, 80 and 100 % are in
`extra_told`.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import api_keys, audit
from accounts.models import Account, ApiKey, User
from billing import notices
from billing.books import ledger
from billing.errors import AccountSuspended, Conflict, InvalidRequest
from billing.money import parse_decimal
from subscriptions import extra_told
from subscriptions.models import ExtraUsage

HIGHEST: Final = Decimal(100_000)
CENT: Final = Decimal("0.01")


def parse_cap(value: object) -> Decimal:
    """US dollars a month in whole cents, above zero, or `invalid_request` that names the field."""
    evidence = {"field": "monthly_cap", "minimum": f"{CENT:f}", "maximum": f"{HIGHEST:f}"}
    try:
        amount = parse_decimal(value)
    except ValueError:
        raise InvalidRequest(_("Write the amount as a number of US dollars, for instance 20.00."), **evidence) from None
    if not CENT <= amount <= HIGHEST:
        raise InvalidRequest(_("The amount must be between $%(minimum)s and $%(maximum)s."), **evidence)
    if amount != amount.quantize(CENT):
        raise InvalidRequest(_("The amount has more than two decimal places; cents are the smallest unit."), **evidence)
    return amount.quantize(CENT)


def turn_on(
    account_id: UUID,
    *,
    key_id: UUID | None,
    monthly_cap: Decimal,
    agreed_text: str,
    actor: User | None,
    label: str,
    now: datetime,
) -> ExtraUsage:
    """Turn it on with this key and cap (USD a month of UTC), or change them; `agreed_text` is what was agreed to.

    The same again changes nothing, not even when it was agreed.
    """
    if not agreed_text.strip():
        raise InvalidRequest(_("Without consent nothing may be paid from the balance."), field="consent")
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        _open_account(account_id)
        row, was = _row(account_id, now)
        if row.enabled and (row.api_key_id, row.monthly_cap) == (key_id, monthly_cap):
            return row
        key = _payable(account_id, key_id, now=now)
        fresh = not row.enabled
        row.enabled, row.api_key, row.monthly_cap = True, key, monthly_cap
        row.agreed_at, row.agreed_by, row.agreed_text = now, actor, agreed_text
        action = "extra_usage_on" if fresh else "extra_usage_changed"
        return _keep(row, action, was, actor=actor, label=label, now=now, agreed=agreed_text)


def reselect(account_id: UUID, *, key_id: UUID | None, actor: User | None, label: str, now: datetime) -> ExtraUsage:
    """Let another key pay, up to the same cap."""
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        _open_account(account_id)
        row, was = _running(account_id, now)
        if row.api_key_id == key_id:
            return row
        row.api_key = _payable(account_id, key_id, now=now)
        return _keep(row, "extra_usage_changed", was, actor=actor, label=label, now=now)


def set_cap(account_id: UUID, *, monthly_cap: Decimal, actor: User | None, label: str, now: datetime) -> ExtraUsage:
    """Another cap, from the next call on; what this month has spent and holds counts against it."""
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        _open_account(account_id)
        row, was = _running(account_id, now)
        if row.monthly_cap == monthly_cap:
            return row
        row.monthly_cap = monthly_cap
        return _keep(row, "extra_usage_changed", was, actor=actor, label=label, now=now)


def turn_off(account_id: UUID, *, actor: User | None, label: str, now: datetime) -> ExtraUsage | None:
    """No further call is paid this way; calls that are running still are. Key, cap and consent stay on record.

    None for an account that never had it.
    """
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        row = ExtraUsage.objects.select_related("api_key").filter(pk=account_id).first()
        if row is None or not row.enabled:
            return row
        was, row.enabled = told(row), False
        return _keep(row, "extra_usage_off", was, actor=actor, label=label, now=now)


def follow(old: ApiKey, new: ApiKey, *, actor: User | None, actor_label: str, now: datetime) -> None:
    """The key that pays was rotated: its successor pays from now on. The caller holds the wallet's lock."""
    row = ExtraUsage.objects.select_related("api_key").filter(pk=old.account_id, api_key=old).first()
    if row is None:
        return
    was, row.api_key, row.changed_at = told(row), new, now
    row.save(update_fields=["api_key", "changed_at"])
    audit.record(
        actor=actor, actor_label=actor_label, action="extra_usage_key_followed", subject=row, now=now, before=was,
        after=told(row),
    )  # fmt: skip


def says(key: ApiKey) -> str:
    """That this key pays, for whoever is about to stop it; empty when it does not."""
    if not ExtraUsage.objects.filter(pk=key.account_id, api_key=key, enabled=True).exists():
        return ""
    return gettext(
        "Extra Usage is paid with this key. When it is rotated, its successor pays; when it is disabled, calls stop as "
        "soon as a quota window is full."
    )


def told(row: ExtraUsage) -> dict[str, Any]:
    """The row for the audit."""
    return {
        "enabled": row.enabled,
        "key": row.api_key.masked if row.api_key else "",
        "monthly_cap": "" if row.monthly_cap is None else f"{row.monthly_cap:.2f}",
    }


def _row(account_id: UUID, now: datetime) -> tuple[ExtraUsage, dict[str, Any]]:
    """The account's row, or a new one, and what the audit says of it before the change."""
    found = ExtraUsage.objects.select_related("api_key").filter(pk=account_id).first()
    return (found, told(found)) if found else (ExtraUsage(account_id=account_id, changed_at=now), {})


def _running(account_id: UUID, now: datetime) -> tuple[ExtraUsage, dict[str, Any]]:
    row, was = _row(account_id, now)
    if not row.enabled:
        raise Conflict(_("Extra Usage is off. Turn it on first."))
    return row, was


def _open_account(account_id: UUID) -> None:
    if Account.objects.get(pk=account_id).status != Account.Status.ACTIVE:
        raise AccountSuspended


def _payable(account_id: UUID, key_id: UUID | None, *, now: datetime) -> ApiKey:
    """A live pay-as-you-go key of this account that no other key has followed; another account's does not exist."""
    key: ApiKey | None = ApiKey.objects.filter(account=account_id, pk=key_id).first() if key_id else None
    if key is None:
        raise InvalidRequest(_("Choose one of this account's API keys."), field="api_key")
    if key.kind != ApiKey.Kind.PAYG:
        raise InvalidRequest(_("A subscription key spends Flows only. Choose a pay-as-you-go key."), field="api_key")
    if not api_keys.is_live(key, now):
        raise InvalidRequest(_("This key has stopped working. Choose another one."), field="api_key")
    if ApiKey.objects.filter(rotated_from=key).exists():
        raise InvalidRequest(_("This key was rotated and will stop. Choose the key that followed it."), field="api_key")
    return key


def _keep(
    row: ExtraUsage,
    action: str,
    was: dict[str, Any],
    *,
    actor: User | None,
    label: str,
    now: datetime,
    agreed: str = "",
) -> ExtraUsage:
    """Write the row and its audit; whoever may pay hears of what may spend money (a stolen session would do this)."""
    row.changed_at = now
    row.save()
    after = told(row) | ({"agreed_text": agreed} if agreed else {})
    record = audit.record(actor=actor, actor_label=label, action=action, subject=row, now=now, before=was, after=after)
    if row.enabled and row.api_key is not None and row.monthly_cap is not None:
        extra_told.rearm(row.account_id, row.monthly_cap, now=now)
        notices.tell(
            row.account_id,
            "extra_usage_changed",
            key=f"extra_usage:{record.pk}",
            context={
                "by": label,
                "what": "on" if action == "extra_usage_on" else "changed",
                "key_name": row.api_key.name,
                "key": row.api_key.masked,
                "cap_usd": f"{row.monthly_cap:.2f}",
            },
            now=now,
        )
    return row
