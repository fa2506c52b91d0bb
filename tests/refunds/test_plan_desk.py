"""The desk of plan refunds: what is shown, who decides, and with which words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditRecord
from billing.books.models import CreditGrant, CreditProposal, JournalEntry
from billing.errors import InvalidRequest, InvalidTransition
from billing.payments.stripe_processor import get_processor
from config import clock, dashboard, dashboard_refunds
from refunds import plan_evidence, plan_lifecycle, plan_settling, shown
from refunds.admin_plan_panels import newest_panels
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from tests import factories
from tests.refunds.giving import Back, Shop, back, club, inbox, move, shop, work
from tests.refunds.plan_rows import failed, requested, returned, settling, submitted, succeeded
from tests.refunds.test_plan_usage import call, subscribed
from tests.staff import act, action_of, at_desk, desk, page_of, person
from tests.subscriptions.driving import NOON

__all__ = ["Shop", "back", "club", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db

LIST = "admin:refunds_planrefund_changelist"
STATES: dict[str, Callable[[], PlanRefund]] = {
    "approve": requested,
    "reject": requested,
    "cancel": settling,
    "go-on": submitted,
    "give-as-credit": returned,
    "looked": returned,
}
"""Each action with a state in which it may be done."""
ELSEWHERE: dict[str, Callable[[], PlanRefund]] = {
    "approve": settling,
    "reject": submitted,
    "cancel": submitted,
    "go-on": requested,
    "give-as-credit": failed,
    "looked": settling,
}


def everything() -> list[Any]:
    """All that an action at this desk could write."""
    tables = (PlanRefund, Refund, AuditRecord, CreditGrant, CreditProposal, JournalEntry)
    return [list(table._default_manager.order_by("pk").values()) for table in tables]


def listed(client: Client, **asked: str) -> set[str]:
    """The numbers in the list."""
    return {row.number for row in client.get(reverse(LIST), asked).context["cl"].result_list}


# --- What is shown
def test_the_list_and_the_page_say_what_was_agreed_used_and_sent() -> None:
    refund = submitted()
    part = Refund.objects.get()
    client = desk("support")
    page = client.get(page_of(refund)).content.decode()
    row = client.get(reverse(LIST)).content.decode()

    for words in (refund.number, "$16.60", "At the provider", str(refund.account)):
        assert words in row, words
    for words in ("$20.00", "− $2.53", "= $17.47", "− $0.87", "= $16.60", "5%", "Calls settled", part.number):
        assert words in page, words
    assert "39.6 Flows" in page
    assert page_of(part.invoice) in page


def test_what_changed_since_the_quote_stands_beside_it() -> None:
    made = subscribed()
    held = made.ask("5", NOON)
    token = plan_lifecycle.preview(made.account.pk, now=NOON).token
    refund = plan_lifecycle.submit(made.account.pk, token, client_key="1", actor=None, now=NOON)
    page = desk("support").get(page_of(refund)).content.decode()
    assert "1 call is under way and takes $5.00 at most." in page
    assert "Nothing was computed again yet." in page
    assert "Calls under way" in page

    made.capture(held, NOON, "5")
    refund = plan_settling.settle(refund.pk, now=NOON)
    page = desk("support").get(page_of(refund)).content.decode()
    for words in ("= $19.00", "= $14.25", "+ $5.00", "− $4.75", "Sent so far: $0.00 of $14.25."):
        assert words in page, words
    assert "under way and takes" not in page


def test_the_evidence_adds_up_to_the_usage_of_the_refund_by_worth_model_and_key() -> None:
    made = subscribed()
    call(made, "100", "39.6")
    call(made, "30", "36", flow_class="insider", minutes=2)
    token = plan_lifecycle.preview(made.account.pk, now=NOON + timedelta(hours=1)).token
    refund = plan_lifecycle.submit(made.account.pk, token, client_key="1", actor=None, now=NOON + timedelta(hours=1))
    refund = plan_settling.settle(refund.pk, now=NOON + timedelta(hours=1))

    found = plan_evidence.gather(refund, now=clock.now())

    assert [(one.of, one.calls, round(one.flows), one.flow_class) for one in found.classes] == [
        (Decimal("39.6"), 1, 100, "standard"),
        (Decimal(36), 1, 30, "insider"),
    ]
    assert [(one.of, one.calls, round(one.flows)) for one in found.models] == [("test/model", 2, 130)]
    assert [(one.of, one.calls, round(one.flows)) for one in found.keys] == [(None, 2, 130)]
    assert (found.usage_minor, found.calls, found.whole) == (refund.settled["usage"], 2, True)
    assert found.open == []
    assert [one.pk for one in found.payments] == [one.invoice_id for one in found.parts]


def test_calls_after_the_refund_was_settled_are_no_evidence_of_it() -> None:
    refund = failed()
    before = plan_evidence.gather(refund, now=clock.now())
    assert before.usage_minor == 253
    PlanRefund.objects.filter(pk=refund.pk).update(submitted_at=NOON)  # as if the call had been made after it
    refund.refresh_from_db()
    assert plan_evidence.gather(refund, now=clock.now()).usage_minor == 0


def test_a_restricted_accounts_calls_are_shown_as_they_are_counted() -> None:
    refund = requested()
    [one] = plan_evidence.gather(refund, now=clock.now()).classes
    assert (one.of, one.flow_class) == (Decimal("39.6"), "restricted")  # and not 79.2
    assert "Flow class restricted" in desk("support").get(page_of(refund)).content.decode()


def test_a_refund_is_found_by_its_number_its_account_and_its_subscription() -> None:
    refund, other = settling(), settling()
    client = desk("support")
    terms = (refund.number, refund.pk, refund.account_id, refund.subscription_id, refund.subscription.provider_id)
    for term in terms:
        assert listed(client, q=str(term)) == {refund.number}, term
    assert listed(client, q="nothing") == set()
    assert listed(client, account__id__exact=str(other.account_id)) == {other.number}


@pytest.mark.parametrize(
    ("waiting", "make"),
    [
        ("decision", requested),
        ("calls", settling),
        ("provider", submitted),
        ("ageing", submitted),
        ("failed", failed),
        ("look", returned),
    ],
)
def test_the_desk_is_opened_with_a_question(waiting: str, make: Callable[[], PlanRefund]) -> None:
    wanted, other = make(), succeeded()
    if waiting == "ageing":
        PlanRefund.objects.filter(pk=wanted.pk).update(submitted_at=clock.now() - timedelta(days=4))
        young = submitted()
        PlanRefund.objects.filter(pk=young.pk).update(submitted_at=clock.now() - timedelta(days=2))
    found = listed(desk("finance"), waiting=waiting)
    assert found == {wanted.number}
    assert other.number not in found


@pytest.mark.parametrize("page", ["account", "subscription"])
def test_the_newest_are_on_the_pages_of_the_customer_and_of_the_subscription(page: str) -> None:
    refund = settling()
    of = getattr(refund, page)
    text = desk("support").get(page_of(of)).content.decode()
    assert "Newest plan refunds" in text
    assert page_of(refund) in text
    request = RequestFactory().get("/")
    request.user = person()
    assert newest_panels(request, of) == []


# --- What is done
def test_finance_approves_and_the_words_say_what_happens() -> None:
    refund = requested()
    client = desk("finance")
    form = client.get(action_of(refund, "approve")).content.decode()
    assert "up to $16.60 are sent" in form
    assert act(client, action_of(refund, "approve"), reason="the usage is fine").status_code == 302
    refund.refresh_from_db()
    assert (refund.status, refund.answer, refund.settle_by is not None) == ("settling", "the usage is fine", True)
    assert AuditRecord.objects.get(action="plan_refund_approved").reason == "the usage is fine"


def test_a_large_one_waits_for_the_second_person_who_is_another_one() -> None:
    refund = requested("600")
    one = at_desk(person("finance"))
    answer = act(one, action_of(refund, "approve"), reason="one")
    assert answer.status_code == 302
    refund.refresh_from_db()
    assert (refund.status, refund.decided_by, refund.first_approved_by is not None) == ("requested", None, True)

    before = everything()
    again = act(one, action_of(refund, "approve"), reason="one again")
    assert again.status_code == 422
    assert "A second person decides" in again.content.decode()
    assert everything() == before

    act(desk("admin"), action_of(refund, "approve"), reason="two")
    refund.refresh_from_db()
    assert (refund.status, refund.answer) == ("settling", "two")
    assert AuditRecord.objects.get(action="plan_refund_first_approval").reason == "one"


@pytest.mark.parametrize("action", ["approve", "give-as-credit"])
def test_nobody_decides_about_a_plan_of_their_own(action: str) -> None:
    who = person("finance")
    refund = {"approve": requested, "give-as-credit": returned}[action](actor=who)
    before = everything()
    answer = act(at_desk(who), action_of(refund, action), reason="mine")
    assert answer.status_code == 422
    assert "A second person decides" in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize(
    ("action", "answer", "record"),
    [("reject", "not now", "plan_refund_rejected"), ("cancel", "", "plan_refund_cancelled")],
)
def test_a_request_is_stopped_with_a_reason_and_the_plan_goes_on(action: str, answer: str, record: str) -> None:
    refund = requested()
    client = desk("finance")
    assert "goes on at once" in client.get(action_of(refund, action)).content.decode()
    assert act(client, action_of(refund, action), reason="not now").status_code == 302
    refund.refresh_from_db()
    refund.subscription.refresh_from_db()
    assert (refund.status, refund.answer, refund.subscription.paused_at) == ("cancelled", answer, None)
    assert AuditRecord.objects.get(action=record).reason == "not now"


def test_a_flag_is_taken_away_and_stays_in_the_audit() -> None:
    refund = returned()
    client = desk("finance")
    assert "the bank returned 16.60 USD" in client.get(action_of(refund, "looked")).content.decode()
    act(client, action_of(refund, "looked"), reason="I wrote to the customer")
    refund.refresh_from_db()
    assert not refund.flagged
    assert "the bank returned 16.60 USD" in AuditRecord.objects.get(action="plan_refund_looked").reason


# --- What is refused
@pytest.mark.parametrize("action", STATES)
@pytest.mark.parametrize("role", ["support", "operations"])
def test_who_only_reads_does_nothing(role: str, action: str) -> None:
    refund = STATES[action]()
    client, before = desk(role), everything()
    assert client.get(action_of(refund, action)).status_code == 403
    assert client.post(action_of(refund, action), {"reason": "because"}).status_code == 403
    assert client.get(page_of(refund)).status_code == 200
    assert everything() == before


@pytest.mark.parametrize("action", STATES)
def test_without_a_reason_nothing_is_done(action: str) -> None:
    refund = STATES[action]()
    client, before = desk("finance"), everything()
    answer = act(client, action_of(refund, action), reason="   ")
    assert answer.status_code == 422
    assert "This field is required" in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize("action", ELSEWHERE)
def test_in_another_state_nothing_is_done_and_the_desk_says_so(action: str) -> None:
    refund = ELSEWHERE[action]()
    client, before = desk("finance"), everything()
    for answer in (
        client.get(action_of(refund, action), follow=True),
        client.post(action_of(refund, action), {"reason": "because"}, follow=True),
    ):
        assert "That is not possible in its present state." in answer.content.decode()
    assert f"/{action}/" not in client.get(page_of(refund)).content.decode()
    assert everything() == before


def test_the_operations_refuse_an_empty_reason_and_a_wrong_state_themselves() -> None:
    refund, who = submitted(), factories.user(is_staff=True)
    before = everything()
    terms = {"actor": who, "processor": get_processor(), "now": clock.now()}
    with pytest.raises(InvalidRequest):
        plan_settling.go_on_by_hand(refund.pk, reason=" ", **terms)
    with pytest.raises(InvalidTransition):
        plan_lifecycle.approve(refund.pk, actor=who, reason="why", now=clock.now())
    with pytest.raises(InvalidTransition):
        plan_lifecycle.reject(refund.pk, actor=who, reason="why", now=clock.now())
    assert everything() == before


# --- With the provider
@pytest.mark.django_db(transaction=True)
def test_going_on_takes_every_step_that_can_be_taken_and_asks_about_what_has_gone(back: Back) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    client = desk("finance")
    form = client.get(action_of(refund, "go-on")).content.decode()
    assert "up to $19.00 are sent" in form
    assert act(client, action_of(refund, "go-on"), reason="the customer waits").status_code == 302
    assert back.row().status == "succeeded"
    record = AuditRecord.objects.get(action="plan_refund_go_on")
    assert (record.reason, record.before, record.after) == (
        "the customer waits", {"status": "settling"}, {"status": "succeeded"},
    )  # fmt: skip
    back.check_gone()

    [made] = back.club.sandbox.refunds()
    back.club.sandbox.settle(made["id"], "failed")  # nobody has told us
    act(client, action_of(refund, "go-on"), reason="the customer says that nothing came")
    assert (back.row().status, back.row().returned) == ("failed", True)


@pytest.mark.django_db(transaction=True)
def test_a_provider_that_does_not_answer_is_said_and_nothing_is_noted(back: Back) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    back.club.sandbox.fail_next("^/v1/", times=30)
    answer = act(desk("finance"), action_of(refund, "go-on"), reason="now")
    assert answer.status_code == 422
    assert "does not answer" in answer.content.decode()
    assert back.row().status == "settling"
    assert not AuditRecord.objects.filter(action="plan_refund_go_on").exists()


# --- Questions to the database
def asked_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as taken:
        assert client.get(path).status_code == 200
    return len(taken)


def test_the_list_and_the_page_ask_little_whatever_there_is() -> None:
    refund = settling()
    client = desk("admin")
    client.get(page_of(refund))
    few = asked_of(client, reverse(LIST)), asked_of(client, page_of(refund))
    part = submitted()
    for make in (requested, settling, succeeded, returned):
        other = make()
        PlanRefund.objects.filter(pk=other.pk).update(account=refund.account)
    assert (asked_of(client, reverse(LIST)), asked_of(client, page_of(refund))) == few
    assert asked_of(client, page_of(part)) <= few[1]
    assert few[0] <= 8
    assert few[1] <= 15


# --- The first page
def test_the_first_page_counts_what_waits_beside_each_other_and_leads_there() -> None:
    cache.clear()
    rows = {"decision": requested(), "failed": failed(), "look": returned(), "ageing": submitted()}
    PlanRefund.objects.filter(pk=rows["ageing"].pk).update(submitted_at=clock.now() - timedelta(days=4))
    Refund.objects.filter(plan_refund=rows["ageing"]).update(
        status="submitted", submitted_at=clock.now() - timedelta(days=4)
    )
    client = desk("support")
    board = client.get("/admin/").context["board"]

    assert board.refunds.heads == ["Payments", "Plans"]
    told = {label: [cell.value for cell in cells] for label, cells in board.refunds.rows}
    assert told == {
        "To be decided": ["0", "1"],
        "At the provider for more than 3 days": ["1", "1"],
        "Failed, 30 days": ["2", "2"],
        "Flagged": ["0", "1"],
    }
    for _label, cells in board.refunds.rows:
        for cell in cells:
            if cell.url:
                assert client.get(cell.url).context["cl"].result_count == int(cell.value)
            else:
                assert cell.value == "0"
    [stat] = [one for one in board.stats if one.label == "Refunds waiting"]
    assert (stat.value, stat.note, stat.alarm) == ("4", "1 to be decided, 1 flagged, 2 late", True)
    assert rows["decision"].number in client.get(stat.url).content.decode()


def test_the_first_page_tells_each_only_what_they_may_see() -> None:
    requested()
    numbers = dashboard.measure(clock.now())
    both = dashboard_refunds.card(numbers["refunds"], lambda _permission: True)
    plans = dashboard.board(numbers, lambda permission: permission == "refunds.view_planrefund")
    payments = dashboard.board(numbers, lambda permission: permission == "refunds.view_refund")
    nothing = dashboard.board(numbers, lambda _permission: False)
    assert both is not None
    assert len(both.heads) == 2
    assert plans.refunds is not None
    assert plans.refunds.heads == ["Plans"]
    assert [one.label for one in plans.stats] == ["Refunds waiting"]
    assert payments.refunds is not None
    assert payments.refunds.heads == ["Payments"]
    assert payments.stats == []
    assert (nothing.refunds, nothing.stats) == (None, [])


def test_the_first_pages_numbers_are_read_through_indexes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN SELECT {dashboard_refunds.COUNTS}", dashboard_refunds.terms(clock.now()))
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan" not in plan
    for table in ("refund", "plan_refund"):
        assert f"{table}_status_newest" in plan
        assert f"{table}_flagged" in plan


def test_the_timeline_is_the_customers() -> None:
    refund = returned()
    page = desk("support").get(page_of(refund)).content.decode()
    for step in shown.steps(refund):
        assert step["title"] in page
