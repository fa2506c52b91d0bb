"""manage.py messages [--compile | --check]: keep the translations in step with the texts."""

import re
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands import makemessages

from config import catalogues

LEFT_OUT = [
    "node_modules/*",
    ".venv/*",
    ".data/*",
    "staticfiles/*",
    "tests/*",
    "bench/*",
    "integrations/*",
    "test-output/*",
]


class Collect(makemessages.Command):
    """Leaves a new text empty instead of guessing it from a similar one."""

    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]


class Command(BaseCommand):
    help = (
        "Collect the marked texts into locale/*.po (needs GNU gettext), tell what is untranslated, write the .mo files."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--compile", action="store_true", help="Only write the .mo files; needs no gettext.")
        parser.add_argument("--check", action="store_true", help="Write nothing; fail when a .mo is not its .po.")

    def handle(self, *args: Any, **options: Any) -> None:
        root = Path(settings.LOCALE_PATHS[0])
        if options["check"]:
            stale = [path for path in sorted(root.rglob("*.po")) if not catalogues.in_step(path)]
            if stale:
                raise CommandError(f"Run `make messages ARGS=--compile`: stale beside {', '.join(map(str, stale))}")
            return
        if not options["compile"]:
            self.collect(root)
        for path in sorted(root.rglob("*.po")):
            entries = catalogues.read(path)
            missing = [entry for entry in entries if entry.id and not entry.translated]
            catalogues.compile_file(path)
            self.stdout.write(
                f"{path.relative_to(root)}: {len(entries) - 1} texts, {len(missing)} without a translation"
            )
            for entry in missing:
                self.stdout.write(f"  {'? ' if entry.fuzzy else '  '}{entry.id.strip()[:100]!r}")

    def collect(self, root: Path) -> None:
        """What GNU gettext does, without the dates that would change at every run."""
        if not shutil.which("xgettext"):
            raise CommandError("Collecting needs GNU gettext (Debian: apt-get install gettext); --compile does not.")
        for code, _name in settings.LANGUAGES:
            if code != settings.LANGUAGE_CODE:
                language, _dash, script = code.partition("-")
                locale = f"{language}_{script.title()}" if script else language
                (root / locale / "LC_MESSAGES").mkdir(parents=True, exist_ok=True)
                call_command(
                    Collect(),
                    locale=[locale],
                    extensions=["py", "html", "txt"],
                    ignore_patterns=LEFT_OUT,
                    no_wrap=True,
                    add_location="file",
                    no_obsolete=True,
                    verbosity=0,
                )
        for path in root.rglob("*.po"):
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(r'"(POT-Creation|PO-Revision)-Date: [^"]*"\n', "", text), encoding="utf-8")
