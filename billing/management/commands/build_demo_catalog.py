"""manage.py build_demo_catalog: write billing/data/demo_catalog.json again, or with --check say if it is current."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from billing.catalog import demo

DATA: Final = Path(__file__).resolve().parents[2] / "data"


class Command(BaseCommand):
    help = "Build the demo catalogue from the plan table and the genai-prices package."
    requires_system_checks: Any = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="Write nothing; fail when the file is out of date.")

    def handle(self, *args: Any, **options: Any) -> None:
        body, notes = demo.build(json.loads((DATA / "plans_and_models.json").read_text()))
        text = json.dumps(body, indent=1, ensure_ascii=False) + "\n"
        target = DATA / "demo_catalog.json"
        if options["check"]:
            if not target.exists() or target.read_text() != text:
                raise CommandError("demo_catalog.json is out of date: run manage.py build_demo_catalog")
        else:
            target.write_text(text)
        for note in notes:
            self.stdout.write(note)
        priced = sum(bool(model["prices"]) for model in body["models"])
        self.stdout.write(f"{priced} of {len(body['models'])} models have a price")
