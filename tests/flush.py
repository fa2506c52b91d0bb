"""Emptying the database between tests that commit: only tables that have rows, and without Django's `flush`, which
would recreate every permission each time. What every installation has is planted again.

Before a test's rows go, the books that it leaves behind are verified: every invariant of `verify_books`, and every
charge recomputed as `verify_charges` does. A test that damages the books on purpose is marked `damages_books`.
"""

from django.db import connection

import billing.books.voucher_verify
import billing.metering.rerating_verify
import billing.metering.verify
import billing.payments.verify  # registers its checks
import billing.payments.verify_disputes
from billing import seeds
from billing.books import verify
from billing.catalog import book

KEPT = ("django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions")

_EMPTY = """
DO $$
DECLARE t text; found boolean; filled text[] := '{}';
BEGIN
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL(%s) LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %%I)', t) INTO found;
    IF found THEN filled := filled || quote_ident(t); END IF;
  END LOOP;
  IF filled <> '{}' THEN EXECUTE 'TRUNCATE ' || array_to_string(filled, ', ') || ' RESTART IDENTITY CASCADE'; END IF;
END $$
"""


def empty_tables() -> None:
    """Remove what a test that committed has left."""
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY, [list(KEPT)])
    seeds.plant()
    book.forget()


def broken_books() -> list[str]:
    """What `verify_books` and `verify_charges` would complain of."""
    found = [
        f"{result.check.number} {result.check.sentence}: {row}" for result in verify.run() for row in result.broken
    ]
    found += [row for _, rows in billing.metering.rerating_verify.recompute_adjustments() for row in rows]
    return found + [row for _, rows in billing.metering.verify.recompute_charges() for row in rows]
