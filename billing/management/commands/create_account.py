"""`manage.py create_account --email E`: a verified user with an account, and credit if asked; printed as JSON."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from accounts import onboarding
from accounts.models import Account, User
from billing.books import credits
from billing.books.models import JournalEntry, System
from billing.money import round_charge
from config import clock
from config.ids import uuid7


class Command(BaseCommand):
    """Make a user, an account, and credit."""

    help = "Make a verified user with an account of their own; an address that exists gets one more account."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who, and how much."""
        parser.add_argument("--email", required=True)
        parser.add_argument("--password", help="without one the user must use the password reset")
        parser.add_argument("--credit", default="0", help="USD, given as promotional credit")
        parser.add_argument("--company", action="store_true")
        parser.add_argument("--name", default="")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> str:
        """Print the account's UUID and what was made."""
        now, email = clock.now(), options["email"].lower()
        try:
            validate_email(email)
            usd = round_charge(Decimal(options["credit"]))
        except ValidationError:
            raise CommandError(f"{email} is not an e-mail address.") from None
        except (InvalidOperation, ValueError):
            raise CommandError(f"{options['credit']} is not an amount in USD.") from None
        if usd < 0:
            raise CommandError("Credit cannot be negative.")
        user = User.objects.filter(email=email).first()
        if user is None:
            user = User.objects.create_user(email, options["password"])
            EmailAddress.objects.create(user=user, email=email, primary=True, verified=True)
        elif options["password"]:
            raise CommandError(f"{email} exists; this command does not change its password.")
        kind = Account.Kind.COMPANY if options["company"] else Account.Kind.PERSONAL
        account = onboarding.open_account(user, now=now, name=options["name"], kind=kind)
        if usd:
            key = f"command:{uuid7()}"
            credits.give(
                account.pk,
                usd,
                kind=credits.Kind.PROMOTION,
                entry_kind=JournalEntry.Kind.MANUAL_CREDIT,
                funded_by=System.EXPENSE_PROMOTION,
                key=key,
                source=key,
                note="create_account",
                now=now,
            )
        return json.dumps({"account": str(account.pk), "email": email, "user": user.pk, "credit": str(usd)})
