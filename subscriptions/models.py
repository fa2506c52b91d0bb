"""The models of subscriptions, gathered where Django looks for them."""

from subscriptions.models_billing import Invoice, PlanChange, Subscription
from subscriptions.models_conversations import Conversation
from subscriptions.models_plans import FlowStanding, Plan, PlanPrice, PlanVersion
from subscriptions.models_windows import ExtraUsage, ExtraUsageMonth, FlowHold, QuotaWindow

__all__ = [
    "Conversation",
    "ExtraUsage",
    "ExtraUsageMonth",
    "FlowHold",
    "FlowStanding",
    "Invoice",
    "Plan",
    "PlanChange",
    "PlanPrice",
    "PlanVersion",
    "QuotaWindow",
    "Subscription",
]
