"""Subscription schedules at work: at a renewal the phase that begins then says what is sold from then on.

A phase begins where a period does. What Stripe can also do, a change in the middle of a period, is refused when the
schedule is written (`resources/subscription_schedules.py`). The subscription's lock comes before the schedule's.
"""

from sandbox import events, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.resources import subscription_bodies
from sandbox.store import Moment


def of(subscription: StoredObject) -> StoredObject | None:
    """The schedule that manages this subscription."""
    return store.find("subscription_schedule", subscription.data["schedule"], lock=True)


def at_renewal(subscription: StoredObject, at: int, moment: Moment) -> Json:
    """What changes of the subscription at `at`: the items, as they were where no phase begins, and the metadata."""
    schedule, items = of(subscription), subscription.data["items"]["data"]
    phase = _phase_at(schedule, at) if schedule else None
    if phase is None:
        return {"items": items}
    metadata = {**subscription.data["metadata"], **phase["metadata"]}
    return {"items": _items_of(subscription, phase, at, moment), "metadata": metadata}


def _phase_at(schedule: StoredObject, at: int) -> Json | None:
    for phase in schedule.data["phases"]:
        if phase["start_date"] <= at < phase["end_date"]:
            return dict(phase)
    return None


def _items_of(subscription: StoredObject, phase: Json, at: int, moment: Moment) -> list[Json]:
    """The phase's prices in the places of the items that there are."""
    old, items = subscription.data["items"]["data"], []
    for position, wanted in enumerate(phase["items"]):
        price = store.get("price", wanted["price"]).data
        if position < len(old):
            items.append(subscription_bodies.with_price(old[position], price, wanted["quantity"]))
        else:
            anchor = subscription.data["billing_cycle_anchor"]
            items.append(
                subscription_bodies.item(subscription.object_id, price, wanted["quantity"], at, moment, anchor=anchor)
            )
    return items


def after_renewal(subscription: StoredObject, at: int, moment: Moment) -> None:
    """Write on the schedule which phase it is in; past the last one it lets the subscription go."""
    schedule = of(subscription)
    if schedule is None:
        return
    phase = _phase_at(schedule, at)
    if phase is None:
        release(subscription, schedule, moment)
        return
    before = store.change(schedule, current_phase={"start_date": phase["start_date"], "end_date": phase["end_date"]})
    if before:
        events.record("subscription_schedule.updated", schedule, moment, previous=before)


def release(subscription: StoredObject, schedule: StoredObject, moment: Moment) -> None:
    """The schedule ends and the subscription goes on as it is."""
    store.change(
        schedule,
        status="released",
        released_at=store.seconds(moment.now),
        released_subscription=subscription.object_id,
        subscription=None,
        current_phase=None,
    )
    events.record("subscription_schedule.released", schedule, moment)
    before = store.change(subscription, schedule=None)
    events.record("customer.subscription.updated", subscription, moment, previous=before)


def close(schedule: StoredObject, moment: Moment) -> None:
    """The schedule ends together with its subscription."""
    store.change(schedule, status="canceled", canceled_at=store.seconds(moment.now), current_phase=None)
    events.record("subscription_schedule.canceled", schedule, moment)


def follow(subscription: StoredObject, moment: Moment) -> None:
    """A change that was made to the subscription itself is also one of the phase that it is in."""
    schedule = of(subscription)
    if schedule is None:
        return
    current = schedule.data["current_phase"]
    items = [phase_item(one["price"], one["quantity"]) for one in subscription.data["items"]["data"]]
    phases = [
        {**phase, "items": items} if current and phase["start_date"] == current["start_date"] else phase
        for phase in schedule.data["phases"]
    ]
    before = store.change(schedule, phases=phases)
    if before:
        events.record("subscription_schedule.updated", schedule, moment, previous=before)


def phase_item(price: Json, quantity: int) -> Json:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": price["id"],
        "price": price["id"],
        "quantity": quantity,
        "tax_rates": [],
    }


def shift(subscription: StoredObject, by: int) -> None:
    """The current period was moved to end elsewhere: so does its phase, and those that follow move along."""
    schedule = of(subscription)
    if schedule is None:
        return
    current, phases = schedule.data["current_phase"], []
    for phase in schedule.data["phases"]:
        later = current and phase["start_date"] > current["start_date"]
        now_on = current and phase["start_date"] >= current["start_date"]
        start, end = phase["start_date"] + (by if later else 0), phase["end_date"] + (by if now_on else 0)
        phases.append({**phase, "start_date": start, "end_date": end})
    if current:
        current = {**current, "end_date": current["end_date"] + by}
    store.change(schedule, phases=phases, current_phase=current)
