"""POST and DELETE of /v1/subscriptions/{id}: change, end at the period's end or at once."""

from typing import Any

from sandbox import ending, invoicing, proration, renewing, scheduling, standing, store
from sandbox.errors import ApiError, Json, not_found
from sandbox.models import StoredObject
from sandbox.params import Boolean, Integer, Metadata, Object, Text
from sandbox.proration import ANCHOR, ITEMS, PRORATIONS, Change
from sandbox.resources import subscription_bodies
from sandbox.resources.subscriptions import PAYMENT_SETTINGS, check_card
from sandbox.routes import EXPAND, Call, endpoint
from sandbox.store import Moment

FEEDBACK = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive",
    "unused",
)  # fmt: skip
CANCELLATION = Object({"comment": Text(unset=True), "feedback": Text(choices=FEEDBACK, unset=True)})
UPDATE: dict[str, Any] = {
    "billing_cycle_anchor": ANCHOR,
    "cancel_at_period_end": Boolean(),
    "cancellation_details": CANCELLATION,
    "default_payment_method": Text(),
    "description": Text(max_length=500, unset=True),
    "items": ITEMS,
    "metadata": Metadata(),
    "off_session": Boolean(),
    "payment_behavior": Text(choices=("allow_incomplete", "error_if_incomplete", "pending_if_incomplete")),
    "payment_settings": PAYMENT_SETTINGS,
    "proration_behavior": Text(choices=PRORATIONS),
    "proration_date": Integer(0),
}
ALWAYS = ("cancellation_details", "metadata")
"""What can be changed even of a subscription that has ended."""
PENDING = {
    "billing_cycle_anchor", "cancel_at_period_end", "items", "metadata", "off_session", "payment_behavior",
    "proration_behavior", "proration_date",
}  # fmt: skip
"""What can wait for a payment."""


@endpoint("POST", "/v1/subscriptions/{subscription}", UPDATE)
def update(call: Call) -> Json:
    params = call.params
    row = store.get("subscription", call.ids["subscription"], lock=True)
    _check(row, params)
    fields = _fields(row, params, call.moment)
    bills = "items" in params or params.get("billing_cycle_anchor", {}).get("type") == "now"
    if not bills:
        standing.change(row, call.moment, **fields)
        standing.set_timer(row)
        return row.data
    if row.data["pending_update"]:
        standing.drop_pending(row, call.moment)
    change = proration.plan(row, params, call.moment)
    _apply(row, change, fields, params, call.moment)
    scheduling.follow(row, call.moment)
    standing.set_timer(row)
    return row.data


def _check(row: StoredObject, params: Json) -> None:
    if row.data["status"] in standing.ENDED and set(params) - set(ALWAYS):
        raise ApiError("A canceled subscription can only update its cancellation_details and metadata.")
    if row.data["status"] == "incomplete" and "items" in params:
        raise ApiError("A subscription that is incomplete cannot change its items before its first payment.")
    if row.data["schedule"] and "cancel_at_period_end" in params:
        raise ApiError(
            f"The subscription is managed by the subscription schedule `{row.data['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead.",
            param="cancel_at_period_end",
        )
    if params.get("payment_behavior") == "pending_if_incomplete" and (wrong := sorted(set(params) - PENDING)):
        raise ApiError(
            f"`{wrong[0]}` cannot be updated when `payment_behavior` is `pending_if_incomplete`.", param=wrong[0]
        )


def _fields(row: StoredObject, params: Json, moment: Moment) -> Json:
    """The changes that cost nothing."""
    data = row.data
    changes: Json = {}
    for name in ("default_payment_method", "description"):
        if name in params:
            changes[name] = params[name]
    check_card(params.get("default_payment_method"), data["customer"])
    if "metadata" in params:
        changes["metadata"] = store.with_metadata(data["metadata"], params["metadata"])
    if "payment_settings" in params:
        changes["payment_settings"] = {**data["payment_settings"], **params["payment_settings"]}
    if "cancel_at_period_end" in params and params["cancel_at_period_end"] != data["cancel_at_period_end"]:
        changes |= standing.at_period_end(row, moment) if params["cancel_at_period_end"] else _goes_on(data)
    if "cancellation_details" in params:
        details = changes.get("cancellation_details", data["cancellation_details"])
        changes["cancellation_details"] = {**details, **params["cancellation_details"]}
    return changes


