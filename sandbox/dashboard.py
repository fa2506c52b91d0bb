"""What a person does in the provider's own dashboard, without our product knowing: refund a payment."""

from datetime import datetime

from django.db import transaction

from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.resources import refunds
from sandbox.routes import Call
from sandbox.store import Moment

SHOWN = 25


def refund(payment_intent: str, amount: int | None, now: datetime) -> Json:
    """Refund `amount` of a payment in its smallest unit, or all that is left of it; `ApiError` when Stripe would."""
    params: Json = {"payment_intent": payment_intent}
    if amount is not None:
        params["amount"] = amount
    with transaction.atomic():
        made: Json = refunds.create(Call(params, {}, Moment(now)))  # type: ignore[assignment]  # it raises, or makes one
    return made


def refundable() -> list[StoredObject]:
    """The newest payments of which something is left."""
    rows = StoredObject.objects.filter(kind="charge", data__status="succeeded", data__refunded=False)
    return list(rows.exclude(payment_intent="").order_by("-pk")[:SHOWN])
