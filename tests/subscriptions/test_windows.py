"""Quota windows: opened by admitted calls, half-open, placed by admission time (C06, C07, J15, J20)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.metering import holds
from billing.metering.models import Authorization, UsageRecord
from subscriptions.models import QuotaWindow
from subscriptions.windows import month_after, span
from tests.subscriptions.driving import NOON, driver, plan_version

pytestmark = pytest.mark.django_db(transaction=True)
MICRO = timedelta(microseconds=1)


def at(hours: float = 0, *, days: float = 0) -> datetime:
    return NOON + timedelta(hours=hours, days=days)


@pytest.fixture
def pro():
    return driver(plan_version("pro"))


def test_j15_a_window_lasts_five_hours_from_its_first_call_and_the_next_one_from_the_next(pro):
    nine = datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert pro.use("20", nine).outcome == "created"
    assert pro.use("30", nine.replace(hour=10, minute=30)).outcome == "created"

    refused = pro.ask("1", nine.replace(hour=11))
    assert refused.outcome == "exhausted"
    five = refused.windows[0]
    assert (five.taken, five.cap, five.ends_at) == (Decimal(50), Decimal(50), nine.replace(hour=14))

    assert pro.use("1", nine.replace(hour=15, minute=10)).outcome == "created"
    assert [(w.starts_at, w.ends_at) for w in pro.windows()] == [
        (nine, nine.replace(hour=14)),
        (nine.replace(hour=15, minute=10), nine.replace(hour=20, minute=10)),
    ]


def test_j20_five_weeks_of_a_month_come_to_the_months_cap_and_not_to_five_times_the_weeks(pro):
    taken = []
    for week in range(5):
        start, used = at(days=7 * week), Decimal(0)
        for step in range(11):  # a window of five hours admits fifty at most
            moment = start + timedelta(hours=5 * step)
            while pro.use("4", moment).outcome == "created":
                used += 4
        taken.append(used)
    assert taken == [504, 504, 504, 504, 144]
    assert sum(taken) == Decimal(2160)


def test_with_the_period_counted_and_not_enforced_the_fifth_week_is_a_whole_one():
    free_hand = driver(plan_version("pro", enforce_period_cap=False, flows_5h=504))
    for week in range(5):
        assert free_hand.use("504", at(days=7 * week)).outcome == "created"
    [period] = free_hand.windows("period")
    assert (period.used, period.cap, period.enforced) == (Decimal(2520), Decimal(2160), False)


@pytest.mark.parametrize(
    ("moment", "windows"), [(timedelta(hours=5) - MICRO, 1), (timedelta(hours=5), 2), (timedelta(hours=5) + MICRO, 2)]
)
def test_at_exactly_five_hours_a_new_window_begins(pro, moment, windows):
    pro.use("50", NOON)
    answer = pro.use("1", NOON + moment)
    assert len(pro.windows()) == windows
    assert answer.outcome == ("created" if windows == 2 else "exhausted")


def test_a_refused_call_opens_no_window(pro):
    pro.use("50", NOON)
    pro.use("50", at(6))
    for hour in (12, 18, 24, 30, 36, 42, 48, 54):
        assert pro.use("50", at(hour)).outcome == "created"
    before = QuotaWindow.objects.count()
    refused = pro.ask("5", at(60))  # the week has 4 left, and five hours would begin anew
    assert refused.outcome == "exhausted"
    assert [window.fits(Decimal(5)) for window in refused.windows] == [True, False, True]
    assert refused.windows[0].taken == 0
    assert QuotaWindow.objects.count() == before


def test_a_call_counts_in_the_window_in_which_it_was_admitted_however_late_it_is_captured(pro):
    held = pro.ask("10", NOON)
    pro.use("1", at(5))
    pro.capture(held, at(5) + MICRO, "12.5")
    first, second = pro.windows()
    assert (first.used, first.held) == (Decimal("12.5"), 0)
    assert (second.used, second.held) == (1, 0)


def test_an_expired_hold_frees_its_window_and_a_capture_after_that_still_counts(pro):
    held = pro.ask("10", NOON)
    assert holds.expire_due(now=at(1)) == 1
    assert [(w.used, w.held) for w in pro.windows()] == [(0, 0)]
    assert pro.capture(held, at(2), "10").late
    assert [(w.used, w.held) for w in pro.windows()] == [(10, 0)]


def test_a_voided_call_leaves_nothing_in_the_windows(pro):
    held = pro.ask("10", NOON)
    pro.void(held, at(0.1))
    pro.void(held, at(0.2))
    assert {(w.used, w.held) for w in QuotaWindow.objects.all()} == {(0, 0)}


def test_what_a_call_used_beyond_its_hold_is_recorded_as_overshoot_and_stays_on_flows(pro):
    held = pro.ask("50", NOON)
    charged = pro.capture(held, NOON, "60")
    assert (charged.flows, charged.charge, charged.funding) == (Decimal(60), 0, "subscription")
    [five] = pro.windows()
    assert (five.used, five.overshoot, five.left) == (60, 10, 0)
    assert pro.ask("1", at(1)).outcome == "exhausted"


def test_a_call_larger_than_any_window_takes_a_whole_untouched_one(pro):
    held = pro.ask("80", NOON)
    assert (held.outcome, held.held_flows) == ("created", Decimal(50))
    assert pro.ask("0.000001", NOON).outcome == "exhausted"
    pro.void(held, NOON)
    pro.use("0.001", NOON)
    assert pro.ask("80", NOON).outcome == "exhausted"


def test_the_same_request_again_is_the_same_hold_and_takes_nothing_more(pro):
    first = pro.ask("10", NOON, request_id="req-1")
    again = pro.ask("10", NOON, request_id="req-1")
    assert (first.outcome, again.outcome, again.id, again.funding) == ("created", "repeated", first.id, "subscription")
    assert [w.held for w in pro.windows()] == [10]


def test_the_windows_of_the_free_plan_lie_in_thirty_days_from_the_first_call():
    free = driver()
    assert free.use("5", NOON).outcome == "created"
    [period] = free.windows("period")
    assert (period.starts_at, period.ends_at, period.cap, period.subscription) == (NOON, at(days=30), 216, None)
    assert free.ask("1", at(4)).outcome == "exhausted"
    assert free.use("5", at(days=30)).outcome == "created"
    assert len(free.windows("period")) == 2


def test_windows_end_with_their_period(pro):
    pro.use("1", at(days=30, hours=-1))
    assert [w.ends_at for w in pro.windows()] == [at(days=30)]
    assert [w.ends_at for w in pro.windows("week")] == [at(days=30)]


def test_a_paid_plan_whose_period_has_ended_is_not_given_a_new_one_by_a_call(pro):
    assert pro.ask("1", at(days=30)).outcome == "lapsed"
    assert len(pro.windows("period")) == 1


def test_on_a_grid_windows_follow_each_other_from_the_periods_start():
    grid = driver(plan_version("pro", anchor_policy="grid"))
    grid.use("1", at(7))
    assert [(w.starts_at, w.ends_at) for w in grid.windows()] == [(at(5), at(10))]
    assert [(w.starts_at, w.ends_at) for w in grid.windows("week")] == [(NOON, at(days=7))]
    grid.use("1", at(days=29))
    assert [(w.starts_at, w.ends_at) for w in grid.windows("week")][1] == (at(days=28), at(days=30))


def test_an_upgrade_gives_full_new_windows_less_the_flows_that_were_used(pro):
    pro.use("30", NOON)
    held = pro.ask("10", at(1))
    pro.change(plan_version("max"), at(2))

    old, new = pro.windows()
    assert (old.ends_at, new.starts_at, new.ends_at, new.cap, new.carried) == (at(2), at(2), at(7), 300, 40)
    assert pro.ask("260.000001", at(3)).outcome == "exhausted"
    assert pro.use("260", at(3)).outcome == "created"

    pro.capture(held, at(4), "4")  # it was admitted before the upgrade, and came to less
    old, new = pro.windows()
    assert (old.used, old.held, new.carried, new.used, new.left) == (34, 0, 34, 260, 6)
    assert [w.carried for w in pro.windows("period")] == [0, 34]


def test_two_upgrades_in_one_window_carry_on_what_both_plans_have_used(pro):
    held = pro.ask("10", NOON)
    pro.change(plan_version("max"), at(1))
    pro.use("100", at(1.5))
    pro.change(plan_version("ultra"), at(2))
    pro.capture(held, at(3), "20")
    assert [w.carried for w in pro.windows()] == [0, 20, 120]
    assert pro.windows()[2].left == 680


def test_a_call_read_a_moment_before_the_window_that_opened_meanwhile_counts_in_it(pro):
    pro.use("1", at(1))
    assert pro.use("1", at(1) - MICRO).outcome == "created"
    [window] = pro.windows()
    assert (window.starts_at, window.used) == (at(1), 2)


def test_a_free_model_costs_no_flows_and_passes_a_full_window(pro):
    pro.use("50", NOON)
    assert pro.use("0", at(1)).outcome == "created"
    assert UsageRecord.objects.filter(flows=0).count() == 1
    assert Authorization.objects.filter(funding="subscription").count() == 2


@pytest.mark.parametrize(
    ("anchor", "start", "end"),
    [
        ("2026-01-31", "2026-01-31", "2026-02-28"),
        ("2026-01-31", "2026-02-28", "2026-03-31"),
        ("2024-01-30", "2024-01-30", "2024-02-29"),
        ("2026-12-15", "2026-12-15", "2027-01-15"),
        ("2026-03-29", "2026-03-29", "2026-04-29"),
    ],
)
def test_a_period_ends_on_the_anchors_day_of_the_next_month_or_on_its_last(anchor, start, end):
    moment = {name: datetime.fromisoformat(f"{text}T01:30:00+00:00") for name, text in
              (("anchor", anchor), ("start", start), ("end", end))}  # fmt: skip
    assert month_after(moment["anchor"], moment["start"]) == moment["end"]


def test_the_pure_rule_of_spans_is_the_one_that_the_database_follows():
    for grid in (False, True):
        for hours in (0, 4.9, 5, 7, 719):
            there = driver(plan_version("pro", anchor_policy="grid" if grid else "first_request"))
            there.use("1", at(hours))
            for kind in ("5h", "week"):
                [window] = there.windows(kind)
                expected = span(kind, at(hours), period_start=NOON, period_end=at(days=30), grid=grid)
                assert (window.starts_at, window.ends_at) == expected
