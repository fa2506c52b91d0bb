"""Credit jobs and late credit (F009, F010): exactly once, visible, and explained."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.books.models import CreditGrant
from billing.payments import credit_jobs, jobs, late, settling
from billing.payments.models_jobs import CreditJob, LateCredit
from billing.payments.stripe_processor import get_processor
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop

pytestmark = pytest.mark.django_db(transaction=True)


def test_scheduled_credit_is_given_on_its_date_and_once(shop: Shop) -> None:
    now, staff = clock.now(), factories.user(is_staff=True)
    terms: dict[str, Any] = {"due_at": now + timedelta(days=1), "actor": staff, "reason": "pilot", "key": "plan:1"}
    job = credit_jobs.give_on(shop.account.pk, Decimal(5), now=now, **terms)
    assert credit_jobs.give_on(shop.account.pk, Decimal(5), now=now, **terms).pk == job.pk
    assert jobs.claim_due(now=now) == []

    later = now + timedelta(days=1)
    assert jobs.claim_due(now=later) == [job.pk]
    for _ in range(2):
        job = jobs.run(job.pk, processor=None, now=later)
    assert (job.state, shop.balance()) == ("done", 5)


def test_a_cancelled_job_gives_nothing(shop: Shop) -> None:
    now, staff = clock.now(), factories.user(is_staff=True)
    job = credit_jobs.give_on(
        shop.account.pk, Decimal(5), due_at=now + timedelta(days=1), actor=staff, reason="pilot", key="plan:1", now=now
    )
    jobs.cancel(job.pk, actor=staff, reason="not wanted", now=now)
    assert jobs.run(job.pk, processor=None, now=now + timedelta(days=2)).state == "cancelled"
    assert shop.balance() == 0


def test_an_order_credited_late_by_a_lost_event_is_found_and_compensated_once(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    settling.settle(order.pk, processor=get_processor(), now=clock.now() + timedelta(minutes=15))

    row = LateCredit.objects.get()
    assert (row.cause, row.state, row.delay > timedelta(minutes=14)) == ("event_lost", "proposed", True)
    staff = factories.user(is_staff=True)
    for _ in range(2):
        late.issue(row.pk, actor=staff, reason="our fault", now=clock.now())
    grant = CreditGrant.objects.get(kind="compensation")
    assert grant.amount == row.amount_usd == 1


def test_an_order_credited_in_time_is_not_late(shop: Shop) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    shop.settle(order)
    assert not LateCredit.objects.exists()


def test_the_policy_compensates_by_a_job(shop: Shop, settings: Any) -> None:
    settings.LATE_CREDIT_POLICY = "issue"
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    later = clock.now() + timedelta(minutes=15)
    settling.settle(order.pk, processor=get_processor(), now=later)
    job = CreditJob.objects.get()
    assert jobs.run(job.pk, processor=None, now=later).state == "done"
    assert LateCredit.objects.get().state == "issued"
