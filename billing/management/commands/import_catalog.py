"""manage.py import_catalog FILE [--format meterhall|litellm|genai-prices] [--dry-run]"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.catalog import importing
from billing.errors import InvalidCatalog
from config import clock


class Command(BaseCommand):
    help = "Read a catalogue, print what it changes, and make new price versions; old ones are never edited."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="The catalogue; - or nothing for genai-prices.")
        parser.add_argument("--format", choices=sorted(importing.FORMATS), default="meterhall")
        parser.add_argument("--dry-run", action="store_true", help="Print the diff and write nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        data = None
        if options["file"] != "-":
            try:
                data = Path(options["file"]).read_bytes()
            except OSError as error:
                raise CommandError(f"{options['file']}: {error.strerror}") from None
        try:
            document = importing.read(data, format=options["format"], now=now)
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
