"""The staff console's desks of the four wings."""

from billing import admin_notices
from billing.books import admin as books
from billing.catalog import admin as catalog
from billing.metering import admin as metering
from billing.metering import admin_drafts, admin_quarantine, admin_rehearsal, admin_rerating
from billing.payments import admin as payments
from billing.payments import admin_documents

__all__ = [
    "admin_documents",
    "admin_drafts",
    "admin_notices",
    "admin_quarantine",
    "admin_rehearsal",
    "admin_rerating",
    "books",
    "catalog",
    "metering",
    "payments",
]
