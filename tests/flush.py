"""Emptying the database between tests that commit: only tables that have rows, and without Django's `flush`, which
would recreate every permission each time. What every installation has is planted again. Rows are deleted without their
triggers, which takes a hundredth of the time of a truncation with its new files; large tables are truncated, and so is
everything where the tests' role is not a superuser.

Before a test's rows go, the books that it leaves behind are verified: every invariant of `verify_books`, and every
charge recomputed as `verify_charges` does. A test that damages the books on purpose is marked `damages_books`.
"""

from django.db import connection

import billing.books.voucher_verify
import billing.metering.rerating_verify
import billing.metering.verify
import billing.payments.verify  # registers its checks
import billing.payments.verify_disputes
import subscriptions.verify  # noqa: F401
from billing import seeds
from billing.books import verify
from billing.catalog import book
from refunds import seeds as refund_seeds
from subscriptions import plans
from subscriptions import seeds as subscription_seeds

KEPT = ("django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions")

_EMPTY = """
DO $$
DECLARE t text; found boolean; filled text[] := '{}'; large boolean := false;
BEGIN
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL(%s) LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %%I)', t) INTO found;
    IF found THEN
      filled := filled || quote_ident(t);
      large := large OR pg_relation_size(quote_ident(t)::regclass) > 1048576;
    END IF;
  END LOOP;
  IF filled = '{}' THEN RETURN; END IF;
  IF large OR NOT (SELECT usesuper FROM pg_user WHERE usename = current_user) THEN
    EXECUTE 'TRUNCATE ' || array_to_string(filled, ', ') || ' RESTART IDENTITY CASCADE';
    RETURN;
  END IF;
  SET LOCAL session_replication_role = replica;
  FOREACH t IN ARRAY filled LOOP EXECUTE 'DELETE FROM ' || t; END LOOP;
  SET LOCAL session_replication_role = origin;
  PERFORM setval(d.objid::regclass, 1, false)
  FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid = ANY (SELECT quote_ident::regclass::oid FROM unnest(filled) AS quote_ident);
END $$
"""


def empty_tables() -> None:
    """Remove what a test that committed has left."""
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY, [list(KEPT)])
    seeds.plant()
    subscription_seeds.plant()
    refund_seeds.plant()
    book.forget()
    plans.forget()


def broken_books() -> list[str]:
    """What `verify_books` and `verify_charges` would complain of."""
    found = [
        f"{result.check.number} {result.check.sentence}: {row}" for result in verify.run() for row in result.broken
    ]
    found += [row for _, rows in billing.metering.rerating_verify.recompute_adjustments() for row in rows]
    return found + [row for _, rows in billing.metering.verify.recompute_charges() for row in rows]
