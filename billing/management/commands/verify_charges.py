"""`manage.py verify_charges`: recompute every charge from its record alone (I8); exit 1 when one differs."""

import time
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from billing.metering.rerating_verify import recompute_adjustments
from billing.metering.verify import recompute_charges


class Command(BaseCommand):
    """Check the charges."""

    help = "Rate every usage record and every correction again and compare to the last digit. Changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """From when on."""
        parser.add_argument("--since", type=parse_datetime, help="only records written since this time, with its zone")

    def handle(self, *args: Any, **options: Any) -> None:
        """What was checked, how fast, and each difference."""
        began, checked, wrong = time.perf_counter(), 0, 0
        since = options["since"]
        for count, differences in chain(recompute_charges(since), recompute_adjustments(since)):
            checked += count
            wrong += len(differences)
            for line in differences[:20]:
                self.stdout.write(self.style.ERROR(line))
        seconds = time.perf_counter() - began
        speed = f"{checked / max(seconds, 1e-9):,.0f} records/s"
        self.stdout.write(f"verify_charges: {checked:,} records in {seconds:.2f} s ({speed}), {wrong} differ")
        if wrong:
            raise CommandError(f"{wrong} charges differ from their recomputation.", returncode=1)
