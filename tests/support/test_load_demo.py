"""The demo loads once, and its customer has a plan and refunds that came about through our own doors."""

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
from refunds.models import Refund
from refunds.models_plan import PlanRefund
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


def northwinds() -> Subscription:
    """The subscription of the account that is looked at first."""
    found: Subscription = Subscription.objects.select_related("plan_version", "account").get(
        account__name="Northwind Labs"
    )
    return found


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


def staff_can_give_every_flow_class() -> None:
    rates = {name: book.current_book().flow_rate(name, clock.now()) for name in ("standard", "insider", "restricted")}
    told = {name: str(rate and rate.flows_per_usd.normalize()) for name, rate in rates.items()}
    assert told == {"standard": "39.6", "insider": "36", "restricted": "79.2"}


def the_customer_has_a_living_plan(client: Client) -> None:
    now = clock.now()
    row = northwinds()
    assert (row.plan_version.plan_id, row.status, row.review_reason) == ("pro", "active", "")
    assert row.period_start is not None
    assert row.period_start <= now < row.period_end  # type: ignore[operator]
    assert [(one.kind, one.status) for one in Invoice.objects.filter(subscription=row).order_by("at")] == [
        ("subscribe", "paid"), ("change", "paid"), ("renewal", "paid"),
    ]  # fmt: skip
    assert sorted(PlanChange.objects.values_list("kind", "status")) == [("downgrade", "done"), ("upgrade", "done")]
    for kind in QuotaWindow.Kind.values:
        window = QuotaWindow.objects.get(subscription=row, kind=kind, starts_at__lte=now, ends_at__gt=now)
        assert 0 < window.used <= window.cap, kind
        assert window.held == 0
    key = ApiKey.objects.get(kind=ApiKey.Kind.SUBSCRIPTION, account=row.account)
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


def refunds_went_were_refused_and_wait(demo: Any, client: Client) -> None:
    stories = Refund.objects.filter(top_up__isnull=False).order_by("pk").values_list("status", "requested_usd")
    assert [(status, str(usd.normalize())) for status, usd in stories] == [
        ("succeeded", "2E+1"), ("cancelled", "3E+1"), ("requested", "25"),
    ]  # fmt: skip
    plan = PlanRefund.objects.select_related("subscription", "account").get()
    assert (plan.account.name, plan.status, plan.subscription.end_reason) == ("Side project", "succeeded", "refunded")
    assert 0 < plan.settled["usage"] < plan.settled["paid"]
    assert len(demo.refunds()) == 2
    client.force_login(User.objects.get(email=DEMO_LOGINS[0][1]))
    told = text_of(client.get("/billing/refunds"))
    for expected in ("Succeeded", "Processing"):
        assert expected in told, expected
    client.force_login(User.objects.get(email="finance@example.com"))
    assert client.get("/admin/refunds/refund/?waiting=decision").content.decode().count("refund_0") > 0


def test_the_demo_loads_once_and_has_a_plan_refunds_and_every_flow_class(demo: Any, client: Client) -> None:
    staff_can_give_every_flow_class()
    the_customer_has_a_living_plan(client)
    refunds_went_were_refused_and_wait(demo, client)
    before = counts()
    assert "is loaded" in load()
    assert counts() == before


def test_the_provider_knows_the_demos_plan_and_its_events_change_nothing(demo: Any) -> None:
    activate("en")
    row = northwinds()

    def stands() -> Any:
        seen = northwinds()
        windows = list(QuotaWindow.objects.order_by("pk").values_list("pk", "starts_at", "ends_at", "used"))
        return seen.status, seen.period_end, list(Invoice.objects.order_by("pk").values_list("pk", "status")), windows

    before = stands()
    assert demo.deliver() > 0
    work()
    settling.settle(row.pk, processor=get_processor(), now=clock.now())
    assert stands() == before
    shown = lifecycle.preview(row.account_id, "max", processor=get_processor(), now=clock.now())
    assert Decimal(0) < shown.due_usd < Decimal(100)
