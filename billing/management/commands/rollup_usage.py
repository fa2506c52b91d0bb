"""`manage.py rollup_usage`: bring usage by day up to date, or with --rebuild make all of it again."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.metering import rollups
from config import clock


class Command(BaseCommand):
    """Roll usage up."""

    help = "Add the newest calls to usage by day. With --rebuild: forget it and add up every call again."

    def add_arguments(self, parser: CommandParser) -> None:
        """All, or only what is new."""
        parser.add_argument("--rebuild", action="store_true", help="start from nothing, in one transaction")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what was rolled."""
        began = time.perf_counter()
        done = (rollups.rebuild if options["rebuild"] else rollups.roll)(now=clock.now())
        since = "the beginning" if done.since is None else done.since.isoformat()
        self.stdout.write(
            f"rollup_usage: {done.rows:,} rows for calls from {since} to {done.until.isoformat()}"
            f" in {time.perf_counter() - began:.2f} s"
        )
