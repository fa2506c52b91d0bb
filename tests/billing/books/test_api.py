"""`/api/v1/balance` and `/api/v1/transactions`."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.books.models import CreditGrant, JournalEntry
from config import clock
from tests import factories
from tests.api import problem, program
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def table(answer: Any) -> list[dict[str, str]]:
    """A streamed CSV answer."""
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


def test_the_balance_tells_cash_credits_holds_and_what_is_available():
    version, account = factories.price(), factories.account()
    factories.credit(account, "3", expires_at=clock.now() + timedelta(days=9))
    factories.credit(account, "7", kind="cash", paid=True, entry_kind="topup")
    factories.hold(account, version, "4")

    told = program(account).call("GET", "balance").json()

    assert (told["balance"], told["cash"], told["credits"]) == ("10.0000000000", "7.0000000000", "3.0000000000")
    assert (told["held"], told["overdraft"], told["available"]) == ("4.0000000000", "0.0000000000", "6.0000000000")
    assert (told["account"], told["currency"]) == (str(account.pk), "USD")
    assert [(grant["kind"], grant["remaining"]) for grant in told["grants"]] == [
        ("promotion", "3.0000000000"),
        ("cash", "7.0000000000"),
    ]
    assert told["grants"][0]["expires_at"].endswith("Z")
    assert told["grants"][1]["expires_at"] is None


def test_credit_that_has_expired_is_not_told_though_nothing_has_written_it_off_yet():
    account = factories.account()
    factories.credit(account, "3", expires_at=clock.now() + timedelta(days=1))
    CreditGrant.objects.update(expires_at=clock.now() - timedelta(seconds=1))

    told = program(account).call("GET", "balance").json()

    assert (told["balance"], told["available"], told["grants"]) == ("0.0000000000", "0.0000000000", [])
    assert (told["cash"], told["credits"]) == ("0.0000000000", "0.0000000000")


def test_times_are_told_in_utc_whatever_the_reader_has_chosen(client):
    user = factories.user(time_zone="Asia/Shanghai")
    account = factories.account(user)
    factories.credit(account, "1")
    client.force_login(user)
    [row] = client.get("/api/v1/transactions").json()["results"]
    assert row["at"] == "2026-11-22T12:00:00Z"


def test_transactions_come_newest_first_page_by_page_without_a_gap():
    account, other = factories.account(), factories.account()
    for number in range(7):
        factories.credit(account, str(number + 1), now=NOON + timedelta(minutes=number))
        factories.credit(other, "99")
    caller = program(account)
    seen, cursor, turns = [], "", 0

    while cursor is not None:
        answer = caller.call("GET", f"transactions?page_size=3{'&cursor=' + cursor if cursor else ''}").json()
        seen += answer["results"]
        if answer["next"]:
            assert f"cursor={answer['next_cursor']}" in answer["next"]
            assert "page_size=3" in answer["next"]
        cursor, turns = answer["next_cursor"], turns + 1

    assert turns == 3
    assert [row["seq"] for row in seen] == [7, 6, 5, 4, 3, 2, 1]
    assert [row["delta"] for row in seen][:2] == ["7.0000000000", "6.0000000000"]
    assert seen[0]["balance_after"] == "28.0000000000"


def test_a_page_that_is_just_full_has_no_next():
    account = factories.account()
    for _ in range(2):
        factories.credit(account, "1")
    answer = program(account).call("GET", "transactions?page_size=2").json()
    assert (len(answer["results"]), answer["next"], answer["next_cursor"]) == (2, None, None)


def test_rows_written_while_somebody_pages_do_not_move_the_pages():
    account = factories.account()
    for _ in range(4):
        factories.credit(account, "1")
    caller = program(account)
    first = caller.call("GET", "transactions?page_size=2").json()
    factories.credit(account, "1")
    second = caller.call("GET", f"transactions?page_size=2&cursor={first['next_cursor']}").json()
    assert [row["seq"] for row in first["results"] + second["results"]] == [4, 3, 2, 1]


def test_a_period_is_half_open_and_takes_times_and_days():
    account = factories.account()
    for hour in (-1, 0, 1):
        factories.credit(account, "1", now=NOON + timedelta(hours=hour))
    caller = program(account)

    def hours(query: str) -> list[str]:
        return [row["at"][11:13] for row in caller.call("GET", f"transactions?{query}").json()["results"]]

    assert hours("from=2026-11-22T12:00:00Z") == ["13", "12"]
    assert hours("to=2026-11-22T12:00:00Z") == ["11"]
    assert hours("from=2026-11-22T12:00:00Z&to=2026-11-22T13:00:00Z") == ["12"]
    assert hours("from=2026-11-22T20:00:00%2B08:00") == hours("from=2026-11-22T20:00:00+08:00") == ["13", "12"]
    assert hours("from=2026-11-22&to=2026-11-23") == ["13", "12", "11"]
    assert hours("from=2026-11-23") == []
    assert hours("kind=topup") == []
    assert hours("kind=manual_credit") == ["13", "12", "11"]


def test_usage_entries_say_how_many_calls_they_charge():
    version, account = factories.price(), factories.funded("10")
    factories.capture(factories.hold(account, version, "1").id, input_tokens=10)
    row = program(account).call("GET", "transactions?kind=usage").json()["results"][0]
    assert (row["calls"], row["delta"], row["order"]) == (1, "-0.0100000000", None)


@pytest.mark.parametrize("how", [{"path": "?format=csv"}, {"path": "", "headers": {"accept": "text/csv"}}])
def test_the_table_holds_every_row_and_negative_amounts_stay_numbers(how, monkeypatch):
    monkeypatch.setattr("config.api.CSV_CHUNK", 2)
    version, account = factories.price(), factories.funded("10")
    for _ in range(4):
        factories.capture(factories.hold(account, version, "1").id, input_tokens=10)

    rows = table(program(account).call("GET", f"transactions{how['path']}", headers=how.get("headers")))

    assert [row["seq"] for row in rows] == ["5", "4", "3", "2", "1"]
    assert rows[0]["delta"] == "-0.0100000000"
    assert sum(Decimal(row["delta"]) for row in rows) == Decimal(rows[0]["balance_after"])


def test_an_empty_table_still_has_its_header():
    answer = program(factories.account()).call("GET", "transactions?format=csv")
    assert b"".join(answer.streaming_content).startswith(b"seq,at,kind,delta,balance_after")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=0", "page_size"),
        ("page_size=201", "page_size"),
        ("page_size=many", "page_size"),
        ("cursor=!!", "cursor"),
        ("cursor=W10", "cursor"),  # []
        ("cursor=WyJ4Il0", "cursor"),  # ["x"]
        ("cursor=Wy0xXQ", "cursor"),  # [-1]
        ("cursor=WzllOTld", "cursor"),  # [9e99]
        ("kind=gift", "kind"),
        ("from=yesterday", "from"),
        ("from=2026-11-22T12:00:00", "from"),
        ("from=2026-13-01", "from"),
        ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ("to=9999-12-31T23:59:59-14:00", "to"),
        ("from=2026-11-02&to=2026-11-01", "to"),
        ("format=xml", "format"),
        ("knid=usage", "knid"),
    ],
)
def test_a_filter_that_is_not_right_is_named_and_nothing_is_listed(query, field):
    account = factories.account()
    factories.credit(account, "1")
    told = problem(program(account).call("GET", f"transactions?{query}"), 422, "invalid_request")
    assert told["field"] == field
    assert JournalEntry.objects.count() == 1
