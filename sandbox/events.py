"""Events: what happened, written beside the change itself and handed to delivery."""

import copy
from typing import Any

from sandbox import API_VERSION, store, switches, tasks
from sandbox.errors import Json
from sandbox.models import Delivery, Event, StoredObject
from sandbox.store import Moment


def record(type: str, row: StoredObject, moment: Moment, *, previous: Json | None = None) -> Event:
    """Write an event with the object as it is now, in the transaction that changed it, and plan its delivery.

    `previous` are the values before; `*.updated` events always carry them.
    """
    data: Json = {"object": copy.deepcopy(row.data)}
    if previous is not None or type.endswith(".updated"):
        data["previous_attributes"] = previous or {}
    event_id = store.new_id("event", moment.now)
    body = {
        "id": event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": store.seconds(moment.now),
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": moment.request_id, "idempotency_key": moment.idempotency_key},
        "type": type,
    }
    event = Event.objects.create(event_id=event_id, type=type, created=moment.now, object_id=row.object_id, body=body)
    schedule(event, moment)
    return event


def schedule(event: Event, moment: Moment) -> None:
    """Plan the sending of an event as the switches say, and wake the deliverer after the commit."""
    waits, lost = switches.plan_delivery()
    state = Delivery.State.LOST if lost else Delivery.State.PENDING
    Delivery.objects.bulk_create(Delivery(event=event, state=state, due_at=moment.now + wait) for wait in waits)
    if not lost:
        tasks.wake_after_commit(max(waits).total_seconds())


def as_shown(event: Event) -> dict[str, Any]:
    """The event as the API shows it: `pending_webhooks` counts what is not delivered yet."""
    waiting = event.deliveries.filter(state__in=[Delivery.State.PENDING, Delivery.State.SENDING]).count()
    return {**event.body, "pending_webhooks": waiting}
