"""Case 20 for plans: what the bank takes leaves revenue once and comes back once, and the plan stays in force."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.core import mail

from billing.books.models import Wallet
from billing.errors import RiskBlocked
from billing.models import Notice
from billing.payments import flags, fraud_warnings, tasks_disputes
from billing.payments.models_disputes import Dispute, EarlyFraudWarning, RiskFlag
from billing.payments.models_reconciling import Difference
from billing.payments.stripe_processor import get_processor
from config import clock
from sandbox import views_disputes
from sandbox.models import Delivery
from sandbox.store import Moment
from subscriptions.disputes import OF
from subscriptions.models import Invoice, Subscription
from tests.billing.payments.test_reconciliation import compare
from tests.flush import broken_books
from tests.subscriptions.conftest import Club, Shop, club, inbox, move, shop, work
from tests.subscriptions.disputing import BACK, NOON, OUT, books, entries, paid, say, state, the, warning

__all__ = ["Shop", "club", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)


def plan_of(invoice: Invoice) -> Subscription:
    return Subscription.objects.get(pk=invoice.subscription_id)


# --- the books -------------------------------------------------------------------------------------------------------


def test_a_dispute_of_a_plan_leaves_revenue_and_touches_neither_the_balance_nor_the_plan() -> None:
    invoice = paid()
    say(invoice, state(invoice, "needs_response", OUT))
    assert books() == (0, 0, 20, 20)
    row = the()
    assert (row.of, row.of_id, row.number, row.top_up_id) == ("invoice", invoice.pk, invoice.number, None)
    assert (row.from_revenue, row.from_customer, row.fee_minor) == (20, 0, 1500)
    assert (invoice.disputed_minor, entries(invoice)) == (2000, ["dispute_opened"])
    assert Wallet.objects.get(pk=invoice.account_id).net == 0
    held = plan_of(invoice)
    assert (held.status, held.review_reason) == ("active", f"dispute dp_1 of invoice {invoice.number} is open")
    assert RiskFlag.objects.get(pk=invoice.account_id).cleared_at is None
    assert not broken_books()


def test_won_comes_back_to_revenue_and_the_plan_needs_no_look_any_more() -> None:
    invoice = paid()
    say(invoice, state(invoice, "needs_response", OUT), *[state(invoice, "won", OUT, BACK)] * 2)
    assert books() == (20, 0, 0, 20)
    assert (invoice.disputed_minor, plan_of(invoice).review_reason) == (0, "")
    assert entries(invoice) == ["dispute_opened", "dispute_won"]
    assert not broken_books()


def test_lost_is_final_and_asks_a_person_about_the_plan(caplog: pytest.LogCaptureFixture) -> None:
    invoice = paid()
    say(invoice, state(invoice, "needs_response", OUT), *[state(invoice, "lost", OUT)] * 2)
    assert books() == (0, 0, 0, 0)
    held = plan_of(invoice)
    assert (invoice.disputed_minor, held.status, "does the plan go on?" in held.review_reason) == (2000, "active", True)
    assert [one for one in caplog.messages if one.startswith(f"ALERT subscription {held.provider_id}")]
    say(invoice, state(invoice, "won", OUT, BACK))
    assert (the().state, the().flagged, books()) == ("lost", True, (0, 0, 0, 0))
    assert not broken_books()


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed"])
def test_an_inquiry_moves_nothing(status: str) -> None:
    invoice = paid()
    say(invoice, state(invoice, status))
    assert (books(), invoice.disputed_minor, plan_of(invoice).review_reason) == ((20, 0, 0, 20), 0, "")
    assert not RiskFlag.objects.exists()


def test_no_money_moves_before_funds_are_withdrawn_but_the_invoice_is_disputed() -> None:
    invoice = paid()
    say(invoice, state(invoice, "needs_response"))
    assert (books(), invoice.disputed_minor) == ((20, 0, 0, 20), 2000)
    say(invoice, state(invoice, "prevented"))
    assert (invoice.disputed_minor, entries(invoice)) == (0, [])


def test_two_disputes_of_one_payment_never_take_more_than_it_was() -> None:
    invoice = paid()
    say(
        invoice,
        state(invoice, "needs_response", -1500, amount=1500),
        state(invoice, "needs_response", OUT, name="dp_2"),
    )
    assert (the().counted_minor, the("dp_2").counted_minor, invoice.disputed_minor) == (1500, 500, 2000)
    say(invoice, state(invoice, "won", -1500, 1500, amount=1500))
    assert (invoice.disputed_minor, books()) == (2000, (0, 0, 20, 20))
    assert "dp_2" in plan_of(invoice).review_reason
    say(invoice, state(invoice, "won", OUT, BACK, name="dp_2"))
    assert (invoice.disputed_minor, books(), plan_of(invoice).review_reason) == (0, (20, 0, 0, 20), "")
    assert not broken_books()


def test_a_dispute_that_closes_without_effect_and_opens_again_is_taken_again_once() -> None:
    invoice = paid()
    opened, closed = state(invoice, "needs_response", OUT), state(invoice, "warning_closed", OUT, BACK)
    say(invoice, opened, closed, opened)
    assert books() == (20, 0, 0, 20)
    say(invoice, closed, *[state(invoice, "needs_response", OUT, BACK, OUT)] * 2)
    assert (books(), invoice.disputed_minor) == ((0, 0, 20, 20), 2000)
    say(invoice, state(invoice, "won", OUT, BACK, OUT, BACK))
    assert (books(), entries(invoice)) == ((20, 0, 0, 20), ["dispute_opened", "dispute_won"] * 2)
    assert not broken_books()


STEPS = [("needs_response", ()), ("needs_response", (OUT,)), ("under_review", (OUT,))]


@pytest.mark.parametrize("ending", ["won", "lost"])
def test_all_orders_of_the_states_take_once_and_end_once(ending: str) -> None:
    ends = [(ending, (OUT,)), (ending, (OUT, BACK) if ending == "won" else (OUT,))]
    steps = list(dict.fromkeys(itertools.permutations([*STEPS, *ends])))
    invoice = paid()
    for number, order in enumerate(steps[::5]):
        if number:
            invoice = paid()
        say(invoice, *(state(invoice, status, *lines, name=f"dp_{number}") for status, lines in order))
        kinds = entries(invoice)
        if ending == "won":
            assert kinds in ([], ["dispute_opened", "dispute_won"]), order
            assert (invoice.disputed_minor, plan_of(invoice).review_reason) == (0, ""), order
        else:
            assert (kinds, invoice.disputed_minor) == (["dispute_opened", "dispute_lost"], 2000), order
    assert not broken_books()


def test_a_dispute_in_another_currency_or_of_another_payment_waits_for_a_person() -> None:
    invoice, other = paid(), paid()
    say(invoice, state(invoice, "needs_response", OUT, currency="EUR"))
    assert (the().flagged, invoice.disputed_minor) == (True, 0)
    say(other, state(other, "needs_response", OUT, name="dp_1"))
    assert (the().of_id, other.disputed_minor, "something else" in the().flag_reason) == (invoice.pk, 0, True)


def test_another_reason_to_look_at_the_plan_is_kept() -> None:
    invoice = paid()
    Subscription.objects.filter(pk=invoice.subscription_id).update(review_reason="something is odd")
    say(invoice, state(invoice, "needs_response", OUT), state(invoice, "won", OUT, BACK))
    assert plan_of(invoice).review_reason == "something is odd"


def test_people_are_told_of_each_step_once_in_the_words_of_a_plan() -> None:
    invoice = paid()
    say(invoice, *[state(invoice, "needs_response", OUT)] * 2, *[state(invoice, "lost", OUT)] * 2)
    kinds = Notice.objects.filter(account_id=invoice.account_id).values_list("kind", flat=True)
    assert sorted(kind for kind in kinds if "dispute" in kind) == ["plan_dispute_lost", "plan_dispute_opened"]


def test_a_warning_flags_once_and_has_nothing_to_freeze() -> None:
    invoice = paid()
    for _ in range(2):
        row = fraud_warnings.record_other(OF, invoice.pk, warning(invoice), now=NOON)
    assert (row.state, row.frozen_usd, row.of_number) == ("noted", 0, invoice.number)
    assert plan_of(invoice).review_reason == f"early fraud warning issfr_1 of invoice {invoice.number}"
    assert RiskFlag.objects.count() == 1
    assert not Notice.objects.filter(kind__startswith="credit_").exists()
    say(invoice, state(invoice, "needs_response", OUT))
    assert plan_of(invoice).review_reason.startswith("dispute dp_1")
    assert not broken_books()


# --- through the real client, the sandbox and signed webhooks --------------------------------------------------------


def act(object_id: str, action: str) -> str:
    """A button of the sandbox's control page."""
    return views_disputes.do(object_id, action, Moment(clock.now())).object_id


