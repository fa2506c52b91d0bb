"""A worker that gives a plan back dies at every point where it waits for the provider or the database, and another one
goes on: one refund for each payment, the plan ended or kept here and there, and sound books.

Each question to the database is a point, and so is the moment before and after each commit and each call of the
provider. Each needs a plan of its own that was bought at the provider. So of one payment that goes all are taken; of
the other ways all around commits and calls, and of the questions one in so many.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from billing.payments.stripe_processor import get_processor
from config import clock
from refunds import plan_lifecycle, plan_settling
from refunds.models_plan import PlanRefund
from subscriptions import giving_back
from tests import factories
from tests.flush import broken_books
from tests.refunds.giving import Back, Club, Killed, Reaper, Shop, back, club, dying_at, inbox, move, shop, work

__all__ = ["Shop", "back", "club", "inbox", "move", "shop", "work"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

OUTCOMES = {"succeed": "succeeded", "fail": "failed"}


def another(back: Back) -> Back:
    """The next customer, at the same provider."""
    owner = factories.user()
    return Back(Club(back.club.sandbox, factories.account(owner, now=clock.now(), name="Northwind Labs"), owner))


def lives(work: Callable[[], Any], fatal: int) -> Reaper:
    """Do it and die there; the database hears no more of the dead one."""
    with dying_at(fatal) as reaper, suppress(Killed):
        work()
    connection.close()
    return reaper


def sampled(names: list[str], stride: int) -> list[int]:
    """All points around commits and calls, and every so many a question."""
    around = ("before", "after")
    return [n for n, name in enumerate(names, 1) if name.startswith(around) or n % stride == 0]


def payments_of(one: Back) -> list[str]:
    """Of this customer, at the provider."""
    return list(one.club.row().invoices.values_list("payment_intent_id", flat=True))


def check(one: Back, outcome: str, payments: int, where: str) -> None:
    """What must be true when the next worker has done its work."""
    intents = payments_of(one)
    made = [row for row in one.club.sandbox.refunds() if row["payment_intent"] in intents]
    refund, row = PlanRefund.objects.get(account=one.club.account), one.club.row()
    assert refund.status == OUTCOMES[outcome], where
    assert (refund.check_at, row.paused_at) == (None, None), where
    if outcome == "succeed":
        assert len(made) == payments, where
        assert sum(one["amount"] for one in made) == refund.sent_minor == refund.final_minor, where
        assert (row.status, one.ended_there()) == ("ended", True), where
    else:
        assert len(made) == 1, where  # all of a plan, or as little of it as can be helped
        assert (row.status, row.cancel_at_period_end, one.renews_there()) == ("active", False, True), where


@pytest.mark.parametrize(
    ("outcome", "upgraded", "stride"),
    [("succeed", False, 1), ("succeed", True, 25), ("fail", False, 25)],
)
def test_a_worker_killed_anywhere_leaves_one_refund_for_each_payment(
    back: Back, outcome: str, upgraded: bool, stride: int
) -> None:
    back.club.sandbox.switch(refunds=outcome)

    def asked(one: Back) -> PlanRefund:
        if upgraded:
            one.upgraded()
        else:
            one.club.subscribe("pro")
        return one.submit()

    def all_of_it(refund: PlanRefund) -> Callable[[], Any]:
        def run() -> None:
            for _ in range(2):  # the second takes up what the end of the first set going
                plan_settling.go_on(refund.pk, processor=get_processor(), now=clock.now())

        return run

    whole = lives(all_of_it(asked(back)), 0)
    check(back, outcome, 1 + upgraded, "nowhere")
    calls = {"create_refund", "subscription", "renew"} | ({"end_subscription"} if outcome == "succeed" else set())
    assert {f"{when} {name}" for name in calls for when in ("before", "after")} <= set(whole.names)
    points = sampled(whole.names, stride)
    if upgraded or outcome == "fail":  # what comes before is the same as with one payment that goes
        points = [n for n in points if n > whole.names.index("before create_refund") - 3]
    for fatal in points:
        one = another(back)
        refund = asked(one)
        died = lives(all_of_it(refund), fatal)
        assert died.where
        all_of_it(refund)()
        check(one, outcome, 1 + upgraded, f"{fatal}: {died.where}")
    assert broken_books() == []
    marks = [one["metadata"]["refund"] for one in back.club.sandbox.refunds()]
    assert len(marks) == len(set(marks))


def test_a_submission_killed_anywhere_is_there_as_a_whole_or_not_at_all(back: Back) -> None:
    """Every point. Asked again under the same key it is one request."""
    back.club.subscribe("pro")
    token, key = back.quote().token, uuid4().hex

    def submit() -> PlanRefund:
        return plan_lifecycle.submit(
            back.club.account.pk, token, client_key=key, actor=back.club.owner, now=clock.now()
        )

    fatal, died = 0, None
    while died is None or died.where:
        fatal += 1
        before = PlanRefund.objects.count()
        died = lives(submit, fatal)
        there = PlanRefund.objects.count()
        assert (back.club.row().paused_at is not None) == bool(there), died.where
        if there > before:
            assert died.where in ("after commit", ""), died.where
            assert PlanRefund.objects.get() == submit()
            break
    assert fatal > 12
    assert broken_books() == []


def test_a_renewal_that_a_dead_worker_asked_to_stop_comes_back_also_when_the_provider_hears_it_late(
    back: Back, move: Any
) -> None:
    """The refund is cancelled meanwhile, and whoever goes on finds the renewal on: the request is still on its way."""
    back.club.subscribe("pro")
    first = back.submit()
    fatal = lives(lambda: back.go_on(first), 0).names.index("before renew") + 1
    one = another(back)
    one.club.subscribe("pro")
    refund = one.submit()
    died = lives(lambda: one.go_on(refund), fatal)
    assert died.where == "before renew"
    one.cancel(refund)
    one.go_on(refund)
    giving_back.stop_renewing(  # now it arrives
        refund.subscription_id, key=f"plan_refund:{refund.pk}:renewal", processor=get_processor(), now=clock.now()
    )
    assert not one.renews_there()
    move("+6m")
    assert plan_settling.claim_due(now=clock.now()) == [refund.pk]
    one.go_on(refund)
    one.check_kept()


def test_a_cancellation_killed_anywhere_keeps_the_plan_and_its_renewal(back: Back) -> None:
    """At the points around commits and calls, and at one question in nine."""

    def stopped(one: Back) -> Callable[[], Any]:
        one.club.subscribe("pro")
        refund = one.submit()
        giving_back.stop_renewing(  # and calls are still settled
            refund.subscription_id,
            key=f"plan_refund:{refund.pk}:renewal",
            processor=get_processor(),
            now=clock.now(),
        )

        def run() -> None:
            plan_lifecycle.cancel(refund.pk, actor=one.club.owner, now=clock.now())
            one.go_on(refund)

        return run

    whole = lives(stopped(back), 0)
    back.check_kept()
    for fatal in sampled(whole.names, 9):
        one = another(back)
        run = stopped(one)
        assert not one.renews_there()
        died = lives(run, fatal)
        run()
        row = one.club.row()
        assert (row.status, row.paused_at, row.cancel_at_period_end) == ("active", None, False), died.where
        assert one.renews_there(), died.where
    assert broken_books() == []