def _goes_on(data: Json) -> Json:
    return {
        "cancel_at_period_end": False,
        "cancel_at": None,
        "canceled_at": None,
        "cancellation_details": subscription_bodies.no_cancellation(),
    }


def _apply(row: StoredObject, change: Change, fields: Json, params: Json, moment: Moment) -> None:
    """Put the change into force: at once, with an invoice, or once its invoice is paid."""
    changes = {**fields, **change.apply(row)}
    now = params.get("proration_behavior") == "always_invoice" or change.anchor is not None
    if not now or not change.lines:
        invoicing.add_pending(row, change.lines)
        standing.change(row, moment, **changes)
        return
    behaviour = params.get("payment_behavior", "allow_incomplete")
    lines = invoicing.take_pending(row) + change.lines
    invoice = invoicing.draft(row, lines, "subscription_update", moment, proration_date=change.at)
    if behaviour == "pending_if_incomplete":
        _only_if_paid(row, invoice, change, changes, moment)
        return
    standing.change(row, moment, **changes, latest_invoice=invoice.object_id)
    invoicing.issue(invoice, moment)
    standing.collect(row, invoice, moment, retry_at=renewing.first_retry(moment))
    if behaviour == "error_if_incomplete" and invoice.data["status"] == "open":
        raise standing.refusal(invoice)


def _only_if_paid(row: StoredObject, invoice: StoredObject, change: Change, changes: Json, moment: Moment) -> None:
    """The invoice comes first. Unpaid, the change waits on the subscription, which goes on as it was."""
    invoicing.issue(invoice, moment)
    if invoice.data["status"] == "open":
        method = standing.default_card(row)
        outcome, later = standing.outcome_of(method)
        invoicing.attempt(invoice, method, outcome, moment, later=later)
    if invoice.data["status"] == "paid":
        standing.change(row, moment, **changes, latest_invoice=invoice.object_id)
        standing.after(row, invoice, moment)
        return
    until = min(store.seconds(moment.now + standing.INCOMPLETE_FOR), standing.period_end(row))
    waiting = {
        "billing_cycle_anchor": change.anchor,
        "cancel_at_period_end": changes.get("cancel_at_period_end"),
        "discounts": None,
        "expires_at": until,
        "metadata": changes.get("metadata"),
        "subscription_items": change.items,
        "trial_end": None,
        "trial_from_plan": None,
    }
    row.private |= {
        "pending_invoice": invoice.object_id,
        "pending_changes": {name: value for name, value in changes.items() if name != "items"},
    }
    standing.change(row, moment, pending_update=waiting, latest_invoice=invoice.object_id)


@endpoint(
    "DELETE",
    "/v1/subscriptions/{subscription}",
    {"cancellation_details": CANCELLATION, "expand": EXPAND, "invoice_now": Boolean(), "prorate": Boolean()},
)
def cancel(call: Call) -> Json:
    """End it now. With `prorate` what is left of the period is credited; with `invoice_now` that is billed at once."""
    params = call.params
    row = store.get("subscription", call.ids["subscription"], lock=True)
    if row.data["status"] in standing.ENDED:
        raise not_found("subscription", row.object_id)
    if "cancellation_details" in params:
        details = {**row.data["cancellation_details"], **params["cancellation_details"]}
        store.change(row, cancellation_details=details)
    if row.data["status"] == "incomplete":
        standing.expire_incomplete(row, call.moment)
        return row.data
    if params.get("prorate"):
        ending.give_back_unused(row, call.moment)
    if params.get("invoice_now"):
        ending.bill_now(row, call.moment)
    ending.end(row, call.moment, reason="cancellation_requested")
    return row.data
