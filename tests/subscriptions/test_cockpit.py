"""The Flow cockpit: how much is left, until when, what happens next (F072, F077, F080-F083, C06, C07, C24, C26)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.books.ledger import lock_wallet
from billing.metering import rollups
from billing.metering.models import UsageRecord
from config import clock
from subscriptions import classes, cockpit, flow_use, periods, quota, standing
from subscriptions.counting import Counter, forecast, outlook
from subscriptions.models import ExtraUsageMonth
from tests import factories
from tests.billing.pages import signed_in, text_of
from tests.subscriptions.driving import NOON, Driver, driver, flow_rate, plan_version

PAGE = "/platform/subscription"
MOST_QUERIES = 12
D = Decimal
commits = pytest.mark.django_db(transaction=True)


def at(hours: float = 0, *, days: float = 0) -> datetime:
    return NOON + timedelta(hours=hours, days=days)


def counter(kind: str = "5h", **terms: object) -> Counter:
    """A window of five hours from noon, of which 20 of 50 Flows are used."""
    told = {"cap": D(50), "used": D(20), "starts_at": NOON, "ends_at": at(5)} | terms
    return Counter(kind, **told)  # type: ignore[arg-type]


# --- Forecast: pure -------------------------------------------------------------------------------------------------
def test_at_an_even_pace_a_window_is_full_before_its_end_or_lasts():
    soon = forecast(counter(), calls=3, now=at(1))
    assert (soon.full_at, soon.by_end) == (at(2.5), 100)
    lasts = forecast(counter(used=D(10)), calls=3, now=at(2))
    assert (lasts.full_at, lasts.by_end) == (None, 25)


def test_what_calls_hold_and_what_was_carried_over_count_against_the_cap_and_are_no_pace():
    found = forecast(counter(held=D(5), carried=D(5)), calls=3, now=at(1))
    assert (found.full_at, found.by_end) == (at(2), 110)


@pytest.mark.parametrize(
    ("changed", "calls", "hours"),
    [
        ({}, 2, 1),  # two calls make no pace
        ({}, 3, 0.16),  # under ten minutes of five hours
        ({"ends_at": at(days=7)}, 3, 5),  # under a thirtieth of a week
        ({"used": D(0)}, 3, 1),
        ({"used": D(50)}, 3, 1),  # full: nothing to foretell
        ({"starts_at": None, "ends_at": None}, 3, 1),
        ({}, 3, 5),  # over
    ],
)
def test_there_is_no_forecast_before_there_is_a_pace(changed, calls, hours):
    assert forecast(counter(**changed), calls=calls, now=at(hours)) is None


def test_a_window_that_began_a_moment_ago_gives_no_forecast_even_when_its_period_cuts_it_short():
    assert forecast(counter(ends_at=at(0.1)), calls=9, now=at(0.05)) is None


# --- What happens next: pure ----------------------------------------------------------------------------------------
def test_the_counter_with_the_least_left_is_the_limit_and_of_two_the_one_that_ends_last():
    five, week, period = counter(), counter("week", cap=D(30), ends_at=at(days=7)), counter("period", cap=D(30))
    seen = outlook([five, week, period])
    assert (seen.limit.kind, seen.free, seen.full) == ("period", 10, ())


def test_flows_pay_again_when_every_full_window_has_ended():
    five, week = counter(used=D(50)), counter("week", cap=D(20), ends_at=at(days=7))
    seen = outlook([five, week, counter("period", cap=D(900), ends_at=at(days=30))])
    assert ([one.kind for one in seen.full], seen.until, seen.period_is_full) == (["5h", "week"], at(days=7), False)


def test_a_period_that_is_only_counted_is_never_what_stops_a_call():
    period = counter("period", cap=D(10), enforced=False)
    seen = outlook([counter(), period])
    assert (seen.limit.kind, seen.full, period.full, period.tone) == ("5h", (), False, "primary")


# --- The counters, from the rows ------------------------------------------------------------------------------------
@pytest.fixture
def pro() -> Driver:
    return driver(plan_version("pro"))


@commits
def test_windows_that_no_call_has_opened_begin_with_the_next_one(pro):
    five, week, period = cockpit.read(pro.account.pk, now=at(1)).counters
    assert [(one.open, one.left) for one in (five, week)] == [(False, 50), (False, 504)]
    assert (period.starts_at, period.ends_at, period.left) == (NOON, at(days=30), 2160)


@commits
def test_counters_show_what_is_used_held_and_left_and_the_exact_end(pro):
    pro.use("20", at(1))
    pro.ask("5", at(2))
    five, week, _ = cockpit.read(pro.account.pk, now=at(3)).counters
    assert (five.used, five.held, five.left, five.ends_at) == (20, 5, 25, at(6))
    assert (week.left, week.ends_at) == (479, at(1, days=7))


@commits
def test_a_window_that_has_ended_is_gone_at_its_last_moment(pro):
    pro.use("20", NOON)
    assert cockpit.read(pro.account.pk, now=at(5) - timedelta(microseconds=1)).counters[0].used == 20
    assert not cockpit.read(pro.account.pk, now=at(5)).counters[0].open


@commits
def test_after_an_upgrade_the_counters_say_what_is_carried_over_and_from_which_plan(pro):
    pro.use("30", NOON)
    pro.ask("10", at(1))
    pro.change(plan_version("max"), at(2))
    seen = cockpit.read(pro.account.pk, now=at(3))
    five = seen.counters[0]
    assert (five.carried, five.carried_from, five.left, five.cap) == (40, "Pro", 260, 300)
    assert seen.period_start == NOON  # the period that is paid for began with Pro
    assert seen.terms.code == "max"


@commits
def test_the_counters_are_those_of_the_open_period_as_admission_asks_them():
    made = driver(plan_version("pro"))
    newer = plan_version("pro", flows_5h=60)
    assert cockpit.read(made.account.pk, now=at(1)).counters[0].cap == 50 != newer.flows_5h


@commits
def test_a_forecast_needs_three_calls_that_were_charged_in_this_window(pro):
    for minute in (0, 10):
        pro.use("10", at(minute / 60))
    pro.ask("1", at(0.3))
    assert cockpit.read(pro.account.pk, now=at(0.5)).forecasts[0] is None
    pro.use("1", at(0.4))
    assert cockpit.read(pro.account.pk, now=at(0.5)).forecasts[0].full_at is not None
    assert cockpit.read(pro.account.pk, now=at(0.5)).forecasts[1] is None  # half an hour tells nothing of a week


@commits
def test_a_subscription_that_has_ended_leaves_free_and_is_named_for_a_month(pro):
    with transaction.atomic():
        lock_wallet(pro.account.pk)
        periods.end_open(pro.account.pk, at=at(5), by="end")
        pro.subscription.move_to("ended", now=at(5))
        pro.subscription.save()
    seen = cockpit.read(pro.account.pk, now=at(6))
    assert (seen.plan.code, seen.subscription, seen.ended.pk) == ("free", None, pro.subscription.pk)
    assert [one.cap for one in seen.counters] == [5, D("50.4"), 216]
    assert seen.next_plan.code == "pro"
    assert cockpit.read(pro.account.pk, now=at(6, days=30)).ended is None


@commits
def test_extra_usage_pays_while_its_key_its_cap_and_the_balance_allow():
    made = driver(plan_version("pro"), usd="10")
    assert cockpit.read(made.account.pk, now=at(1)).extra is None
    key = made.agree("5")
    extra = cockpit.read(made.account.pk, now=at(1)).extra
    assert (extra.pays, extra.left, extra.resets_at) == (True, 5, datetime(2026, 12, 1, tzinfo=UTC))

    month = ExtraUsageMonth.objects.create(account=made.account, month=NOON.date().replace(day=1), spent=3, held=2)
    extra = cockpit.read(made.account.pk, now=at(1)).extra
    assert (extra.stops, extra.left) == ("cap", 0)
    month.delete()
    key.disabled_at = NOON
    key.save()
    assert cockpit.read(made.account.pk, now=at(1)).extra.stops == "key"


@commits
def test_extra_usage_without_balance_says_so(pro):
    pro.agree("5")
    assert cockpit.read(pro.account.pk, now=at(1)).extra.stops == "balance"


# --- Where Flows go -------------------------------------------------------------------------------------------------
@commits
@pytest.mark.parametrize("rolled", [False, True])
def test_flows_are_added_up_from_the_periods_first_moment_in_rollups_and_tail(rolled):
    made = driver()  # Free: nothing before its first call
    made.use("2", NOON)
    made.subscribe(plan_version("pro"), at(6), at(6, days=30))
    for when, flows in ((at(7), "10"), (at(days=1), "20"), (at(days=3), "5"), (at(1, days=3), "4")):
        made.use(flows, when)
    if rolled:
        rollups.roll(now=at(0.5, days=3))

    def told(by: str) -> list[tuple[object, Decimal, int]]:
        lines = flow_use.used_since(made.account.pk, at(6), by=by, now=at(2, days=3))
        return [(line.of, line.flows, line.calls) for line in lines]

    assert told("model") == [(made.version.model_id, 39, 4)]
    assert told("key") == [(None, 39, 4)]
    day = NOON.date()
    assert told("day") == [(day + timedelta(days=3), 9, 2), (day + timedelta(days=1), 20, 1), (day, 10, 1)]
    assert cockpit.read(made.account.pk, now=at(2, days=3)).counters[2].used == 39


@commits
def test_calls_on_the_balance_are_no_flows(pro):
    held = factories.hold(pro.account, pro.version, "0", now=at(1))
    factories.capture(held.id, now=at(1), input_tokens=0)
    assert UsageRecord.objects.filter(account=pro.account, funding="payg").count() == 1
    assert flow_use.used_since(pro.account.pk, NOON, by="day", now=at(2)) == []


# --- The page -------------------------------------------------------------------------------------------------------
def seen(made: Driver, path: str = PAGE, **more: object) -> str:
    client, _, _ = signed_in(made.account)
    answer = client.get(path, **more)
    assert answer.status_code == 200
    return text_of(answer)


def running(plan: str = "pro", *, usd: str = "0") -> Driver:
    """A paid plan whose period began two days before now."""
    made = driver(usd=usd)
    start = clock.now() - timedelta(days=2)
    made.subscribe(plan_version(plan), start, start + timedelta(days=30))
    return made


def ago(hours: float) -> datetime:
    return clock.now() - timedelta(hours=hours)


@commits
def test_the_page_says_how_much_is_left_until_when_and_what_happens_next():
    made = running()
    for hours in (2, 1.5, 1):
        made.use("10", ago(hours))
    text = seen(made)
    assert "20.0 Flows are left until" in text
    assert "The five hours are the limit now." in text
    assert "At this pace full" in text
    assert "then calls wait until" in text
    assert "in 2 h 59 m" in text
    assert 'aria-current="page"' in text  # the sidebar's entry


@commits
def test_a_full_window_says_when_calls_go_on_and_that_extra_usage_would_pay():
    made = running()
    made.use("50", ago(1))
    text = seen(made)
    assert "Calls wait until" in text
    assert "With Extra Usage they would be paid from your balance meanwhile" in text
    assert "Full: calls wait until this window ends." in text


@commits
def test_with_extra_usage_a_full_billing_period_is_covered_too():
    made = running(usd="10")
    made.agree("5")
    five_hundred = plan_version("pro", flows_5h=D(90), flows_week=D(90), flows_period=D(40))
    made.change(five_hundred, ago(3))
    made.use("40", ago(1))
    text = seen(made)
    assert "Extra Usage pays for calls until" in text
    assert "Extra Usage covers that too." in text
    assert "It covers the billing period as it does the five hours and the week." in text


@commits
def test_after_an_upgrade_the_page_says_what_was_carried_over():
    made = running()
    made.use("30", ago(3))
    made.change(plan_version("max"), ago(2))
    assert "30.0 Flows were used or held on Pro before the change to Max" in seen(made)


@commits
def test_overshoot_is_told_and_stays_on_flows():
    made = running()
    made.use("50", ago(1), actual="60")
    text = seen(made)
    assert "10.0 Flows went over the cap" in text
    assert "not charged to your balance" in text


@commits
def test_the_free_plan_shows_its_quotas_and_how_to_get_more():
    text = seen(driver())
    assert "5.0 Flows are ready." in text
    assert "More: Pro gives 50 Flows in five hours and 504 in a week, for $20.00 a month." in text
    assert "No Flows are used in this billing period" in text


@commits
def test_each_line_of_where_flows_go_leads_to_its_calls():
    made = running()
    made.use("10", ago(1))
    text = seen(made, f"{PAGE}?by=model")
    assert f"{reverse('metering:details')}?paid=subscription&amp;from=" in text
    assert "&amp;model=test%2Fmodel" in text


@commits
def test_a_tab_loads_its_part_and_by_itself_leads_to_the_page():
    made = running()
    made.use("10", ago(1))
    client, _, _ = signed_in(made.account)
    part = client.get(f"{PAGE}/flows?by=day", headers={"HX-Request": "true"})
    assert part.status_code == 200
    assert "<html" not in part.content.decode()
    assert "Day (UTC)" in part.content.decode()
    alone = client.get(f"{PAGE}/flows?by=day")
    assert (alone.status_code, alone["Location"]) == (302, f"{PAGE}?by=day")


@commits
def test_another_account_in_force_shows_its_own_flows():
    mine, other = running(), running("max")
    other.use("100", ago(1))
    assert "Max" not in seen(mine)


@commits
@pytest.mark.parametrize("by", ["key", "model", "day"])
def test_the_page_takes_at_most_twelve_queries(by):
    made = running(usd="10")
    made.agree("5")
    for hours in (2, 1.5, 1):
        made.use("10", ago(hours))
    client, _, _ = signed_in(made.account)
    client.get(PAGE)
    with CaptureQueriesContext(connection) as taken:
        assert client.get(f"{PAGE}?by={by}").status_code == 200
    own = [one["sql"] for one in taken if "SAVEPOINT" not in one["sql"]]
    assert len(own) <= MOST_QUERIES, "\n".join(own)


@commits
def test_the_cockpit_reads_the_same_standing_as_admission_does():
    made = driver(plan_version("pro"), usd="5")
    made.agree("5")
    made.use("10", at(0.5))

    def same(hours: float) -> None:
        now = at(hours)
        assert (
            cockpit.read(made.account.pk, now=now).standing == standing.of([made.account.pk], now=now)[made.account.pk]
        )

    month = 24 * 30
    for hours in (1, month - 1, month, month + 1, month + 24 * 3 - 1, month + 24 * 3):
        same(hours)
    made.subscription.cancel_at_period_end = True
    made.subscription.save()
    for hours in (month - 1, month, month + 1):
        same(hours)
    flow_rate("restricted", "79.2")
    classes.set_class(made.account.pk, "restricted", reason="test", actor=None, now=NOON)
    same(1)


@pytest.mark.django_db(transaction=True)
def test_the_page_of_a_subscription_key_adds_up_its_flows():
    made, now = driver(), clock.now()
    key, _ = factories.key(made.account, name="editor", kind="subscription")
    asked = made.request("3")
    asked = replace(asked, hold=replace(asked.hold, api_key_id=key.pk))
    [held] = quota.admit([asked], now=now, expires_at=now + timedelta(minutes=15))
    made.capture(held, now, "3")  # type: ignore[arg-type]
    client, *_rest = signed_in(made.account)
    spent = text_of(client.get(f"/keys/{key.pk}")).partition("stat-value")[2].partition("</section>")[0]
    assert "3.0 Flows" in spent
    assert "$0.00" not in spent
