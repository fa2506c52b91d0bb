"""The models of the four wings, gathered where Django looks for them."""

from billing.books.models import CreditGrant, JournalEntry, LedgerAccount, Posting, Wallet
from billing.catalog.models import CatalogState, Channel, FieldMultiplier, Model, PriceComponent, PriceTier, PriceVersion
from billing.metering.models import Authorization, RollupState, UsageRecord, UsageRollup

__all__ = [
    "Authorization",
    "CatalogState",
    "Channel",
    "CreditGrant",
    "FieldMultiplier",
    "JournalEntry",
    "LedgerAccount",
    "Model",
    "Posting",
    "PriceComponent",
    "PriceTier",
    "PriceVersion",
    "RollupState",
    "UsageRecord",
    "UsageRollup",
    "Wallet",
]
