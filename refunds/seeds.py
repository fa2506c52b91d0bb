"""The terms of refunds that every installation begins with: planted after each migrate, where there are none."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from refunds.models_policy import RefundPolicy


def plant(**_: Any) -> None:
    """24 hours, 5 % of the difference, renewals not, tax in proportion (F090, F091, C10, C12, C13)."""
    if not RefundPolicy.objects.exists():
        start = datetime(2020, 1, 1, tzinfo=UTC)
        RefundPolicy.objects.create(
            effective_from=start, fee_rate=Decimal("0.05"), created_at=start, note="The terms of the beginning"
        )
