"""Load `mh_authorize` again: a request that was charged without a hold is a conflict."""

from pathlib import Path

from django.db import migrations

AUTHORIZE = Path(__file__).resolve().parent.parent / "metering/sql/authorize.sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_usage_by_key")]

    operations = [migrations.RunSQL(AUTHORIZE.read_text(), migrations.RunSQL.noop)]
