"""Rows that every installation has: the system's ledger accounts, the catalogue's counter, benefit levels."""

from decimal import Decimal
from typing import Any

from accounts.models import BenefitLevel
from billing.books.models import LedgerAccount, System
from billing.catalog.models import CatalogState, Channel
from billing.metering.models import RollupState

LEVELS = [
    (1, "Standard", "0", "1.00", 600, 2_000_000),
    (2, "Silver", "50", "0.98", 1_200, 4_000_000),
    (3, "Gold", "500", "0.95", 3_000, 10_000_000),
    (4, "Platinum", "5000", "0.90", 10_000, 40_000_000),
]


def plant(**_: Any) -> None:
    """Create what is missing; what staff changed stays as it is. Runs after every migrate."""
    LedgerAccount.objects.bulk_create(
        [LedgerAccount(id=System.id_of(code), kind=LedgerAccount.Kind.SYSTEM, code=code) for code in System.ALL],
        ignore_conflicts=True,
    )
    CatalogState.objects.get_or_create(id=1)
    RollupState.objects.get_or_create(id=1)
    Channel.objects.get_or_create(code="default", defaults={"name": "Default"})
    if not BenefitLevel.objects.exists():
        BenefitLevel.objects.bulk_create(
            BenefitLevel(number=n, name=name, threshold_usd=Decimal(usd), discount=Decimal(factor), rpm=rpm, tpm=tpm)
            for n, name, usd, factor, rpm, tpm in LEVELS
        )
