"""The models of the four wings, gathered where Django looks for them."""

from billing.books.models import CreditGrant, CreditProposal, JournalEntry, LedgerAccount, Posting, Wallet
from billing.books.models_details import BillingDetails
from billing.catalog.models import (
    CatalogState,
    Channel,
    FieldMultiplier,
    Model,
    PriceComponent,
    PriceTier,
    PriceVersion,
)
from billing.catalog.models_drafts import PriceDraft
from billing.catalog.models_flows import FlowFactor, FlowRate
from billing.metering.models import Authorization, RollupState, UsageRecord, UsageRollup
from billing.metering.models_quarantine import QuarantinedUsage
from billing.metering.models_rehearsal import Rehearsal, RehearsalPart, RehearsedAccount, RehearsedModel
from billing.metering.models_rerating import ChargeAdjustment, CorrectedAccount, Correction
from billing.models_notices import Notice
from billing.payments.models import FxQuote, FxRate, PaymentAttempt, PaymentCustomer, PaymentEvent, TopUp
from billing.payments.models_documents import Receipt, ReceiptSeries

__all__ = [
    "Authorization",
    "BillingDetails",
    "CatalogState",
    "Channel",
    "ChargeAdjustment",
    "CorrectedAccount",
    "Correction",
    "CreditGrant",
    "CreditProposal",
    "FieldMultiplier",
    "FlowFactor",
    "FlowRate",
    "FxQuote",
    "FxRate",
    "JournalEntry",
    "LedgerAccount",
    "Model",
    "Notice",
    "PaymentAttempt",
    "PaymentCustomer",
    "PaymentEvent",
    "Posting",
    "PriceComponent",
    "PriceDraft",
    "PriceTier",
    "PriceVersion",
    "QuarantinedUsage",
    "Receipt",
    "ReceiptSeries",
    "Rehearsal",
    "RehearsalPart",
    "RehearsedAccount",
    "RehearsedModel",
    "RollupState",
    "TopUp",
    "UsageRecord",
    "UsageRollup",
    "Wallet",
]
