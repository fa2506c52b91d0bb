"""`manage.py verify_books`: every invariant that SQL can check; exit 1 and a list when one is broken."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.books import verify


class Command(BaseCommand):
    """Check the books."""

    help = "Check the invariants of the books and say what was checked and how long it took. Changes nothing."
    requires_migrations_checks = True

    def handle(self, *args: Any, **options: Any) -> None:
        """One line a check; the broken rows below it."""
        began, looked_at, broken = time.perf_counter(), 0, 0
        for result in verify.run():
            looked_at += result.looked_at
            broken += len(result.broken)
            state = self.style.ERROR("BROKEN") if result.broken else self.style.SUCCESS("ok")
            figures = f"{result.looked_at:>10,} rows {result.seconds:>8.3f} s"
            self.stdout.write(f"{result.check.number:<4} {state:<8} {figures}  {result.check.sentence}")
            for row in result.broken:
                self.stdout.write(f"       {row}")
        seconds = time.perf_counter() - began
        self.stdout.write(
            f"verify_books: {looked_at:,} rows in {seconds:.2f} s ({looked_at / max(seconds, 1e-9):,.0f} rows/s)"
        )
        if broken:
            raise CommandError(f"{broken} rows break an invariant.", returncode=1)
