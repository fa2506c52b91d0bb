"""A usage record keeps its calculation sheet (I8); the function that writes it takes one more array."""

from pathlib import Path

from django.db import migrations, models

CHARGE = Path(__file__).resolve().parent.parent / "metering" / "sql" / "charge.sql"
BEFORE = (
    "timestamptz, uuid[], uuid[], uuid[], uuid[], text[], bytea[], text[], text[], bigint[], bigint[], bigint[], numeric[], numeric[],"
    " jsonb[], jsonb[], bigint[], bigint[], bigint[], bigint[], numeric[], numeric[], numeric[], smallint[], integer[], text[], text[],"
    " timestamptz[]"
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_conflict_with_usage")]

    operations = [
        migrations.AddField(
            "usagerecord",
            "sheet",
            models.JSONField(editable=False, null=True, verbose_name="calculation sheet"),
        ),
        migrations.RunSQL(
            [f"DROP FUNCTION IF EXISTS mh_charge({BEFORE})", CHARGE.read_text()],
            migrations.RunSQL.noop,
        ),
    ]
