"""The models of the four wings, gathered where Django looks for them."""

from billing.books.models import CreditGrant, CreditProposal, JournalEntry, LedgerAccount, Posting, Wallet
from billing.books.models_details import BillingDetails
from billing.books.models_vouchers import ExpiryNoticeRun, Redemption, Voucher, VoucherBatch, VoucherCampaign
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
from billing.metering.models_alerts import AlertFiring, SpendAlert
from billing.metering.models_quarantine import QuarantinedUsage
from billing.metering.models_rehearsal import Rehearsal, RehearsalPart, RehearsedAccount, RehearsedModel
from billing.metering.models_rerating import ChargeAdjustment, CorrectedAccount, Correction
from billing.models_notices import Notice
from billing.payments.models import FxQuote, FxRate, PaymentAttempt, PaymentCustomer, PaymentEvent, TopUp
from billing.payments.models_benefits import BenefitLevelChange
from billing.payments.models_disputes import Dispute, EarlyFraudWarning, ProviderWatch, RiskFlag
from billing.payments.models_documents import Receipt, ReceiptSeries
from billing.payments.models_fx import FxFeed
from billing.payments.models_jobs import CreditJob, LateCredit
from billing.payments.models_reconciling import Difference, Reconciliation
from billing.payments.models_risk import AttemptTrace, RiskAssessment, RiskRule
from billing.payments.models_saved import AutoTopUp, AutoTopUpRun, CardSetup, Consent, PaymentMethod

__all__ = [
    "AlertFiring",
    "AttemptTrace",
    "Authorization",
    "AutoTopUp",
    "AutoTopUpRun",
    "BenefitLevelChange",
    "BillingDetails",
    "CardSetup",
    "CatalogState",
    "Channel",
    "ChargeAdjustment",
    "Consent",
    "CorrectedAccount",
    "Correction",
    "CreditGrant",
    "CreditJob",
    "CreditProposal",
    "Difference",
    "Dispute",
    "EarlyFraudWarning",
    "ExpiryNoticeRun",
    "FieldMultiplier",
    "FlowFactor",
    "FlowRate",
    "FxFeed",
    "FxQuote",
    "FxRate",
    "JournalEntry",
    "LateCredit",
    "LedgerAccount",
    "Model",
    "Notice",
    "PaymentAttempt",
    "PaymentCustomer",
    "PaymentEvent",
    "PaymentMethod",
    "Posting",
    "PriceComponent",
    "PriceDraft",
    "PriceTier",
    "PriceVersion",
    "ProviderWatch",
    "QuarantinedUsage",
    "Receipt",
    "ReceiptSeries",
    "Reconciliation",
    "Redemption",
    "Rehearsal",
    "RehearsalPart",
    "RehearsedAccount",
    "RehearsedModel",
    "RiskAssessment",
    "RiskFlag",
    "RiskRule",
    "RollupState",
    "SpendAlert",
    "TopUp",
    "UsageRecord",
    "UsageRollup",
    "Voucher",
    "VoucherBatch",
    "VoucherCampaign",
    "Wallet",
]
