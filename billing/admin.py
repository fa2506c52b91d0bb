"""The staff console's desks of the four wings."""

from billing import admin_notices
from billing.books import admin as books
from billing.books import admin_redemptions, admin_vouchers
from billing.catalog import admin as catalog
from billing.metering import admin as metering
from billing.metering import admin_alerts, admin_drafts, admin_quarantine, admin_rehearsal, admin_rerating
from billing.payments import admin as payments
from billing.payments import (
    admin_benefits,
    admin_disputes,
    admin_documents,
    admin_jobs,
    admin_reconciling,
    admin_risk,
    admin_saved,
)

__all__ = [
    "admin_alerts",
    "admin_benefits",
    "admin_disputes",
    "admin_documents",
    "admin_drafts",
    "admin_jobs",
    "admin_notices",
    "admin_quarantine",
    "admin_reconciling",
    "admin_redemptions",
    "admin_rehearsal",
    "admin_rerating",
    "admin_risk",
    "admin_saved",
    "admin_vouchers",
    "books",
    "catalog",
    "metering",
    "payments",
]
