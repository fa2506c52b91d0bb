"""`manage.py create_voucher_campaign NAME --amount USD --codes N`: an active campaign; prints its codes, once."""

import json
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from billing.books import campaigns
from billing.books.models_vouchers import VoucherCampaign
from billing.errors import BillingError
from billing.money import round_charge
from config import clock
from config.ids import uuid7


class Command(BaseCommand):
    """Make a campaign and its codes."""

    help = "Make an active voucher campaign and print JSON with its codes: the only time that they are shown."

    def add_arguments(self, parser: CommandParser) -> None:
        """Terms."""
        parser.add_argument("name")
        parser.add_argument("--amount", required=True, help="USD that each redemption gives")
        parser.add_argument("--codes", type=int, default=0, help="codes for one redemption each")
        parser.add_argument("--shared", type=int, default=0, help="one shared code for so many redemptions")
        parser.add_argument("--per-account", type=int, default=1)
        parser.add_argument("--days", type=int, help="valid for so many days; without it: without end")
        parser.add_argument("--credit-days", type=int, help="the credit lasts so many days; without it: for ever")
        parser.add_argument("--kind", choices=VoucherCampaign.Kind.values, default="voucher")
        parser.add_argument("--note", default="")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> str:
        """Print the campaign and its codes."""
        now = clock.now()
        try:
            amount = round_charge(Decimal(options["amount"]))
        except (InvalidOperation, ValueError):
            raise CommandError(f"{options['amount']} is not an amount in USD.") from None
        codes, shared = options["codes"], options["shared"]
        if codes < 0 or shared < 0 or not codes + shared:
            raise CommandError("Say how many: --codes N, --shared N, or both.")
        try:
            return json.dumps(self._make(options, amount, codes, shared, now))
        except BillingError as refusal:
            raise CommandError(str(refusal)) from None

    def _make(self, options: dict[str, Any], amount: Decimal, codes: int, shared: int, now: datetime) -> dict[str, Any]:
        said: dict[str, Any] = {"actor": None, "reason": "command line", "now": now}
        terms = campaigns.Terms(
            name=options["name"],
            kind=options["kind"],
            amount=amount,
            total=codes + shared,
            per_account=options["per_account"],
            valid_from=now,
            valid_until=now + timedelta(days=options["days"]) if options["days"] else None,
            credit_days=options["credit_days"],
            note=options["note"],
        )
        campaign = campaigns.create(terms, **said)
        made: list[str] = []
        for start in range(0, codes, campaigns.MOST_CODES_AT_ONCE):
            part = min(campaigns.MOST_CODES_AT_ONCE, codes - start)
            made += campaigns.make_codes(campaign.pk, part, shared=False, key=f"command:{uuid7()}", **said)
        one = campaigns.make_codes(campaign.pk, 1, shared=True, key=f"command:{uuid7()}", **said) if shared else []
        campaigns.activate(campaign.pk, **said)
        return {
            "campaign": str(campaign.pk),
            "name": campaign.name,
            "amount": str(campaign.amount),
            "codes": made,
            "shared_code": one[0] if one else None,
        }
