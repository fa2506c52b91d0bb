"""Billing details: read them, change them with an audit record."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import Account, User
from billing.books.models_details import BillingDetails
from billing.books.months import Month


def of(account: Account) -> BillingDetails:
    """What was entered; until then what the account itself says, unsaved."""
    found = BillingDetails.objects.filter(account=account).first()
    return found or BillingDetails(account=account, company_name=account.company_name, tax_id=account.tax_id)


def save(account_id: UUID, told: dict[str, Any], *, actor: User, now: datetime) -> BillingDetails:
    """Change the details; the audit holds before and after (I12). The same again changes nothing."""
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        row = of(account)
        before = row.told()
        for name in BillingDetails.TOLD:
            if name in told:
                setattr(row, name, told[name])
        after = row.told()
        if before == after and not row._state.adding:
            return row
        if after["statement_mail"] and not before["statement_mail"]:
            row.told_month = str(Month.of(now).before)  # months that ended before the wish are not mailed
        row.changed_at = now
        row.save()
        changed = [name for name in after if before[name] != after[name]]
        audit.record(
            actor=actor,
            action="billing_details",
            subject=row,
            now=now,
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )
        return row


def addressee(account: Account) -> dict[str, Any]:
    """Whom a document is for, as it is kept with it."""
    row = of(account)
    return {
        "name": row.company_name or account.name,
        "tax_id": row.tax_id,
        "address": [line.strip() for line in row.address.splitlines() if line.strip()],
        "country": row.country,
        "email": row.email,
        "account": str(account.pk),
    }


def language_for(account: Account, asked: str | None) -> str:
    """The language of a document: the one asked for, else the account's."""
    return asked if asked in dict(settings.LANGUAGES) else str(of(account).language)
