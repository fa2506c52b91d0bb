"""Alerts: told once, within a sweep, to the right people; late usage belongs to its own day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.db import DatabaseError

from accounts import api_keys
from accounts.models import Account, KeyGroup, Membership
from billing import notices
from billing.books.models import JournalEntry, System
from billing.errors import BillingError, Conflict, InvalidRequest, NotFound
from billing.metering import alerts, rollups, tasks
from billing.metering.models_alerts import AlertFiring, SpendAlert
from billing.models_notices import Notice
from config import clock
from tests import factories
from tests.api import problem, program

pytestmark = pytest.mark.django_db(transaction=True)
NOON = factories.NOON
HOUR = timedelta(hours=1)


@pytest.fixture
def version() -> Any:
    """One dollar for a thousand input tokens."""
    return factories.price("acme/chat")


def spend(account: Account, version: Any, usd: int, *, now: datetime = NOON, key: Any = None, late: Any = None) -> None:
    """A call that costs this much, authorised now and charged then or later."""
    held = factories.hold(account, version, str(usd), now=now, api_key_id=key.pk if key else None)
    factories.capture(held.id, input_tokens=usd * 1000, now=late or now)


def alert(
    account: Account, kind: str, usd: str, *, now: datetime = NOON - HOUR, actor: Any = None, **terms: Any
) -> Any:
    asked = alerts.terms(account, kind=kind, threshold=usd, **terms)
    return alerts.create(account, asked, actor=actor, now=now)


def fired(of: SpendAlert) -> list[tuple[str, int, bool]]:
    return [(one.period, one.step, one.mailed) for one in AlertFiring.objects.filter(alert=of).order_by("pk")]


def topped_up(account: Account, usd: str, now: datetime) -> None:
    factories.credit(
        account,
        usd,
        now=now,
        kind="cash",
        paid=True,
        entry_kind=JournalEntry.Kind.TOPUP,
        funded_by=System.PROCESSOR_STRIPE,
    )


# --- Low balance ------------------------------------------------------------------------------------------------------
def test_a_low_balance_is_told_once_and_again_only_after_it_recovered(version):
    account = factories.funded("25")
    one = alert(account, "low_balance", "20")
    assert alerts.sweep(now=NOON) == 0
    spend(account, version, 6)
    assert [alerts.sweep(now=NOON) for _ in range(3)] == [1, 0, 0]
    spend(account, version, 1)
    assert alerts.sweep(now=NOON) == 0
    factories.credit(account, "3")  # 21: above, and within the margin of 2
    assert alerts.sweep(now=NOON) == 0
    spend(account, version, 2)  # 19: it never recovered
    assert alerts.sweep(now=NOON) == 0
    factories.credit(account, "4")  # 23
    assert alerts.sweep(now=NOON) == 0
    spend(account, version, 4)
    assert alerts.sweep(now=NOON) == 1
    assert fired(one) == [("1", 100, True), ("2", 100, True)]


@pytest.mark.damages_books  # a top-up's entry without its order
def test_a_top_up_that_reaches_the_threshold_arms_it_without_the_margin(version):
    account = factories.funded("25")
    alert(account, "low_balance", "20")
    spend(account, version, 6)
    assert alerts.sweep(now=NOON) == 1
    topped_up(account, "1.50", NOON + HOUR)
    assert alerts.sweep(now=NOON + HOUR) == 0
    spend(account, version, 1, now=NOON + HOUR)
    assert alerts.sweep(now=NOON + HOUR) == 1


def test_a_balance_that_is_low_already_is_told_at_the_first_look():
    account = factories.funded("5")
    alert(account, "low_balance", "20")
    assert alerts.sweep(now=NOON) == 1


# --- Spend ------------------------------------------------------------------------------------------------------------
def test_each_step_is_told_once_a_day_and_the_highest_overtakes_the_others(version):
    account = factories.funded("100")
    one = alert(account, "spend", "10", period="day", steps=[50, 80, 100])
    spend(account, version, 5)
    assert [alerts.sweep(now=NOON) for _ in range(2)] == [1, 0]
    spend(account, version, 6)
    assert [alerts.sweep(now=NOON) for _ in range(2)] == [1, 0]
    assert fired(one) == [("2026-11-22", 50, True), ("2026-11-22", 80, False), ("2026-11-22", 100, True)]
    tomorrow = NOON + timedelta(days=1)
    spend(account, version, 5, now=tomorrow)
    assert alerts.sweep(now=tomorrow) == 1
    assert fired(one)[-1] == ("2026-11-23", 50, True)


def test_rolled_up_and_fresh_usage_are_added_without_gap_or_double(version):
    account = factories.funded("100")
    one = alert(account, "spend", "10", period="month")
    spend(account, version, 6, now=NOON - timedelta(days=3))
    rollups.roll(now=NOON)
    spend(account, version, 3)
    assert alerts.sweep(now=NOON) == 0
    spend(account, version, 1)
    assert alerts.sweep(now=NOON) == 1
    assert fired(one) == [("2026-11", 100, True)]
    assert AlertFiring.objects.get().amount_usd == 10


def test_late_usage_counts_for_the_day_of_its_call(version):
    account = factories.funded("100")
    one = alert(account, "spend", "10", period="day")
    evening = datetime(2026, 11, 22, 23, 58, tzinfo=UTC)
    spend(account, version, 12, now=evening, late=evening + timedelta(minutes=7))
    assert alerts.sweep(now=evening + timedelta(minutes=8)) == 1
    assert fired(one) == [("2026-11-22", 100, True)]


def test_an_alert_says_nothing_of_a_day_that_was_over_when_it_was_made(version):
    account = factories.funded("100")
    spend(account, version, 50, now=NOON - timedelta(days=1))
    alert(account, "spend", "10", period="day", now=NOON)
    assert alerts.sweep(now=NOON) == 0


def test_a_key_alert_counts_its_key_and_the_ones_that_followed_it_and_a_group_alert_its_keys(version):
    account = factories.funded("100")
    group = KeyGroup.objects.create(account=account, name="Team", created_at=NOON)
    key, _ = factories.key(account, group=group)
    other, _ = factories.key(account)
    of_key = alert(account, "spend", "10", period="day", key_id=key.pk)
    of_group = alert(account, "spend", "30", period="day", group_id=group.pk)
    spend(account, version, 20, key=other)
    spend(account, version, 6, key=key)
    assert alerts.sweep(now=NOON) == 0
    successor, _secret = api_keys.rotate(key.pk, now=NOON, actor=None, grace=HOUR)
    spend(account, version, 4, key=successor)
    assert alerts.sweep(now=NOON) == 1
    assert (len(fired(of_key)), len(fired(of_group))) == (1, 0)
    spend(account, version, 20, key=successor)
    alerts.sweep(now=NOON)
    assert len(fired(of_group)) == 1


def test_an_account_that_has_not_moved_is_not_looked_at_again(version):
    account, still = factories.funded("100"), factories.funded("100")
    for one in (account, still):
        alert(one, "spend", "10", period="day")
    alerts.sweep(now=NOON)
    assert alerts.due() == []
    spend(account, version, 1)
    assert alerts.due() == [account.pk]


def test_a_changed_alert_is_told_afresh_and_a_paused_one_not_at_all(version):
    account = factories.funded("100")
    one = alert(account, "spend", "10", period="day")
    spend(account, version, 30)
    assert alerts.sweep(now=NOON) == 1
    alerts.change(one.pk, alerts.terms(account, kind="spend", threshold="20", period="day"), now=NOON)
    assert [alerts.sweep(now=NOON) for _ in range(2)] == [1, 0]
    alerts.change(one.pk, alerts.terms(account, kind="spend", threshold="25", period="day"), now=NOON)
    alerts.pause(one.pk, paused=True, now=NOON)
    assert alerts.sweep(now=NOON) == 0
    alerts.pause(one.pk, paused=False, now=NOON)
    assert alerts.sweep(now=NOON) == 1
    alerts.delete(one.pk, now=NOON)
    assert len(fired(one)) == 3
    with pytest.raises(NotFound):
        alerts.pause(one.pk, paused=True, now=NOON)


def test_what_was_told_is_append_only(version):
    alert(factories.funded("5"), "low_balance", "20")
    alerts.sweep(now=NOON)
    with pytest.raises(DatabaseError):
        AlertFiring.objects.update(step=1)


# --- Mails ------------------------------------------------------------------------------------------------------------
def test_who_is_told_and_in_which_words(version):
    owner = factories.user("payer@example.com")
    account = factories.account(owner)
    factories.credit(account, "30")
    developer = factories.user("dev-alert@example.com")
    Membership.objects.create(account=account, user=developer, role="developer", created_at=NOON)
    key, _ = factories.key(account, name="Build bot")
    alert(account, "low_balance", "20")
    alert(account, "spend", "10", period="day", steps=[80, 100], key_id=key.pk, actor=developer)
    alert(account, "spend", "12", period="month", actor=developer)
    spend(account, version, 12, key=key)
    assert alerts.sweep(now=NOON) == 3
    for notice in Notice.objects.filter(account=account, kind__startswith="alert"):
        notices.send(notice.pk, now=NOON)
    told = {(one.to[0], one.subject): one.body for one in mail.outbox}
    mine = [subject for to, subject in told if to == "dev-alert@example.com"]
    assert mine == [f"Build bot {key.masked} has spent $12.00 (100 %)"]
    assert sorted(subject for to, subject in told if to == "payer@example.com") == sorted(
        [f"{account.name} has $18.00 left", f"{account.name} has spent $12.00 (100 %)"]
    )
    assert "$10.00" in told["dev-alert@example.com", mine[0]]
    assert "2026-11-22" in told["dev-alert@example.com", mine[0]]


# --- What is refused --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("usd", ["0", "-5", "1e12", "1.001", "NaN", "", "ten", "Infinity"])
def test_an_amount_that_is_none_is_refused_and_nothing_is_written(usd):
    account = factories.account()
    with pytest.raises(InvalidRequest) as refusal:
        alert(account, "low_balance", usd)
    assert refusal.value.evidence["field"] == "threshold_usd"
    body = {"kind": "low_balance", "threshold_usd": usd}
    assert program(account).call("POST", "alerts", body).status_code == 422
    assert not SpendAlert.objects.exists()


@pytest.mark.parametrize(
    "terms",
    [
        {"kind": "spend", "period": ""},
        {"kind": "spend", "period": "week"},
        {"kind": "spend", "period": "day", "steps": [10]},
        {"kind": "other"},
    ],
)
def test_terms_that_make_no_sense_are_refused(terms):
    with pytest.raises(BillingError):
        alert(factories.account(), terms.pop("kind"), "5", **terms)


def test_the_same_alert_twice_and_too_many_of_them_are_refused(monkeypatch):
    account = factories.account()
    alert(account, "low_balance", "5")
    with pytest.raises(Conflict):
        alert(account, "low_balance", "5.00")
    monkeypatch.setattr(alerts, "MOST_ALERTS", 2)
    alert(account, "low_balance", "6")
    with pytest.raises(Conflict):
        alert(account, "low_balance", "7")


def test_another_accounts_key_or_group_does_not_exist():
    account, stranger = factories.account(), factories.account()
    key, _ = factories.key(stranger)
    group = KeyGroup.objects.create(account=stranger, name="Theirs", created_at=NOON)
    for name in ({"key_id": key.pk}, {"group_id": group.pk}):
        with pytest.raises(InvalidRequest):
            alert(account, "spend", "5", period="day", **name)


# --- API and pages ----------------------------------------------------------------------------------------------------
def test_the_api_makes_reads_changes_pauses_and_deletes():
    account = factories.account()
    client = program(account, "finance")
    made = client.call("POST", "alerts", {"kind": "spend", "threshold_usd": "50", "period": "day", "steps": [80, 100]})
    assert made.status_code == 201, made.content
    row = made.json()
    assert (row["scope"], row["threshold_usd"], row["steps"], row["paused"]) == ("account", "50.00", [80, 100], False)
    again = client.call("POST", "alerts", {"kind": "spend", "threshold_usd": "50", "period": "day", "steps": [80]})
    problem(again, 409, "conflict")
    path = f"alerts/{row['id']}"
    changed = client.call("PATCH", path, {"threshold_usd": "60.00", "paused": True}).json()
    assert (changed["threshold_usd"], changed["paused"], changed["period"]) == ("60.00", True, "day")
    problem(client.call("PATCH", path, {"kind": "low_balance"}), 422, "invalid_request")
    assert [one["id"] for one in client.call("GET", "alerts").json()["results"]] == [row["id"]]
    assert client.call("DELETE", path).status_code == 204
    assert client.call("GET", path).status_code == 404


def test_a_developer_looks_after_alerts_on_keys_and_not_on_the_account():
    account = factories.account()
    key, _ = factories.key(account)
    client = program(account, "developer")
    problem(client.call("POST", "alerts", {"kind": "low_balance", "threshold_usd": "5"}), 403, "permission_denied")
    body = {"kind": "spend", "threshold_usd": "5", "period": "day", "api_key": str(key.pk)}
    assert client.call("POST", "alerts", body).status_code == 201
    of_account = alert(account, "low_balance", "9")
    for method in ("PATCH", "DELETE"):
        problem(client.call(method, f"alerts/{of_account.pk}", {}), 403, "permission_denied")


def test_the_page_suggests_a_first_alert_and_one_click_sets_it(client):
    owner = factories.user()
    account = factories.account(owner)
    client.force_login(owner)
    page = client.get("/billing/alerts").content.decode()
    assert 'name="threshold" value="5"' in page
    client.post("/billing/alerts/new", {"kind": "low_balance", "threshold": "5"})
    assert SpendAlert.objects.get(account=account).threshold_usd == Decimal(5)


def test_the_page_lists_changes_pauses_and_deletes_and_shows_what_was_told(client, version):
    owner = factories.user()
    account = factories.account(owner)
    factories.credit(account, "50", now=clock.now())
    client.force_login(owner)
    sent = {"kind": "spend", "threshold": "$1,0.00", "scope": "account", "period": "day", "steps": ["50", "100"]}
    assert client.post("/billing/alerts/new", sent).status_code == 302
    one = SpendAlert.objects.get(account=account)
    spend(account, version, 6, now=clock.now())
    tasks.sweep_alerts()
    page = client.get("/billing/alerts").content.decode()
    assert "$6.00" in page
    assert "50 %" in page
    assert client.get("/billing/alerts.csv").getvalue().decode().count("\n") == 2
    path = f"/billing/alerts/{one.pk}"
    assert client.post(path, sent | {"threshold": "0"}).status_code == 422
    assert client.post(path, sent | {"threshold": "20"}).status_code == 302
    client.post(f"{path}/pause", {"pause": "1"})
    one.refresh_from_db()
    assert (one.threshold_usd, one.paused_at is None) == (Decimal(20), False)
    assert client.get(f"{path}/delete").status_code == 200
    client.post(f"{path}/delete")
    assert client.get(path).status_code == 404
    assert "$6.00" in client.get("/billing/alerts").content.decode()


def test_a_developers_form_offers_no_alert_on_the_account(client):
    account, developer = factories.account(), factories.user()
    Membership.objects.create(account=account, user=developer, role="developer", created_at=NOON)
    client.force_login(developer)
    sent = {"kind": "low_balance", "threshold": "5"}
    assert client.post("/billing/alerts/new", sent).status_code == 422
    assert client.post("/billing/alerts/new", {"kind": "spend", "threshold": "5", "period": "day"}).status_code == 422
    assert not SpendAlert.objects.exists()
    key, _ = factories.key(account)
    sent = {"kind": "spend", "threshold": "5", "period": "day", "scope": f"key:{key.pk}"}
    assert client.post("/billing/alerts/new", sent).status_code == 302
    one = SpendAlert.objects.get()
    assert client.post(f"/billing/alerts/{one.pk}", sent | {"scope": "account"}).status_code == 422
    assert client.post(f"/billing/alerts/{one.pk}", sent | {"scope": ""}).status_code == 422
    of_account = alert(account, "spend", "9", period="day")
    for path in ("", "/pause", "/delete"):
        assert client.post(f"/billing/alerts/{of_account.pk}{path}", sent).status_code == 403
