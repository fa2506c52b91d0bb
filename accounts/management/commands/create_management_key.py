"""`manage.py create_management_key --account UUID`: a key for a customer's program, printed once as JSON."""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import api_keys
from accounts.models import Account, Membership
from config import clock


class Command(BaseCommand):
    """Make a management key."""

    help = "Make a key with which a program reads and steers one account. The secret is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, with which rights, which name."""
        parser.add_argument("--account", required=True, type=UUID)
        parser.add_argument("--role", choices=Membership.Role.values, default=Membership.Role.ADMIN)
        parser.add_argument("--name", default="command line")

    def handle(self, *args: Any, **options: Any) -> str:
        """Print id, masked form and secret as JSON."""
        account = Account.objects.filter(pk=options["account"]).first()
        if account is None:
            raise CommandError(f"There is no account {options['account']}.")
        key, secret = api_keys.issue_management_key(
            account, name=options["name"], role=options["role"], now=clock.now(), actor=None
        )
        return json.dumps({"id": str(key.pk), "account": str(account.pk), "role": key.role, "secret": secret})
