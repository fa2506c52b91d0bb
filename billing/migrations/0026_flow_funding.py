"""Flows pay for calls: what a Flow was worth stands on the authorization and on the record (C16, I8), and the functions that
end an authorization tell the subscriptions' windows (`mh_settle_flows`)."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "metering" / "sql"
BEFORE = (
    "timestamptz, uuid[], uuid[], uuid[], uuid[], text[], bytea[], text[], text[], bigint[], bigint[], bigint[], numeric[], numeric[],"
    " jsonb[], jsonb[], bigint[], bigint[], bigint[], bigint[], numeric[], numeric[], numeric[], smallint[], integer[], text[], text[],"
    " timestamptz[], jsonb[]"
)


def snapshot(model):
    """What a Flow was for this call."""
    return [
        migrations.AddField(model, "flow_factor", models.DecimalField(blank=True, decimal_places=6, max_digits=12, null=True)),
        migrations.AddField(model, "flow_overhead", models.DecimalField(blank=True, decimal_places=6, max_digits=20, null=True)),
    ]


class Migration(migrations.Migration):
    dependencies = [("billing", "0025_reconciliation")]

    operations = [
        migrations.AddField("authorization", "flow_class", models.CharField(blank=True, default="", max_length=12, verbose_name="Flow class"), preserve_default=False),
        migrations.AddField("authorization", "flows_per_usd", models.DecimalField(blank=True, decimal_places=10, max_digits=20, null=True)),
        *snapshot("authorization"),
        *snapshot("usagerecord"),
        migrations.RunSQL(
            [
                f"DROP FUNCTION IF EXISTS mh_charge({BEFORE})",
                *((SQL / f"{name}.sql").read_text() for name in ("authorize", "charge", "release")),
            ],
            migrations.RunSQL.noop,
        ),
    ]
