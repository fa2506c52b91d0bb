"""Windows and the cap of Extra Usage under many calls at once, each with its control without the lock."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.metering.models import Authorization
from subscriptions.models import ExtraUsageMonth
from tests.concurrency.helpers import at_once, without_lock
from tests.subscriptions.driving import NOON, Driver, driver, plan_version

pytestmark = pytest.mark.django_db(transaction=True)
FOLDER = "subscriptions/sql"


def nearly_full(usd: str = "0") -> Driver:
    """999.5 of 1,000 Flows are used."""
    there = driver(plan_version("max", flows_5h=1000, flows_week=5000), usd=usd)
    assert there.use("999.5", NOON).outcome == "created"
    return there


def hundred_at_once(there: Driver, *, usd: str = "0", key=None) -> Counter[str]:
    """A hundred calls that need a tenth of a Flow each."""
    return Counter(
        f"{found.outcome} {found.funding or ''}".strip()
        for found in at_once(100, lambda _number: there.ask("0.1", NOON + timedelta(hours=1), usd=usd, key=key))
    )


def test_a_hundred_calls_at_999_and_a_half_of_1000_flows_are_admitted_as_far_as_they_fit():
    there = nearly_full()
    assert hundred_at_once(there) == {"created subscription": 5, "exhausted": 95}
    [five] = there.windows()
    assert (five.used, five.held, five.left) == (Decimal("999.5"), Decimal("0.5"), 0)
    assert there.ask("0.1", NOON + timedelta(hours=1)).windows[0].ends_at == NOON + timedelta(hours=5)


def test_those_that_do_not_fit_are_paid_by_extra_usage_where_the_account_agreed():
    there = nearly_full(usd="100")
    key = there.agree("50")
    assert hundred_at_once(there, usd="0.10", key=key.pk) == {"created subscription": 5, "created extra_usage": 95}
    assert ExtraUsageMonth.objects.get().held == Decimal("9.5")


@pytest.mark.damages_books
def test_control_without_the_lock_more_are_admitted_than_fit():
    there = nearly_full()
    with without_lock("admit_flows", FOLDER):
        for _ in range(20):
            found = hundred_at_once(there)
            if found["created subscription"] > 5:
                break
            Authorization.objects.filter(status="open").delete()
    assert found["created subscription"] > 5


def test_extra_usage_with_a_cap_of_five_dollars_holds_no_more_than_that_under_fifty_threads():
    there = driver(plan_version("pro"), usd="100")
    there.use("50", NOON)
    key = there.agree("5.00")

    def call(_number: int) -> str:
        held = there.ask("1", NOON + timedelta(hours=1), usd="0.30", key=key.pk)
        if held.outcome == "created":
            there.capture(held, NOON + timedelta(hours=1), "0.4")  # each call costs a third more than its hold
        return held.outcome

    outcomes = Counter(at_once(50, call))
    month = ExtraUsageMonth.objects.get()
    assert set(outcomes) == {"created", "extra_usage_cap"}
    assert month.held == 0
    assert month.spent == Decimal("0.4") * outcomes["created"]
    # No call was admitted whose hold did not fit: what passes the cap is the overshoot of those that were.
    assert month.spent - Decimal("0.1") * outcomes["created"] <= Decimal(5)


def test_holds_alone_never_pass_the_cap():
    there = driver(plan_version("pro"), usd="100")
    there.use("50", NOON)
    key = there.agree("5.00")
    at = NOON + timedelta(hours=1)
    outcomes = Counter(at_once(50, lambda _n: there.ask("1", at, usd="0.30", key=key.pk).outcome))
    assert outcomes == {"created": 16, "extra_usage_cap": 34}
    assert ExtraUsageMonth.objects.get().held == Decimal("4.8")


@pytest.mark.damages_books
def test_control_without_the_lock_the_cap_is_passed():
    there = driver(plan_version("pro"), usd="100")
    there.use("50", NOON)
    key = there.agree("5.00")
    at = NOON + timedelta(hours=1)
    there.ask("1", at, usd="0.30", key=key.pk)  # the month's row exists
    with without_lock("admit_flows", FOLDER):
        for _ in range(20):
            outcomes = Counter(at_once(50, lambda _n: there.ask("1", at, usd="0.30", key=key.pk).outcome))
            if outcomes["created"] > 15:
                break
            ExtraUsageMonth.objects.update(held=Decimal("0.30"))
    assert outcomes["created"] > 15
