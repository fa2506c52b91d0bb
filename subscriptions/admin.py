"""The staff console's desks of subscriptions."""

from subscriptions import admin_classes, admin_extra, admin_plans, admin_subscriptions, admin_windows

__all__ = ["admin_classes", "admin_extra", "admin_plans", "admin_subscriptions", "admin_windows"]
