"""Transactions: every movement, the balance after it, what is left and until when; CSV; nobody else's."""

import csv
import io
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.books import entries
from billing.books.models import JournalEntry, System
from config import clock
from tests import factories
from tests.billing.metering.samples import call
from tests.billing.pages import signed_in, stream_of, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def now():
    return clock.now()


def test_an_empty_account_is_told_what_to_do_next():
    client, *_ = signed_in()
    assert "Nothing has moved yet" in text_of(client.get("/billing/transactions"))


def test_each_entry_has_its_change_and_the_balance_after_it(now):
    account, version = factories.account(), factories.price()
    factories.credit(
        account, "20", now=now - timedelta(days=1), kind="cash", paid=True, entry_kind="topup",
        funded_by=System.PROCESSOR_STRIPE, key="topup:product_0193a1b2:credited",
    )  # fmt: skip
    factories.credit(account, "3", now=now - timedelta(hours=2), kind="voucher", entry_kind="voucher",
                     expires_at=now + timedelta(days=2), note="SPRING")  # fmt: skip
    call(account, version, at=now, input_tokens=54)
    client, *_ = signed_in(account)
    page = text_of(client.get("/billing/transactions"))
    for expected in (
        "+$20.00",
        "+$3.00",
        "−$0.054",
        "$22.946",
        "1 call",
        "3 entries",
        "product_0193a1b2",
        "SPRING",
        "soon",
    ):
        assert expected in page
    assert "/billing/top-up/product_0193a1b2" in page


def test_kinds_and_days_filter_and_pages_turn(now):
    account, version = factories.funded("1000", now=now - timedelta(days=10)), factories.price()
    for n in range(60):
        call(account, version, at=now - timedelta(days=5) + timedelta(minutes=n))
    factories.credit(account, "5", now=now)
    client, *_ = signed_in(account)

    def seqs(**params) -> list[int]:
        return [row.entry.seq for row in client.get("/billing/transactions", params).context["rows"]]

    assert seqs() == list(range(62, 12, -1))
    assert seqs(before="13") == list(range(12, 0, -1))
    assert seqs(after="12") == list(range(62, 12, -1))
    assert seqs(kind="credit") == [62, 1]
    assert seqs(kind="manual_credit") == [62, 1]
    assert seqs(kind="topup") == []
    assert len(seqs(kind="usage")) == 50
    assert seqs(**{"from": (now - timedelta(days=2)).date().isoformat()}) == [62]
    assert seqs(to=(now - timedelta(days=8)).date().isoformat()) == [1]
    assert seqs(kind="nonsense", before="x")[0] == 62


def test_halving_finds_the_first_entry_of_a_moment(now):
    account = factories.account()
    assert entries.first_seq_since(account.pk, now) == 1
    for n in range(9):
        factories.credit(account, "1", now=now + timedelta(hours=n))
    for n in range(9):
        assert entries.first_seq_since(account.pk, now + timedelta(hours=n)) == n + 1
        assert entries.first_seq_since(account.pk, now + timedelta(hours=n, seconds=1)) == n + 2
    assert entries.first_seq_since(account.pk, now - timedelta(days=1)) == 1


def test_an_entry_tells_in_words_what_left_and_what_arrived(now):
    account, version = factories.funded("1"), factories.price()
    call(account, version, at=now, input_tokens=3_000)
    factories.credit(account, "5", now=now)
    client, *_ = signed_in(account)
    usage, credit = (JournalEntry.objects.get(account=account, seq=seq) for seq in (2, 3))
    told = [(str(line.label), line.into, line.amount) for line in entries.lines_of(usage)]
    assert told == [("Promotion", False, 1), ("Overdraft", False, 2), ("Calls", True, 3)]
    told = [(str(line.label), line.into, line.amount) for line in entries.lines_of(credit)]
    assert told == [
        ("Credit given by staff", False, 5), ("Promotion", True, 5), ("Promotion", False, 2), ("Overdraft", True, 2),
    ]  # fmt: skip
    for row in (usage, credit):
        assert client.get(f"/billing/transactions/{row.pk}").status_code == 200


def test_others_see_nothing(now):
    theirs = factories.funded("10")
    client, *_ = signed_in()
    entry = JournalEntry.objects.get(account=theirs)
    assert client.get(f"/billing/transactions/{entry.pk}").status_code == 404
    assert client.get("/billing/transactions").context["rows"] == []
    assert str(entry.pk) not in stream_of(client.get("/billing/transactions.csv"))


def test_csv_has_the_filtered_entries_with_numbers_as_numbers(now):
    account, version = factories.funded("10"), factories.price()
    factories.credit(account, "1", kind="voucher", entry_kind="voucher", note="=1+1")
    call(account, version, at=now)
    client, *_ = signed_in(account)
    rows = list(csv.DictReader(io.StringIO(stream_of(client.get("/billing/transactions.csv")))))
    assert [row["Number"] for row in rows] == ["3", "2", "1"]
    assert rows[1]["Description"] == "'=1+1"
    assert Decimal(rows[0]["Change, USD"]) == Decimal("-0.01")
    assert len(stream_of(client.get("/billing/transactions.csv?kind=usage")).splitlines()) == 2