def charge(club: Club) -> str:
    return str(club.sandbox.objects("charge")[-1]["id"])


def test_every_order_of_the_events_leads_to_the_same_end(club: Club) -> None:
    club.subscribe("pro")
    club.tell()
    before = len(club.sandbox.events())
    dispute = act(charge(club), "dispute")
    act(dispute, "submit")
    act(dispute, "won")
    events = club.sandbox.events()[before:]
    assert len(events) == 5
    for index in (4, 2, 0, 3, 1, 0):  # the states in all orders are tested above; these are deliveries
        club.sandbox.send(events[index]["id"])
        work()
    Delivery.objects.filter(state="pending").delete()
    assert (Dispute.objects.get().state, Invoice.objects.get().disputed_minor) == ("won", 0)
    assert (club.plan(), club.row().review_reason) == ("pro", "")
    assert {state for type_, state in inbox() if "dispute" in type_} == {"processed"}


def test_a_dispute_is_told_in_mails_that_do_not_speak_of_credit(club: Club) -> None:
    club.subscribe("pro")
    club.tell()
    mail.outbox.clear()
    dispute = act(charge(club), "dispute")
    club.tell()
    act(dispute, "lost")
    club.tell()
    opened, lost = mail.outbox
    number = Invoice.objects.get().number
    assert opened.subject == f"The payment of invoice {number} for Pro is disputed"
    assert "The plan stays in force" in opened.body
    assert "This is final" in lost.body
    for one in (opened, lost):
        assert f"/platform/subscription/history/{Invoice.objects.get().pk}" in one.body
        assert "credit" not in one.body.lower()
    assert club.plan() == "pro"


