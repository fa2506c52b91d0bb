"""Quota windows in the console: lists, a window's ledger, and ending one early (C06, C07, C24, I9, I12)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditRecord
from billing.books import verify
from config import clock
from subscriptions import resetting
from subscriptions.errors import WindowNotResettable
from subscriptions.models import QuotaWindow
from tests.staff import act, action_of, at_desk, desk, page_of, person
from tests.subscriptions.driving import NOON, Driver, driver, plan_version

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/subscriptions/quotawindow/"


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def ago(hours: float) -> datetime:
    return clock.now() - timedelta(hours=hours)


def running(code: str = "pro", **terms: object) -> Driver:
    made = driver()
    made.subscribe(plan_version(code, **terms), ago(48), ago(48) + timedelta(days=30))
    return made


def text(client, path: str, **more: object) -> str:
    answer = client.get(path, more)
    assert answer.status_code == 200
    return answer.content.decode()


# --- Reset: the operation -------------------------------------------------------------------------------------------
def test_a_reset_window_ends_at_once_and_the_next_call_opens_an_empty_one():
    made = driver(plan_version("pro"))
    made.use("50", NOON)
    [window] = made.windows()
    assert made.ask("1", at(1)).outcome == "exhausted"

    resetting.reset(window.pk, reason="our outage", actor=None, now=at(1))

    assert made.use("50", at(1)).outcome == "created"
    old, new = made.windows()
    assert (old.ends_at, old.ended_by, old.used) == (at(1), "reset", 50)
    assert (new.starts_at, new.ends_at, new.carried, new.used) == (at(1), at(6), 0, 50)
    assert [one.used for one in made.windows("week")] == [100]  # what was used still counts there
    assert [one.used for one in made.windows("period")] == [100]


def test_calls_under_way_stay_in_the_window_in_which_they_were_admitted():
    made = driver(plan_version("pro"))
    held = made.ask("10", NOON)
    resetting.reset(made.windows()[0].pk, reason="test", actor=None, now=at(1))
    made.use("5", at(2))
    made.capture(held, at(3), "12")
    assert [(one.used, one.held) for one in made.windows()] == [(12, 0), (5, 0)]
    assert [one.broken for one in verify.run() if one.broken] == []


def test_a_reset_week_leaves_the_five_hours_that_are_open():
    made = driver(plan_version("pro"))
    made.use("10", NOON)
    [week] = made.windows("week")
    resetting.reset(week.pk, reason="test", actor=None, now=at(1))
    made.use("10", at(2))
    assert [one.used for one in made.windows("week")] == [10, 10]
    assert [one.used for one in made.windows()] == [20]


@pytest.mark.parametrize("kind", ["period", "5h"])
def test_a_period_and_a_window_that_is_over_are_not_reset(kind):
    made = driver(plan_version("pro"))
    made.use("10", NOON)
    [window] = made.windows(kind)
    with pytest.raises(WindowNotResettable):
        resetting.reset(window.pk, reason="test", actor=None, now=at(6))


@pytest.mark.parametrize(("kind", "hours"), [("5h", 5), ("week", 168)])
def test_on_a_grid_the_next_window_begins_at_the_reset_and_ends_where_the_one_before_would_have(kind, hours):
    made = driver(plan_version("pro", anchor_policy="grid"))
    made.use("40", at(1))
    [window] = made.windows(kind)
    resetting.reset(window.pk, reason="our outage", actor=None, now=at(2))
    assert made.use("50" if kind == "5h" else "10", at(2.5)).outcome == "created"
    old, new = made.windows(kind)[:2]
    assert (old.starts_at, old.ends_at, new.starts_at, new.ends_at) == (at(0), at(2), at(2), at(hours))
    assert new.carried == 0
    made.use("1", at(hours))
    assert made.windows(kind)[2].starts_at == at(hours)
    assert [one.broken for one in verify.run() if one.broken] == []


# --- At the desk ----------------------------------------------------------------------------------------------------
def test_staff_reset_a_window_with_a_reason_and_it_is_audited():
    made = running()
    made.use("50", ago(1))
    [window] = made.windows()
    who = person("operations")
    form = at_desk(who).get(action_of(window, "reset")).content.decode()
    assert "50.0 of 50.0 Flows" in form

    assert act(at_desk(who), action_of(window, "reset"), reason="Lost to our outage").status_code == 302

    window.refresh_from_db()
    assert (window.ended_by, window.ends_at <= clock.now()) == ("reset", True)
    record = AuditRecord.objects.get(action="quota_window_reset")
    assert (record.actor, record.account, record.reason) == (who, made.account, "Lost to our outage")
    assert record.before["used"] == "50.000000"
    assert "Lost to our outage" in text(desk("support"), page_of(window))


@pytest.mark.parametrize("role", ["support", "finance"])
def test_who_may_not_reset_is_refused(role):
    made = running()
    made.use("50", ago(1))
    [window] = made.windows()
    assert desk(role).post(action_of(window, "reset"), {"reason": "please"}).status_code == 403


def test_the_list_finds_by_account_kind_and_state():
    made, other = running(), running("max")
    made.use("50", ago(7))
    made.use("50", ago(1), actual="60")
    other.use("10", ago(1))
    client = desk("support")

    def found(**filters: str) -> set[object]:
        rows = client.get(LIST, filters).context["cl"].queryset
        return {(one.account_id, one.kind) for one in rows}

    mine, theirs = made.account.pk, other.account.pk
    assert found(account__id__exact=str(mine)) == {(mine, "5h"), (mine, "week"), (mine, "period")}
    assert found(kind__exact="5h") == {(mine, "5h"), (theirs, "5h")}
    assert client.get(LIST, {"state": "open"}).context["cl"].result_count == 6
    assert found(state="ended") == {(mine, "5h")}
    assert found(state="over") == {(mine, "5h")}
    assert found(q=str(theirs)) == {(theirs, "5h"), (theirs, "week"), (theirs, "period")}


def test_a_windows_page_is_its_ledger():
    made = running()
    early = made.ask("5", ago(7))
    made.use("20", ago(1))
    made.use("10", ago(0.5), actual="15")
    made.ask("2", ago(0.1))
    made.capture(early, ago(0.05), "7")
    first, second = made.windows()
    client = desk("support")

    page = text(client, page_of(second))
    assert "2 calls shown, 35.0 Flows of the window&#x27;s 35.0." in page
    assert "Calls under way" in page
    old = text(client, page_of(first))
    assert "1 call shown, 7.0 Flows of the window&#x27;s 7.0." in old
    assert "Calls under way" not in old


def test_a_windows_ledger_pages_by_key(monkeypatch):
    monkeypatch.setattr("subscriptions.admin_windows.LEDGER_PAGE", 2)
    made = running()
    for minute in range(5):
        made.use("1", ago(1) + timedelta(minutes=minute))
    [window] = made.windows()
    client = desk("support")
    answer = client.get(page_of(window))
    shown = []
    for _ in range(3):
        panel = next(one for one in answer.context["panels"] if one.template)
        shown += [row[-1] for row in panel.rows]
        older = [url for _, url in panel.context["ways"] if "before=" in url]
        answer = client.get(older[0]) if older else answer
    assert not older
    assert len(shown) == len(set(shown)) == 5


def test_windows_after_a_change_of_plan_lead_to_each_other():
    made = running()
    made.use("30", ago(3))
    made.change(plan_version("max"), ago(2))
    old, new = made.windows()
    client = desk("support")
    assert page_of(new) in text(client, page_of(old))
    assert page_of(old) in text(client, page_of(new))


def test_the_customers_page_shows_plan_class_and_windows_now():
    made = running()
    made.use("30", ago(1))
    page = text(desk("support"), page_of(made.account))
    assert "Pro (version" in page
    assert "Flow class Standard: 39.6 Flows per USD." in page
    assert page_of(made.windows()[0]) in page


def test_the_list_and_the_page_take_few_queries():
    made = running()
    for minute in range(10):
        made.use("1", ago(1) + timedelta(minutes=minute))
    [window] = made.windows()
    client = desk("support")
    for path in (LIST, page_of(window)):
        client.get(path)
        with CaptureQueriesContext(connection) as taken:
            client.get(path)
        own = [one["sql"] for one in taken if "SAVEPOINT" not in one["sql"]]
        assert len(own) <= 12, "\n".join(own)


def test_free_has_windows_too():
    made = driver()
    made.use("5", ago(1))
    assert QuotaWindow.objects.filter(account=made.account).count() == 3
    assert "Free" in text(desk("support"), page_of(made.account))
    assert Decimal(5) == made.windows()[0].used
