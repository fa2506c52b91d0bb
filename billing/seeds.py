"""Rows that every installation has: the system's ledger accounts, the catalogue's counter, levels, the Flow rate."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.db.models import F

from accounts.models import BenefitLevel
from billing.books.models import LedgerAccount, System
from billing.catalog.models import CatalogState, Channel
from billing.catalog.models_flows import FlowRate
from billing.metering.models import RollupState
from billing.payments import risk

LEVELS = [
    (1, "Standard", "0", "1.00", 600, 2_000_000),
    (2, "Silver", "50", "0.98", 1_200, 4_000_000),
    (3, "Gold", "500", "0.95", 3_000, 10_000_000),
    (4, "Platinum", "5000", "0.90", 10_000, 40_000_000),
]

# The published anchor (F063, C03), in force from before the first call that a platform may have to bill.
FLOWS_SINCE = datetime(2020, 1, 1, tzinfo=UTC)


@cache
def _flows_per_usd() -> Decimal:
    published = json.loads((Path(__file__).parent / "data" / "plans_and_models.json").read_text())
    return Decimal(published["flows_per_usd"])


def plant(**_: Any) -> None:
    """Create what is missing; what staff changed stays as it is. Runs after every migrate."""
    LedgerAccount.objects.bulk_create(
        [LedgerAccount(id=System.id_of(code), kind=LedgerAccount.Kind.SYSTEM, code=code) for code in System.ALL],
        ignore_conflicts=True,
    )
    CatalogState.objects.get_or_create(id=1)
    RollupState.objects.get_or_create(id=1)
    risk.plant()
    Channel.objects.get_or_create(code="default", defaults={"name": "Default"})
    if not BenefitLevel.objects.exists():
        BenefitLevel.objects.bulk_create(
            BenefitLevel(number=n, name=name, threshold_usd=Decimal(usd), discount=Decimal(factor), rpm=rpm, tpm=tpm)
            for n, name, usd, factor, rpm, tpm in LEVELS
        )
    if not FlowRate.objects.filter(flow_class=FlowRate.FlowClass.STANDARD).exists():
        FlowRate.objects.create(
            flow_class=FlowRate.FlowClass.STANDARD,
            flows_per_usd=_flows_per_usd(),
            effective_from=FLOWS_SINCE,
            created_at=FLOWS_SINCE,
            note="1 Flow = $0.02525, about 40 Flows for $1",
        )
        CatalogState.objects.filter(id=1).update(revision=F("revision") + 1)
