"""Emptying the database between tests that commit: only tables that have rows, and without Django's `flush`, which
would recreate every permission each time. What every installation has is planted again.
"""

from django.db import connection

from billing import seeds
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


def empty_tables(*_: object) -> None:
    """What `TransactionTestCase` runs after a test that committed."""
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY, [list(KEPT)])
    seeds.plant()
    book.forget()
