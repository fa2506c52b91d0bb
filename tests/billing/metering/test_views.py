"""The usage pages: lists, filters, sheets, where the money came from, CSV; never another account's."""

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest
from django.template.loader import render_to_string
from django.urls import reverse

from billing.metering import rollups, sheet
from billing.metering.models import UsageRecord
from config import clock
from tests import factories
from tests.billing.metering.samples import call
from tests.billing.pages import signed_in, stream_of, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def now():
    return clock.now()


def record_of(answer) -> UsageRecord:
    return UsageRecord.objects.get(pk=answer.id)


def test_an_empty_account_is_told_what_to_do_next():
    client, _user, _account = signed_in()
    page = text_of(client.get("/billing/details"))
    assert "No calls yet" in page
    assert "/keys" in page


def test_visitors_are_sent_to_sign_in(client):
    for path in ("/billing/details", "/billing/details.csv", "/keys", "/billing/transactions"):
        assert client.get(path).status_code == 302


def test_each_call_is_a_row_and_the_period_is_summed(now):
    account, version = (
        factories.funded("100"),
        factories.price("test/opus", components={"cache_read": {"multiple": "0.1"}}),
    )
    key, _ = factories.key(account, name="backend")
    call(account, version, at=now, key=key, input_tokens=12_000, output_tokens=3_000, cache_read_tokens=8_000)
    call(account, version, at=now - timedelta(days=2), key=key, input_tokens=1_000)
    client, *_ = signed_in(account)
    for _ in "tail", "rolled":
        page = text_of(client.get("/billing/details"))
        # 12,000 - 8,000 + 800 = 4,800 in at $1, 3,000 out at $2, and 1,000 in
        assert "$11.80" in page
        assert "2 calls in the last 30 days" in page
        assert "12,000" in page
        assert "8,000" in page
        assert key.masked in page
        rollups.roll(now=now + timedelta(minutes=5))


def test_filters_are_in_the_address_and_nonsense_filters_nothing(now):
    account, first, second = factories.funded("100"), factories.price("test/one"), factories.price("test/two")
    key, _ = factories.key(account)
    free = factories.price("test/free", free=True, input_per_1k=Decimal(0), output_per_1k=Decimal(0), type="per_token")
    mine = call(account, first, at=now, key=key)
    other = call(account, second, at=now - timedelta(days=3))
    nothing = call(account, free, at=now)
    client, *_ = signed_in(account)

    def shown(**params) -> set:
        return {row["record"].pk for row in client.get("/billing/details", params).context["rows"]}

    assert shown() == {mine.id, other.id, nothing.id}
    assert shown(model="test/two") == {other.id}
    assert shown(key=str(key.pk)) == {mine.id}
    assert shown(paid="none") == {nothing.id}
    assert shown(paid="subscription") == set()
    assert shown(**{"from": now.date().isoformat()}) == {mine.id, nothing.id}
    assert shown(to=(now - timedelta(days=2)).date().isoformat()) == {other.id}
    request_id = UsageRecord.objects.get(pk=other.id).request_id
    assert shown(request=request_id) == {other.id}
    assert shown(model="no/such", key="x", paid="x", **{"from": "yesterday"}) == {mine.id, other.id, nothing.id}
    assert "No call fits" in text_of(client.get("/billing/details", {"paid": "extra_usage"}))


