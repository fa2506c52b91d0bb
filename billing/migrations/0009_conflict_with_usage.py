"""Load the hot functions and the guards again: a request that was charged without a hold is a conflict, a wallet that stays
locked fails after five seconds, and a price version's end only moves earlier."""

from pathlib import Path

from django.db import migrations

BILLING = Path(__file__).resolve().parent.parent
CHANGED = ("books/sql/guards", "metering/sql/authorize", "metering/sql/charge", "metering/sql/release")


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_usage_by_key")]

    operations = [migrations.RunSQL((BILLING / f"{name}.sql").read_text(), migrations.RunSQL.noop) for name in CHANGED]
