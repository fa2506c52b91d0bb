"""/v1/subscription_schedules: what a running subscription will be in its next periods."""

from dataclasses import dataclass
from typing import Any

from sandbox import ending, events, expand, scheduling, standing, store
from sandbox.errors import ApiError, Json, missing
from sandbox.models import StoredObject
from sandbox.params import LIST, Array, Boolean, Integer, Metadata, Object, Text, TimeRange
from sandbox.periods import end_of_period
from sandbox.proration import PRORATIONS
from sandbox.resources import prices
from sandbox.routes import Call, endpoint

expand.REFERENCES["subscription_schedule"] = {"customer", "subscription"}
END_BEHAVIOUR = Text(choices=("release",))


@dataclass(frozen=True)
class When:
    """Whole seconds, or `now`, which only the first phase can start at."""

    def parse(self, value: Any, param: str) -> int | str:
        return "now" if value == "now" else Integer(0).parse(value, param)


PHASE = Object(
    {
        "duration": Object({"interval!": Text(choices=prices.INTERVALS), "interval_count": Integer(1, 120)}),
        "end_date": Integer(0),
        "items!": Array(Object({"price!": Text(), "quantity": Integer(1, 999_999)}), most=20),
        "metadata": Metadata(),
        "proration_behavior": Text(choices=PRORATIONS),
        "start_date": When(),
    }
)


@endpoint("POST", "/v1/subscription_schedules", {"from_subscription!": Text(), "metadata": Metadata()})
def create(call: Call) -> Json:
    """Take a running subscription into a schedule whose one phase is the period that it is in."""
    subscription = store.get("subscription", call.params["from_subscription"], param="from_subscription", lock=True)
    data = subscription.data
    if data["status"] not in standing.RUNNING:
        raise ApiError(f"A subscription that is {data['status']} cannot be scheduled.", param="from_subscription")
    if data["schedule"]:
        raise ApiError(
            f"You cannot migrate a subscription that is already attached to a schedule: {data['schedule']}.",
            param="from_subscription",
        )
    if data["cancel_at"]:
        raise ApiError("The sandbox does not schedule a subscription that is to end.", param="from_subscription")
    start, end = standing.period_start(subscription), standing.period_end(subscription)
    items = [scheduling.phase_item(one["price"], one["quantity"]) for one in data["items"]["data"]]
    phase = _phase(items, start, end, data["currency"], {"proration_behavior": "create_prorations"})
    row = store.create("subscription_schedule", _build(data, phase, call), now=call.now)
    events.record("subscription_schedule.created", row, call.moment)
    standing.change(subscription, call.moment, schedule=row.object_id)
    return row.data


def _build(subscription: Json, phase: Json, call: Call) -> Json:
    return {
        "application": None,
        "billing_mode": subscription["billing_mode"],
        "canceled_at": None,
        "completed_at": None,
        "current_phase": {"start_date": phase["start_date"], "end_date": phase["end_date"]},
        "customer": subscription["customer"],
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "days_until_due": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": "release",
        "metadata": call.params.get("metadata", {}),
        "pause_schedules": [],
        "phases": [phase],
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": None,
    }


def _phase(items: list[Json], start: int, end: int, currency: str, given: Json) -> Json:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": currency,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": items,
        "metadata": given.get("metadata", {}),
        "on_behalf_of": None,
        "proration_behavior": given.get("proration_behavior", "create_prorations"),
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


@endpoint("GET", "/v1/subscription_schedules/{schedule}")
def retrieve(call: Call) -> Json:
    return store.get("subscription_schedule", call.ids["schedule"]).data


@endpoint("GET", "/v1/subscription_schedules", {**LIST, "created": TimeRange(), "customer": Text()})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="subscription_schedule")
    if "customer" in call.params:
        rows = rows.filter(customer=call.params["customer"])
    return store.listing(rows, call.params, url="/v1/subscription_schedules")


def _locked(call: Call) -> tuple[StoredObject, StoredObject]:
    """The subscription and its schedule, locked in that order."""
    named = store.get("subscription_schedule", call.ids["schedule"]).data
    if named["status"] != "active":
        raise ApiError(f"This subscription schedule is {named['status']}, and can no longer be changed.")
    subscription = store.get("subscription", named["subscription"], lock=True)
    schedule = store.get("subscription_schedule", call.ids["schedule"], lock=True)
    if schedule.data["status"] != "active":
        raise ApiError(f"This subscription schedule is {schedule.data['status']}, and can no longer be changed.")
    return subscription, schedule


