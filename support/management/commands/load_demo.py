"""`manage.py load_demo`: a catalogue, people with roles, and an account with something to look at. Loads once."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts import api_keys, onboarding
from accounts.demo import DEMO_LOGINS, DEMO_PASSWORD
from accounts.models import Account, BenefitLevel, User
from billing.books import credits, details
from billing.books.models import JournalEntry, System
from billing.catalog import importing
from billing.catalog.book import current_book
from billing.payments import benefits
from config import clock
from gateway import reports, traffic

CATALOG = Path(settings.BASE_DIR) / "billing" / "data" / "demo_catalog.json"
FLOW_CLASSES = {"insider": "36", "restricted": "79.2"}
"""Flows for a dollar of list price, beside the standard rate that every copy has: worth more, and half (F064)."""
CALLS = 600
OPENED_DAYS_AGO = 36
SIDE = "Side project"
BILLED_TO = {
    "company_name": "Northwind Labs Ltd.",
    "tax_id": "GB 123 4567 89",
    "address": "12 Harbour Street\nBristol BS1 4QA",
    "country": "GB",
    "email": "accounts@example.com",
}


class Command(BaseCommand):
    """Load the demo."""

    help = "Load the demo once: the catalogue, logins for each role, an account with credit, keys and calls."

    def handle(self, *args: Any, **options: Any) -> None:
        """A second run finds the demo there and changes nothing. People and balances, then the calls, then the plan and
        the refunds: each of the first two everything or nothing, the rest step by step, as it would have come about."""
        if not settings.DEBUG:
            raise CommandError("The demo has a published password; it loads only with DEBUG on.")
        if User.objects.filter(email=DEMO_LOGINS[0][1]).exists():
            self.stdout.write("The demo is loaded.")
            return
        now = clock.now()
        with transaction.atomic():
            document = importing.read(CATALOG.read_bytes(), format="meterhall", now=now)
            importing.import_catalog(document, now=now, actor_label="load_demo")
            rates = [
                {"flow_class": name, "flows_per_usd": rate, "effective_from": now.isoformat()}
                for name, rate in FLOW_CLASSES.items()
            ]
            document = importing.read(orjson.dumps({"flow_rates": rates}), format="meterhall", now=now)
            importing.import_catalog(document, now=now, actor_label="load_demo")
            people = {role: self._person(role, email) for role, email in DEMO_LOGINS}
            account = self._account(people["customer"], now)
            best = BenefitLevel.objects.order_by("-threshold_usd").first()
            reason = "So that the demo shows a discount"
            benefits.set_by_hand(account.pk, best, actor=people["admin"], reason=reason, now=now - timedelta(days=30))
        with transaction.atomic():
            self._calls(account, now)
        if settings.SANDBOX_ENABLED:
            self._plans(account, people, now)
        self.stdout.write(f"The demo is loaded: account {account.pk} with {CALLS} calls.")

    def _person(self, role: str, email: str) -> User:
        user = User.objects.create_user(
            email, DEMO_PASSWORD, nickname=role.capitalize(), is_staff=role != "customer", is_superuser=role == "admin"
        )
        EmailAddress.objects.create(user=user, email=email, primary=True, verified=True)
        if group := Group.objects.filter(name=role).first():
            user.groups.add(group)
        return user

    def _account(self, owner: User, now: Any) -> Account:
        month_ago = now - timedelta(days=30)
        opened = now - timedelta(days=OPENED_DAYS_AGO)
        account = onboarding.open_account(owner, now=opened, name="Northwind Labs", kind=Account.Kind.COMPANY)
        account.company_name = "Northwind Labs Ltd."
        account.save()
        details.save(account.pk, BILLED_TO, actor=owner, now=opened)
        onboarding.open_account(owner, now=month_ago, name=SIDE)
        gifts = [
            (
                "25",
                credits.Kind.PROMOTION,
                JournalEntry.Kind.MANUAL_CREDIT,
                System.EXPENSE_PROMOTION,
                None,
                "Welcome credit",
            ),
            (
                "10",
                credits.Kind.VOUCHER,
                JournalEntry.Kind.VOUCHER,
                System.EXPENSE_PROMOTION,
                now + timedelta(days=9),
                "SPRING",
            ),
            ("400", credits.Kind.PROMOTION, JournalEntry.Kind.MANUAL_CREDIT, System.MANUAL, None, "Demo balance"),
        ]
        for usd, kind, entry_kind, funded_by, expires_at, note in gifts:
            credits.give(
                account.pk, Decimal(usd), kind=kind, entry_kind=entry_kind, funded_by=funded_by,
                key=f"demo:{note}", source="demo", note=note, expires_at=expires_at, now=month_ago,
            )  # fmt: skip
        return account

    def _plans(self, account: Account, people: dict[str, User], now: datetime) -> None:
        """What was paid in the sandbox, a plan and refunds: without one there is nowhere to pay."""
        from support import demo_plan, demo_refunds  # the sandbox's models are there only where it is installed

        owner = people["customer"]
        row = demo_plan.subscriber(account, owner, since=now - timedelta(days=OPENED_DAYS_AGO - 2), now=now)
        refunds = demo_refunds.of_top_ups(account, owner, people["finance"], now=now)
        plan = demo_refunds.of_plan(Account.objects.get(name=SIDE, memberships__user=owner), owner, now=now)
        self.stdout.write(
            f"The demo's plan: {row.plan_version.plan.name}, with {row.invoices.count()} invoices; "
            f"{len(refunds)} refunds of top-ups; a plan given back for {plan.sent:.2f} USD."
        )

    def _calls(self, account: Account, now: Any) -> None:
        """A month of calls of three applications, each with its key, reported as a gateway would."""
        secrets = [
            api_keys.issue(account, name=name, now=now - timedelta(days=29), actor=None)[1]
            for name, *_ in traffic.APPLICATIONS
        ]
        book = current_book(fresh=True)
        made = traffic.calls(
            book, traffic.favourites(book, now), count=CALLS, since=now - timedelta(days=29), until=now
        )
        events: list[dict[str, Any]] = [
            {
                "request_id": f"demo-{number}",
                "api_key": secrets[call.application],
                "model": call.model,
                "usage": call.usage,
                "occurred_at": call.at.isoformat(),
                "latency_ms": call.latency_ms,
                "upstream_status": 200,
            }
            for number, call in enumerate(made)
        ]
        # Day by day, as they would have come in, so that the journal has a line for each.
        for _, day in itertools.groupby(events, lambda event: event["occurred_at"][:10]):
            today = list(day)
            at = datetime.fromisoformat(today[-1]["occurred_at"])
            refused = [answer for answer in reports.record(today, now=at) if answer["status"] != "created"]
            if refused:
                raise CommandError(f"{len(refused)} demo calls were refused, the first: {refused[0]}")
