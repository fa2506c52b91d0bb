"""Indexes for the usage page's filters by key and by what paid."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_top_up_failure_mail")]

    operations = [
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(fields=["account", "api_key", "-authorized_at", "-id"], name="usage_account_key"),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(("funding", "payg"), _negated=True),
                fields=["account", "funding", "-authorized_at", "-id"],
                name="usage_not_payg",
            ),
        ),
    ]