def test_a_dispute_whose_payment_was_never_told_of_books_it_first(club: Club) -> None:
    row = club.start("pro")
    assert club.sandbox.pay(row.session_id).ok
    Delivery.objects.filter(state="pending").delete()
    dispute = act(charge(club), "dispute")
    Delivery.objects.filter(state="pending").delete()
    tasks_disputes.look(processor=get_processor(), now=clock.now())
    assert (club.plan(), Invoice.objects.get().disputed_minor) == ("pro", 2000)
    act(dispute, "won")
    Delivery.objects.filter(state="pending").delete()
    tasks_disputes.look(processor=get_processor(), now=clock.now() + timedelta(hours=7))
    assert (Dispute.objects.get().state, Invoice.objects.get().disputed_minor) == ("won", 0)
    assert books() == (20, 0, 0, 20)


def test_an_early_fraud_warning_of_a_plan_is_flagged_once(club: Club) -> None:
    club.subscribe("pro", card="4000000000005423")
    club.tell()
    [event] = club.sandbox.events("radar.early_fraud_warning.created")
    club.sandbox.send(event["id"], times=2)
    work()
    assert EarlyFraudWarning.objects.get().state == "noted"
    assert RiskFlag.objects.filter(account=club.account, cleared_at=None).count() == 1
    assert club.plan() == "pro"


def test_the_daily_comparison_knows_them(club: Club) -> None:
    club.subscribe("pro")
    club.tell()
    dispute = act(charge(club), "dispute")
    compare()
    assert list(Difference.objects.filter(state="open").values_list("kind", flat=True)) == ["dispute_unknown"]
    club.tell()
    assert compare().compared["disputes"] == 1
    assert not Difference.objects.filter(state="open").exists()
    act(dispute, "lost")
    compare()
    [found] = Difference.objects.filter(state="open")
    assert (found.kind, str(Invoice.objects.get()) in found.detail) == ("dispute_differs", True)


def test_a_flag_that_blocks_stops_a_bigger_plan_and_the_renewal_but_not_what_costs_less(club: Club) -> None:
    club.subscribe("max")
    club.tell()
    act(charge(club), "dispute")
    club.tell()
    club.renew(on=False)
    flags.decide(club.account.pk, blocks_top_ups=True, clear=False, actor=club.owner, reason="Stolen", now=clock.now())
    with pytest.raises(RiskBlocked):
        club.change("ultra")
    with pytest.raises(RiskBlocked):
        club.renew(on=True)
    assert club.row().cancel_at_period_end
    flags.decide(club.account.pk, blocks_top_ups=False, clear=True, actor=club.owner, reason="Fine", now=clock.now())
    assert not club.renew(on=True).cancel_at_period_end
