"""What a person does to a subscription in the provider's dashboard, or makes time and a bank do to it."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from sandbox import cards, ending, events, proration, renewing, settling, standing, store
from sandbox.errors import ApiError
from sandbox.models import StoredObject
from sandbox.resources import payment_methods, prices, products
from sandbox.routes import Call
from sandbox.store import Moment

DECLINING = "4000000000000341"
UNKNOWN = {"name": "A plan that nobody knows"}


def act(subscription_id: str, action: str, now: datetime) -> StoredObject:
    """Do one of `ACTIONS`; `ApiError` for one that there is not, or that makes no sense here."""
    if action not in ACTIONS:
        raise ApiError(f"There is no action {action[:40]!r}.", param="action")
    with transaction.atomic():
        row = store.get("subscription", subscription_id, lock=True)
        if row.data["status"] not in standing.RUNNING:
            raise ApiError(f"This subscription is {row.data['status']}.", param="id")
        ACTIONS[action](row, Moment(now))
    settling.settle_due(now)
    return store.get("subscription", subscription_id)


def _renew(row: StoredObject, moment: Moment) -> None:
    """Let the period end now; the renewal follows as it does by itself."""
    at = store.seconds(moment.now)
    if at <= standing.period_start(row):
        raise ApiError("The period has only just begun.", param="id")
    renewing.move_period_end(row, at)


def _fail_next_payment(row: StoredObject, moment: Moment) -> None:
    """Put a card in the place of the default one that declines every charge; `pay_again` undoes it."""
    if "own_card" not in row.private:
        row.private["own_card"] = row.data["default_payment_method"]
        bad = keep_card(row.data["customer"], DECLINING, moment)
        standing.change(row, moment, default_payment_method=bad.object_id)


def _pay_again(row: StoredObject, moment: Moment) -> None:
    if "own_card" in row.private:
        standing.change(row, moment, default_payment_method=row.private.pop("own_card"))
        row.save(update_fields=["private"])


def _cancel(row: StoredObject, moment: Moment) -> None:
    ending.end(row, moment, reason="cancellation_requested")


def _unknown_price(row: StoredObject, moment: Moment) -> None:
    """Sell something else from now on, at a price that our product has never seen. Nothing is billed for it."""
    call = Call({}, {}, moment)
    product = store.create("product", products.build(UNKNOWN, call, active=True), now=moment.now)
    events.record("product.created", product, moment)
    old = row.data["items"]["data"][0]
    recurring = old["price"]["recurring"]
    data = {"currency": row.data["currency"], "unit_amount": 1234, "recurring": recurring}
    price = store.create("price", prices.build(data, product.object_id, active=True), now=moment.now)
    events.record("price.created", price, moment)
    given = {"items": [{"id": old["id"], "price": price.object_id}], "proration_behavior": "none"}
    standing.change(row, moment, **proration.plan(row, given, moment).apply(row))


ACTIONS: dict[str, Callable[[StoredObject, Moment], None]] = {
    "renew": _renew,
    "fail_next_payment": _fail_next_payment,
    "pay_again": _pay_again,
    "cancel": _cancel,
    "unknown_price": _unknown_price,
}


def keep_card(customer: str, number: str, moment: Moment) -> StoredObject:
    """Attach a new card with this test number to a customer."""
    known = store.get("customer", customer).data
    details = payment_methods.card_details(cards.lookup(number), month=12, year=2034, cvc_check="pass")
    billing = payment_methods.billing_details(email=known["email"], name=known["name"], country="US")
    body = payment_methods.build("card", billing=billing, details=details, customer=customer)
    row = store.create("payment_method", body, now=moment.now, private={"card": number})
    events.record("payment_method.attached", row, moment)
    return row
