"""Small partial indexes for pages: rows that are few among many."""

from datetime import timedelta

from django.db import migrations, models
from django.db.models.lookups import GreaterThan


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_payments")]

    operations = [
        migrations.AddIndex(
            model_name="journalentry",
            index=models.Index(
                condition=models.Q(("kind", "usage"), _negated=True), fields=["account", "-seq"], name="entry_not_usage"
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(
                    GreaterThan(models.F("created_at") - models.F("authorized_at"), timedelta(hours=1)),
                ),
                fields=["account", "created_at"],
                name="usage_backdated",
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(("charge", 0), ("flows", 0)),
                fields=["account", "-authorized_at", "-id"],
                name="usage_not_charged",
            ),
        ),
    ]
