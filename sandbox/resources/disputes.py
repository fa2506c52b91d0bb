"""/v1/disputes, and how a dispute goes: opened or asked about, answered, won, lost, prevented."""

from datetime import timedelta
from typing import Any

from sandbox import events, expand, store
from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject
from sandbox.params import LIST, Boolean, Metadata, Text, TimeRange
from sandbox.resources import balance_transactions
from sandbox.routes import Call, endpoint
from sandbox.store import Moment

store.PREFIX["dispute"] = "dp_"
expand.REFERENCES["dispute"] = {"charge", "payment_intent"}
FEE = 1500
"""What each dispute costs, won or lost, in cents."""
DAYS_TO_ANSWER = timedelta(days=7)
ENDINGS = ("won", "lost", "prevented", "warning_closed")
_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file", "uncategorized_text",
)  # fmt: skip


def open_dispute(
    charge: StoredObject,
    moment: Moment,
    *,
    reason: str = "fraudulent",
    inquiry: bool = False,
    amount: int | None = None,
    withdraw: bool = True,
) -> StoredObject:
    """The holder's bank asks for the money, or only asks. The caller holds the charge's lock."""
    left = charge.data["amount"] - charge.data["amount_refunded"]
    method = charge.data["payment_method_details"]
    if method["type"] != "card" or charge.data["status"] != "succeeded":
        raise ApiError("Only a card payment that succeeded can be disputed.", param="charge")
    if charge.data["disputed"] or not left:
        raise ApiError("This charge is disputed already, or nothing is left of it.", param="charge")
    card = {
        "brand": method["card"]["brand"],
        "case_type": "inquiry" if inquiry else "chargeback",
        "network": method["card"]["network"],
        "network_reason_code": "10.4" if reason == "fraudulent" else "13.1",
    }
    row = store.create(
        "dispute",
        {
            "amount": min(amount or left, left),
            "balance_transactions": [],
            "charge": charge.object_id,
            "currency": charge.data["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
            "evidence_details": {
                "due_by": store.seconds(moment.now + DAYS_TO_ANSWER),
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
                "submission_method": "not_submitted",
            },
            "is_charge_refundable": inquiry,
            "metadata": {},
            "network_reason_code": card["network_reason_code"],
            "payment_intent": charge.data["payment_intent"],
            "payment_method_details": {"type": "card", "card": card},
            "reason": reason,
            "status": "warning_needs_response" if inquiry else "needs_response",
        },
        now=moment.now,
    )
    store.change(charge, disputed=not inquiry)
    events.record("charge.dispute.created", row, moment)
    if withdraw and not inquiry:
        withdraw_funds(row, moment)
    return row


def withdraw_funds(row: StoredObject, moment: Moment) -> None:
    """Take the amount and the fee out of the merchant's balance."""
    _move(row, -row.data["amount"], FEE, moment)
    events.record("charge.dispute.funds_withdrawn", row, moment)


def _move(row: StoredObject, amount: int, fee: int, moment: Moment) -> None:
    line = balance_transactions.book(
        "adjustment",
        amount,
        row.data["currency"],
        row.object_id,
        moment,
        fee=fee,
        category="dispute" if amount < 0 else "dispute_reversal",
    )
    found = store.get("balance_transaction", line).data
    store.change(row, balance_transactions=[*row.data["balance_transactions"], found])


def escalate(row: StoredObject, moment: Moment) -> None:
    """An inquiry becomes a dispute."""
    _expect(row, "warning_needs_response", "warning_under_review")
    charge = store.get("charge", row.data["charge"], lock=True)
    store.change(charge, disputed=True)
    details = row.data["payment_method_details"]
    details = {**details, "card": {**details["card"], "case_type": "chargeback"}}
    before = store.change(row, status="needs_response", is_charge_refundable=False, payment_method_details=details)
    events.record("charge.dispute.updated", row, moment, previous=before)
    withdraw_funds(row, moment)


def submit(row: StoredObject, moment: Moment, evidence: Json | None = None) -> None:
    """Give the bank our evidence; it looks at it."""
    _expect(row, "needs_response", "warning_needs_response")
    status = row.data["status"].replace("needs_response", "under_review")
    details = {**row.data["evidence_details"], "has_evidence": True, "submission_count": 1}
    details["submission_method"] = "manual"
    changed = {**row.data["evidence"], **(evidence or {"uncategorized_text": "The calls were made."})}
    before = store.change(row, status=status, evidence_details=details, evidence=changed)
    events.record("charge.dispute.updated", row, moment, previous=before)


def end(row: StoredObject, ending: str, moment: Moment, *, reinstate: bool = True) -> None:
    """How the bank decided. Won money comes back; the fee does not."""
    if ending not in ENDINGS or row.data["status"] in ENDINGS:
        raise ApiError(f"A dispute that is {row.data['status']} cannot become {ending}.", param="status")
    inquiry = row.data["status"].startswith("warning_")
    if (ending == "warning_closed") != inquiry and ending != "prevented":
        raise ApiError(f"A dispute that is {row.data['status']} cannot become {ending}.", param="status")
    if ending == "prevented":
        store.change(store.get("charge", row.data["charge"], lock=True), disputed=False)
    store.change(row, status=ending)
    events.record("charge.dispute.closed", row, moment)
    if reinstate and ending in ("won", "prevented") and row.data["balance_transactions"]:
        reinstate_funds(row, moment)


def reinstate_funds(row: StoredObject, moment: Moment) -> None:
    """The amount comes back to the merchant's balance."""
    _move(row, row.data["amount"], 0, moment)
    events.record("charge.dispute.funds_reinstated", row, moment)


def _expect(row: StoredObject, *statuses: str) -> None:
    if row.data["status"] not in statuses:
        raise ApiError(f"This dispute is {row.data['status']}.", param="status")


def act(row: StoredObject, action: str, moment: Moment) -> None:
    """What the control page's buttons say."""
    actions: dict[str, Any] = {"submit": submit, "escalate": escalate}
    if action in actions:
        actions[action](row, moment)
    else:
        end(row, action, moment)


@endpoint("GET", "/v1/disputes/{dispute}")
def retrieve(call: Call) -> Json:
    return store.get("dispute", call.ids["dispute"]).data


@endpoint("GET", "/v1/disputes", {**LIST, "charge": Text(), "payment_intent": Text(), "created": TimeRange()})
def index(call: Call) -> Json:
    rows = StoredObject.objects.filter(kind="dispute")
    for name in ("charge", "payment_intent"):
        if name in call.params:
            rows = rows.filter(**{name: call.params[name]})
    return store.listing(rows, call.params, url="/v1/disputes")


@endpoint("POST", "/v1/disputes/{dispute}", {"metadata": Metadata(), "submit": Boolean()})
def update(call: Call) -> Json:
    row = store.get("dispute", call.ids["dispute"], lock=True)
    if "metadata" in call.params:
        before = store.change(row, metadata=store.with_metadata(row.data["metadata"], call.params["metadata"]))
        events.record("charge.dispute.updated", row, call.moment, previous=before)
    if call.params.get("submit"):
        submit(row, call.moment)
    return row.data


@endpoint("POST", "/v1/disputes/{dispute}/close")
def close(call: Call) -> Json:
    """Accept it: lost."""
    row = store.get("dispute", call.ids["dispute"], lock=True)
    end(row, "lost", call.moment)
    return row.data