def test_pages_go_back_and_forth_by_keyset(now):
    account, version = factories.funded("1000"), factories.price()
    for n in range(120):
        call(account, version, at=now - timedelta(seconds=n // 3))  # three calls share each moment
    client, *_ = signed_in(account)
    ids, query, pages = [], "", 0
    while True:
        context = client.get(f"/billing/details{query}").context
        ids += [row["record"].pk for row in context["rows"]]
        pages += 1
        if not context["page"].older:
            break
        query = f"?before={context['page'].older.replace('+', '%2B')}"
    assert pages == 3
    assert len(ids) == len(set(ids)) == 120
    newer = client.get(f"/billing/details?after={context['page'].newer.replace('+', '%2B')}").context
    assert [row["record"].pk for row in newer["rows"]] == ids[50:100]
    assert client.get("/billing/details?before=nonsense").context["rows"][0]["record"].pk == ids[0]


def test_the_sheet_shows_j07_line_by_line_and_is_recomputed(now):
    """J07: multiples of cache and reasoning; channel 0.80, user 0.95."""
    account = factories.funded("10")
    version = factories.price(
        "test/j07",
        input_per_1k=Decimal("0.003"),
        output_per_1k=Decimal("0.015"),
        components={
            "cache_read": {"multiple": "0.1"},
            "cache_write_5m": {"multiple": "1.25"},
            "cache_write_1h": {"multiple": "2"},
            "reasoning": {"multiple": "1.5"},
        },
    )
    answer = call(
        account,
        version,
        at=now,
        channel_discount="0.80",
        user_discount="0.95",
        input_tokens=12_000,
        cache_read_tokens=8_000,
        cache_write_5m_tokens=2_000,
        cache_write_1h_tokens=1_000,
        output_tokens=3_000,
        reasoning_tokens=1_000,
    )
    assert answer.charge == Decimal("0.0542640000")
    client, *_ = signed_in(account)
    page = client.get(f"/billing/details/{answer.id}")
    text = text_of(page)
    for expected in ("6,300", "3,500", "$0.018900", "$0.052500", "$0.071400", "$0.057120", "$0.054264", "0.1", "1.25"):
        assert expected in text
    assert "recomputed, equal" in text
    layout = page.context["explained"].layout
    assert [(str(side.label), side.billed) for side in layout.sides] == [("Input", 6300), ("Output", 3500)]
    assert layout.subtotal == Decimal("0.0714")


def test_the_drawer_is_the_sheet_without_the_page(now):
    account, version = factories.funded("10"), factories.price()
    answer = call(account, version, at=now)
    client, *_ = signed_in(account)
    drawer = client.get(f"/billing/details/{answer.id}", headers={"HX-Request": "true"})
    assert "offcanvas-header" in drawer.content.decode()
    assert "<html" not in drawer.content.decode()
    assert "HX-Request" in drawer["Vary"]


def test_a_component_with_its_own_price_is_a_line_of_its_own(now):
    account = factories.funded("10")
    version = factories.price(components={"cache_read": {"per_1k": "0.05"}})
    answer = call(account, version, at=now, input_tokens=1_000, cache_read_tokens=600)
    layout = sheet.explain(record_of(answer), sheet_book()).layout
    assert [(step.quantity, step.price, step.amount) for step in layout.steps] == [
        (400, 1, Decimal("0.4")),
        (600, Decimal("0.05"), Decimal("0.03")),
    ]
    assert layout.subtotal == answer.list_price


def sheet_book():
    from billing.catalog.book import current_book

    return current_book(fresh=True)


@pytest.mark.parametrize(
    ("terms", "quantities", "shown"),
    [
        ({"type": "per_image", "price": Decimal("0.04")}, {"images": 4}, "4 images"),
        ({"type": "per_second", "price": Decimal("0.40")}, {"seconds": Decimal(8)}, "8 s"),
        ({"type": "per_request", "price": Decimal("0.05")}, {"requests": 1}, "1 requests"),
        ({"type": "per_megapixel", "price": Decimal("0.04")}, {"width": 1536, "height": 1024}, "1536 × 1024"),
    ],
)
def test_units_that_are_not_tokens(terms, quantities, shown, now):
    """J01, J03, J05, J06."""
    account, version = factories.funded("10"), factories.price("test/media", kind="image", **terms)
    answer = call(account, version, at=now, channel_discount="0.80", user_discount="0.95", **quantities)
    client, *_ = signed_in(account)
    assert shown in text_of(client.get("/billing/details"))
    explained = client.get(f"/billing/details/{answer.id}").context["explained"]
    assert explained.equal is True
    assert explained.layout.steps[0].amount == answer.list_price


def test_field_multipliers_and_tiers_are_named(now):
    """F051, and the long-context price."""
    account = factories.funded("1000")
    version = factories.price(
        tiers=[{"above_input_tokens": 200_000, "input_per_1k": Decimal(2), "output_per_1k": Decimal(3)}],
        multipliers=[("header:x-priority", "true", "1.8")],
    )
    answer = call(
        account, version, at=now, fields={"header:x-priority": "true"}, input_tokens=250_000, output_tokens=1_000
    )
    client, *_ = signed_in(account)
    page = text_of(client.get(f"/billing/details/{answer.id}"))
    assert "header:x-priority" in page
    assert "More than 200,000 input tokens" in page
    assert answer.charge == Decimal("905.4")
    assert "$905.40" in page


def test_paid_from_follows_the_burn_order_across_calls(now):
    """C18, J21: a voucher of 3, a gift of 2, cash 10; two calls of 4 in one entry."""
    from billing.catalog.usage import Usage
    from billing.metering import usage

    account, version = factories.account(), factories.price()
    factories.credit(account, "10", now=now - timedelta(days=3), kind="cash", paid=True)
    factories.credit(account, "2", now=now - timedelta(days=2))
    factories.credit(account, "3", now=now - timedelta(days=1), kind="voucher", expires_at=now + timedelta(days=3))
    reports = [
        usage.Report(
            account_id=account.pk,
            api_key_id=None,
            request_id=f"pair-{n}",
            model_id=version.model_id,
            channel_id=version.channel_id,
            price_version_id=version.pk,
            channel_discount=Decimal(1),
            user_discount=Decimal(1),
            fields={},
            usage=Usage(input_tokens=4_000),
            occurred_at=now,
            trace_id=f"t{n}",
        )
        for n in range(2)
    ]
    first, second = (record_of(answer) for answer in usage.report(reports, now=now))
    assert first.entry_id == second.entry_id

    def parts(record):
        return [(part.grant.kind, part.amount) for part in sheet.paid_from(record)]

    assert parts(first) == [("voucher", 3), ("promotion", 1)]
    assert parts(second) == [("promotion", 1), ("cash", 3)]
    client, *_ = signed_in(account)
    assert "Voucher" in text_of(client.get(f"/billing/details/{first.pk}"))
    entry = text_of(client.get(f"/billing/transactions/{first.entry_id}"))
    assert "Calls that this entry charged" in entry
    assert "−$8.00" in entry


def test_a_charge_beyond_the_credit_says_overdraft(now):
    account, version = factories.funded("1"), factories.price()
    answer = call(account, version, at=now, input_tokens=3_000)
    [paid, owed] = sheet.paid_from(record_of(answer))
    assert (paid.amount, owed.amount, owed.grant) == (1, 2, None)
    client, *_ = signed_in(account)
    assert "Overdraft" in text_of(client.get(f"/billing/details/{answer.id}"))


def test_what_if_everything_had_been_cached_and_through_another_channel(now):
    account = factories.funded("10")
    version = factories.price(components={"cache_read": {"multiple": "0.1"}})
    factories.price(channel="cheap", input_per_1k=Decimal("0.5"), output_per_1k=Decimal(1), type="per_token")
    answer = call(account, version, at=now, input_tokens=1_000)
    found = {
        one.code: (one.charge, one.flows, one.difference, one.share)
        for one in sheet.explain(record_of(answer), sheet_book()).what_if
    }
    assert found == {
        "cache_hit": (Decimal("0.1"), None, Decimal("-0.9"), Decimal("0.9")),
        "channel": (Decimal("0.5"), None, Decimal("-0.5"), Decimal("0.5")),
        "level": (Decimal("0.98"), None, Decimal("-0.02"), Decimal("0.02")),
        "on_flows": (None, Decimal("39.6"), None, None),
    }


def test_what_if_the_cache_had_missed_and_the_vendors_cheapest_model(now):
    account = factories.funded("10")
    version = factories.price(
        "acme/big", components={"cache_read": {"multiple": "0.1"}, "cache_write_5m": {"multiple": "1.25"}}
    )
    factories.price("acme/small", input_per_1k=Decimal("0.1"), output_per_1k=Decimal(1), type="per_token")
    factories.price("other/tiny", input_per_1k=Decimal("0.01"), output_per_1k=Decimal(1), type="per_token")
    answer = call(account, version, at=now, input_tokens=1_000, cache_read_tokens=1_000)
    found = {one.code: one.charge for one in sheet.explain(record_of(answer), sheet_book()).what_if}
    assert "cache_hit" not in found
    assert (found["cache_miss"], found["cache_written"]) == (1, Decimal("1.25"))
    assert "cheapest_model" not in found  # the cheap ones price cached input in full: 0.1 and 0.1
    answer = call(account, version, at=now, input_tokens=1_000)
    found = {one.code: (str(one.label), one.charge) for one in sheet.explain(record_of(answer), sheet_book()).what_if}
    assert found["cheapest_model"] == ("With acme/small, the vendor's cheapest of this kind", Decimal("0.1"))


def test_each_kept_line_and_both_sums_carry_a_tick(now):
    account = factories.funded("10")
    version = factories.price(components={"cache_read": {"multiple": "0.1"}}, multipliers=[("tier", "flex", "0.5")])
    answer = call(
        account, version, at=now, fields={"tier": "flex"}, user_discount="0.9",
        input_tokens=1_000, cache_read_tokens=400, output_tokens=10,
    )  # fmt: skip
    explained = sheet.explain(record_of(answer), sheet_book())
    assert [(line.item, line.equal) for line in explained.lines] == [
        ("input", True),
        ("cache_read", True),
        ("output", True),
    ]
    assert explained.ticks
    client, *_ = signed_in(account)
    page = text_of(client.get(f"/billing/details/{answer.id}"))
    assert page.count('<td class="tick" title="Kept and recomputed: the same">') == 6


def test_a_line_that_was_tampered_with_is_pointed_at(now):
    account, version = factories.funded("10"), factories.price()
    record = record_of(call(account, version, at=now, input_tokens=1_000, output_tokens=10))
    record.sheet["lines"][1][1] = "11"
    explained = sheet.explain(record, sheet_book())
    assert explained.equal is False
    assert [(line.item, line.equal) for line in explained.lines] == [("input", True), ("output", False)]
    shown = render_to_string("billing/call_body.html", {"explained": explained, "record": record})
    assert "Recomputed now" in shown
    assert "$0.022000" in shown or "$0.022" in shown
    record.sheet["lines"].pop()
    assert [line.equal for line in sheet.explain(record, sheet_book()).lines] == [True, False]


def test_a_record_without_a_kept_sheet_shows_the_recomputation(now):
    account, version = factories.funded("10"), factories.price()
    record = record_of(call(account, version, at=now, input_tokens=1_000))
    record.sheet = None
    explained = sheet.explain(record, sheet_book())
    assert (explained.equal, explained.kept, explained.ticks, explained.layout.charge) == (True, False, False, 1)


def test_the_reasons_stand_under_the_calculation_and_a_miss_looks_at_the_calls_around(now):
    account = factories.funded("100")
    version = factories.price("acme/big", components={"cache_read": {"multiple": "0.1"}})
    key, _ = factories.key(account)
    alone = call(account, version, at=now - timedelta(hours=3), key=key, input_tokens=5_000)
    call(account, version, at=now - timedelta(minutes=50), key=key, input_tokens=5_000, cache_read_tokens=4_000)
    missed = call(account, version, at=now, key=key, input_tokens=5_000)
    assert [one.code for one in sheet.explain(record_of(alone), sheet_book()).checks] == []
    assert [one.code for one in sheet.explain(record_of(missed), sheet_book()).checks] == ["cache_miss"]
    client, *_ = signed_in(account)
    page = text_of(client.get(f"/billing/details/{missed.id}"))
    assert "Why it cost that" in page
    assert "none of the 5,000 input tokens were read from the cache" in page


def test_a_call_that_flows_paid_says_what_the_balance_would_have_paid(now):
    account, version = factories.funded("10"), factories.price()
    record = record_of(call(account, version, at=now, user_discount="0.9", input_tokens=1_000))
    record.funding, record.charge, record.flows = "subscription", Decimal(0), Decimal("39.6")
    explained = sheet.explain(record, sheet_book())
    [one] = explained.what_if
    assert (one.code, one.charge, one.share) == ("from_balance", Decimal("0.9"), None)
    assert explained.equal is True


def test_a_free_call_says_that_it_is_free(now):
    account = factories.funded("10")
    version = factories.price(free=True, input_per_1k=Decimal(0), output_per_1k=Decimal(0), type="per_token")
    answer = call(account, version, at=now, input_tokens=50_000)
    client, *_ = signed_in(account)
    page = text_of(client.get(f"/billing/details/{answer.id}"))
    assert "The model is free: this call cost nothing" in page
    assert "What if" not in page


def test_others_see_nothing(now):
    mine, theirs, version = factories.funded("10"), factories.funded("10"), factories.price()
    answer = call(theirs, version, at=now)
    client, *_ = signed_in(mine)
    assert client.get(f"/billing/details/{answer.id}").status_code == 404
    assert client.get(f"/billing/transactions/{record_of(answer).entry_id}").status_code == 404
    assert client.get("/billing/details").context["rows"] == []
    assert answer.id.hex not in stream_of(client.get("/billing/details.csv")).replace("-", "")


def test_csv_has_every_row_of_the_filter_and_no_formulas(now):
    account, version = factories.funded("1000"), factories.price("test/csv")
    key, _ = factories.key(account, name="=HYPERLINK(1)")
    for n in range(3):
        call(account, version, at=now - timedelta(hours=n), key=key, request_id=f"+cmd{n}")
    call(account, factories.price("test/other"), at=now)
    client, *_ = signed_in(account)
    answer = client.get("/billing/details.csv", {"model": "test/csv"})
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(stream_of(answer))))
    assert [row["Request ID"] for row in rows] == ["'+cmd0", "'+cmd1", "'+cmd2"]
    assert rows[0]["Key"] == "'=HYPERLINK(1)"
    assert Decimal(rows[0]["Charge, USD"]) == Decimal("0.01")


