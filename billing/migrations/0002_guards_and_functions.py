"""Load what the database guards and the set-based functions of the hot verbs."""

from pathlib import Path

from django.db import migrations

BILLING = Path(__file__).resolve().parent.parent


def sql(name: str) -> str:
    return (BILLING / name).read_text()


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("accounts", "0001_initial")]

    operations = [
        migrations.RunSQL(
            [sql("books/sql/guards.sql"), sql("books/sql/guards_on.sql")], [sql("books/sql/guards_off.sql")]
        ),
        migrations.RunSQL(sql("books/sql/expire_grants.sql"), "DROP FUNCTION mh_expire_grants"),
        migrations.RunSQL(sql("metering/sql/authorize.sql"), "DROP FUNCTION mh_authorize"),
        migrations.RunSQL(sql("metering/sql/charge.sql"), "DROP FUNCTION mh_charge"),
        migrations.RunSQL(sql("metering/sql/release.sql"), "DROP FUNCTION mh_release"),
    ]
