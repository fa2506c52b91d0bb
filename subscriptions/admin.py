"""The staff console's desks of subscriptions."""

from subscriptions import admin_plans

__all__ = ["admin_plans"]
