"""A price version is sealed when the transaction that wrote it ends: no component, tier or field multiplier joins later.

The column is the database's own business and stays out of Django's state, so that nobody can send it a value by accident.
"""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "catalog" / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_conflict_with_usage")]

    operations = [
        migrations.RunSQL((SQL / "seal_versions.sql").read_text(), (SQL / "unseal_versions.sql").read_text()),
    ]
