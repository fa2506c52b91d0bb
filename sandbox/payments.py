"""Moving money: an attempt to pay an intent, and the settlement of payments that take their time.

The caller holds the lock of the intent's row and runs in a transaction. Every change writes its events.
"""

from datetime import timedelta

from sandbox import events, store, switches, tasks
from sandbox.cards import Outcome, charge_outcome
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.resources import balance_transactions, charges, early_fraud_warnings
from sandbox.store import Moment

LEAST = {"aud": 50, "cad": 50, "cny": 400, "eur": 50, "gbp": 30, "hkd": 400, "jpy": 50, "sgd": 50, "usd": 50}
MOST = 99_999_999
"""What one payment can be, in the smallest unit of its currency."""


def attempt(
    intent: StoredObject, method: StoredObject, outcome: Outcome, moment: Moment, *, later: str = ""
) -> StoredObject:
    """Try to pay the intent with this method and return the charge, which succeeded or failed.

    After a failure the intent waits for another payment method, with `last_payment_error` telling why.
    """
    charge = _charge(intent, method, outcome, moment, status="succeeded" if outcome.succeeds else "failed", later=later)
    if outcome.succeeds:
        _succeed(intent, charge, method, moment)
    else:
        _fail(intent, charge, method, outcome, moment)
    return charge


def begin(
    intent: StoredObject, method: StoredObject, moment: Moment, *, ends: Outcome, wait: timedelta | None
) -> StoredObject:
    """Start a payment whose outcome arrives later: the intent is processing and its charge pending.

    With a `wait` it settles by itself; without, it waits for `settle`.
    """
    charge = _charge(intent, method, Outcome(), moment, status="pending", later="")
    intent.private["settles_as"] = {"code": ends.code, "decline_code": ends.decline_code, "message": ends.message}
    intent.due_at = moment.now + wait if wait is not None else None
    store.change(
        intent,
        status="processing",
        latest_charge=charge.object_id,
        payment_method=method.object_id,
        last_payment_error=None,
    )
    events.record("payment_intent.processing", intent, moment)
    events.record("charge.pending", charge, moment)
    if wait is not None:
        tasks.wake_after_commit(wait.total_seconds())
    return charge


def settle(intent: StoredObject, outcome: Outcome, moment: Moment) -> None:
    """End a payment that is processing; the checkout session hears of it through `checkout.settled`."""
    charge = store.get("charge", intent.data["latest_charge"], lock=True)
    method = store.get("payment_method", intent.data["payment_method"])
    intent.due_at = None
    if outcome.succeeds:
        store.change(charge, status="succeeded", captured=True, paid=True, amount_captured=charge.data["amount"])
        _succeed(intent, charge, method, moment)
    else:
        store.change(charge, status="failed", failure_code=outcome.code, failure_message=outcome.message)
        _fail(intent, charge, method, outcome, moment)


def settlement_wait() -> timedelta:
    return timedelta(seconds=switches.current().settle_seconds)


def _charge(
    intent: StoredObject, method: StoredObject, outcome: Outcome, moment: Moment, *, status: str, later: str
) -> StoredObject:
    data = charges.build(
        intent.data,
        method.data,
        outcome=charge_outcome(outcome),
        details=charges.details_of(method.data, authenticated=bool(method.private.get("authenticated"))),
        status=status,
        failure=None if outcome.succeeds else (outcome.code, outcome.message),
    )
    return store.create("charge", data, now=moment.now, private={"later": later})


def _succeed(intent: StoredObject, charge: StoredObject, method: StoredObject, moment: Moment) -> None:
    amount = intent.data["amount"]
    store.change(
        intent,
        status="succeeded",
        amount_received=amount,
        last_payment_error=None,
        latest_charge=charge.object_id,
        next_action=None,
        payment_method=method.object_id,
    )
    events.record("charge.succeeded", charge, moment)
    events.record("payment_intent.succeeded", intent, moment)
    # The balance follows the charge, as it does with `capture_method: automatic_async`.
    transaction = balance_transactions.book(
        "charge",
        amount,
        intent.data["currency"],
        charge.object_id,
        moment,
        fee=balance_transactions.processing_fee(amount),
    )
    before = store.change(charge, balance_transaction=transaction)
    events.record("charge.updated", charge, moment, previous=before)
    early_fraud_warnings.afterwards(charge, charge.private.get("later", ""), moment)


def _fail(intent: StoredObject, charge: StoredObject, method: StoredObject, outcome: Outcome, moment: Moment) -> None:
    error: Json = {
        "type": "card_error" if method.data["type"] == "card" else "invalid_request_error",
        "code": outcome.code,
        "message": outcome.message,
        "charge": charge.object_id,
        "doc_url": f"https://docs.stripe.com/error-codes#{outcome.code.replace('_', '-')}",
        "payment_method": method.data,
    }
    if outcome.decline_code:
        error["decline_code"] = outcome.decline_code
    if outcome.code in ("incorrect_cvc", "incorrect_number"):
        error["param"] = outcome.code.removeprefix("incorrect_")
    store.change(
        intent,
        status="requires_payment_method",
        last_payment_error=error,
        latest_charge=charge.object_id,
        next_action=None,
        payment_method=None,
    )
    events.record("charge.failed", charge, moment)
    events.record("payment_intent.payment_failed", intent, moment)
