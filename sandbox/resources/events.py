"""/v1/events"""

from sandbox import store
from sandbox.errors import ApiError, Json, not_found
from sandbox.events import as_shown
from sandbox.models import Delivery, Event
from sandbox.params import LIST, Array, Boolean, Text, TimeRange
from sandbox.routes import Call, endpoint

UNDELIVERED = [Delivery.State.PENDING, Delivery.State.SENDING, Delivery.State.FAILED, Delivery.State.LOST]


@endpoint("GET", "/v1/events/{id}")
def retrieve(call: Call) -> Json:
    event = Event.objects.filter(event_id=call.ids["id"]).first()
    if event is None:
        raise not_found("event", call.ids["id"])
    return as_shown(event)


@endpoint(
    "GET",
    "/v1/events",
    {**LIST, "created": TimeRange(), "type": Text(), "types": Array(Text(), most=20), "delivery_success": Boolean()},
)
def index(call: Call) -> Json:
    params = call.params
    if "type" in params and "types" in params:
        raise ApiError("You may only specify one of these parameters: type, types.", param="types")
    rows = Event.objects.all()
    if "type" in params:
        kind = params["type"]
        rows = rows.filter(type__startswith=kind[:-1]) if kind.endswith("*") else rows.filter(type=kind)
    if "types" in params:
        rows = rows.filter(type__in=params["types"])
    if "delivery_success" in params:
        failing = Delivery.objects.filter(state__in=UNDELIVERED).values("event")
        rows = rows.exclude(pk__in=failing) if params["delivery_success"] else rows.filter(pk__in=failing)
    page = store.listing(rows, params, url="/v1/events", id_field="event_id", body="body")
    return page
