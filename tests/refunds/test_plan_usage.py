"""What counts as used when a plan is given back: Flows at the value of their moment, and nothing that was paid
otherwise (C09, C14)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from billing.metering.usage import FlowsOf
from refunds import plan_lifecycle, plan_settling
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.quotes import Quote
from subscriptions import classes
from subscriptions.models import Invoice, Subscription
from tests import factories
from tests.subscriptions import driving
from tests.subscriptions.driving import NOON, Driver, driver, flow_rate, plan_version
from tests.subscriptions.invoicing import paid_invoice

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def subscribed(usd: str = "20", cents: int = 2000, *, wallet: str = "0") -> Driver:
    """An account whose plan was paid at noon."""
    made = driver(usd=wallet)
    plan = plan_version("ultra", price_usd=Decimal(usd))
    row = made.subscribe(plan, NOON, NOON + timedelta(days=30))
    paid_invoice(row, at=NOON, paid_at=NOON, paid_minor=cents, amount_minor=cents)
    return made


def call(made: Driver, flows: str, per_usd: str, *, flow_class: str = "standard", minutes: int = 1) -> None:
    """A call that took so many Flows, when a dollar was worth `per_usd` of them."""
    terms = FlowsOf(flow_class, Decimal(per_usd), Decimal(1) / Decimal(per_usd), Decimal(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driving, "ONE_FOR_ONE", terms)
        made.use(flows, NOON + timedelta(minutes=minutes))


def quote(made: Driver, at: Any = NOON + HOUR) -> Quote:
    return plan_lifecycle.preview(made.account.pk, now=at)


def submit(made: Driver, shown: Quote | None = None, at: Any = NOON + HOUR) -> PlanRefund:
    shown = shown or quote(made, at)
    return plan_lifecycle.submit(made.account.pk, shown.token, client_key=uuid4().hex, actor=None, now=at)


def test_standard_calls_count_at_the_published_value() -> None:
    made = subscribed()
    call(made, "100", "39.6")
    assert (quote(made).lines.usage, quote(made).lines.final) == (253, 1660)  # J16


def test_an_insiders_calls_count_at_their_higher_value() -> None:
    made = subscribed("200", 20000)
    call(made, "800", "36", flow_class="insider")
    assert quote(made).lines.usage == 2222
    assert submit(made).status == "settling"


def test_a_restricted_account_is_not_refunded_more_for_it_and_waits_for_staff() -> None:
    flow_rate("standard", "39.6", at=NOON - timedelta(days=400))
    made = subscribed()
    call(made, "100", "79.2", flow_class="restricted")
    assert quote(made).lines.usage == 253  # and not 126
    refund = submit(made)
    assert (refund.status, refund.approval, refund.settle_by) == ("requested", "restricted", None)
    assert plan_settling.settle(refund.pk, now=NOON + HOUR).status == "requested"


def test_a_restricted_account_whose_flows_are_worth_more_counts_them_as_they_are() -> None:
    flow_rate("standard", "39.6", at=NOON - timedelta(days=400))
    made = subscribed()
    call(made, "100", "20", flow_class="restricted")
    assert quote(made).lines.usage == 500


def test_an_account_that_is_restricted_now_waits_though_its_calls_were_not() -> None:
    flow_rate("restricted", "79.2")
    made = subscribed()
    call(made, "10", "39.6")
    classes.set_class(made.account.pk, "restricted", reason="resale", actor=None, now=NOON + timedelta(minutes=5))
    refund = submit(made)
    assert refund.status == "requested"
    staff = factories.user(is_staff=True)
    approved = plan_lifecycle.approve(refund.pk, actor=staff, reason="an honest mistake", now=NOON + 2 * HOUR)
    assert (approved.status, approved.settle_by) == ("settling", NOON + 2 * HOUR + timedelta(minutes=15))


def test_staff_reject_it_with_a_reason_and_the_plan_goes_on() -> None:
    flow_rate("restricted", "79.2")
    made = subscribed()
    classes.set_class(made.account.pk, "restricted", reason="resale", actor=None, now=NOON + timedelta(minutes=5))
    refund = submit(made)
    staff = factories.user(is_staff=True)
    refund = plan_lifecycle.reject(refund.pk, actor=staff, reason="resold", now=NOON + HOUR)
    assert (refund.status, refund.answer, refund.failure_reason) == ("cancelled", "resold", "rejected")
    assert Subscription.objects.get().paused_at is None


def test_each_call_keeps_the_value_of_its_moment() -> None:
    flow_rate("standard", "39.6", at=NOON - timedelta(days=400))
    flow_rate("standard", "50", at=NOON + timedelta(minutes=30))
    made = subscribed("200", 20000)
    call(made, "100", "39.6", minutes=1)
    call(made, "100", "36", flow_class="insider", minutes=2)
    call(made, "100", "79.2", flow_class="restricted", minutes=3)  # at 39.6, the standard of then
    call(made, "100", "79.2", flow_class="restricted", minutes=40)  # at 50
    call(made, "100", "50", minutes=41)
    exact = Decimal(100) / Decimal("39.6") * 2 + Decimal(100) / 36 + Decimal(100) / 50 * 2
    assert quote(made).lines.usage == int(exact * 100 + Decimal("0.5"))


def test_what_the_balance_paid_is_not_used_of_the_plan() -> None:
    made = subscribed(wallet="100")
    factories.capture(factories.hold(made.account, made.version, "10", now=NOON).id, now=NOON, input_tokens=10_000)
    made.agree("50")
    key = made.agree("50")
    extra = made.ask("10000", NOON + timedelta(minutes=2), usd="5", key=key.pk)
    assert quote(made).lines.usage in (0, int(100 * extra.held_flows))
    for window in made.windows("5h"):
        window.used = window.cap
        window.save()
    paid = made.ask("10", NOON + timedelta(minutes=3), usd="5", key=key.pk)
    assert paid.funding == "extra_usage"
    made.capture(paid, NOON + timedelta(minutes=3), "5")
    assert quote(made).lines.usage == 0


def test_open_calls_are_a_band_and_are_waited_for() -> None:
    made = subscribed()
    held = made.ask("5", NOON + timedelta(minutes=1))  # $5 at most
    shown = quote(made)
    assert (shown.lines.final, shown.lines.least, shown.facts.calls.open) == (1900, 1425, 1)
    refund = submit(made, shown)
    waits = plan_settling.settle(refund.pk, now=NOON + HOUR)
    assert (waits.status, waits.check_at) == ("settling", NOON + HOUR + timedelta(seconds=5))

    made.capture(held, NOON + HOUR, "2")
    done = plan_settling.settle(refund.pk, now=NOON + HOUR + timedelta(seconds=5))
    assert (done.status, done.final_minor, done.settled["usage"], done.settled["pending"]) == (
        "submitted", 1710, 200, 0,
    )  # fmt: skip


def test_a_call_that_comes_to_more_than_it_held_lowers_it_further() -> None:
    made = subscribed()
    held = made.ask("5", NOON + timedelta(minutes=1))
    refund = submit(made)
    made.capture(held, NOON + HOUR, "8")
    done = plan_settling.settle(refund.pk, now=NOON + HOUR)
    assert done.final_minor == 1140  # 95 % of 12.00


def test_after_a_quarter_of_an_hour_an_open_call_counts_with_what_it_holds() -> None:
    made = subscribed()
    made.ask("5", NOON + timedelta(minutes=1))
    refund = submit(made)
    last = NOON + HOUR + timedelta(minutes=15)
    assert plan_settling.settle(refund.pk, now=last - timedelta(microseconds=1)).status == "settling"
    done = plan_settling.settle(refund.pk, now=last)
    assert (done.status, done.final_minor) == ("submitted", 1425)


def test_a_call_that_came_to_nothing_leaves_the_quote_as_it_was() -> None:
    made = subscribed()
    held = made.ask("5", NOON + timedelta(minutes=1))
    refund = submit(made)
    made.void(held, NOON + HOUR)
    assert plan_settling.settle(refund.pk, now=NOON + HOUR).final_minor == 1900


def test_when_the_calls_use_all_of_it_the_plan_is_kept() -> None:
    made = subscribed(cents=500)
    held = made.ask("6", NOON + timedelta(minutes=1))
    refund = submit(made)
    made.capture(held, NOON + HOUR, "6")
    done = plan_settling.settle(refund.pk, now=NOON + HOUR)
    assert (done.status, done.failure_reason) == ("cancelled", "used_up")
    assert Subscription.objects.get().paused_at is None
    assert not Refund.objects.exists()
    assert made.ask("1", NOON + 2 * HOUR).outcome == "created"


def test_it_is_never_more_than_was_agreed_to_whatever_became_better() -> None:
    made = subscribed()
    Invoice.objects.update(refunded_minor=500)
    refund = submit(made)
    assert refund.final_minor == 1425
    Invoice.objects.update(refunded_minor=0)
    done = plan_settling.settle(refund.pk, now=NOON + HOUR)
    assert (done.final_minor, done.settled) == (1425, done.quoted)


@pytest.mark.django_db(transaction=True)
def test_calls_before_an_upgrade_count_too_and_each_once() -> None:
    made = subscribed()
    made.use("3", NOON + timedelta(minutes=1))
    late = made.ask("2", NOON + timedelta(minutes=2))
    made.change(plan_version("ultra"), NOON + timedelta(minutes=10))
    made.use("4", NOON + timedelta(minutes=20))
    made.capture(late, NOON + timedelta(minutes=30), "1.5")
    assert quote(made).lines.usage == 850


@pytest.mark.django_db(transaction=True)
def test_calls_on_the_free_plan_before_it_do_not_count() -> None:
    made = driver()
    made.use("3", NOON - HOUR)
    row = made.subscribe(plan_version("ultra"), NOON, NOON + timedelta(days=30))
    paid_invoice(row, at=NOON, paid_at=NOON, paid_minor=2000, amount_minor=2000)
    made.use("1", NOON + timedelta(minutes=1))
    assert quote(made).lines.usage == 100


def test_a_paused_plan_admits_no_call_until_the_refund_is_taken_back() -> None:
    made = subscribed()
    refund = submit(made)
    assert made.ask("1", NOON + HOUR).outcome == "refund_pending"
    assert made.windows("5h") == []
    plan_lifecycle.cancel(refund.pk, actor=None, now=NOON + 2 * HOUR)
    assert made.ask("1", NOON + 2 * HOUR).outcome == "created"
