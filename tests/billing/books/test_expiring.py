"""Credit that expires: what was lost is found, and each account hears of it in one mail a day (F014)."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import notices
from billing.books import credits, expiring
from billing.books.models_vouchers import ExpiryNoticeRun
from billing.models_notices import Notice
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def write(now):
    while expiring.write_notices(now=now):
        pass


def expire(account, now):
    credits.expire_due([account.pk], now=now)


def test_what_was_lost_is_found_with_its_time_and_amount():
    account, version = factories.funded("20"), factories.price()
    lost = factories.credit(account, "3", expires_at=NOON + DAY)
    factories.credit(account, "2", expires_at=NOON + 5 * DAY)
    for _ in range(3):
        factories.capture(factories.hold(account, version, "0.1").id, input_tokens=100)
    expire(account, NOON + DAY)

    [found] = expiring.expired_since(account.pk, NOON)

    assert (found.grant_id, found.at) == (lost.pk, NOON + DAY)
    assert found.amount == 3 - 3 * version.input_per_1k / 10
    assert expiring.expired_since(account.pk, NOON + DAY, until=NOON + DAY) == []
    assert expiring.expired_since(account.pk, NOON + 2 * DAY) == []
    assert expiring.expired_since(factories.account().pk, NOON) == []


def test_one_mail_a_day_tells_all_that_expires_and_all_that_was_lost():
    account = factories.account()
    morning = datetime(2026, 11, 23, 2, tzinfo=UTC)
    factories.credit(account, "1", expires_at=morning - 6 * timedelta(hours=1))  # yesterday
    factories.credit(account, "2", expires_at=morning + DAY)
    factories.credit(account, "3", expires_at=morning + DAY + timedelta(hours=5))
    factories.credit(account, "7", expires_at=morning + 7 * DAY)
    factories.credit(account, "9", expires_at=morning + 3 * DAY)  # neither 1 nor 7 days ahead
    factories.credit(account, "11")
    expire(account, morning - 5 * timedelta(hours=1))

    write(morning)
    write(morning + timedelta(hours=3))

    [told] = Notice.objects.all()
    assert (told.context["near_usd"][:4], told.context["far_usd"][:4], told.context["lost_usd"][:4]) == (
        "5.00", "7.00", "1.00",
    )  # fmt: skip
    notices.send(told.pk, now=morning)
    [letter] = mail.outbox
    assert letter.subject == f"$5.00 of your credit expires soon ({account.name})"
    for text in ("$5.00 expires on 2026-11-24", "$7.00 expires from 2026-11-30", "$1.00 was left", str(account.pk)):
        assert text in letter.body


def test_each_warning_comes_once_and_the_loss_is_told_at_the_end():
    account = factories.account()
    factories.credit(account, "4", expires_at=NOON + 10 * DAY)

    for number in range(13):
        now = NOON + number * DAY
        expire(account, now)
        write(now)

    told = {row.created_at: set(row.context) for row in Notice.objects.all()}
    assert told == {
        NOON + 3 * DAY: {"far_usd", "far_at"},
        NOON + 9 * DAY: {"near_usd", "near_at"},
        NOON + 11 * DAY: {"lost_usd", "lost_at"},
    }


def test_credit_that_was_spent_is_not_warned_of():
    account, version = factories.account(), factories.price()
    factories.credit(account, "1", expires_at=NOON + 2 * DAY)
    factories.capture(factories.hold(account, version, "1").id, input_tokens=1000)

    for number in range(4):
        expire(account, NOON + number * DAY)
        write(NOON + number * DAY)

    assert not Notice.objects.exists()


def test_days_on_which_nobody_looked_are_caught_up_with():
    account = factories.account()
    write(NOON)
    factories.credit(account, "4", expires_at=NOON + 9 * DAY)

    write(NOON + 4 * DAY)  # the day of the seven-day warning was missed

    assert set(Notice.objects.get().context) == {"far_usd", "far_at"}


def test_a_run_is_stopped_and_taken_up_again_and_works_in_batches(monkeypatch):
    monkeypatch.setattr(expiring, "BATCH", 3)
    accounts = [factories.account() for _ in range(8)]
    for account in accounts:
        factories.credit(account, "4", expires_at=NOON + DAY)
        factories.credit(account, "5", expires_at=NOON + DAY)

    assert expiring.write_notices(now=NOON, limit=4)
    halfway = Notice.objects.count()
    write(NOON)

    assert 0 < halfway < 8
    assert Notice.objects.count() == 8
    assert {row.context["near_usd"][:1] for row in Notice.objects.all()} == {"9"}
    assert ExpiryNoticeRun.objects.get().done_at == NOON


def test_nothing_is_written_before_the_days_hour(settings):
    settings.CREDIT_NOTICE_HOUR = 5
    account = factories.account()
    morning = datetime(2026, 11, 23, 4, 59, tzinfo=UTC)
    factories.credit(account, "4", expires_at=morning + DAY)
    write(morning - DAY)

    write(morning)
    before = Notice.objects.count()
    write(morning + timedelta(minutes=1))

    assert (before, Notice.objects.count()) == (0, 1)


def test_the_search_for_what_was_lost_reads_an_index():
    account = factories.funded("1")
    with CaptureQueriesContext(connection) as asked:
        expiring.expired_since(account.pk, NOON)
    sql = asked[-1]["sql"]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}")
        plan = " ".join(row[0] for row in cursor.fetchall())
    assert "entry_not_usage" in plan or "entry_seq" in plan, plan
