"""Subscription schedules: another price from the next period on, or not after all."""

from datetime import UTC, datetime

import pytest
import stripe


def item_of(subscription):
    return subscription["items"].data[0]


def types_since(sandbox, count):
    return [event["type"] for event in sandbox.events()[count:]]


class Plan:
    """A customer of the large plan who wants the small one from the next period on."""

    def __init__(self, sandbox):
        self.sandbox, self.api = sandbox, sandbox.client.v1
        self.small, self.large = sandbox.price(2000, name="Small"), sandbox.price(10000, name="Large")
        self.bought = sandbox.subscribe(self.large)
        self.start, self.end = item_of(self.bought).current_period_start, item_of(self.bought).current_period_end

    def downgrade(self, **more):
        made = self.api.subscription_schedules.create({"from_subscription": self.bought.id})
        return self.api.subscription_schedules.update(
            made.id,
            {
                "end_behavior": "release",
                "phases": [
                    {"items": [{"price": self.large}], "start_date": self.start, "end_date": self.end},
                    {"items": [{"price": self.small}], "duration": {"interval": "month"}, **more},
                ],
            },
        )

    def found(self, *expand):
        return self.api.subscriptions.retrieve(self.bought.id, {"expand": list(expand)})

    def renewed(self):
        self.sandbox.run_due(datetime.fromtimestamp(self.end, UTC))
        return self.found("latest_invoice")


@pytest.fixture
def plan(sandbox):
    return Plan(sandbox)


def test_a_schedule_made_from_a_subscription_holds_its_period(sandbox, plan):
    so_far = len(sandbox.events())
    made = plan.api.subscription_schedules.create({"from_subscription": plan.bought.id})
    assert (made.status, made.end_behavior, made.subscription) == ("active", "release", plan.bought.id)
    assert (made.current_phase.start_date, made.current_phase.end_date) == (plan.start, plan.end)
    assert made.phases[0]["items"][0].price == plan.large
    assert plan.found("schedule").schedule.id == made.id
    assert types_since(sandbox, so_far) == ["subscription_schedule.created", "customer.subscription.updated"]


def test_the_next_phase_begins_at_the_renewal_with_its_price_and_no_proration(sandbox, plan):
    schedule = plan.downgrade()
    assert item_of(plan.found()).price.id == plan.large
    so_far = len(sandbox.events())

    now = plan.renewed()

    assert (item_of(now).price.id, item_of(now).id) == (plan.small, item_of(plan.bought).id)
    assert [line.amount for line in now.latest_invoice.lines.data] == [2000]
    assert plan.api.subscription_schedules.retrieve(schedule.id).current_phase.start_date == plan.end
    assert types_since(sandbox, so_far)[:3] == [
        "customer.subscription.updated",
        "subscription_schedule.updated",
        "invoice.created",
    ]


def test_after_its_last_phase_the_schedule_lets_the_subscription_go(sandbox, plan):
    schedule = plan.downgrade()
    now = plan.renewed()
    assert now.schedule == schedule.id
    sandbox.run_due(datetime.fromtimestamp(item_of(now).current_period_end, UTC))
    gone = plan.api.subscription_schedules.retrieve(schedule.id)
    assert (gone.status, gone.released_subscription, gone.subscription) == ("released", plan.bought.id, None)
    now = plan.found("latest_invoice")
    assert (now.schedule, now.status, now.latest_invoice.amount_paid) == (None, "active", 2000)
    assert "subscription_schedule.released" in types_since(sandbox, 0)


def test_a_schedule_that_is_released_before_its_phase_changes_nothing(sandbox, plan):
    schedule = plan.downgrade()
    so_far = len(sandbox.events())
    assert plan.api.subscription_schedules.release(schedule.id).status == "released"
    assert types_since(sandbox, so_far) == ["subscription_schedule.released", "customer.subscription.updated"]
    now = plan.renewed()
    assert (item_of(now).price.id, now.schedule, now.latest_invoice.amount_paid) == (plan.large, None, 10000)


def test_a_scheduled_subscription_says_who_manages_it(sandbox, plan):
    schedule = plan.downgrade()
    with pytest.raises(stripe.InvalidRequestError, match=schedule.id):
        plan.api.subscriptions.update(plan.bought.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        plan.api.subscription_schedules.create({"from_subscription": plan.bought.id})


def test_a_cancelled_subscription_takes_its_schedule_along(sandbox, plan):
    schedule = plan.downgrade()
    plan.api.subscriptions.cancel(plan.bought.id)
    assert plan.api.subscription_schedules.retrieve(schedule.id).status == "canceled"
    assert types_since(sandbox, 0)[-2:] == ["customer.subscription.deleted", "subscription_schedule.canceled"]


def test_a_cancelled_schedule_takes_its_subscription_along(sandbox, plan):
    schedule = plan.downgrade()
    assert plan.api.subscription_schedules.cancel(schedule.id).status == "canceled"
    assert plan.found().status == "canceled"


def test_a_phase_moves_along_when_the_renewal_is_brought_forward(sandbox, plan):
    plan.downgrade()
    sandbox.move_clock("+5d")
    sandbox.renew(plan.bought.id)
    assert item_of(plan.found()).price.id == plan.small


def test_the_preview_of_the_renewal_is_at_the_price_of_the_next_phase(sandbox, plan):
    plan.downgrade()
    shown = plan.api.invoices.create_preview({"subscription": plan.bought.id})
    assert shown.amount_due == 2000


@pytest.mark.parametrize(
    "phases",
    [
        lambda plan: [{"items": [{"price": "price_unknown"}], "start_date": plan.start, "end_date": plan.end}],
        lambda plan: [{"items": [{"price": plan.small}], "start_date": plan.start, "end_date": plan.end}],
        lambda plan: [{"items": [{"price": plan.large}], "start_date": plan.start, "end_date": plan.end - 60}],
        lambda plan: [{"items": [{"price": plan.large}], "start_date": plan.start + 60, "end_date": plan.end}],
    ],
)
def test_phases_that_do_not_fit_the_subscription_are_refused(sandbox, plan, phases):
    made = plan.api.subscription_schedules.create({"from_subscription": plan.bought.id})
    with pytest.raises(stripe.InvalidRequestError):
        plan.api.subscription_schedules.update(made.id, {"phases": phases(plan)})
