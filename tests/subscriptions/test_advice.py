"""Which plan would have been cheapest for what was really used (F061, F066, C06, C07, C16, J20)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from hypothesis import given, strategies

from billing.metering import rollups
from config import clock
from subscriptions import advising
from subscriptions.advice import Rate, Used, cheapest, compare, replay
from subscriptions.plans import current_plans
from tests import factories
from tests.billing.pages import signed_in, text_of
from tests.subscriptions.driving import NOON, driver, plan_version

D = Decimal
PRICE_USD, FLOWS_5H, FLOWS_WEEK, FLOWS_PERIOD = D(20), D(50), D(504), D(2160)
END = NOON + timedelta(days=30)
ONE = Rate(D(1), D(0), lambda plan, slug: D(1))
PAGE = "/platform/subscription/advice"
commits = pytest.mark.django_db(transaction=True)


@dataclass
class Offer:
    """A plan of a test."""

    code: str = "pro"
    price_usd: Decimal = PRICE_USD
    flows_5h: Decimal = FLOWS_5H
    flows_week: Decimal = FLOWS_WEEK
    flows_period: Decimal = FLOWS_PERIOD
    grid: bool = False
    enforce_period_cap: bool = True
    models: frozenset[str] = field(default_factory=lambda: frozenset({"a"}))

    @property
    def name(self) -> str:
        return self.code.title()


def used(hours: float, usd: str, *, slug: str = "a", calls: int = 1) -> Used:
    return Used(NOON + timedelta(hours=hours), slug, D(usd), D(calls))


def outcome(calls: list[Used], offer: Offer | None = None, rate: Rate = ONE):
    return replay(calls, offer or Offer(), rate, start=NOON, end=END)


# --- The replay: pure -----------------------------------------------------------------------------------------------
def test_what_fits_costs_the_plan_alone():
    found = outcome([used(0, "20"), used(1, "30")])
    assert (found.fitted, found.left_over_usd, found.total_usd) == (50, 0, 20)


def test_what_a_full_window_refuses_is_paid_at_list_price_until_the_window_ends():
    found = outcome([used(0, "40"), used(4, "40"), used(5, "40")])
    assert (found.fitted, found.left_over_usd, found.total_usd) == (90, 30, 50)


def test_a_window_opens_with_the_hour_that_is_admitted_and_not_on_a_grid():
    calls = [used(3, "50"), used(7, "50"), used(8, "50")]
    assert outcome(calls).fitted == 100
    assert outcome(calls, Offer(grid=True)).fitted == 100
    assert outcome([used(3, "50"), used(5, "50")]).fitted == 50
    assert outcome([used(3, "50"), used(5, "50")], Offer(grid=True)).fitted == 100


def test_j20_five_weeks_come_to_the_months_cap():
    calls = [used(24 * 7 * week + 5 * step, "50") for week in range(5) for step in range(11)]
    calls = [one for one in calls if one.hour < END]
    assert outcome(calls).fitted == 2160
    # Counted and not enforced, the two days of the fifth week have room for ten whole windows.
    assert outcome(calls, Offer(enforce_period_cap=False)).fitted == 4 * 504 + 10 * 50


def test_an_hour_that_is_refused_altogether_opens_no_window():
    small = Offer(flows_5h=D(50), flows_week=D(50))
    found = outcome([used(0, "50"), used(166, "10"), used(168, "50"), used(170, "10")], small)
    assert (found.fitted, found.left_over_usd) == (100, 20)


def test_models_that_the_plan_does_not_have_are_paid_from_the_balance():
    found = outcome([used(0, "10"), used(0, "7", slug="b")])
    assert (found.fitted, found.left_over_usd, found.not_included_usd) == (10, 7, 7)


def test_flows_are_list_price_times_the_rate_and_the_factor_and_the_overhead_of_each_call():
    rate = Rate(D("39.6"), D("0.05"), lambda plan, slug: D(2) if slug == "b" else D(1))
    both = Offer(models=frozenset({"a", "b"}))
    assert outcome([used(0, "0.06")], both, rate).fitted == D("2.426")  # J14
    assert outcome([used(0, "0.06", slug="b")], both, rate).fitted == D("4.802")
    assert outcome([used(0, "0", calls=9)], both, rate).fitted == 0  # a free model (C21)


def test_what_fits_in_part_leaves_the_rest_of_its_list_price():
    rate = Rate(D(10), D(0), lambda plan, slug: D(1))
    found = outcome([used(0, "8")], rate=rate)
    assert (found.fitted, found.left_over_usd) == (50, 3)


def test_the_cheapest_counts_the_price_and_what_is_left_over():
    offers = [
        Offer("free", D(0), D(5), D("50.4"), D(216)),
        Offer(),
        Offer("max", D(100), D(300), D(3024), D(12960)),
    ]

    def best(calls: list[Used]) -> str:
        return cheapest(compare(calls, offers, ONE, start=NOON, end=END)).code

    assert best([used(0, "5")]) == "free"
    assert best([used(0, "20")]) == "free"  # 15 on the balance are less than 20
    assert best([used(0, "25")]) == "pro" or best([used(0, "25")]) == "free"
    assert best([used(0, "26")]) == "pro"
    assert best([used(0, "300")]) == "max"


def test_of_two_that_cost_the_same_the_one_with_the_lower_price_is_named():
    offers = [Offer(), Offer("free", D(0), D(5), D("50.4"), D(216))]
    assert cheapest(compare([used(0, "25")], offers, ONE, start=NOON, end=END)).code == "free"


amounts = strategies.decimals(min_value=0, max_value=200, places=2)
hours = strategies.integers(min_value=0, max_value=719)


@given(strategies.lists(strategies.tuples(hours, amounts), max_size=40), strategies.booleans())
def test_nothing_is_lost_between_what_fits_and_what_is_left_over(calls, grid):
    told = [used(hour, str(usd)) for hour, usd in calls]
    found = outcome(told, Offer(grid=grid))
    assert abs(found.fitted + found.left_over_usd - sum(one.list_usd for one in told)) < D("0.0001")
    assert found.fitted <= 2160


# --- From the account's calls ---------------------------------------------------------------------------------------
def at(days: float) -> datetime:
    return NOON + timedelta(days=days)


def spend_on_balance(of, version, usd: int, when: datetime) -> None:
    held = factories.hold(of, version, str(usd), now=when)
    factories.capture(held.id, now=when, input_tokens=usd * 1000)


@pytest.fixture
def in_flows(monkeypatch):
    """Every plan has the test's model."""
    for code in ("free", "pro", "max", "ultra"):
        plan_version(code, effective_from=NOON - timedelta(days=300))
    current_plans(fresh=True)


