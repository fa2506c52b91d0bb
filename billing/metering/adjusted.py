"""What corrections did to a call, for its page and for the API."""

from __future__ import annotations

from billing.metering.models import UsageRecord
from billing.metering.models_rerating import ChargeAdjustment


def adjustments_of(record: UsageRecord) -> list[ChargeAdjustment]:
    """The call's adjustments in the order in which they were made. The last one's `charge_after` is what it costs."""
    rows = ChargeAdjustment.objects.filter(account_id=record.account_id, record_id=record.pk)
    return list(rows.select_related("correction").order_by("entry__seq"))
