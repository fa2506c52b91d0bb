"""Calls, captures, changes of plan, resets, bridged periods, renewals and ends at once: nothing is lost (I9, I10)."""

from __future__ import annotations

import contextlib
import random
from datetime import timedelta

import pytest
from django.db import transaction

from billing.books import verify
from billing.books.ledger import lock_wallet
from billing.metering.models import Authorization
from subscriptions import periods, resetting
from subscriptions.errors import WindowNotResettable
from subscriptions.models import QuotaWindow, Subscription
from tests.concurrency.helpers import at_once
from tests.subscriptions.driving import NOON, driver, plan_version

pytestmark = pytest.mark.django_db(transaction=True)
END = NOON + timedelta(days=30)


@pytest.mark.parametrize("policy", ["first_request", "grid"])
def test_around_the_end_of_a_period_everything_at_once_leaves_the_windows_whole(policy):
    pro = plan_version("pro", anchor_policy=policy)
    large = plan_version("max", anchor_policy=policy)
    made = driver(pro, usd="100")
    key = made.agree("5.00").pk
    early = [made.ask("3", END - timedelta(hours=1)) for _ in range(10)]
    assert {one.outcome for one in early} == {"created"}
    seed = random.Random(7)
    whens = [END + timedelta(minutes=seed.randrange(-30, 300)) for _ in range(60)]

    def work(number):
        at = whens[number]
        kind = number % 6
        if kind == 0:
            if at >= END:
                periods.bridge(made.account.pk, now=at)
            found = made.ask("7", at, usd="0.40", key=key)
            if found.outcome == "created" and number % 4:
                made.capture(found, at, "9")
        elif kind == 1:
            found = made.ask("2", at, usd="0.10", key=key)
            if found.outcome == "created":
                made.void(found, at)
        elif kind == 2:
            made.capture(early[number // 6], at, "5")
        elif kind == 3:
            with transaction.atomic():
                lock_wallet(made.account.pk)
                row = Subscription.objects.get(account=made.account)
                if row.period_end == END:
                    row.period_start, row.period_end = END, END + timedelta(days=31)
                    row.save()
                    periods.follow_renewal(row, now=max(at, END))
                elif row.plan_version_id == pro.pk and number > 40:
                    row.plan_version = large
                    row.save()
                    periods.begin(made.account.pk, large, row, start=at, end=row.period_end, now=at, carry=True)
        elif kind == 4:
            window = QuotaWindow.objects.filter(account=made.account, kind="5h").order_by("?").first()
            with contextlib.suppress(WindowNotResettable):
                resetting.reset(window.pk, reason="test", actor=None, now=at)
        else:
            made.ask("1", at, usd="0.10", key=key, request_id=f"same-{number % 2}")

    at_once(60, work)
    for one in Authorization.objects.filter(status="open", account=made.account):
        made.void(one, END + timedelta(days=1))
    assert [(one.code, one.broken) for one in verify.run() if one.broken] == []
    assert not QuotaWindow.objects.exclude(held=0).exists()