def test_csv_streams_many_batches(now, monkeypatch):
    from billing import paging

    account, version = factories.funded("1000"), factories.price()
    for n in range(25):
        call(account, version, at=now - timedelta(seconds=n // 4))
    batches = paging.batches
    monkeypatch.setattr("billing.metering.views.batches", lambda rows, key: batches(rows, key, size=10))
    client, *_ = signed_in(account)
    rows = list(csv.DictReader(io.StringIO(stream_of(client.get("/billing/details.csv")))))
    assert len({row["Request ID"] for row in rows}) == len(rows) == 25


def test_what_made_it_adds_up_to_the_charges(now):
    account = factories.funded("1000")
    version = factories.price(components={"cache_read": {"multiple": "0.1"}, "reasoning": {"multiple": "1.5"}})
    for n in range(5):
        call(
            account, version, at=now - timedelta(minutes=n), user_discount="0.9", input_tokens=100 + n,
            cache_read_tokens=40, output_tokens=50, reasoning_tokens=20,
        )  # fmt: skip
    client, *_ = signed_in(account)
    context = client.get("/billing/details").context
    assert context["made"]["total"] == context["totals"]["charge"]
    assert {kind.name for kind in context["made"]["kinds"]} == {"input", "cache_read", "output", "reasoning"}


def test_pages_ask_at_most_twelve_questions(now, django_assert_max_num_queries):
    account, version = factories.funded("1000"), factories.price()
    key, _ = factories.key(account)
    for n in range(60):
        answer = call(account, version, at=now - timedelta(minutes=n), key=key)
    client, *_ = signed_in(account)
    entry = record_of(answer).entry_id
    for path in (
        "/billing/details",
        f"/billing/details?model=test/model&key={key.pk}&from={now.date()}",
        f"/billing/details/{answer.id}",
        "/billing/transactions",
        "/billing/transactions?kind=credit",
        f"/billing/transactions/{entry}",
        "/keys",
        f"/keys/{key.pk}",
        "/pricing",
        "/pricing/test/model",
        reverse("metering:key_create"),
    ):
        with django_assert_max_num_queries(12):
            assert client.get(path).status_code == 200, path


def test_chinese_pages_render(now):
    account, version = factories.funded("10"), factories.price()
    answer = call(account, version, at=now)
    client, user, _account = signed_in(account)
    user.locale = "zh-hans"
    user.save()
    for path in ("/billing/details", f"/billing/details/{answer.id}", "/billing/transactions", "/keys", "/pricing"):
        assert client.get(path).status_code == 200
