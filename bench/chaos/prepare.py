"""The customers of the run, made in the stack's database; prints them as JSON."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal
from uuid import UUID

import django

CALLERS, BUYERS, SUBSCRIBERS = 16, 4, 6
# Small enough that windows fill up within the run, several times.
CAPS = {"free": (10, 40, 60), "pro": (40, 400, 800), "max": (80, 800, 1600), "ultra": (160, 1600, 3200)}
EXTRA_CAP = Decimal(5)


def main() -> None:
    """Accounts with keys for the gateway, with management keys for buyers and subscribers, a price, plans, a token."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.conf import settings

    from accounts import api_keys, onboarding
    from accounts.models import User
    from billing.books import credits
    from billing.books.models import JournalEntry, System
    from billing.catalog.models import CatalogState, Channel, Model, PriceVersion
    from config import clock
    from subscriptions import extra
    from subscriptions.models import PlanVersion

    now = clock.now()

    def give(account_id: UUID, usd: Decimal) -> None:
        credits.give(
            account_id,
            usd,
            kind=credits.Kind.PROMOTION,
            entry_kind=JournalEntry.Kind.MANUAL_CREDIT,
            funded_by=System.EXPENSE_PROMOTION,
            key="chaos",
            source="chaos",
            now=now,
        )

    made: dict[str, list[dict[str, str]]] = {"callers": [], "buyers": [], "subscribers": [], "flow_callers": []}
    for number in range(CALLERS + BUYERS + SUBSCRIBERS):
        owner = User.objects.create_user(f"chaos-{number}@example.com")
        account = onboarding.open_account(owner, now=now, name=f"Chaos {number}")
        if number < CALLERS:
            # Half of them may run dry: then refusals, and overshoot that becomes overdraft, are part of the run.
            give(account.pk, Decimal(40) if number % 2 else Decimal(4))
            _key, secret = api_keys.issue(account, name="chaos", now=now, actor=owner)
            made["callers"].append({"account": str(account.pk), "secret": secret})
        else:
            _management, secret = api_keys.issue_management_key(
                account, name="chaos", role="owner", now=now, actor=owner
            )
            party = "buyers" if number < CALLERS + BUYERS else "subscribers"
            made[party].append({"account": str(account.pk), "secret": secret})
        if number >= CALLERS + BUYERS:
            kind = api_keys.ApiKey.Kind.SUBSCRIPTION
            _key, secret = api_keys.issue(account, name="chaos", kind=kind, now=now, actor=owner)
            made["flow_callers"].append({"account": str(account.pk), "secret": secret})
            if number % 2:  # half of them go on from their balance when a window is full
                give(account.pk, Decimal(40))
                pays, _secret = api_keys.issue(account, name="extra", now=now, actor=owner)
                extra.turn_on(
                    account.pk,
                    key_id=pays.pk,
                    monthly_cap=EXTRA_CAP,
                    agreed_text="chaos",
                    actor=owner,
                    label="",
                    now=now,
                )
    for number in (1, 2):
        User.objects.create_user(f"chaos-staff-{number}@example.com", is_staff=True)
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
    for version in PlanVersion.objects.order_by("plan__rank"):
        five, week, period = CAPS[version.plan_id]
        PlanVersion.objects.create(
            plan_id=version.plan_id,
            number=version.number + 1,
            price_usd=version.price_usd,
            flows_5h=five,
            flows_week=week,
            flows_period=period,
            rpm=100_000,
            model_slugs=["chaos/model"],
            effective_from=now,
            created_at=now,
        )
    CatalogState.objects.filter(id=1).update(revision=CatalogState.objects.get(id=1).revision + 1)
    token = api_keys.issue_gateway_token("chaos", now=now, actor=None)[1]
    sys.stdout.write(json.dumps({**made, "token": token, "provider": settings.STRIPE_SECRET_KEY}) + "\n")


if __name__ == "__main__":
    main()
