"""A plan that is being refunded admits no call, and an invoice says what went back of it. The function that admits calls
is made again: it has one argument more."""

from pathlib import Path

from django.db import migrations, models
from django.db.models import F, Q

SQL = Path(__file__).resolve().parent.parent / "sql"
FORMER = """DO $$
DECLARE former regprocedure;
BEGIN
  FOR former IN SELECT oid::regprocedure FROM pg_proc WHERE proname = 'mh_admit_flows' LOOP
    EXECUTE 'DROP FUNCTION ' || former;
  END LOOP;
END $$"""


class Migration(migrations.Migration):

    dependencies = [("subscriptions", "0003_answers_refusals_refunds")]

    operations = [
        migrations.AddField(
            "subscription",
            "paused_at",
            models.DateTimeField(
                blank=True, help_text="A refund is under way: the plan admits no call.", null=True, verbose_name="calls stopped"
            ),
        ),
        migrations.RemoveIndex("invoice", "sub_invoice_refunds"),
        migrations.RemoveField("invoice", "refunds"),
        migrations.AddField(
            "invoice",
            "refunded_minor",
            models.BigIntegerField(
                default=0, help_text="Of what was paid, in cents: refunds not failed or cancelled, with fee.", verbose_name="refunded"
            ),
        ),
        migrations.AddField(
            "invoice",
            "paid_back_minor",
            models.BigIntegerField(default=0, help_text="In cents: what has gone back.", verbose_name="paid back"),
        ),
        migrations.AddField(
            "invoice", "paid_back_at", models.DateTimeField(blank=True, null=True, verbose_name="last paid back")
        ),
        migrations.AddField(
            "invoice",
            "disputed_minor",
            models.BigIntegerField(default=0, help_text="In cents: disputes that are open or lost.", verbose_name="disputed"),
        ),
        migrations.AddConstraint(
            "invoice",
            models.CheckConstraint(
                condition=Q(refunded_minor__gte=0, refunded_minor__lte=F("paid_minor"))
                & Q(paid_back_minor__gte=0, paid_back_minor__lte=F("paid_minor"))
                & Q(disputed_minor__gte=0),
                name="sub_invoice_refunded",
            ),
        ),
        migrations.RunSQL([FORMER, (SQL / "admit_flows.sql").read_text()], migrations.RunSQL.noop),
    ]
