"""The customers of the run, made in the stack's database; prints them as JSON."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal

import django

CALLERS, BUYERS = 16, 4


def main() -> None:
    """Accounts with keys for the gateway, accounts with management keys for the buyers, a gateway's token, a price."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from accounts import api_keys, onboarding
    from accounts.models import User
    from billing.books import credits
    from billing.books.models import JournalEntry, System
    from billing.catalog.models import CatalogState, Channel, Model, PriceVersion
    from config import clock

    now = clock.now()
    made: dict[str, list[dict[str, str]]] = {"callers": [], "buyers": []}
    for number in range(CALLERS + BUYERS):
        owner = User.objects.create_user(f"chaos-{number}@example.com")
        account = onboarding.open_account(owner, now=now, name=f"Chaos {number}")
        if number < CALLERS:
            # Half of them may run dry: then refusals, and overshoot that becomes overdraft, are part of the run.
            credits.give(
                account.pk,
                Decimal(40) if number % 2 else Decimal(4),
                kind=credits.Kind.PROMOTION,
                entry_kind=JournalEntry.Kind.MANUAL_CREDIT,
                funded_by=System.EXPENSE_PROMOTION,
                key="chaos",
                source="chaos",
                now=now,
            )
            _key, secret = api_keys.issue(account, name="chaos", now=now, actor=owner)
            made["callers"].append({"account": str(account.pk), "secret": secret})
        else:
            _management, secret = api_keys.issue_management_key(
                account, name="chaos", role="owner", now=now, actor=owner
            )
            made["buyers"].append({"account": str(account.pk), "secret": secret})
    model = Model.objects.create(slug="chaos/model", name="Chaos", vendor="chaos", max_output_tokens=4096)
    PriceVersion.objects.create(
        model=model,
        channel=Channel.objects.get(code="default"),
        number=1,
        type="per_token",
        input_per_1k=Decimal("0.03"),
        output_per_1k=Decimal("0.15"),
        effective_from=now,
        created_at=now,
    )
    CatalogState.objects.filter(id=1).update(revision=CatalogState.objects.get(id=1).revision + 1)
    token = api_keys.issue_gateway_token("chaos", now=now, actor=None)[1]
    sys.stdout.write(json.dumps({**made, "token": token}) + "\n")


if __name__ == "__main__":
    main()
