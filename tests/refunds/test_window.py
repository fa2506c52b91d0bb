"""Until when a plan may be given back, to the microsecond and wherever the clocks stand (F090, C12), and every reason
against it at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from accounts.models import Account
from billing.errors import InvalidRequest, NotFound
from refunds import plan_lifecycle, plan_settling, quotes
from refunds.errors import NotRefundable
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy
from refunds.quotes import RefundQuoteExpired
from subscriptions.models import Invoice, Subscription
from tests.subscriptions.driving import NOON, Driver, driver, plan_version
from tests.subscriptions.invoicing import keep as keep_invoice
from tests.subscriptions.invoicing import line, paid_invoice, told

pytestmark = pytest.mark.django_db

TICK = timedelta(microseconds=1)
DAY = timedelta(hours=24)


def subscribed(at: datetime = NOON, *, paid: bool = True) -> Driver:
    """An account whose plan was paid at this moment, $20."""
    made = driver()
    plan = plan_version("pro")
    row = made.subscribe(plan, at, at + timedelta(days=30))
    if paid:
        paid_invoice(row, at=at, paid_at=at, period_start=at, period_end=at + timedelta(days=30))
        Invoice.objects.filter(subscription=row).update(paid_at=at)
    return made


def submit(made: Driver, at: datetime, *, token: str = "") -> PlanRefund:
    token = token or plan_lifecycle.preview(made.account.pk, now=at).token
    return plan_lifecycle.submit(made.account.pk, token, client_key=uuid4().hex, actor=None, now=at)


def against(made: Driver, at: datetime) -> list[str]:
    return [one.code for one in plan_lifecycle.preview(made.account.pk, now=at).reasons]


def test_the_last_moment_is_accepted_and_a_microsecond_later_is_not() -> None:
    early, late = subscribed(), subscribed()
    token = plan_lifecycle.preview(late.account.pk, now=NOON + DAY).token
    assert submit(early, NOON + DAY).status == "settling"
    with pytest.raises(NotRefundable) as refused:
        submit(late, NOON + DAY + TICK, token=token)
    [reason] = refused.value.evidence["reasons"]
    assert reason["code"] == "window_closed"
    assert reason["late_by_seconds"] == "0.000001"
    assert "a moment ago" in reason["text"]
    assert not PlanRefund.objects.filter(account=late.account).exists()
    assert Subscription.objects.get(account=late.account).paused_at is None


@pytest.mark.parametrize(
    ("zone", "paid_at"),
    [
        ("Europe/Berlin", "2027-03-27T20:00"),  # an hour is left out in the night
        ("Europe/Berlin", "2027-10-30T20:00"),  # an hour comes twice
        ("America/New_York", "2027-03-13T12:00"),
        ("Australia/Lord_Howe", "2027-04-03T12:00"),  # half an hour
        ("Asia/Shanghai", "2028-02-28T18:00"),  # into the leap day
        ("UTC", "2028-02-29T23:59:59.999999"),  # out of it
        ("UTC", "2027-12-31T12:00"),
        ("UTC", "2027-04-30T00:00"),
    ],
)
def test_a_day_is_twenty_four_hours_wherever_the_customer_lives(zone: str, paid_at: str) -> None:
    at = datetime.fromisoformat(paid_at).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    made = subscribed(at)
    with timezone.override(zone):
        assert against(made, at + DAY) == []
        assert against(made, at + DAY + TICK) == ["window_closed"]


def test_submitting_counts_and_not_what_becomes_of_it_later() -> None:
    made = subscribed()
    refund = submit(made, NOON + DAY)
    settled = plan_settling.settle(refund.pk, now=NOON + DAY + timedelta(hours=5))
    assert (settled.status, settled.final_minor) == ("submitted", 1900)


def test_an_upgrade_opens_the_hours_again() -> None:
    made = subscribed()
    late = NOON + timedelta(days=9)
    assert against(made, late) == ["window_closed"]
    upgrade = told(
        line(made.plan, 5600, proration=True), reason="subscription_update", at=late, paid_at=late, paid_minor=5600
    )
    assert made.subscription is not None
    keep_invoice(made.subscription, upgrade)
    Invoice.objects.filter(kind="change").update(paid_at=late)
    quote = plan_lifecycle.preview(made.account.pk, now=late + DAY)
    assert quote.possible
    assert (quote.lines.paid, quote.facts.closes_at) == (7600, late + DAY)
    assert against(made, late + DAY + TICK) == ["window_closed"]


def test_a_quote_of_before_an_upgrade_does_not_give_the_upgrade_up_for_nothing() -> None:
    made = subscribed()
    token = plan_lifecycle.preview(made.account.pk, now=NOON).token
    soon = NOON + timedelta(minutes=5)
    assert made.subscription is not None
    upgrade = told(
        line(made.plan, 8000, proration=True), reason="subscription_update", at=soon, paid_at=soon, paid_minor=8000
    )
    keep_invoice(made.subscription, upgrade)
    with pytest.raises(RefundQuoteExpired):
        submit(made, soon, token=token)
    assert submit(made, soon).final_minor == 9500


def renewed(made: Driver) -> datetime:
    """The plan's second month is paid."""
    row, second = made.subscription, NOON + timedelta(days=30)
    assert row is not None
    row.period_start, row.period_end = second, second + timedelta(days=30)
    row.save()
    paid_invoice(row, reason="subscription_cycle", at=second, paid_at=second)
    Invoice.objects.filter(kind="renewal").update(paid_at=second)
    return second


