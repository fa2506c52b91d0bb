"""The demo loads once, and its customer has a plan that was bought, used, changed and renewed through our own doors."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils.translation import activate

from accounts.demo import DEMO_LOGINS
from accounts.models import Account, ApiKey, User
from billing.catalog import book
from billing.metering.models import UsageRecord
from billing.payments.stripe_processor import get_processor
from config import clock
from config.celery import app
from subscriptions import lifecycle, plans, receipts, settling
from subscriptions.models import Invoice, PlanChange, QuotaWindow, Subscription
from tests.billing.pages import text_of
from tests.billing.payments.conftest import work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def load() -> str:
    said = io.StringIO()
    call_command("load_demo", stdout=said)
    return said.getvalue()


def counts() -> list[int]:
    return [model.objects.count() for model in (User, Account, ApiKey, Subscription, Invoice, UsageRecord)]


@pytest.fixture
def demo(settings: Any, sandbox: Any) -> Any:
    """The demo as `make run` loads it; the provider answers afterwards, as its server then does."""
    app.loader.import_default_modules()
    settings.DEBUG = True
    plans.forget()
    load()
    yield sandbox
    plans.forget()
    book.forget()


def test_staff_can_give_the_demo_every_flow_class(demo: Any) -> None:
    rates = {name: book.current_book().flow_rate(name, clock.now()) for name in ("standard", "insider", "restricted")}
    told = {name: str(rate and rate.flows_per_usd.normalize()) for name, rate in rates.items()}
    assert told == {"standard": "39.6", "insider": "36", "restricted": "79.2"}


def test_the_demos_customer_has_a_living_plan(demo: Any, client: Client) -> None:
    now = clock.now()
    row = Subscription.objects.select_related("plan_version", "account").get()
    assert (row.plan_version.plan_id, row.status, row.review_reason) == ("pro", "active", "")
    assert row.period_start is not None
    assert row.period_start <= now < row.period_end  # type: ignore[operator]
    assert [(one.kind, one.status) for one in Invoice.objects.order_by("at")] == [
        ("subscribe", "paid"), ("change", "paid"), ("renewal", "paid"),
    ]  # fmt: skip
    assert sorted(PlanChange.objects.values_list("kind", "status")) == [("downgrade", "done"), ("upgrade", "done")]
    for kind in QuotaWindow.Kind.values:
        window = QuotaWindow.objects.get(kind=kind, starts_at__lte=now, ends_at__gt=now)
        assert 0 < window.used <= window.cap, kind
        assert window.held == 0
    key = ApiKey.objects.get(kind=ApiKey.Kind.SUBSCRIPTION)
    paid_by_flows = UsageRecord.objects.filter(api_key_id=key.pk)
    assert paid_by_flows.count() > 100
    assert not paid_by_flows.exclude(charge=Decimal(0)).exists()

    client.force_login(User.objects.get(email=DEMO_LOGINS[0][1]))
    told = text_of(client.get("/platform/subscription"))
    for expected in ("Northwind Labs", "coding agent", "of 50 Flows left"):
        assert expected in told, expected
    history = client.get("/platform/subscription/history")
    assert history.content.decode().count("receipt.pdf?lang=en") == 3
    assert receipts.render(Invoice.objects.get(kind="change"), "zh-hans").startswith(b"%PDF-")

    before = counts()
    assert "is loaded" in load()
    assert counts() == before


def test_the_provider_knows_the_demos_plan_and_its_events_change_nothing(demo: Any) -> None:
    activate("en")
    row = Subscription.objects.get()

    def stands() -> Any:
        seen = Subscription.objects.get()
        windows = list(QuotaWindow.objects.order_by("pk").values_list("pk", "starts_at", "ends_at", "used"))
        return seen.status, seen.period_end, list(Invoice.objects.order_by("pk").values_list("pk", "status")), windows

    before = stands()
    assert demo.deliver() > 0
    work()
    settling.settle(row.pk, processor=get_processor(), now=clock.now())
    assert stands() == before
    shown = lifecycle.preview(row.account_id, "max", processor=get_processor(), now=clock.now())
    assert Decimal(0) < shown.due_usd < Decimal(100)
