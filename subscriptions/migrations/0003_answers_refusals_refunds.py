"""How often the provider's word on a subscription was recorded, so that answers are applied in the order of their questions; and
the first call of a month that the cap of Extra Usage refused; and the refunds of an invoice. The functions that count Flows are loaded again."""

from pathlib import Path

import django.contrib.postgres.indexes
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):

    dependencies = [("subscriptions", "0002_conversations")]

    operations = [
        migrations.AddField(
            "subscription",
            "answers",
            models.PositiveIntegerField(default=0, editable=False, help_text="How often the provider's word was recorded."),
        ),
        migrations.AddField(
            "extrausagemonth", "refused_at", models.DateTimeField(blank=True, null=True, verbose_name="first refused by the cap")
        ),
        migrations.AddField(
            "extrausagemonth", "refusal_told", models.BooleanField(default=False, verbose_name="refusal told of")
        ),
        migrations.AddField(
            "invoice",
            "refunds",
            models.JSONField(
                blank=True, default=dict, help_text="The provider's refunds, with what each sent back.", verbose_name="paid back by"
            ),
        ),
        migrations.AddIndex(
            "invoice",
            django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("refunds", {}), _negated=True), fields=["refunds"], name="sub_invoice_refunds"
            ),
        ),
        migrations.RunSQL((SQL / "admit_flows.sql").read_text(), migrations.RunSQL.noop),
    ]