def test_a_renewal_does_not_open_them_again() -> None:
    made = subscribed()
    second = renewed(made)
    found = plan_lifecycle.preview(made.account.pk, now=second + timedelta(hours=1)).reasons
    assert [one.code for one in found] == ["window_closed", "renewal"]
    assert "29 days ago" in found[0].text


def policy(at: datetime, **terms: Any) -> RefundPolicy:
    return RefundPolicy.objects.create(effective_from=at, created_at=at, **terms)


def test_hours_longer_than_a_period_do_not_open_them_for_its_renewal() -> None:
    policy(NOON - timedelta(days=1), window_hours=60 * 24)
    made = subscribed()
    second = renewed(made)
    assert against(made, second + timedelta(hours=1)) == ["renewal"]


def test_a_renewal_opens_them_where_the_terms_say_so() -> None:
    policy(NOON - timedelta(days=1), on_renewal=True)
    made = subscribed()
    second = renewed(made)
    quote = plan_lifecycle.preview(made.account.pk, now=second + DAY)
    assert quote.possible
    assert quote.lines.paid == 2000  # of this period alone
    assert against(made, second + DAY + TICK) == ["window_closed"]


def test_terms_of_later_take_nothing_from_a_payment_made_before() -> None:
    made = subscribed()
    policy(NOON + timedelta(hours=1), window_hours=2, fee_rate=Decimal("0.2"))
    quote = plan_lifecycle.preview(made.account.pk, now=NOON + DAY)
    assert (quote.possible, quote.lines.final) == (True, 1900)
    newer = subscribed(NOON + timedelta(hours=2))
    assert plan_lifecycle.preview(newer.account.pk, now=NOON + timedelta(hours=3)).lines.final == 1600
    assert against(newer, NOON + timedelta(hours=4) + TICK) == ["window_closed"]


def test_a_quote_holds_for_a_quarter_of_an_hour_to_the_microsecond() -> None:
    made, other = subscribed(), subscribed()
    tokens = [plan_lifecycle.preview(one.account.pk, now=NOON).token for one in (made, other)]
    last = NOON + timedelta(minutes=15)
    assert submit(made, last, token=tokens[0]).status == "settling"
    with pytest.raises(RefundQuoteExpired):
        submit(other, last + TICK, token=tokens[1])
    with pytest.raises(RefundQuoteExpired):
        submit(other, NOON - TICK, token=tokens[1])


def test_a_quote_that_was_touched_or_is_of_another_account_is_refused() -> None:
    made, other = subscribed(), subscribed()
    token = plan_lifecycle.preview(made.account.pk, now=NOON).token
    with pytest.raises(InvalidRequest):
        submit(made, NOON, token=token[:-2] + ("aa" if token[-2:] != "aa" else "bb"))
    with pytest.raises(NotFound):
        submit(other, NOON, token=token)
    assert not PlanRefund.objects.exists()


def test_all_reasons_are_told_at_once_with_by_how_much() -> None:
    made = subscribed()
    made.use("50", NOON + timedelta(minutes=1))  # $50 of list price: one Flow is a dollar here
    Account.objects.filter(pk=made.account.pk).update(status="suspended")
    Invoice.objects.update(disputed_minor=1)
    quote = plan_lifecycle.preview(made.account.pk, now=NOON + DAY + timedelta(minutes=12))
    said = {one.code: one.text for one in quote.reasons}
    assert list(said) == ["account_not_active", "window_closed", "disputed"]
    Account.objects.filter(pk=made.account.pk).update(status="active")
    quote = plan_lifecycle.preview(made.account.pk, now=NOON + DAY + timedelta(minutes=12))
    said = {one.code: one.text for one in quote.reasons}
    assert list(said) == ["window_closed", "disputed", "used_up"]
    assert "12 minutes ago" in said["window_closed"]
    assert said["used_up"] == "Usage of $50.00 exceeds the $20.00 paid."
    assert quote.token == ""


def test_j19_says_what_was_used_and_what_was_paid() -> None:
    made = subscribed(paid=False)
    assert made.subscription is not None
    paid_invoice(made.subscription, at=NOON, paid_at=NOON, paid_minor=500, amount_minor=500)
    made.use("7.58", NOON + timedelta(minutes=1))
    [reason] = plan_lifecycle.preview(made.account.pk, now=NOON + timedelta(hours=1)).reasons
    assert reason.text == "Usage of $7.58 exceeds the $5.00 paid."
    assert reason.evidence == {"paid": "5.00", "usage": "7.58", "refunded": "0.00"}


def test_a_plan_that_cost_nothing_has_nothing_to_give_back() -> None:
    assert against(subscribed(paid=False), NOON) == ["nothing_paid"]


def test_an_account_that_never_had_a_plan_has_none_to_give_back() -> None:
    with pytest.raises(NotFound):
        plan_lifecycle.preview(driver().account.pk, now=NOON)


def test_two_requests_are_one() -> None:
    made = subscribed()
    token = quotes.make(made.account.pk, now=NOON).token
    first = plan_lifecycle.submit(made.account.pk, token, client_key="one", actor=None, now=NOON)
    again = plan_lifecycle.submit(made.account.pk, token, client_key="one", actor=None, now=NOON + timedelta(hours=3))
    assert again == first
    with pytest.raises(NotRefundable) as refused:
        plan_lifecycle.submit(made.account.pk, token, client_key="two", actor=None, now=NOON)
    assert refused.value.evidence["reason"] == "under_way"
