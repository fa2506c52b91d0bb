"""Extra Usage turned on, off and changed by several at once, and its mails swept by two: each with its control."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.db import IntegrityError

from accounts import api_keys
from accounts.models import AuditRecord
from billing.models_notices import Notice
from subscriptions import extra, extra_told
from subscriptions.models import ExtraUsage, ExtraUsageMonth
from tests import factories
from tests.concurrency.helpers import at_once
from tests.factories import NOON

pytestmark = pytest.mark.django_db(transaction=True)


def on(account, key, cap="20.00"):
    return extra.turn_on(
        account.pk, key_id=key.pk, monthly_cap=Decimal(cap), agreed_text="yes", actor=None, label="test", now=NOON
    )


def audited() -> Counter[str]:
    return Counter(AuditRecord.objects.filter(action__startswith="extra_usage").values_list("action", flat=True))


def unlocked(monkeypatch):
    """The control: the operations as they would be without the wallet's lock."""
    unguarded = SimpleNamespace(lock_wallet=lambda account_id: SimpleNamespace(net=Decimal(0)))
    monkeypatch.setattr(extra, "ledger", unguarded)
    monkeypatch.setattr(extra_told, "ledger", unguarded)


def test_ten_that_turn_it_on_at_once_turn_it_on_once_and_mail_once():
    account = factories.funded("10")
    key, _ = factories.key(account)
    at_once(10, lambda _number: on(account, key))
    assert audited() == {"extra_usage_on": 1}
    assert Notice.objects.filter(kind="extra_usage_changed").count() == 1


def test_control_without_the_lock_they_collide(monkeypatch):
    unlocked(monkeypatch)
    for _ in range(20):
        account = factories.funded("10")
        key, _ = factories.key(account)

        def work(_number, account=account, key=key):
            try:
                on(account, key)
            except IntegrityError:
                return "collided"
            return "on"

        outcomes = Counter(at_once(10, work))
        if outcomes["collided"] or audited()["extra_usage_on"] > 1:
            return
    raise AssertionError("the lock guards nothing")


def test_on_and_off_at_once_end_as_one_of_them_said_with_an_audit_that_tells_the_order():
    account = factories.funded("10")
    key, _ = factories.key(account)
    on(account, key)

    def work(number):
        if number % 2:
            return extra.turn_off(account.pk, actor=None, label="test", now=NOON)
        return on(account, key)

    at_once(10, work)
    told = audited()
    # Each change found the opposite before it.
    assert told["extra_usage_on"] - told["extra_usage_off"] == int(ExtraUsage.objects.get().enabled)


def test_a_key_chosen_while_it_is_rotated_is_followed_or_refused_and_never_left_behind():
    for _ in range(5):
        account = factories.funded("10")
        key, _ = factories.key(account)
        spare, _ = factories.key(account)
        on(account, spare)

        def work(number, account=account, key=key):
            if number:
                api_keys.rotate(key.pk, now=NOON, actor=None, grace=timedelta(days=1))
                return "rotated"
            try:
                extra.reselect(account.pk, key_id=key.pk, actor=None, label="test", now=NOON)
            except extra.InvalidRequest:
                return "refused"
            return "chosen"

        [chosen, _] = at_once(2, work)
        named = ExtraUsage.objects.get(pk=account.pk).api_key
        assert named is not None
        assert (named == spare) == (chosen == "refused")
        assert named == spare or named.rotated_from == key


@pytest.mark.damages_books  # a month that spent without calls
def test_two_sweeps_at_once_tell_a_step_once():
    account = factories.funded("10")
    on(account, factories.key(account)[0])
    ExtraUsageMonth.objects.create(account=account, month=NOON.date().replace(day=1), spent=Decimal(16))
    assert sum(at_once(4, lambda _number: extra_told.sweep(now=NOON))) == 1
    assert Notice.objects.filter(kind="extra_usage_reached").count() == 1


@pytest.mark.damages_books  # a month that spent without calls
def test_control_without_the_lock_a_step_is_counted_twice(monkeypatch):
    unlocked(monkeypatch)
    for _ in range(20):
        account = factories.funded("10")
        on(account, factories.key(account)[0])
        ExtraUsageMonth.objects.create(account=account, month=NOON.date().replace(day=1), spent=Decimal(16))
        if sum(at_once(8, lambda _number: extra_told.sweep(now=NOON))) > 1:
            return
    raise AssertionError("the lock guards nothing")
