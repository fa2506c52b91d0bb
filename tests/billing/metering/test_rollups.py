"""Usage by day: what is rolled up and the tail after it are always the direct sum."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import Count, Sum

from accounts.models import Account
from billing.metering import rollups, tasks
from billing.metering.models import RollupState, UsageRecord, UsageRollup
from billing.metering.rollups import Scope
from tests import factories
from tests.billing.metering.samples import call
from tests.factories import NOON


def direct(account: Account) -> tuple[int, Decimal, int]:
    sums = UsageRecord.objects.filter(account=account).aggregate(
        n=Count("pk"), usd=Sum("charge"), tokens=Sum("input_tokens")
    )
    return sums["n"], sums["usd"] or Decimal(0), sums["tokens"] or 0


def read(account: Account) -> tuple[int, Decimal, int]:
    total = rollups.total(Scope(account.pk))
    return total.calls, total.charge, total.input_tokens


@pytest.mark.django_db
def test_rollups_and_tail_are_the_direct_sum_at_every_moment():
    account, version = factories.funded("100"), factories.price()
    for minute in range(10):
        call(account, version, at=NOON + timedelta(minutes=minute), input_tokens=10 + minute)
        assert read(account) == direct(account)
        rollups.roll(now=NOON + timedelta(minutes=minute, seconds=30))
        assert read(account) == direct(account)
    rollups.roll(now=NOON + timedelta(hours=1))
    assert UsageRollup.objects.filter(account=account).aggregate(n=Sum("calls"))["n"] == 10
    assert read(account) == direct(account)


@pytest.mark.django_db
def test_rolling_twice_adds_nothing():
    account, version = factories.funded("100"), factories.price()
    call(account, version)
    later = NOON + timedelta(minutes=5)
    assert rollups.roll(now=later).rows == 1
    assert rollups.roll(now=later).rows == 0
    assert rollups.roll(now=later - timedelta(minutes=3)).rows == 0, "the watermark never moves back"
    assert rollups.watermark() == later - rollups.SETTLED_AFTER
    assert read(account) == direct(account)


@pytest.mark.django_db
def test_a_call_reported_long_after_it_was_made_counts_at_once_and_on_its_own_day():
    account, version = factories.funded("100"), factories.price()
    call(account, version)
    rollups.roll(now=NOON + timedelta(minutes=5))
    call(account, version, at=NOON - timedelta(days=3), written=NOON + timedelta(minutes=6))
    assert read(account) == direct(account)
    days = {row.day: row.calls for row in rollups.sums(Scope(account.pk), by=["day"])}
    assert days == {date(2026, 11, 22): 1, date(2026, 11, 19): 1}
    rollups.roll(now=NOON + timedelta(minutes=10))
    assert {row.day: row.calls for row in rollups.sums(Scope(account.pk), by=["day"])} == days


@pytest.mark.django_db
def test_days_are_utc_days():
    account, version = factories.funded("100"), factories.price()
    before_midnight = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
    call(account, version, at=before_midnight)
    call(account, version, at=before_midnight + timedelta(seconds=1))
    for _ in "tail", "rolled":
        days = {row.day: row.calls for row in rollups.sums(Scope(account.pk), by=["day"])}
        assert days == {date(2026, 11, 21): 1, date(2026, 11, 22): 1}
        assert rollups.total(Scope(account.pk, first=date(2026, 11, 22), last=date(2026, 11, 22))).calls == 1
        rollups.roll(now=NOON + timedelta(days=1))


@pytest.mark.django_db
def test_sums_go_by_model_key_and_funding_and_stay_within_the_account():
    account, other, version = factories.funded("100"), factories.funded("100"), factories.price()
    second = factories.price("test/second")
    key, _ = factories.key(account)
    call(account, version, key=key)
    call(account, second)
    call(other, version)
    for _ in "tail", "rolled":
        assert rollups.total(Scope(account.pk)).calls == 2
        assert rollups.total(Scope(account.pk, model_id=second.model_id)).calls == 1
        assert rollups.total(Scope(account.pk, api_key_id=key.pk)).calls == 1
        assert rollups.total(Scope(account.pk, funding="subscription")).calls == 0
        groups = rollups.sums(Scope(account.pk), by=["model_id", "api_key_id", "funding"])
        assert {(g.model_id, g.api_key_id, g.funding) for g in groups} == {
            (version.model_id, key.pk, "payg"),
            (second.model_id, None, "payg"),
        }
        rollups.roll(now=NOON + timedelta(minutes=5))


@pytest.mark.django_db
def test_a_rebuild_gives_what_rolling_gave():
    account, version = factories.funded("100"), factories.price()
    for hour in range(5):
        call(account, version, at=NOON - timedelta(hours=6 * hour))
    rollups.roll(now=NOON + timedelta(minutes=5))
    kept = list(UsageRollup.objects.order_by("day").values_list("day", "calls", "charge"))
    UsageRollup.objects.update(calls=99)
    rollups.rebuild(now=NOON + timedelta(minutes=5))
    assert list(UsageRollup.objects.order_by("day").values_list("day", "calls", "charge")) == kept
    assert read(account) == direct(account)


@pytest.mark.django_db
def test_task_and_command_roll_by_the_clock(capsys: pytest.CaptureFixture[str]):
    tasks.roll_usage()
    assert rollups.watermark() is not None
    call_command("rollup_usage")
    call_command("rollup_usage", "--rebuild")
    assert capsys.readouterr().out.count("rollup_usage: 0 rows") == 2


@pytest.mark.django_db(transaction=True)
def test_workers_and_readers_at_once_count_each_call_once():
    """Four rollers and a reader, while calls are written."""
    account, version = factories.funded("100"), factories.price()
    for second in range(40):
        call(account, version, at=NOON + timedelta(seconds=second))
    expected = direct(account)

    def work(number: int) -> set[tuple[int, Decimal, int]]:
        try:
            if number % 5 == 4:
                return {read(account) for _ in range(20)}
            for second in range(number, 160, 4):
                rollups.roll(now=NOON + timedelta(seconds=second))
            return {read(account)}
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        seen = set().union(*pool.map(work, range(5)))
    assert seen == {expected}
    rollups.roll(now=NOON + timedelta(minutes=10))
    assert read(account) == expected
    assert UsageRollup.objects.aggregate(n=Sum("calls"))["n"] == 40


@pytest.mark.django_db(transaction=True)
def test_a_call_whose_transaction_is_still_open_is_not_missed():
    """The roller waits behind a writer that began before the watermark would pass it."""
    account, version = factories.funded("100"), factories.price()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    writer = connections.create_connection("default")
    try:
        writer.set_autocommit(False)
        with writer.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE open_transaction (n int)")
            call(account, version)
            done = rollups.roll(now=NOON + timedelta(seconds=61))
            assert done.until <= NOON + timedelta(seconds=1)
        writer.rollback()
    finally:
        writer.close()
    assert read(account) == direct(account)
    assert RollupState.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_control_without_the_watermarks_lock_two_workers_count_twice(monkeypatch: pytest.MonkeyPatch):
    """What the lock is for: both read the old watermark, and both add the same calls."""
    account, version = factories.funded("100"), factories.price()
    call(account, version)
    both_have_read = Barrier(2, timeout=20)

    def unlocked() -> RollupState:
        state = RollupState.objects.get_or_create(pk=1)[0]
        both_have_read.wait()
        return state

    def work(_number: int) -> None:
        try:
            rollups.roll(now=NOON + timedelta(minutes=5))
        finally:
            connections.close_all()

    RollupState.objects.get_or_create(pk=1)
    monkeypatch.setattr(rollups, "_locked_state", unlocked)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert UsageRollup.objects.aggregate(n=Sum("calls"))["n"] == 2
