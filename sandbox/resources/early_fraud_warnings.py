"""/v1/radar/early_fraud_warnings"""

from sandbox import events, expand, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Text, TimeRange
from sandbox.resources import disputes
from sandbox.routes import Call, endpoint
from sandbox.store import Moment

KIND = "radar.early_fraud_warning"
store.PREFIX[KIND] = "issfr_"
expand.REFERENCES[KIND] = {"charge", "payment_intent"}


def warn(charge: StoredObject, moment: Moment, *, fraud_type: str = "made_with_lost_card") -> StoredObject:
    """The card's network reports the payment as fraud."""
    row = store.create(
        KIND,
        {
            "actionable": not charge.data["disputed"] and not charge.data["refunded"],
            "charge": charge.object_id,
            "fraud_type": fraud_type,
            "payment_intent": charge.data["payment_intent"],
        },
        now=moment.now,
    )
    events.record(f"{KIND}.created", row, moment)
    return row


def close(row: StoredObject, moment: Moment) -> None:
    """Nothing can be done any more: the payment was refunded or disputed."""
    before = store.change(row, actionable=False)
    events.record(f"{KIND}.updated", row, moment, previous=before)


def afterwards(charge: StoredObject, later: str, moment: Moment) -> None:
    """What a documented test card does after its payment succeeded."""
    if later == "dispute":
        disputes.open_dispute(charge, moment)
    elif later == "dispute_not_received":
        disputes.open_dispute(charge, moment, reason="product_not_received")
    elif later == "inquiry":
        disputes.open_dispute(charge, moment, inquiry=True, reason="general")
    elif later == "fraud_warning":
        warn(charge, moment)


@endpoint("GET", "/v1/radar/early_fraud_warnings/{early_fraud_warning}")
def retrieve(call: Call) -> Json:
    return store.get(KIND, call.ids["early_fraud_warning"]).data


@endpoint(
    "GET",
    "/v1/radar/early_fraud_warnings",
    {**LIST, "charge": Text(), "payment_intent": Text(), "created": TimeRange()},
)
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind=KIND)
    for name in ("charge", "payment_intent"):
        if name in call.params:
            rows = rows.filter(**{name: call.params[name]})
    return store.listing(rows, call.params, url="/v1/radar/early_fraud_warnings")
