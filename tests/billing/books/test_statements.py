"""Monthly statements: equal to the ledger to the last digit, month after month, whatever happened."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.books import credits, details, statement_pdf, statements
from billing.books.models import JournalEntry
from billing.books.months import Month
from billing.models import Notice
from config import clock
from tests import factories
from tests.api import problem, program
from tests.billing.metering.samples import call
from tests.billing.pages import signed_in, stream_of, text_of

pytestmark = pytest.mark.django_db
JAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "days"), [("2026-02", 28), ("2028-02", 29), ("2100-02", 28), ("2026-12", 31), ("2026-04", 30)]
)
def test_a_month_is_as_long_as_the_calendar_says(text, days):
    month = Month.read(text)
    assert (month.end - month.start).days == days
    assert (month.next.before, month.before.next, str(month)) == (month, month, text)
    assert month.before.end == month.start


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "1999-01", "2200-01", "２０２６-01", "2026-1", "2026-01\n"]
)
def test_what_is_not_a_month_is_none(text):
    assert Month.read(text) is None


def test_the_last_instant_belongs_to_the_month_and_the_next_to_the_next():
    account = factories.account(now=JAN)
    instant = timedelta(microseconds=1)
    march = datetime(2026, 3, 1, tzinfo=UTC)
    factories.credit(account, "1", now=march - instant)
    factories.credit(account, "2", now=march)
    factories.credit(account, "4", now=datetime(2026, 4, 1, tzinfo=UTC) - instant)
    told = statements.statement(account, Month(2026, 3), now=datetime(2026, 5, 1, tzinfo=UTC))
    assert (told.opening, told.closing, told.entries) == (1, 7, 2)
    assert told.final


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"])
def test_a_statement_is_the_same_for_readers_in_every_zone(zone):
    """The clocks go forward on 2026-03-29 in Berlin, and on 2026-03-08 in New York."""
    from zoneinfo import ZoneInfo

    from django.utils import timezone

    account = factories.account(now=JAN)
    factories.credit(account, "1", now=datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
    factories.credit(account, "2", now=datetime(2026, 3, 31, 23, 30, tzinfo=UTC))
    with timezone.override(ZoneInfo(zone)):
        told = statements.statement(account, Month(2026, 3), now=datetime(2026, 5, 1, tzinfo=UTC))
    assert (told.opening, told.closing) == (0, 3)


def test_entries_numbered_out_of_their_order_around_midnight_stay_in_their_own_month():
    """Two calls at once: the one that read its clock before midnight was numbered second. The border does not move
    when more entries follow."""
    account = factories.account(now=JAN)
    border = datetime(2026, 3, 1, tzinfo=UTC)
    for seconds in (-2, 1, -1, 2):
        factories.credit(account, "1", now=border + timedelta(seconds=seconds))
    found = {statements.boundary(account.pk, border)}
    for number in range(40):
        factories.credit(account, "1", now=border + timedelta(days=1, seconds=number))
        found.add(statements.boundary(account.pk, border))
    assert found == {4}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["credit", "expiring", "call", "expire"]),
        st.integers(0, 3_000_000),
        st.integers(1, 9_999_999_999),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_opening_and_movements_are_closing_and_the_next_opening_over_random_histories(steps):
    with transaction.atomic():
        account, version, now = factories.account(now=JAN), factories.price(), JAN
        for what, seconds, tiny in steps:
            now += timedelta(seconds=seconds)
            if what == "call":
                call(account, version, at=now, input_tokens=tiny % 900 + 1)
            elif what == "expire":
                credits.expire_due([account.pk], now=now)
            else:
                expires = now + timedelta(days=3) if what == "expiring" else None
                factories.credit(account, str(Decimal(tiny).scaleb(-10)), now=now, expires_at=expires)
        after = now + timedelta(days=40)
        before = None
        for month in reversed(statements.months(account, now=after)):
            told = statements.statement(account, month, now=after)
            ledger = JournalEntry.objects.filter(account=account, at__gte=month.start, at__lt=month.end)
            moved = ledger.aggregate(moved=Sum("delta"))["moved"] or Decimal(0)
            assert told.closing - told.opening == moved == sum(one.amount for one in told.kinds)
            assert told.opening + told.credits + told.debits == told.closing
            assert before is None or told.opening == before
            amounts = [row[4] for rows in statements.table(told) for row in rows]
            assert sum(amounts[:-1]) == amounts[-1] == told.closing
            before = told.closing
        last = JournalEntry.objects.filter(account=account).order_by("seq").last()
        assert before == (last.balance_after if last else 0)
        transaction.set_rollback(True)


def test_page_csv_pdf_and_api_tell_the_same_and_a_formula_is_only_text():
    now = clock.now()
    account, version = factories.account(now=now), factories.price()
    factories.credit(account, "5", now=now, kind="voucher", entry_kind="voucher", note="=HYPERLINK(1)")
    call(account, version, at=now, input_tokens=100)
    client, *_ = signed_in(account)
    month = str(Month.of(now))
    assert client.get("/billing/statements", {"month": month})["Location"] == f"/billing/statements/{month}"
    page = text_of(client.get(f"/billing/statements/{month}"))
    for expected in ("$4.90", "+$5.00", "−$0.10", "So far", "UTC"):
        assert expected in page
    rows = list(csv.reader(io.StringIO(stream_of(client.get(f"/billing/statements/{month}/statement.csv")))))
    assert rows[2][2] == "'=HYPERLINK(1)"
    assert sum(Decimal(row[4]) for row in rows[1:-1]) == Decimal(rows[-1][4]) == Decimal("4.9")
    for language in ("en", "zh-hans"):
        pdf = client.get(f"/billing/statements/{month}/statement.pdf", {"lang": language})
        assert (pdf.status_code, pdf["Content-Type"]) == (200, "application/pdf")
        assert pdf.content.startswith(b"%PDF-")
    asked = program(account)
    [listed] = asked.call("GET", "statements").json()["results"]
    told = asked.call("GET", f"statements/{month}").json()
    assert listed["closing_balance"] == told["closing_balance"] == "4.9000000000"
    assert [one["kind"] for one in told["kinds"]] == ["voucher", "usage"]
    assert asked.call("GET", f"statements/{month}?format=pdf").content.startswith(b"%PDF-")
    assert stream_of(asked.call("GET", f"statements/{month}?format=csv")).startswith("date_utc,")
    for wrong in ("1999-01", "2026-13", "nonsense", str(Month.of(now).next)):
        problem(asked.call("GET", f"statements/{wrong}"), 404, "not_found")
        assert client.get(f"/billing/statements/{wrong}").status_code == 404
    problem(asked.call("GET", f"statements/{month}?format=xml"), 422, "invalid_request")


def test_a_mail_about_the_statement_goes_once_to_who_asked_for_it(django_capture_on_commit_callbacks):
    account, silent = factories.account(now=JAN), factories.account(now=JAN)
    owner = account.memberships.get().user
    for one in (account, silent):
        factories.credit(one, "3", now=JAN + timedelta(days=3))
    details.save(account.pk, {"statement_mail": True}, actor=owner, now=JAN + timedelta(days=5))
    february = datetime(2026, 2, 1, tzinfo=UTC)
    for moment, count in ((february, 0), (february + timedelta(hours=1), 1), (february + timedelta(days=20), 1)):
        for account_id in statements.due(now=moment):
            statements.tell_ready(account_id, now=moment)
        assert Notice.objects.filter(kind="statement_ready").count() == count
    notice = Notice.objects.get(kind="statement_ready")
    assert (notice.account, notice.context["month"], Decimal(notice.context["closing_usd"])) == (account, "2026-01", 3)
    from billing import notices

    notices.send(notice.pk, now=february + timedelta(hours=2))
    [sent] = mail.outbox
    assert sent.to == [owner.email]
    assert "2026-01" in sent.subject
    assert "/billing/statements/2026-01" in sent.body


def test_a_grants_page_tells_where_it_came_from_and_what_it_paid_for():
    now = clock.now()
    account, version = factories.account(now=now), factories.price()
    grant = factories.credit(account, "5", now=now, kind="voucher", entry_kind="voucher", note="SPRING",
                             expires_at=now + timedelta(days=3))  # fmt: skip
    for number in range(30):
        call(account, version, at=now + timedelta(seconds=number), input_tokens=10)
    client, *_ = signed_in(account)
    page = client.get(f"/billing/credit/{grant.pk}")
    assert "SPRING" in text_of(page)
    assert text_of(page).count("−$0.01") >= 25
    older = page.context["page"].older
    assert "+$5.00" in text_of(client.get(f"/billing/credit/{grant.pk}", {"before": older}))
    assert "expire next" in text_of(client.get("/billing/transactions"))
    other, *_ = signed_in()
    assert other.get(f"/billing/credit/{grant.pk}").status_code == 404


def test_a_month_of_many_entries_is_one_pass_of_the_database():
    """The figure of a million entries is in the bench; here, that time and queries do not grow with the entries."""
    account = factories.account(now=JAN)
    factories.credit(account, "1000", now=JAN)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_posting DISABLE TRIGGER USER")
        cursor.execute(
            "INSERT INTO billing_journalentry (id, account_id, seq, kind, key, at, delta, balance_after, meta)"
            " SELECT gen_random_uuid(), %s, n + 1, 'usage', 'usage:' || n, %s + n * interval '2 minutes', -0.01,"
            " 1000 - n * 0.01, '{\"calls\": 1}' FROM generate_series(1, 20000) n",
            [account.pk, JAN],
        )
        began = time.perf_counter()
        told = statements.statement(account, Month(2026, 1), now=JAN + timedelta(days=60))
        pdf = statement_pdf.render(told, "en")
        cursor.execute("ALTER TABLE billing_posting ENABLE TRIGGER USER")
    assert told.entries == 20_001
    assert told.closing == Decimal(800)
    assert len(told.days) == 28
    assert time.perf_counter() - began < 20
    assert pdf.startswith(b"%PDF-")
