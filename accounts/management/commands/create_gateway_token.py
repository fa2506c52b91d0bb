"""`manage.py create_gateway_token NAME`: a token for a gateway, printed once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts import api_keys
from config import clock


class Command(BaseCommand):
    """Make a gateway token."""

    help = "Make a token with which a gateway authorises, captures and voids calls. It is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Name and allowed addresses."""
        parser.add_argument("name")
        parser.add_argument("--allow-ip", action="append", default=[], help="address or network; may be repeated")

    def handle(self, *args: Any, **options: Any) -> str:
        """Print the secret and nothing else."""
        return api_keys.issue_gateway_token(
            options["name"], now=clock.now(), actor=None, allowed_ips=options["allow_ip"], reason="command line"
        )[1]
