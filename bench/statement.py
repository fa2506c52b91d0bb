"""A month of a million charged calls as a statement: sums, PDF and CSV.

    python -m bench.statement [--entries=1000000]

The entries are written by one statement as the calls' function writes them, without their records: a statement reads
the journal alone. Everything is rolled back.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import django

START = datetime(2026, 10, 1, tzinfo=UTC)
GOAL_SECONDS = 5
_ENTRIES = """
INSERT INTO billing_journalentry (id, account_id, seq, kind, key, at, delta, balance_after, meta)
SELECT gen_random_uuid(), %(account)s, n, CASE WHEN n = 1 THEN 'topup' ELSE 'usage' END, 'bench:' || n,
  %(start)s + n * %(step)s, CASE WHEN n = 1 THEN 100000 ELSE -0.0123456789 END, 100000 - (n - 1) * 0.0123456789,
  '{"calls": 1}'
FROM generate_series(1, %(entries)s) n
"""


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    args, _ = parser.parse_known_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.core.management import call_command
    from django.db import connection, transaction

    from accounts import onboarding
    from accounts.models import User
    from billing.books import statement_pdf, statements
    from billing.books.months import Month

    call_command("migrate", verbosity=0)
    with transaction.atomic():
        owner = User.objects.create_user("bench-statement@example.com", None)
        account = onboarding.open_account(owner, now=START, name="bench")
        with connection.cursor() as cursor:
            step = timedelta(days=31) / (args.entries + 1)
            told = {"account": account.pk, "start": START, "step": step, "entries": args.entries}
            cursor.execute(_ENTRIES, told)
            cursor.execute("ANALYZE billing_journalentry")
        month, now = Month(2026, 10), START + timedelta(days=40)
        found = _timed("sums", lambda: statements.statement(account, month, now=now))
        assert found.entries == args.entries
        assert found.closing == Decimal(100_000) - (args.entries - 1) * Decimal("0.0123456789")
        _timed("PDF, the first of this process", lambda: statement_pdf.render(found, "en"))
        _timed("PDF", lambda: statement_pdf.render(found, "zh-hans"))
        _timed("CSV rows", lambda: sum(len(rows) for rows in statements.table(found)))
        transaction.set_rollback(True)


def _timed(what: str, work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    found = work()
    sys.stdout.write(
        f"statement of a million entries, {what}: {time.perf_counter() - began:.2f} s; goal: <= {GOAL_SECONDS} s\n"
    )
    return found


if __name__ == "__main__":
    main()
