"""What an invoice's outcome means to its subscription, and when something next happens to a subscription by itself.

All timers of a subscription and of its invoices are on the subscription's row, which is also their lock: first the
subscription, then an invoice, then its intent.
"""

from datetime import timedelta

from sandbox import cards, events, invoicing, store
from sandbox.cards import Outcome
from sandbox.errors import ApiError, Json
from sandbox.models import StoredObject
from sandbox.store import Moment

RETRY_AFTER_DAYS = (3, 5, 7)
"""How long after a failed attempt the next one is made; after the last the subscription ends."""
INCOMPLETE_FOR = timedelta(hours=23)
"""How long a first payment or a pending update is waited for."""
ENDED = ("canceled", "incomplete_expired")
RUNNING = ("active", "past_due")


def period_end(subscription: StoredObject) -> int:
    return min(int(item["current_period_end"]) for item in subscription.data["items"]["data"])


def period_start(subscription: StoredObject) -> int:
    return max(int(item["current_period_start"]) for item in subscription.data["items"]["data"])


def open_invoices(subscription: StoredObject) -> list[StoredObject]:
    return list(store.invoices_of(subscription.object_id).filter(data__status="open").order_by("pk"))


def set_timer(subscription: StoredObject) -> None:
    """Write when the next thing happens by itself."""
    data = subscription.data
    times: list[int | None] = []
    if data["status"] in RUNNING:
        times = [period_end(subscription), data["cancel_at"], (data["pending_update"] or {}).get("expires_at")]
        times += [one.data["next_payment_attempt"] for one in open_invoices(subscription)]
    elif data["status"] == "incomplete":
        times = [subscription.private.get("incomplete_until")]
    subscription.due_at = min((store.from_seconds(at) for at in times if at), default=None)
    subscription.save(update_fields=["due_at"])


def default_card(subscription: StoredObject) -> StoredObject | None:
    """The card that invoices are charged to: the subscription's own, or its customer's."""
    customer = store.get("customer", subscription.data["customer"]).data
    method_id = subscription.data["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    method = store.find("payment_method", method_id)
    return method if method and method.data["customer"] == customer["id"] else None


def outcome_of(method: StoredObject | None) -> tuple[Outcome, str]:
    """What the bank says to a charge of a kept card, and what happens to the charge later."""
    if method is None:
        return cards.declined("generic_decline"), ""
    card = cards.lookup(method.private.get("card", ""))
    return card.off_session_outcome(), card.later


def collect(
    subscription: StoredObject,
    invoice: StoredObject,
    moment: Moment,
    *,
    method: StoredObject | None = None,
    retry_at: int | None = None,
) -> StoredObject | None:
    """Charge an open invoice to this card or to the default one, and let the subscription stand as that came out."""
    if invoice.data["status"] == "open":
        method = method or default_card(subscription)
        outcome, later = outcome_of(method)
        charge = invoicing.attempt(invoice, method, outcome, moment, later=later, retry_at=retry_at)
    else:
        charge = None
    after(subscription, invoice, moment)
    return charge


def after(subscription: StoredObject, invoice: StoredObject, moment: Moment) -> None:
    """Let the subscription stand as its invoice does."""
    status = invoice.data["status"]
    if status == "paid":
        _paid(subscription, invoice, moment)
    elif status == "void":
        _void(subscription, invoice, moment)
    elif subscription.data["status"] == "active" and not _waits_for(subscription, invoice):
        change(subscription, moment, status="past_due")
    set_timer(subscription)


def change(subscription: StoredObject, moment: Moment, **changes: object) -> Json:
    """Change a subscription and tell of it."""
    before = store.change(subscription, **changes)
    if before:
        events.record("customer.subscription.updated", subscription, moment, previous=before)
    return before


def _waits_for(subscription: StoredObject, invoice: StoredObject) -> bool:
    """Whether this invoice is the one of a pending update: while it is open, nothing has changed."""
    return subscription.data["pending_update"] is not None and (
        subscription.private.get("pending_invoice") == invoice.object_id
    )


def _paid(subscription: StoredObject, invoice: StoredObject, moment: Moment) -> None:
    changes: Json = {}
    if _waits_for(subscription, invoice):
        changes = applied(subscription)
    newest = subscription.data["latest_invoice"] == invoice.object_id
    if subscription.data["status"] == "incomplete" or (subscription.data["status"] == "past_due" and newest):
        changes["status"] = "active"
    change(subscription, moment, **changes)
    if "pending_update" in changes:
        events.record("customer.subscription.pending_update_applied", subscription, moment)


def applied(subscription: StoredObject) -> Json:
    """The changes that put a pending update into force."""
    pending = subscription.data["pending_update"]
    kept = subscription.private.pop("pending_changes", {})
    subscription.private.pop("pending_invoice", None)
    items = {**subscription.data["items"], "data": pending["subscription_items"]}
    return {**kept, "items": items, "pending_update": None}


def drop_pending(subscription: StoredObject, moment: Moment) -> None:
    """Forget a pending update: its time is over, its invoice is void, or another update takes its place."""
    invoice = store.get("invoice", subscription.private.pop("pending_invoice"), lock=True)
    subscription.private.pop("pending_changes", None)
    if invoice.data["status"] == "open":
        invoicing.void(invoice, moment)
    change(subscription, moment, pending_update=None)
    events.record("customer.subscription.pending_update_expired", subscription, moment)


def _void(subscription: StoredObject, invoice: StoredObject, moment: Moment) -> None:
    if _waits_for(subscription, invoice):
        drop_pending(subscription, moment)
    elif subscription.data["status"] == "incomplete":
        expire_incomplete(subscription, moment)
    elif subscription.data["status"] == "past_due" and not open_invoices(subscription):
        change(subscription, moment, status="active")


def expire_incomplete(subscription: StoredObject, moment: Moment) -> None:
    """The first payment did not come: the subscription never began."""
    for invoice in open_invoices(subscription):
        invoicing.void(store.get("invoice", invoice.object_id, lock=True), moment)
    change(subscription, moment, status="incomplete_expired", ended_at=store.seconds(moment.now))
    set_timer(subscription)


def at_period_end(subscription: StoredObject, moment: Moment) -> Json:
    """The changes of a wish to end with the period."""
    return {
        "cancel_at_period_end": True,
        "cancel_at": period_end(subscription),
        "canceled_at": store.seconds(moment.now),
        "cancellation_details": {**subscription.data["cancellation_details"], "reason": "cancellation_requested"},
    }


def refusal(invoice: StoredObject) -> ApiError:
    """The 402 of a card that was declined, from what its intent remembers."""
    error = dict(invoicing.intent_of(invoice).data["last_payment_error"] or {})
    message = error.pop("message", "No payment method could be charged.")
    error.pop("doc_url", None)
    kind, code = error.pop("type", "card_error"), error.pop("code", None)
    return ApiError(message, code=code, type=kind, status=402, **error)