@commits
def test_advice_adds_up_calls_on_flows_and_says_what_calls_on_the_balance_would_change(in_flows):
    made = driver(plan_version("max"), usd="1000")
    for day in range(10):
        made.use("3", at(day))  # $3 of list price, whatever a Flow is
    spend_on_balance(made.account, made.version, 100, at(3.2))
    found = advising.advise(made.account.pk, now=at(10))
    assert (found.calls, found.days, found.of_balance, found.spread) == (10, 11, False, False)
    pro, maxi = found.outcomes[1], found.outcomes[2]
    assert pro.fitted == 500  # 50 of 118.8 every day, up to 504 a week
    assert (maxi.fitted, maxi.left_over_usd) == (1188, 0)
    assert found.current.code == "max"
    assert found.best.code == "free"  # $30 of list price are cheaper than any plan
    assert (found.balance_calls, found.balance_usd, found.with_balance.code) == (1, 100, "free")


@commits
def test_without_calls_on_flows_the_advice_is_about_those_on_the_balance(in_flows):
    made = driver(usd="1000")
    spend_on_balance(made.account, made.version, 100, at(1))
    found = advising.advise(made.account.pk, now=at(2))
    assert (found.of_balance, found.calls, found.with_balance) == (True, 1, None)


@commits
def test_calls_of_more_than_thirty_days_ago_and_other_accounts_calls_are_not_asked(in_flows):
    made, other = driver(plan_version("pro")), driver(plan_version("pro"))
    made.use("3", at(0))
    other.use("3", at(29))
    assert advising.advise(made.account.pk, now=at(31)) is None
    assert advising.advise(made.account.pk, now=at(29)).calls == 1


@commits
def test_too_many_calls_are_taken_from_their_daily_sums(in_flows, monkeypatch):
    made = driver(plan_version("pro"))
    for day in (1, 2):
        made.use("20", at(day))
    exact = advising.advise(made.account.pk, now=at(3))
    rollups.roll(now=at(3))
    monkeypatch.setattr(advising, "MOST_CALLS", 1)
    spread = advising.advise(made.account.pk, now=at(3))
    assert (exact.spread, spread.spread) == (False, True)
    assert (exact.calls, spread.calls) == (2, 2)
    assert spread.outcomes[3].fitted == exact.outcomes[3].fitted == 1584  # Ultra has room for both
    assert spread.outcomes[1].fitted > exact.outcomes[1].fitted  # spread over the day, more of it fits


# --- The page -------------------------------------------------------------------------------------------------------
@commits
def test_the_page_names_the_cheapest_plan_and_shows_them_all(in_flows):
    cache.clear()
    made = driver(usd="10")
    start = clock.now() - timedelta(days=20)
    made.subscribe(plan_version("pro"), start, start + timedelta(days=30))
    for day in range(12):
        made.use("2", start + timedelta(days=day, hours=1))
    client, _, _ = signed_in(made.account)
    part = client.get(PAGE, headers={"HX-Request": "true"})
    text = text_of(part)
    assert "<html" not in text
    assert "From 12 calls paid by Flows or Extra Usage." in text
    assert "Left over for Extra Usage" in text
    assert "would have been cheapest" in text or "fits you" in text
    assert "<html" in text_of(client.get(PAGE))


@commits
def test_after_a_few_days_the_page_does_not_advise_yet(in_flows):
    cache.clear()
    made = driver()
    made.use("2", clock.now() - timedelta(hours=3))
    client, _, _ = signed_in(made.account)
    text = text_of(client.get(PAGE))
    assert "Too early to tell: you have made calls for 1 day." in text
    assert "Cheapest" not in text


@commits
def test_without_calls_there_is_nothing_to_compare_and_that_is_kept_for_minutes():
    cache.clear()
    made = driver()
    client, _, _ = signed_in(made.account)
    assert "Nothing was used in the last 30 days" in text_of(client.get(PAGE))
    made.use("2", clock.now())
    assert "Nothing was used in the last 30 days" in text_of(client.get(PAGE))
