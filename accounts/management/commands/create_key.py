"""`manage.py create_key --account UUID`: an API key, printed once as JSON."""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import api_keys
from accounts.models import Account, ApiKey
from config import clock


class Command(BaseCommand):
    """Make an API key."""

    help = "Make an API key for an account. The secret is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, which kind, which name."""
        parser.add_argument("--account", required=True, type=UUID)
        parser.add_argument("--kind", choices=ApiKey.Kind.values, default=ApiKey.Kind.PAYG)
        parser.add_argument("--name", default="command line")

    def handle(self, *args: Any, **options: Any) -> str:
        """Print id, masked form and secret as JSON."""
        account = Account.objects.filter(pk=options["account"]).first()
        if account is None:
            raise CommandError(f"There is no account {options['account']}.")
        key, secret = api_keys.issue(account, name=options["name"], kind=options["kind"], now=clock.now(), actor=None)
        return json.dumps({"id": str(key.pk), "account": str(account.pk), "key": key.masked, "secret": secret})
