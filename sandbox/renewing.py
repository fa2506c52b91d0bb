"""What a subscription does by itself: it renews, tries an unpaid invoice again, ends, or forgets what was not paid."""

from sandbox import ending, invoice_lines, invoicing, scheduling, standing, store
from sandbox.errors import Json
from sandbox.models import StoredObject
from sandbox.periods import end_of_period
from sandbox.resources import subscription_bodies
from sandbox.settling import settles_in_turn
from sandbox.standing import RETRY_AFTER_DAYS
from sandbox.store import Moment

DAY = 86_400


@settles_in_turn("subscription")
def _due(subscription: StoredObject, moment: Moment) -> None:
    """One of the things that are due; the timer then says what is next, perhaps at the same second."""
    at, data = store.seconds(moment.now), subscription.data
    if data["status"] == "incomplete":
        standing.expire_incomplete(subscription, moment)
    elif data["status"] in standing.RUNNING:
        pending, unpaid = data["pending_update"], _to_try_again(subscription, at)
        if pending and pending["expires_at"] <= at:
            standing.drop_pending(subscription, moment)
        elif unpaid:
            _try_again(subscription, unpaid, moment)
        elif data["cancel_at"] and data["cancel_at"] <= at:
            ending.end(subscription, moment, reason="cancellation_requested")
        elif standing.period_end(subscription) <= at:
            renew(subscription, moment)
    standing.set_timer(subscription)


def renew(subscription: StoredObject, moment: Moment) -> None:
    """Begin the next period with its invoice, at the prices that a schedule says, and charge it."""
    data, at = subscription.data, standing.period_end(subscription)
    looked_back = (standing.period_start(subscription), at)
    planned = scheduling.at_renewal(subscription, at, moment)
    same = _same_rhythm(planned["items"], data["items"]["data"])
    anchor = data["billing_cycle_anchor"] if same else at
    items = [next_period(item, at, anchor) for item in planned["items"]]
    lines = invoicing.take_pending(subscription) + [invoice_lines.full_period(item, moment) for item in items]
    invoice = invoicing.draft(subscription, lines, "subscription_cycle", moment, period=looked_back)
    changes = {
        **planned,
        "items": subscription_bodies.item_list(subscription.object_id, items),
        "latest_invoice": invoice.object_id,
        "billing_cycle_anchor": anchor,
    }
    standing.change(subscription, moment, **changes)
    scheduling.after_renewal(subscription, at, moment)
    invoicing.issue(invoice, moment)
    standing.collect(subscription, invoice, moment, retry_at=first_retry(moment))


def next_period(item: Json, start: int, anchor: int) -> Json:
    recurring = item["price"]["recurring"]
    end = end_of_period(anchor, start, recurring["interval"], recurring["interval_count"])
    return {**item, "current_period_start": start, "current_period_end": end}


def _same_rhythm(new: list[Json], old: list[Json]) -> bool:
    def rhythm(items: list[Json]) -> tuple[str, int]:
        return items[0]["price"]["recurring"]["interval"], items[0]["price"]["recurring"]["interval_count"]

    return rhythm(new) == rhythm(old)


def first_retry(moment: Moment) -> int:
    return store.seconds(moment.now) + RETRY_AFTER_DAYS[0] * DAY


def _to_try_again(subscription: StoredObject, at: int) -> StoredObject | None:
    for invoice in standing.open_invoices(subscription):
        if (invoice.data["next_payment_attempt"] or at + 1) <= at:
            return store.get("invoice", invoice.object_id, lock=True)
    return None


def _try_again(subscription: StoredObject, invoice: StoredObject, moment: Moment) -> None:
    """Another attempt with the card that is the default now. The last one that fails ends the subscription."""
    made = invoice.private["retries"] = invoice.private.get("retries", 0) + 1
    invoice.save(update_fields=["private"])
    more = made < len(RETRY_AFTER_DAYS)
    retry_at = store.seconds(moment.now) + RETRY_AFTER_DAYS[made] * DAY if more else None
    standing.collect(subscription, invoice, moment, retry_at=retry_at)
    if invoice.data["status"] == "open" and not more:
        ending.end(subscription, moment, reason="payment_failed")


def move_period_end(subscription: StoredObject, at: int) -> None:
    """Let the current period end at `at`, and count all that follow from there: a renewal without the wait."""
    before = standing.period_end(subscription)
    items = [{**item, "current_period_end": at} for item in subscription.data["items"]["data"]]
    changes: Json = {"items": {**subscription.data["items"], "data": items}, "billing_cycle_anchor": at}
    if subscription.data["cancel_at"] == before:
        changes["cancel_at"] = at
    store.change(subscription, **changes)
    scheduling.shift(subscription, at - before)
    standing.set_timer(subscription)
