"""The shapes of a subscription, of its items and of the plan that each item shows beside its price."""

from sandbox import store
from sandbox.errors import Json
from sandbox.periods import end_of_period
from sandbox.store import Moment


def build(subscription_id: str, customer: str, items: list[Json], given: Json, moment: Moment) -> Json:
    """An incomplete subscription of these items. `given` is what the request or the page's session says of it."""
    at = store.seconds(moment.now)
    return {
        "id": subscription_id,
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": at,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "type": "flexible",
            "flexible": {"proration_discounts": "included"},
            "updated_at": at,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": no_cancellation(),
        "collection_method": "charge_automatically",
        "currency": items[0]["price"]["currency"],
        "customer": customer,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": given.get("default_payment_method"),
        "default_source": None,
        "default_tax_rates": [],
        "description": given.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": item_list(subscription_id, items),
        "latest_invoice": None,
        "metadata": given.get("metadata", {}),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": ["card"],
            "save_default_payment_method": given.get("payment_settings", {}).get("save_default_payment_method", "off"),
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": at,
        "status": "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {
            "end_behavior": {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"},
        },
        "trial_start": None,
    }


def no_cancellation() -> Json:
    return {"comment": None, "feedback": None, "feedback_option": None, "reason": None}


def item_list(subscription_id: str, items: list[Json]) -> Json:
    return {
        "object": "list",
        "data": items,
        "has_more": False,
        "total_count": len(items),
        "url": f"/v1/subscription_items?subscription={subscription_id}",
    }


def item(
    subscription_id: str, price: Json, quantity: int, start: int, moment: Moment, *, anchor: int, end: int | None = None
) -> Json:
    """An item whose period begins at `start`, and ends by its price's interval if no other end is given."""
    recurring = price["recurring"]
    ends = end or end_of_period(anchor, start, recurring["interval"], recurring["interval_count"])
    return {
        "id": store.new_id("subscription_item", moment.now),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": store.seconds(moment.now),
        "current_period_end": ends,
        "current_period_start": start,
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "plan": plan(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def with_price(old: Json, price: Json, quantity: int) -> Json:
    """The same item at another price."""
    return {**old, "price": price, "plan": plan(price), "quantity": quantity}


def plan(price: Json) -> Json:
    """What a price was called before there were prices; items still show it."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }
