"""Where the sandbox keeps its objects: create, read, change, list."""

import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from sandbox.errors import ApiError, Json, not_found
from sandbox.models import StoredObject

PREFIX = {
    "billing_portal.session": "bps_",
    "balance_transaction": "txn_",
    "charge": "ch_",
    "checkout.session": "cs_test_",
    "customer": "cus_",
    "event": "evt_",
    "invoice": "in_",
    "invoice_payment": "inpay_",
    "invoiceitem": "ii_",
    "item": "li_",
    "line_item": "il_",
    "payment_intent": "pi_",
    "payment_method": "pm_",
    "price": "price_",
    "product": "prod_",
    "refund": "re_",
    "request": "req_",
    "setup_intent": "seti_",
    "subscription": "sub_",
    "subscription_item": "si_",
    "subscription_schedule": "sub_sched_",
}
LABEL = {"payment_method": "PaymentMethod"}
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True)
class Moment:
    """When something happens, and which API request made it happen (none: somebody on the hosted page, or time)."""

    now: datetime
    request_id: str | None = None
    idempotency_key: str | None = None


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def from_seconds(value: int) -> datetime:
    return datetime.fromtimestamp(value, tz=UTC)


def new_id(kind: str, now: datetime) -> str:
    """A fresh id with Stripe's prefix; ids of later moments sort later."""
    ticks, head = int(now.timestamp() * 1_000_000), ""
    while ticks:
        ticks, digit = divmod(ticks, 62)
        head = _ALPHABET[digit] + head
    return PREFIX[kind] + head + "".join(secrets.choice(_ALPHABET) for _ in range(15))


def create(
    kind: str, data: Json, *, now: datetime, private: Json | None = None, due_at: datetime | None = None
) -> StoredObject:
    """Keep a new object. Its id, its kind, `created` and `livemode: false` are added here."""
    object_id = data.get("id") or new_id(kind, now)
    body = {"id": object_id, "object": kind, "created": seconds(now), "livemode": False, **data}
    if kind in WITHOUT_LIVEMODE:
        del body["livemode"]
    row = StoredObject(object_id=object_id, kind=kind, created=now, data=body, private=private or {}, due_at=due_at)
    _index(row)
    row.save(force_insert=True)
    return row


WITHOUT_LIVEMODE = {"refund", "balance_transaction"}


def _index(row: StoredObject) -> None:
    for name in ("customer", "payment_intent", "charge"):
        setattr(row, name, row.data.get(name) or "")


def change(row: StoredObject, **changes: Any) -> Json:
    """Write `changes` to the object and return the values before, as an event's `previous_attributes`."""
    before = {name: row.data.get(name) for name, value in changes.items() if row.data.get(name) != value}
    row.data.update(changes)
    _index(row)
    row.save()
    return before


def find(kind: str, object_id: str | None, *, lock: bool = False) -> StoredObject | None:
    rows = StoredObject.objects.filter(kind=kind, object_id=object_id or "")
    return (rows.select_for_update(no_key=True) if lock else rows).first()


def get(kind: str, object_id: str, *, param: str = "id", lock: bool = False) -> StoredObject:
    """The object of this kind, or Stripe's `resource_missing`."""
    row = find(kind, object_id, lock=lock)
    if row is None:
        status = 404 if param == "id" else 400
        error = not_found(LABEL.get(kind, kind), object_id, param)
        error.status = status
        raise error
    return row


def invoices_of(subscription_id: str) -> QuerySet[StoredObject]:
    """All invoices of a subscription."""
    return StoredObject.objects.filter(kind="invoice", data__parent__subscription_details__subscription=subscription_id)


def with_metadata(old: dict[str, str], new: dict[str, str] | None) -> dict[str, str]:
    """Metadata after an update: keys are merged, an empty value removes its key, an empty object removes all."""
    if new is None:
        return old
    if not new:
        return {}
    return {key: value for key, value in {**old, **new}.items() if value != ""}


def listing(rows: QuerySet[Any], params: Json, *, url: str, id_field: str = "object_id", body: str = "data") -> Json:
    """Stripe's list object: newest first, `limit`, `starting_after`, `ending_before`, `created`."""
    for bound, value in params.get("created", {}).items():
        # Stripe compares whole seconds; our rows keep microseconds.
        if bound in ("gt", "lte"):
            rows = rows.filter(**{f"created__{'gte' if bound == 'gt' else 'lt'}": from_seconds(value + 1)})
        else:
            rows = rows.filter(**{f"created__{bound}": from_seconds(value)})
    limit = params.get("limit", 10)
    if "starting_after" in params and "ending_before" in params:
        raise ApiError("Give one of starting_after and ending_before, not both.", param="ending_before")
    everything = rows.model._default_manager.all()
    if "ending_before" in params:
        cursor = _cursor(everything, params["ending_before"], id_field, "ending_before")
        page = list(rows.filter(pk__gt=cursor).order_by("pk")[: limit + 1])
        shown = list(reversed(page[:limit]))
    else:
        if "starting_after" in params:
            rows = rows.filter(pk__lt=_cursor(everything, params["starting_after"], id_field, "starting_after"))
        page = list(rows.order_by("-pk")[: limit + 1])
        shown = page[:limit]
    return {"object": "list", "url": url, "has_more": len(page) > limit, "data": [getattr(row, body) for row in shown]}


def _cursor(rows: QuerySet[Any], object_id: str, id_field: str, param: str) -> int:
    pk = rows.filter(**{id_field: object_id}).values_list("pk", flat=True).first()
    if pk is None:
        raise ApiError(f"No such object: '{object_id}'", code="resource_missing", param=param)
    return int(pk)