@endpoint(
    "POST",
    "/v1/subscription_schedules/{schedule}",
    {
        "end_behavior": END_BEHAVIOUR,
        "metadata": Metadata(),
        "phases": Array(PHASE, most=10),
        "proration_behavior": Text(choices=PRORATIONS),
    },
)
def update(call: Call) -> Json:
    params = call.params
    subscription, schedule = _locked(call)
    changes: Json = {}
    if "metadata" in params:
        changes["metadata"] = store.with_metadata(schedule.data["metadata"], params["metadata"])
    if "phases" in params:
        changes["phases"] = _phases(subscription, schedule, params["phases"])
        current = changes["phases"][0]
        changes["current_phase"] = {"start_date": current["start_date"], "end_date": current["end_date"]}
    before = store.change(schedule, **changes)
    if before:
        events.record("subscription_schedule.updated", schedule, call.moment, previous=before)
    return schedule.data


def _phases(subscription: StoredObject, schedule: StoredObject, given: list[Json]) -> list[Json]:
    """The phases from the current one on, each from the end of the one before, each ending with a period."""
    if not given:
        raise missing("phases")
    sold = [(one["price"]["id"], one["quantity"]) for one in subscription.data["items"]["data"]]
    start, anchor = schedule.data["current_phase"]["start_date"], subscription.data["billing_cycle_anchor"]
    phases: list[Json] = []
    for position, wish in enumerate(given):
        param = f"phases[{position}]"
        if wish.get("start_date", start) != start:
            told = (
                "You can not modify the start date of the current phase."
                if not position
                else ("A phase must start where the one before it ends.")
            )
            raise ApiError(told, param=f"{param}[start_date]")
        items = []
        for number, item in enumerate(wish["items"]):
            price = prices.sellable(item["price"], f"{param}[items][{number}][price]")
            items.append(scheduling.phase_item(price, item.get("quantity", 1)))
        if not items:
            raise missing(f"{param}[items]")
        if not position and [(one["price"], one["quantity"]) for one in items] != sold:
            raise ApiError(
                "The sandbox does not change the phase that a subscription is in; update the subscription itself.",
                param=f"{param}[items]",
            )
        end = _end(wish, items, start, anchor, param)
        phases.append(_phase(items, start, end, subscription.data["currency"], wish))
        start = end
    return phases


def _end(wish: Json, items: list[Json], start: int, anchor: int, param: str) -> int:
    """When a phase ends: as it says, after its duration, or after one period of its price."""
    if "end_date" in wish and "duration" in wish:
        raise ApiError("Give one of end_date and duration, not both.", param=f"{param}[end_date]")
    recurring = store.get("price", items[0]["price"]).data["recurring"]
    rhythm = recurring["interval"], recurring["interval_count"]
    if "duration" in wish:
        duration, end = wish["duration"], start
        for _period in range(duration.get("interval_count", 1)):
            end = end_of_period(anchor, end, duration["interval"])
    else:
        end = wish.get("end_date") or end_of_period(anchor, start, *rhythm)
    boundary = start
    while boundary < end:
        boundary = end_of_period(anchor, boundary, *rhythm)
    if boundary != end or end <= start:
        raise ApiError("The sandbox ends a phase where a billing period ends.", param=f"{param}[end_date]")
    return int(end)


@endpoint("POST", "/v1/subscription_schedules/{schedule}/release", {"preserve_cancel_date": Boolean()})
def release(call: Call) -> Json:
    """Let the subscription go on as it is now."""
    subscription, schedule = _locked(call)
    scheduling.release(subscription, schedule, call.moment)
    return schedule.data


@endpoint("POST", "/v1/subscription_schedules/{schedule}/cancel", {"invoice_now": Boolean(), "prorate": Boolean()})
def cancel(call: Call) -> Json:
    """End the schedule and its subscription at once."""

    subscription, schedule = _locked(call)
    if call.params.get("prorate", True):
        ending.give_back_unused(subscription, call.moment)
    if call.params.get("invoice_now", True):
        ending.bill_now(subscription, call.moment)
    ending.end(subscription, call.moment, reason="cancellation_requested")
    return store.get("subscription_schedule", schedule.object_id).data
