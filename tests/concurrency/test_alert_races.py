"""Two sweeps at once tell a fact once; without the alert's lock they collide."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError

from billing.metering import alerts
from billing.metering.models_alerts import AlertFiring, SpendAlert
from billing.models_notices import Notice
from tests import factories
from tests.concurrency.helpers import at_once

pytestmark = pytest.mark.django_db(transaction=True)
NOON = factories.NOON


def spent_account() -> Any:
    """An account whose spend and balance have both crossed."""
    account, version = factories.funded("25"), factories.price("acme/chat")
    for kind, usd, terms in (("low_balance", "20", {}), ("spend", "5", {"period": "day", "steps": [50, 80, 100]})):
        alerts.create(account, alerts.terms(account, kind=kind, threshold=usd, **terms), actor=None, now=NOON)
    held = factories.hold(account, version, "6")
    factories.capture(held.id, input_tokens=6_000)
    return account


def test_ten_sweeps_at_once_send_one_mail_for_each_fact():
    account = spent_account()
    assert sum(at_once(10, lambda _number: alerts.look(account.pk, now=NOON))) == 2
    assert Notice.objects.filter(account=account, kind__startswith="alert").count() == 2
    assert AlertFiring.objects.filter(account=account).count() == 4


@contextmanager
def unlocked(patch: pytest.MonkeyPatch):
    """The control: the row is read without its lock, and both sweeps have read before either writes."""
    import threading

    gate = threading.Barrier(2)

    def read(alert: SpendAlert) -> Any:
        found = SpendAlert.objects.select_related("group", "api_key", "created_by").get(pk=alert.pk)
        gate.wait(30)
        return found

    patch.setattr(alerts, "_still", read)
    yield


def test_without_the_lock_both_sweeps_would_tell_the_fall(monkeypatch):
    account = spent_account()
    SpendAlert.objects.filter(kind="spend").delete()

    def look(_number: int) -> str:
        try:
            return str(alerts.look(account.pk, now=NOON))
        except IntegrityError:
            return "refused by the unique row"

    with unlocked(monkeypatch):
        told = at_once(2, look)
    assert sorted(told) == ["1", "refused by the unique row"]
