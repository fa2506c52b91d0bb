"""Orders while a third of the provider's events is lost, duplicated, delayed or out of order.

So few that the suite stays short; DISTURBED_ORDERS=500 makes the long run, DISTURBED_SEED another one.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.books.models import CreditGrant, JournalEntry
from billing.payments import settling, webhooks
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.stripe_processor import get_processor
from config import clock
from sandbox import delivery
from tests import factories
from tests.billing.payments.conftest import Shop, work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
ORDERS = int(os.environ.get("DISTURBED_ORDERS", "120"))
SEED = int(os.environ.get("DISTURBED_SEED", "1"))
WAYS = ["lost", "duplicate", "delayed", "reordered"]
CUSTOMERS, WAVE = 100, 50
DECLINED = "4000000000009995"


def pay(shop: Shop, order: TopUp, draw: random.Random) -> str:
    """What a customer does on the page: most pay at once, some after a decline, some never."""
    session = order.checkout_session_id
    fate = draw.choices(["paid", "declined, then paid", "declined", "left"], [70, 14, 8, 8])[0]
    if order.method != TopUp.Method.CARD:
        outcome = {"paid": "succeed", "declined, then paid": "delayed_succeed", "declined": "delayed_fail"}.get(fate)
        if outcome:
            shop.sandbox.pay_by_wallet(session, order.method, outcome)
        return f"{order.method}: {outcome or 'left'}"
    if fate.startswith("declined"):
        shop.sandbox.pay(session, DECLINED)
    if fate.endswith("paid"):
        assert shop.sandbox.pay(session).ok
    return fate


def tell_what_is_due() -> None:
    """The provider sends what is due now; a worker does what the broker holds."""
    delivery.deliver_pending(clock.now())
    work()


def sweep(at: timedelta) -> None:
    """What beat does, at a later time: events nobody finished, then orders without news."""
    now = clock.now() + at
    while found := webhooks.claim_due(now=now):
        for event_id in found:
            webhooks.process(event_id, processor=get_processor(), now=now)
    for order_id in settling.claim_due(now=now, limit=10 * ORDERS):
        settling.check(order_id, processor=get_processor(), now=now)


def test_every_paid_order_is_credited_exactly_once_when_a_third_of_the_events_is_disturbed(
    shop: Shop, record_property: Callable[[str, object], None]
) -> None:
    draw = random.Random(SEED)
    # So many that nobody's declines are enough for a risk rule: those are another test's business.
    owners = [shop.owner, *(factories.user() for _ in range(CUSTOMERS - 1))]
    accounts = [factories.account(owner, now=clock.now()) for owner in owners]
    shop.sandbox.switch(disturb=WAYS, percent=34, seed=SEED, delay_seconds=900, reorder_seconds=30, settle_seconds=60)
    fates: Counter[str] = Counter()
    for first in range(0, ORDERS, WAVE):
        wave = []
        for _ in range(first, min(first + WAVE, ORDERS)):
            usd = f"{draw.randint(5, 60)}.{draw.randint(0, 99):02d}"
            method = draw.choices(["card", "alipay", "wechat_pay"], [8, 1, 1])[0]
            number = draw.randrange(CUSTOMERS)
            wave.append(shop.order(usd, account=accounts[number], actor=owners[number], method=method))
        for order in wave:
            fates[pay(shop, order, draw)] += 1
        tell_what_is_due()
    shop.sandbox.settle_due(after=timedelta(hours=5))  # delayed payments end, and pages that nobody paid on expire
    shop.tell()
    before_sweeps = TopUp.objects.filter(status=TopUp.Status.CREDITED).count()
    for minutes in (3, 10, 60, 240):
        sweep(timedelta(minutes=minutes))
    shop.tell()

    captured: Counter[str] = Counter()
    for charge in shop.sandbox.objects("charge"):
        if charge["status"] == "succeeded":
            captured[charge["metadata"]["order"]] += charge["amount_captured"]
    orders = {order.number: order for order in TopUp.objects.all()}
    entries = Counter(
        meta["order"] for meta in JournalEntry.objects.filter(kind="topup").values_list("meta", flat=True)
    )
    ways = Counter(one.state for one in shop.sandbox.deliveries())

    assert len(orders) == ORDERS
    assert set(entries) == set(captured)
    assert set(entries.values()) == {1}
    assert {n for n, order in orders.items() if order.status == TopUp.Status.CREDITED} == set(captured)
    assert {n: order.amount_minor for n, order in orders.items() if n in captured} == dict(captured)
    credited = sum(CreditGrant.objects.filter(kind="cash").values_list("amount", flat=True), Decimal(0))
    assert credited == sum((orders[number].amount_usd for number in captured), Decimal(0))
    assert not TopUp.objects.filter(status__in=TopUp.OPEN).exists()
    assert not PaymentEvent.objects.filter(state__in=["received", "parked", "quarantined"]).exists()
    assert before_sweeps < len(captured)  # events really were lost: only the sweeps brought these in
    record_property(
        "said",
        f"Disturbed run, seed {SEED}: {ORDERS} orders, {len(captured)} paid and credited once, "
        f"{len(captured) - before_sweeps} of them found by sweeps; deliveries {dict(ways)}; {dict(fates)}",
    )
