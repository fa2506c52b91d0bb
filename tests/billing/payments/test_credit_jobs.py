"""Credit jobs and late credit (F009, F010): exactly once, visible, and explained."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.core import mail
from django.utils import translation
from django.utils.translation import gettext

from billing.books.models import CreditGrant, CreditProposal
from billing.errors import InvalidTransition
from billing.payments import credit_jobs, holds, jobs, late, settling
from billing.payments.models_jobs import CreditJob, LateCredit
from billing.payments.stripe_processor import get_processor
from config import clock
from tests import factories
from tests.billing.payments.conftest import Shop, work
from tests.concurrency.helpers import at_once
from tests.staff import act, action_of, desk

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


# --- Tables of states ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("current", "wanted"), list(product(CreditJob.State.values, repeat=2)))
def test_a_job_moves_only_as_its_table_allows(current: str, wanted: str) -> None:
    job, now = CreditJob(state=current), clock.now()
    if wanted in CreditJob.NEXT[current]:
        job.move_to(wanted, now=now)
        assert (job.state, job.finished_at) == (wanted, now if wanted in ("done", "cancelled") else None)
    else:
        with pytest.raises(InvalidTransition):
            job.move_to(wanted, now=now)
        assert job.state == current


@pytest.mark.parametrize(("current", "wanted"), list(product(LateCredit.State.values, repeat=2)))
def test_a_late_credit_is_decided_once(current: str, wanted: str) -> None:
    row, now = LateCredit(state=current), clock.now()
    if current == "proposed" and wanted != "proposed":
        row.move_to(wanted, by=None, now=now)
        assert (row.state, row.decided_at) == (wanted, now)
    else:
        with pytest.raises(InvalidTransition):
            row.move_to(wanted, by=None, now=now)


# --- Races --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locked", [True, False])
def test_two_workers_on_one_job_give_one_credit_and_without_the_lock_two(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """The grant's own key would hide the race: here each call has a key of its own, so only the lock is left."""
    now, staff = clock.now(), factories.user(is_staff=True)
    terms: dict[str, Any] = {"due_at": now + timedelta(days=1), "actor": staff, "reason": "pilot", "key": "plan:1"}
    job = credit_jobs.give_on(shop.account.pk, Decimal(5), now=now, **terms)
    give, both = credit_jobs.proposals.give_or_propose, threading.Barrier(2)

    def under_a_key_of_its_own(*args: Any, **kwargs: Any) -> Any:
        if not locked:
            both.wait(30)
        return give(*args, **{**kwargs, "key": f"{kwargs['key']}:{threading.get_ident()}"})

    monkeypatch.setattr(credit_jobs.proposals, "give_or_propose", under_a_key_of_its_own)
    if not locked:
        monkeypatch.setattr(jobs, "locked", lambda job_id: CreditJob.objects.get(pk=job_id))
    later = now + timedelta(days=1)
    at_once(2, lambda _: jobs.run(job.pk, processor=None, now=later))
    assert shop.balance() == (5 if locked else 10)


# --- Late ---------------------------------------------------------------------------------------------------------


def test_the_mail_says_what_happened_in_the_readers_language_and_once(shop: Shop) -> None:
    shop.owner.locale = "zh-hans"
    shop.owner.save()
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id)
    settling.settle(order.pk, processor=get_processor(), now=clock.now() + timedelta(minutes=15))
    work()
    mail.outbox.clear()
    row = LateCredit.objects.get()
    for _ in range(2):
        late.issue(row.pk, actor=factories.user(is_staff=True), reason="our fault", now=clock.now())
        work()
    [told] = mail.outbox
    assert told.to == [shop.owner.email]
    assert order.number in told.body
    with translation.override("zh-hans"):
        assert f"{gettext('Order')}: {order.number}" in told.body


# --- Desks --------------------------------------------------------------------------------------------------------


def scheduled(shop: Shop, amount: str) -> CreditJob:
    day = (clock.now() + timedelta(days=3)).date()
    act(desk("finance"), action_of(shop.account, "schedule-credit"), amount=amount, due=day.isoformat(), reason="pilot")
    job: CreditJob = CreditJob.objects.get()
    assert job.due_at == datetime(day.year, day.month, day.day, tzinfo=UTC)
    return job


def test_staff_schedule_credit_on_a_date(shop: Shop) -> None:
    job = scheduled(shop, "5")
    assert jobs.run(job.pk, processor=None, now=job.due_at).state == "done"
    assert shop.balance() == 5


def test_scheduled_credit_above_the_limit_waits_for_a_second_person(shop: Shop, settings: Any) -> None:
    job = scheduled(shop, str(settings.SECOND_PERSON_ABOVE_USD + 1))
    assert jobs.run(job.pk, processor=None, now=job.due_at).state == "done"
    assert shop.balance() == 0
    assert CreditProposal.objects.get().state == "proposed"


def test_a_date_in_the_past_schedules_nothing(shop: Shop) -> None:
    act(desk("finance"), action_of(shop.account, "schedule-credit"), amount="5", due="2020-01-01", reason="pilot")
    assert not CreditJob.objects.exists()


def test_staff_retry_a_failed_job_and_cancel_one_with_their_reason(shop: Shop) -> None:
    job = scheduled(shop, "5")
    CreditJob.objects.update(state="failed", attempts=8, last_error="a bug")
    act(desk("finance"), action_of(job, "retry"), reason="mended")
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("due", 0)
    act(desk("finance"), action_of(job, "cancel"), reason="not wanted")
    job.refresh_from_db()
    assert job.state == "cancelled"


# --- After a risk hold --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_end", "found"), [(timedelta(0), 0), (timedelta(minutes=15), 1)])
def test_the_time_of_a_hold_is_not_our_lateness_and_what_comes_after_its_end_is(
    shop: Shop, after_end: timedelta, found: int
) -> None:
    order = shop.order()
    shop.sandbox.pay(order.checkout_session_id, "4000000000009235")  # the provider calls it risky
    shop.tell()
    order.refresh_from_db()
    assert order.status == "paid"
    holds.release_in_time(order.pk, now=order.risk.held_until + after_end)
    assert [row.delay for row in LateCredit.objects.all()] == [after_end] * found
    assert shop.balance() == 20
