"""manage.py import_catalog FILE [--format …] [--only GLOB] [--channel CODE] [--effective-from TIME] [--dry-run]"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.catalog import importing, selecting
from billing.errors import InvalidCatalog
from config import clock


def _moment(text: str) -> datetime:
    """A time with its zone. Raises ArgumentTypeError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text} is not a time such as 2026-12-01T00:00:00Z") from None
    if found.tzinfo is None:
        raise ArgumentTypeError(f"{text} does not say its zone")
    return found.astimezone(UTC)


class Command(BaseCommand):
    help = "Read a catalogue, print what it changes, and make new price versions; old ones are never edited."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="The catalogue; - or nothing for genai-prices.")
        parser.add_argument("--format", choices=sorted(importing.FORMATS), default="meterhall")
        parser.add_argument("--only", metavar="GLOB", help="Only models whose slug fits, for instance 'anthropic/*'.")
        parser.add_argument("--channel", metavar="CODE", help="Put the prices on this channel, which must exist.")
        parser.add_argument(
            "--effective-from",
            metavar="TIME",
            type=_moment,
            help="When the prices begin, with its zone (2026-12-01T00:00:00Z); what the file itself dates later keeps "
            "its own start. Default: now, or as the file says for a model's first price.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Print the diff and write nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        start, data = options["effective_from"], None
        if start is not None and start <= now:
            raise CommandError(f"--effective-from {start.isoformat()} is not in the future.")
        if options["file"] != "-":
            try:
                data = Path(options["file"]).read_bytes()
            except OSError as error:
                raise CommandError(f"{options['file']}: {error.strerror}") from None
        try:
            document = importing.read(data, format=options["format"], now=now)
            if options["only"]:
                document = selecting.only(document, options["only"])
            if options["channel"]:
                document = selecting.on_channel(document, options["channel"])
            if start is not None:
                document = selecting.starting(document, start)
            diff = importing.import_catalog(
                document, now=now, dry_run=options["dry_run"], actor_label="manage.py import_catalog"
            )
        except InvalidCatalog as refusal:
            raise CommandError(f"{refusal} (nothing was written)") from None

        for change in diff.changes:
            self.stdout.write(str(change))
        for note in diff.notes:
            self.stdout.write(f"note     {note}")
        self.stdout.write(
            f"{diff.count('new')} new, {diff.count('changed')} changed, {diff.count('gone')} gone, "
            f"{diff.unchanged} unchanged" + (" - dry run, nothing was written" if options["dry_run"] else "")
        )
