"""The desk of refunds: what is shown, who decides, and with which words."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, AuditRecord
from billing import notices
from billing.errors import InvalidTransition
from billing.models_notices import Notice
from billing.payments.models import TopUp
from billing.payments.models_disputes import RiskFlag
from billing.payments.stripe_processor import StripeProcessor, get_processor
from config import clock
from refunds import deciding, duplicates, evidence, outcomes, telling
from refunds.errors import DecidedOnPlanRefund
from refunds.models import Refund
from subscriptions.models import PlanVersion, Subscription
from tests import factories
from tests.factories import NOON
from tests.refunds.orders import credited
from tests.refunds.states import state_of
from tests.refunds.test_lifecycle import approve, ask, said, sent
from tests.staff import act, action_of, desk, page_of
from tests.subscriptions.invoicing import paid_invoice

pytestmark = pytest.mark.django_db


def test_the_list_and_the_page_say_what_goes_where() -> None:
    refund = ask(credited("20"), reason="bought twice")
    client = desk("support")
    listed = client.get(reverse("admin:refunds_refund_changelist")).content.decode()
    page = client.get(page_of(refund)).content.decode()

    assert refund.number in listed
    for words in ("bought twice", "$19.00", "$1.00", refund.top_up.number):
        assert words in page, words
    assert "/approve/" not in page


def test_money_that_goes_back_is_found_from_its_customer_its_order_and_the_dashboard() -> None:
    refund = ask(credited("20"))
    client = desk("support")
    for page in (page_of(refund.account), page_of(refund.top_up)):
        assert refund.number in client.get(page).content.decode()

    [stat] = [one for one in client.get("/admin/").context["board"].stats if one.label == "Refunds waiting"]
    assert (stat.value, stat.alarm) == ("1", True)
    assert refund.number in client.get(stat.url).content.decode()


@pytest.mark.parametrize("waiting", ["decision", "provider", "look"])
def test_the_desk_is_opened_with_a_question(waiting: str) -> None:
    refund = ask(credited("20"))
    url = f"{reverse('admin:refunds_refund_changelist')}?waiting={waiting}"
    assert (refund.number in desk("finance").get(url).content.decode()) == (waiting == "decision")


def test_finance_approves_and_the_words_say_what_happens() -> None:
    refund = ask(credited("20"))
    client = desk("finance")
    form = client.get(action_of(refund, "approve")).content.decode()
    assert "$19.00 are sent" in form
    assert act(client, action_of(refund, "approve"), reason="unused").status_code == 302
    refund.refresh_from_db()
    assert refund.status == "approved"
    assert AuditRecord.objects.get(action="refund_approve").reason == "unused"


def test_a_large_one_waits_for_the_second_person() -> None:
    refund = ask(credited("600"))
    act(desk("finance"), action_of(refund, "approve"), reason="one")
    assert Refund.objects.get().status == "requested"
    act(desk("admin"), action_of(refund, "approve"), reason="two")
    assert Refund.objects.get().status == "approved"


@pytest.mark.parametrize(("role", "action"), [("finance", "reject"), ("admin", "cancel")])
def test_a_request_is_stopped_with_a_reason(role: str, action: str) -> None:
    refund = ask(credited("20"))
    act(desk(role), action_of(refund, action), reason="not now")
    refund.refresh_from_db()
    assert (refund.status, refund.answer) == ("cancelled", "not now")


@pytest.mark.parametrize("action", ["approve", "reject", "ask"])
def test_support_does_not_decide(action: str) -> None:
    refund = ask(credited("20"))
    assert desk("support").get(action_of(refund, action)).status_code == 403


def test_a_flag_is_taken_away_and_stays_in_the_audit() -> None:
    refund = sent(approve(ask(credited())))
    refund = type(refund).objects.get(pk=refund.pk)
    outcomes.record_outcome(refund.pk, said(refund, amount_minor=1), now=NOON)
    act(desk("finance"), action_of(refund, "looked"), reason="a test")
    refund.refresh_from_db()
    assert not refund.flagged
    assert "we asked for 19.00 USD" in AuditRecord.objects.get(action="refund_looked").reason


# --- Parts, confirmations, evidence
def company_refund(usd: str = "20") -> Refund:
    order = credited(usd)
    Account.objects.filter(pk=order.account_id).update(kind="company")
    return Refund.objects.select_related("account", "top_up").get(pk=ask(order).pk)


def test_finance_approves_a_part_and_the_words_say_what_becomes_of_the_rest() -> None:
    refund = ask(credited("20"))
    client = desk("finance")
    form = client.get(action_of(refund, "approve-part")).content.decode()
    assert "$20.00 of credit were asked for" in form
    assert act(client, action_of(refund, "approve-part"), amount="20.01", reason="more").status_code == 422
    assert act(client, action_of(refund, "approve-part"), amount="8", reason="12 were used").status_code == 302
    refund.refresh_from_db()
    assert (refund.status, refund.sent_minor, refund.part_reason) == ("approved", 760, "12 were used")
    page = client.get(page_of(refund)).content.decode()
    for words in ("12 were used", "$20.00", "$8.00", "$7.60"):
        assert words in page


def test_a_large_part_waits_for_the_second_person_at_the_desk() -> None:
    refund = ask(credited("1000"))
    act(desk("finance"), action_of(refund, "approve-part"), amount="600", reason="one")
    refund.refresh_from_db()
    assert (refund.status, refund.requested_usd) == ("requested", 600)
    act(desk("admin"), action_of(refund, "approve"), reason="two")
    refund.refresh_from_db()
    assert (refund.status, refund.requested_usd) == ("approved", 600)


def test_a_company_is_waited_for_and_staff_may_note_its_confirmation() -> None:
    refund = company_refund()
    client = desk("finance")
    listed = client.get(f"{reverse('admin:refunds_refund_changelist')}?waiting=confirmation").content.decode()
    assert refund.number in listed
    assert "Waits for the confirmation" in client.get(page_of(refund)).content.decode()
    refused = act(client, action_of(refund, "approve"), reason="fine")
    assert refused.status_code == 422
    assert "has not confirmed" in refused.content.decode()
    act(client, action_of(refund, "confirmed"), reason="Ms Chen by letter")
    act(client, action_of(refund, "approve"), reason="fine")
    refund.refresh_from_db()
    assert refund.status == "approved"
    assert AuditRecord.objects.get(action="refund_confirm_noted").reason == "Ms Chen by letter"


def test_the_evidence_says_what_was_used_on_what_and_what_speaks_against_it() -> None:
    order = credited("20")
    held = factories.hold(order.account, factories.price("acme/chat"), "4")
    factories.capture(held.id, input_tokens=4000)
    earlier = ask(order, "1")
    refund = ask(order, "5", reason="Cursor does not work with it", category="third_party")
    RiskFlag.objects.create(account=order.account, reason="two disputes", set_at=NOON)
    page = desk("support").get(page_of(refund)).content.decode()
    for words in ("$4.00 of $20.00", "acme/chat", "Cursor", "F021", "two disputes", earlier.number, "Personal"):
        assert words in page, words
    found = evidence.gather(refund, now=NOON)
    assert found.spending is not None
    assert (found.spending.used, found.spending.held, found.spending.remaining) == (4, 6, 10)
    assert (found.spending.first_at, found.spending.last_at) == (NOON, NOON)
    assert [(one.slug, one.calls, one.charge) for one in found.models] == [("acme/chat", 1, 4)]


def test_the_end_of_the_providers_time_is_on_the_page() -> None:
    order = credited("20")
    refund = ask(order)
    TopUp.objects.filter(pk=order.pk).update(method="alipay", paid_at=clock.now() - timedelta(days=91))
    assert "takes no refund any more" in desk("support").get(page_of(refund)).content.decode()


@pytest.mark.parametrize(("waiting", "status", "days"), [("ageing", "submitted", 4), ("failed", "failed", 0)])
def test_what_takes_too_long_or_failed_is_found(waiting: str, status: str, days: int) -> None:
    old, new = ask(credited("20")), ask(credited("20"))
    since = clock.now() - timedelta(days=days)
    Refund.objects.filter(pk=old.pk).update(status=status, submitted_at=since)
    Refund.objects.filter(pk=new.pk).update(status="submitted", submitted_at=clock.now())
    page = desk("support").get(f"{reverse('admin:refunds_refund_changelist')}?waiting={waiting}").content.decode()
    assert (old.number in page, new.number in page) == (True, False)


def test_the_list_and_the_page_ask_little_whatever_there_is() -> None:
    order = credited("20")
    held = factories.hold(order.account, factories.price("acme/chat"), "4")
    factories.capture(held.id, input_tokens=4000)
    refund = ask(order, "1")
    client = desk("finance")
    listing = reverse("admin:refunds_refund_changelist")

    def asked(path: str) -> int:
        with CaptureQueriesContext(connection) as taken:
            assert client.get(path).status_code == 200
        return len([one for one in taken if "FROM billing_catalogstate" not in one["sql"]])

    client.get(page_of(refund))
    few = asked(listing), asked(page_of(refund))
    for _more in range(4):
        ask(order, "1")
    assert (asked(listing), asked(page_of(refund))) == few
    assert few[0] <= 8
    assert few[1] <= 17


# --- Plans
def plan_row(**changes: Any) -> Refund:
    """A payment of a plan that goes back without a plan refund: of a second subscription, or from the dashboard."""
    account = factories.account(factories.user())
    bought = Subscription.objects.create(
        account=account,
        plan_version=PlanVersion.objects.get(plan="pro", number=1),
        status_at=NOON,
        created_at=NOON,
        client_key="1",
    )
    invoice = paid_invoice(bought)
    terms = {
        "number": "refund_plan1",
        "kind": "subscription",
        "account": account,
        "invoice": invoice,
        "created_at": NOON,
        "reason": "a second subscription beside one in force",
        "requested_usd": Decimal(20),
        "fee_usd": Decimal(0),
        "sent_usd": Decimal(20),
        "currency": "USD",
        "requested_minor": 2000,
        "fee_minor": 0,
        "sent_minor": 2000,
        "fee_rate": Decimal(0),
        "status": "approved",
        "status_at": NOON,
        "client_key": "1",
        "idempotency_key": "1",
    }
    return outcomes.book_new(Refund(**(terms | changes)), now=NOON)


def test_a_plans_payment_is_shown_with_its_invoice_and_not_decided_here() -> None:
    refund = plan_row()
    client = desk("admin")
    page = client.get(page_of(refund)).content.decode()
    assert page_of(refund.invoice) in page
    assert "payment of a second subscription" in page
    for action in ("approve", "approve-part", "reject", "cancel", "confirmed"):
        assert f"/{action}/" not in page, action
    listing = reverse("admin:refunds_refund_changelist")
    assert refund.number in client.get(f"{listing}?kind__exact=subscription").content.decode()
    assert refund.number not in client.get(f"{listing}?kind__exact=top_up").content.decode()


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
@pytest.mark.parametrize("external", [True, False])
def test_the_mail_about_a_plans_payment_speaks_of_no_credit_that_was_taken(status: str, external: bool) -> None:
    refund = plan_row()
    refund.status, refund.external = status, external
    telling.outcome(refund, now=NOON)
    notice = Notice.objects.get(kind=f"refund_{status}")
    assert notice.context["invoice"] == str(refund.invoice_id)
    body = str(notices._mail(notice, factories.user()).body)
    assert "20.00 USD" in body
    assert f"Invoice: {refund.of_number}" in body
    for wrong in ("credit that it had bought", "account's credit", "Order:"):
        assert wrong not in body, wrong


def test_a_part_of_a_plan_refund_is_decided_on_the_plan_refund() -> None:
    refund = Refund(number="refund_1", kind="subscription", plan_refund_id=uuid4())
    with pytest.raises(DecidedOnPlanRefund):
        deciding._refuse_part_of_plan(refund)


# --- A second subscription whose payment did not go back
def second_one(**changes: Any) -> Refund:
    refund = plan_row(**changes)
    Subscription.objects.filter(pk=refund.invoice.subscription_id).update(status="duplicate")
    return Refund.objects.select_related("account", "invoice__subscription").get(pk=refund.pk)


def unanswered(patch: pytest.MonkeyPatch, *states: Any) -> None:
    """The provider knows of these refunds of the payment, and of no other."""
    patch.setattr(StripeProcessor, "refunds_of", lambda self, intent: states)


def test_a_failed_refund_of_a_second_subscription_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refund = second_one(status="submitted", submitted_at=NOON)
    outcomes.record_outcome(refund.pk, state_of(refund, "failed"), now=NOON)
    unanswered(monkeypatch)
    client = desk("finance")
    form = client.get(action_of(refund, "try-again")).content.decode()
    assert "all that is left of the payment" in form
    assert act(client, action_of(refund, "try-again"), reason="  ").status_code == 422
    assert Refund.objects.count() == 1

    answer = act(client, action_of(refund, "try-again"), reason="the card is open again")
    again = Refund.objects.exclude(pk=refund.pk).get()
    assert answer["Location"] == page_of(again)
    assert (again.status, again.sent_minor, again.fee_minor) == ("approved", 2000, 0)
    record = AuditRecord.objects.get(action="refund_try_again")
    assert (record.subject_id, record.reason) == (str(refund.pk), "the card is open again")
    assert record.after["refund"] == again.number

    before = Refund.objects.count(), AuditRecord.objects.count()
    twice = act(client, action_of(refund, "try-again"), reason="and again")
    assert twice.status_code == 422
    assert "Nothing of this payment is left to send" in twice.content.decode()
    assert (Refund.objects.count(), AuditRecord.objects.count()) == before


def test_what_went_in_the_dashboard_meanwhile_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refund = second_one(status="submitted", submitted_at=NOON)
    outcomes.record_outcome(refund.pk, state_of(refund, "failed"), now=NOON)
    unanswered(monkeypatch, state_of(refund, "succeeded", refund_id="re_dashboard", marks={}, amount_minor=1500))
    act(desk("finance"), action_of(refund, "try-again"), reason="the card is open again")
    assert list(Refund.objects.order_by("pk").values_list("external", "status", "sent_minor")) == [
        (False, "failed", 2000),
        (True, "succeeded", 1500),
        (False, "approved", 500),
    ]


@pytest.mark.parametrize("why", ["not failed", "external", "not a second one"])
def test_no_other_refund_is_tried_again(why: str) -> None:
    refund = second_one()
    changes = {"status": "failed", "submitted_at": NOON}
    if why == "not failed":
        changes = {}
    elif why == "external":
        changes |= {"external": True}
    else:
        Subscription.objects.update(
            status="active", activated_at=NOON, period_start=NOON, period_end=NOON, provider_id="s"
        )
    Refund.objects.filter(pk=refund.pk).update(**changes)
    client = desk("finance")
    page = client.get(action_of(refund, "try-again"), follow=True).content.decode()
    assert "That is not possible in its present state." in page
    with pytest.raises(InvalidTransition):
        duplicates.try_again(
            refund.pk, actor=factories.user(), reason="why", processor=get_processor(), now=clock.now()
        )
    assert Refund.objects.count() == 1


def test_support_does_not_send_anything_again() -> None:
    refund = second_one(status="submitted", submitted_at=NOON)
    outcomes.record_outcome(refund.pk, state_of(refund, "failed"), now=NOON)
    assert desk("support").get(action_of(refund, "try-again")).status_code == 403
