"""/v1/refunds, and how refunds end: at once, after a while, or not at all."""

import secrets

from sandbox import events, expand, payments, store, switches, tasks
from sandbox.errors import ApiError, Json, missing
from sandbox.models import StoredObject
from sandbox.params import LIST, Integer, Metadata, Text, TimeRange
from sandbox.resources import balance_transactions
from sandbox.routes import Call, endpoint
from sandbox.settling import settles
from sandbox.store import Moment

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
OUTCOMES = ("succeeded", "failed", "canceled")
ASYNCHRONOUS = {"alipay": 90, "wechat_pay": 180}
"""Methods whose refunds take their time, and for how many days after the payment they are possible."""
expand.REFERENCES["refund"] = {
    "balance_transaction", "charge", "customer", "failure_balance_transaction", "payment_intent", "payment_method",
}  # fmt: skip


@endpoint(
    "POST",
    "/v1/refunds",
    {
        "amount": Integer(1, 99_999_999),
        "charge": Text(),
        "metadata": Metadata(),
        "payment_intent": Text(),
        "reason": Text(choices=REASONS),
    },
)
def create(call: Call) -> Json:
    """Refund all that is left of a charge, or `amount` of it."""
    charge, moment = _charge_of(call.params), call.moment
    method = charge.data["payment_method_details"]["type"]
    amount = _refundable(charge, method, call)
    wish = switches.current().refunds
    waits = wish != "succeed" or method in ASYNCHRONOUS or charge.private.get("later") == "refund_pending"
    row = store.create(
        "refund",
        {
            "amount": amount,
            "balance_transaction": None,
            "charge": charge.object_id,
            "currency": charge.data["currency"],
            "customer": charge.data["customer"],
            "customer_account": None,
            "description": None,
            "destination_details": {"type": method, method: _destination() if method == "card" else {}},
            "metadata": call.params.get("metadata", {}),
            "payment_intent": charge.data["payment_intent"],
            "payment_method": charge.data["payment_method"],
            "pending_reason": "processing" if waits and wish != "requires_action" else None,
            "reason": call.params.get("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "requires_action" if wish == "requires_action" else "pending" if waits else "succeeded",
            "transfer_reversal": None,
        },
        now=call.now,
    )
    transaction = balance_transactions.book("refund", -amount, row.data["currency"], row.object_id, moment)
    store.change(row, balance_transaction=transaction)
    _count(charge, amount, moment)
    events.record("refund.created", row, moment)
    if not waits:
        _reference(row, moment)
    elif wish == "fail":
        settle(row, "failed", moment)
    if (waits and wish == "succeed") or charge.private.get("later") == "refund_fails":
        row.due_at = call.now + payments.settlement_wait()
        row.private = {"settles_as": "failed" if charge.private.get("later") == "refund_fails" else "succeeded"}
        row.save(update_fields=["due_at", "private"])
        tasks.wake_after_commit(payments.settlement_wait().total_seconds())
    return row.data


def _charge_of(params: Json) -> StoredObject:
    """The charge to refund, locked, so that two refunds at once cannot give more than was paid."""
    if ("charge" in params) == ("payment_intent" in params):
        if "charge" in params:
            raise ApiError(
                "You may only specify one of charge and payment_intent.", code="parameters_exclusive", param="charge"
            )
        raise missing("payment_intent")
    if "charge" in params:
        return store.get("charge", params["charge"], param="charge", lock=True)
    intent = store.get("payment_intent", params["payment_intent"], param="payment_intent", lock=True)
    if intent.data["status"] != "succeeded":
        raise ApiError(
            f"This PaymentIntent ({intent.object_id}) does not have a successful charge to refund.",
            code="payment_intent_unexpected_state",
            param="payment_intent",
        )
    return store.get("charge", intent.data["latest_charge"], lock=True)


def _refundable(charge: StoredObject, method: str, call: Call) -> int:
    data = charge.data
    left = data["amount"] - data["amount_refunded"]
    amount = int(call.params.get("amount", left))
    if data["status"] != "succeeded":
        raise ApiError(
            f"Charge {charge.object_id} did not succeed and cannot be refunded.", code="charge_not_refundable"
        )
    if data["disputed"]:
        raise ApiError(
            f"Charge {charge.object_id} has been charged back and cannot be refunded.", code="charge_disputed"
        )
    if left == 0:
        raise ApiError(f"Charge {charge.object_id} has already been refunded.", code="charge_already_refunded")
    if amount > left:
        raise ApiError(
            f"Refund amount (${amount / 100:.2f}) is greater than unrefunded amount on charge (${left / 100:.2f})",
            param="amount",
        )
    if method in ASYNCHRONOUS and (call.now - charge.created).days >= ASYNCHRONOUS[method]:
        raise ApiError(
            f"{method} payments can be refunded for {ASYNCHRONOUS[method]} days.", code="charge_not_refundable"
        )
    return amount


def _destination() -> Json:
    return {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}


def _count(charge: StoredObject, amount: int, moment: Moment) -> None:
    """Add to what the charge has given back; `refunded` is true only when all of it was."""
    refunded = charge.data["amount_refunded"] + amount
    before = store.change(charge, amount_refunded=refunded, refunded=refunded == charge.data["amount"])
    if amount > 0:
        events.record("charge.refunded", charge, moment, previous=before)
    else:
        events.record("charge.updated", charge, moment, previous=before)


def _reference(row: StoredObject, moment: Moment) -> None:
    """The card network names the refund, which is the usual `refund.updated` of a refund that succeeded."""
    if row.data["destination_details"]["type"] != "card":
        return
    reference = {
        **_destination(),
        "reference": str(secrets.randbelow(10**23)).zfill(23),
        "reference_status": "available",
    }
    before = store.change(row, destination_details={"type": "card", "card": reference})
    events.record("refund.updated", row, moment, previous=before)


def settle(row: StoredObject, outcome: str, moment: Moment) -> None:
    """End a pending refund; or let one fail that had succeeded, as a bank may do days later.

    A refund that fails or is cancelled returns the money to the merchant's balance and to what can be refunded.
    """
    status = row.data["status"]
    if (
        outcome not in OUTCOMES
        or status not in ("pending", "requires_action", "succeeded")
        or (status == "succeeded" and outcome != "failed")
    ):
        raise ApiError(f"A refund that is {status} cannot become {outcome}.", param="status")
    row.due_at = None
    changes: Json = {"status": outcome, "pending_reason": None}
    if outcome != "succeeded":
        changes["failure_balance_transaction"] = balance_transactions.book(
            "refund_failure", row.data["amount"], row.data["currency"], row.object_id, moment
        )
        if outcome == "failed":
            changes["failure_reason"] = (
                "lost_or_stolen_card" if row.data["destination_details"]["type"] == "card" else "unknown"
            )
        charge = store.get("charge", row.data["charge"], lock=True)
        _count(charge, -row.data["amount"], moment)
    before = store.change(row, **changes)
    if outcome == "failed":
        events.record("refund.failed", row, moment)
    events.record("refund.updated", row, moment, previous=before)


@settles("refund")
def _due(row: StoredObject, moment: Moment) -> None:
    wanted = row.private.get("settles_as", "succeeded")
    if row.data["status"] == "pending" or (row.data["status"] == "succeeded" and wanted == "failed"):
        settle(row, wanted, moment)


@endpoint("GET", "/v1/refunds/{refund}")
def retrieve(call: Call) -> Json:
    return store.get("refund", call.ids["refund"]).data


@endpoint("GET", "/v1/refunds", {**LIST, "charge": Text(), "payment_intent": Text(), "created": TimeRange()})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="refund")
    for name in ("charge", "payment_intent"):
        if name in call.params:
            rows = rows.filter(**{name: call.params[name]})
    return store.listing(rows, call.params, url="/v1/refunds")


@endpoint("POST", "/v1/refunds/{refund}", {"metadata": Metadata()})
def update(call: Call) -> Json:
    row = store.get("refund", call.ids["refund"], lock=True)
    before = store.change(row, metadata=store.with_metadata(row.data["metadata"], call.params.get("metadata")))
    if before:
        events.record("refund.updated", row, call.moment, previous=before)
    return row.data


@endpoint("POST", "/v1/refunds/{refund}/cancel")
def cancel(call: Call) -> Json:
    row = store.get("refund", call.ids["refund"], lock=True)
    if row.data["status"] not in ("pending", "requires_action"):
        raise ApiError("Only a refund that waits can be canceled.", code="intent_invalid_state")
    settle(row, "canceled", call.moment)
    return row.data
