"""`/api/v1/usage`, its details and its sums."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import KeyGroup
from billing.catalog.rating import recompute
from billing.metering import rollups
from billing.metering.models import UsageRecord
from tests import factories
from tests.api import problem, program
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def call(account, version, *, at=NOON, quantities=None, hold="1", **terms):
    """A charged call; its record."""
    held = factories.hold(account, version, hold, now=at, **terms)
    factories.capture(held.id, now=at + timedelta(seconds=2), **(quantities or {"input_tokens": 100}))
    return UsageRecord.objects.get(pk=held.id)


def test_a_call_is_listed_with_what_it_cost_and_the_masked_key():
    version, account = factories.price("acme/one"), factories.funded()
    key, _ = factories.key(account, name="prod")
    record = call(account, version, api_key_id=key.pk, trace_id="t-1", request_id="r-1")

    [row] = program(account, "developer").call("GET", "usage").json()["results"]

    assert row["id"] == str(record.pk)
    assert (row["request_id"], row["trace_id"], row["model"], row["channel"]) == ("r-1", "t-1", "acme/one", "default")
    assert row["key"] == {"id": str(key.pk), "name": "prod", "masked": key.masked}
    assert (row["charge"], row["list_price"], row["flows"]) == ("0.1000000000", "0.1000000000", "0.000000")
    assert (row["status"], row["funding"], row["late"], row["input_tokens"]) == ("charged", "payg", False, 100)
    assert row["at"] == "2026-11-22T12:00:00Z"


def test_the_details_hold_the_sheet_from_which_the_charge_can_be_computed_again():
    version = factories.price(
        components={"cache_read": {"multiple": "0.1"}}, multipliers=[("service_tier", "flex", "0.5")]
    )
    account = factories.funded()
    record = call(
        account,
        version,
        user_discount=Decimal("0.9"),
        fields={"service_tier": "flex"},
        quantities={"input_tokens": 1000, "cache_read_tokens": 600, "output_tokens": 10},
    )

    told = program(account).call("GET", f"usage/{record.pk}").json()

    assert told["usage"] == {"input_tokens": 1000, "cache_read_tokens": 600, "output_tokens": 10}
    assert told["fields"] == {"service_tier": "flex"}
    assert recompute(told["sheet"]) == (record.list_price, record.charge)
    assert told["sheet"]["charge"] == told["charge"] == "0.2160000000"
    assert [line["item"] for line in told["sheet"]["lines"]] == ["input", "cache_read", "output"]
    assert told["recomputed_equal"] is True
    assert {one["code"]: one["charge"] or one["flows"] for one in told["what_if"]} == {
        "cache_hit": "0.0540000000",
        "cache_miss": "0.4590000000",
        "on_flows": "9.504000",
    }
    assert told["what_if"][0]["difference"] == "-0.1620000000"
    assert told["checks"] == []
    assert told["entry"]["delta"] == "-0.2160000000"
    assert told["entry"]["balance_after"] == "9.7840000000"
    [part] = told["paid_by"]
    assert (part["amount"], part["kind"]) == ("0.2160000000", "promotion")


def test_what_no_credit_paid_is_told_as_overdraft():
    version, account = factories.price(), factories.funded("0.04")
    record = call(account, version, hold="0.04")
    told = program(account).call("GET", f"usage/{record.pk}").json()
    assert [(part["amount"], part["kind"]) for part in told["paid_by"]] == [
        ("0.0400000000", "promotion"),
        ("0.0600000000", None),
    ]
    assert told["paid_by"][1]["grant"] is None


def test_a_sheet_stays_what_it_was_when_the_price_changes():
    version, account = factories.price(), factories.funded()
    record = call(account, version)
    version.effective_to = NOON + timedelta(days=1)
    version.save()
    factories.price(at=NOON + timedelta(days=1), input_per_1k=Decimal(9))
    told = program(account).call("GET", f"usage/{record.pk}").json()
    assert (told["sheet"]["price_version"], told["sheet"]["charge"]) == (1, "0.1000000000")


def test_calls_are_found_by_each_filter():
    one, two, account = factories.price("a/one"), factories.price("a/two"), factories.funded()
    group = KeyGroup.objects.create(account=account, name="g", created_at=NOON)
    key, _ = factories.key(account, group=group)
    first = call(account, one, api_key_id=key.pk, trace_id="t-1", request_id="r-1")
    second = call(account, two, at=NOON + timedelta(hours=1), quantities={"input_tokens": 0}, request_id="r-2")
    call(factories.funded(), one, trace_id="t-1")
    caller = program(account)

    def found(query: str) -> list[str]:
        return [row["id"] for row in caller.call("GET", f"usage?{query}").json()["results"]]

    assert found("") == [str(second.pk), str(first.pk)]
    for query in (
        "model=a/one",
        f"key={key.pk}",
        f"group={group.pk}",
        "trace_id=t-1",
        "request_id=r-1",
        "status=charged",
        "to=2026-11-22T13:00:00Z",
    ):
        assert found(query) == [str(first.pk)], query
    for query in ("model=a/two", "status=not_charged", "from=2026-11-22T13:00:00Z"):
        assert found(query) == [str(second.pk)], query
    assert found("funding=subscription") == found("kind=video") == found(f"group={uuid4()}") == []


def test_pages_by_time_and_id_lose_no_call_of_the_same_moment():
    version, account = factories.price(), factories.funded()
    for _ in range(5):
        call(account, version)
    caller = program(account)
    seen, cursor = [], None
    while True:
        told = caller.call("GET", f"usage?page_size=2{f'&cursor={cursor}' if cursor else ''}").json()
        seen += [row["id"] for row in told["results"]]
        cursor = told["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)


def test_a_page_costs_the_same_few_queries_however_many_rows_it_has():
    version, account = factories.price(), factories.funded()
    key, _ = factories.key(account)
    caller = program(account)
    caller.call("GET", "usage")
    counts = []
    for _ in range(2):
        for _ in range(4):
            call(account, version, api_key_id=key.pk)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            caller.call("GET", "usage")
        counts.append(len(queries))
        assert not any("count(" in query["sql"].lower() for query in queries)
    assert counts[0] == counts[1] <= 3


def test_the_table_defuses_formulas_and_keeps_columns():
    version, account = factories.price(), factories.funded()
    key, _ = factories.key(account, name="=HYPERLINK(0)")
    call(account, version, api_key_id=key.pk, request_id="+1", trace_id="@x")
    answer = program(account).call("GET", "usage?format=csv")
    assert answer["Content-Disposition"] == 'attachment; filename="usage.csv"'
    [row] = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert row["key.name"] == "'=HYPERLINK(0)"
    assert row["trace_id"] == "'@x"
    assert row["charge"] == "0.1000000000"
    assert row["duplicate_of"] == ""


def test_sums_by_day_model_key_and_group_agree_with_the_calls_before_and_after_the_rollup():
    one, two, account = factories.price("a/one"), factories.price("a/two"), factories.funded()
    group = KeyGroup.objects.create(account=account, name="g", created_at=NOON)
    key, _ = factories.key(account, group=group)
    call(account, one, api_key_id=key.pk)
    call(account, two, at=NOON - timedelta(days=1), quantities={"input_tokens": 300, "output_tokens": 50})
    call(account, two, at=NOON - timedelta(days=1))
    call(factories.funded(), one)
    caller = program(account)

    def sums(by: str) -> list[tuple[object, int, str]]:
        told = caller.call("GET", f"usage/summary?by={by}&from=2026-11-01&to=2026-12-01").json()
        assert (told["total"]["calls"], told["total"]["charge"]) == (3, "0.6000000000")
        assert all({"day", "model", "key", "group"} & set(row) == {by} for row in told["results"])
        assert (told["first_day"], told["last_day"], told["by"]) == ("2026-11-01", "2026-11-30", by)
        return [
            (row[by]["id"] if by == "key" and row[by] else row[by], row["calls"], row["charge"])
            for row in told["results"]
        ]

    for _ in range(2):
        assert sums("day") == [("2026-11-21", 2, "0.5000000000"), ("2026-11-22", 1, "0.1000000000")]
        assert sums("model") == [("a/two", 2, "0.5000000000"), ("a/one", 1, "0.1000000000")]
        assert sums("key") == [(None, 2, "0.5000000000"), (str(key.pk), 1, "0.1000000000")]
        assert sums("group") == [(None, 2, "0.5000000000"), (str(group.pk), 1, "0.1000000000")]
        rollups.roll(now=NOON + timedelta(hours=1))


def test_sums_can_be_narrowed_and_are_for_thirty_days_unless_told():
    one, two, account = factories.price("a/one"), factories.price("a/two"), factories.funded()
    call(account, one)
    call(account, two)
    caller = program(account)
    told = caller.call("GET", "usage/summary?by=day&model=a/one&from=2026-11-22&to=2026-11-23").json()
    assert told["total"]["calls"] == 1
    told = caller.call("GET", "usage/summary?to=2026-11-23").json()
    assert (told["first_day"], told["last_day"], told["total"]["calls"]) == ("2026-10-24", "2026-11-22", 2)
    assert caller.call("GET", "usage/summary?from=2026-11-22&to=2026-11-22").json()["total"]["calls"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?model=no/such", "model"),
        ("?key=9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "key"),
        ("?key=x", "key"),
        ("?funding=cash", "funding"),
        ("?status=maybe", "status"),
        ("?request_id=%00", "request_id"),
        ("?cursor=WyIyMDI2LTExLTIyIiwieCJd", "cursor"),
        ("?limit=10", "limit"),
        ("/summary?by=hour", "by"),
        ("/summary?from=2026-11-22T00:00:00Z", "from"),
        ("/summary?from=2020-01-01&to=2026-01-01", "from"),
        ("/summary?from=1999-01-01", "from"),
        ("/summary?model=no/such", "model"),
    ],
)
def test_a_filter_that_is_not_right_is_named(query, field):
    told = problem(program(factories.account()).call("GET", f"usage{query}"), 422, "invalid_request")
    assert told["field"] == field


def test_another_accounts_key_is_no_key():
    foreign, _ = factories.key(factories.account())
    told = problem(program(factories.account()).call("GET", f"usage?key={foreign.pk}"), 422, "invalid_request")
    assert told["errors"] == [{"field": "key", "message": "There is no such key."}]
