"""A usage record keeps its calculation sheet (I8); the function that writes it takes one more array.

All three hot functions are loaded again: a plan made while a table was empty must not read the whole table once a call
(`enable_material`)."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "metering" / "sql"
BEFORE = (
    "timestamptz, uuid[], uuid[], uuid[], uuid[], text[], bytea[], text[], text[], bigint[], bigint[], bigint[], numeric[], numeric[],"
    " jsonb[], jsonb[], bigint[], bigint[], bigint[], bigint[], numeric[], numeric[], numeric[], smallint[], integer[], text[], text[],"
    " timestamptz[]"
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_sealed_versions")]

    operations = [
        migrations.AddField(
            "usagerecord",
            "sheet",
            models.JSONField(editable=False, null=True, verbose_name="calculation sheet"),
        ),
        migrations.RunSQL(
            [
                f"DROP FUNCTION IF EXISTS mh_charge({BEFORE})",
                *((SQL / f"{name}.sql").read_text() for name in ("authorize", "charge", "release")),
            ],
            migrations.RunSQL.noop,
        ),
    ]
