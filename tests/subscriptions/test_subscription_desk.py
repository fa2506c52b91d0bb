"""The desks of subscriptions, invoices, changes of plan and Extra Usage: read by every role, asked about by some."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditRecord
from accounts.roles import MAY
from billing.errors import InvalidRequest
from billing.payments.stripe_processor import get_processor
from config import clock
from subscriptions import dunning, extra
from subscriptions.models import ExtraUsage, Invoice, PlanChange, PlanVersion, Subscription
from tests import factories
from tests.billing.pages import text_of
from tests.staff import act, action_of, at_desk, desk, page_of, person
from tests.subscriptions.conftest import Club
from tests.subscriptions.invoicing import NOON, paid_invoice

pytestmark = pytest.mark.django_db
with_provider = pytest.mark.django_db(transaction=True)
DESKS = (Subscription, Invoice, PlanChange, ExtraUsage)
MAY_CHECK = sorted(role for role, held in MAY.items() if "subscriptions.check_subscription" in held)
MOST_QUERIES = 25


def list_of(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def read(client: Any, path: str, **sent: object) -> str:
    answer = client.get(path, sent)
    assert answer.status_code == 200, (path, answer.status_code)
    return text_of(answer)


def subscription(status: str = "active", **more: Any) -> Subscription:
    """A Pro plan, without a provider."""
    account = factories.account()
    return Subscription.objects.create(
        account=account,
        plan_version=PlanVersion.objects.get(plan_id="pro", number=1),
        status_at=NOON,
        created_at=NOON,
        client_key=uuid4().hex,
        **{
            "status": status,
            "activated_at": NOON,
            "period_start": NOON,
            "period_end": NOON + timedelta(days=30),
            "provider_id": f"sub_{uuid4().hex}",
        }
        | more,
    )


def change(row: Subscription, status: str = "scheduled", kind: str = "downgrade", **more: Any) -> PlanChange:
    """A wish for the Max plan."""
    return PlanChange.objects.create(
        account=row.account,
        subscription=row,
        kind=kind,
        status=status,
        status_at=NOON,
        from_version=row.plan_version,
        to_version=PlanVersion.objects.get(plan_id="max", number=1),
        at=NOON,
        created_at=NOON,
        client_key=uuid4().hex,
        **more,
    )


def extra_usage(row: Subscription) -> ExtraUsage:
    """Extra Usage of the account, with a key and a cap."""
    key, _ = factories.key(row.account)
    actor = row.account.memberships.get().user
    extra.turn_on(
        row.account_id, key_id=key.pk, monthly_cap=Decimal(25), agreed_text="yes", actor=actor, label="", now=NOON
    )
    return ExtraUsage.objects.get(pk=row.account_id)


def one_of_each() -> list[Any]:
    row = subscription()
    return [row, paid_invoice(row), change(row), extra_usage(row)]


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", sorted(MAY))
def test_every_role_reads_every_list_and_page_and_writes_nowhere(role: str) -> None:
    rows, client = one_of_each(), desk(role)
    for row in rows:
        model = type(row)
        assert str(row.account) in read(client, list_of(model)), model
        assert page_of(row) in read(client, list_of(model)), model
        read(client, page_of(row))
        assert client.get(reverse(f"admin:subscriptions_{model._meta.model_name}_add")).status_code == 403
        assert client.post(page_of(row), {"status": "ended"}).status_code == 405
        assert client.post(page_of(row).replace("change/", "delete/")).status_code in (403, 404, 405)


def test_staff_without_a_role_and_visitors_see_none_of_them(client: Any) -> None:
    rows, nobody = one_of_each(), at_desk(person())
    for row in rows:
        assert nobody.get(list_of(type(row))).status_code == 403
        assert nobody.get(page_of(row)).status_code == 403
        assert client.get(page_of(row)).status_code == 302
    paid = rows[1]
    pdf = reverse("admin:subscriptions_invoice_receipt", args=[paid.pk])
    assert nobody.get(pdf).status_code == 403
    assert client.get(pdf).status_code == 302


def test_a_list_costs_the_same_queries_however_many_rows_it_has() -> None:
    client = desk("finance")

    def queries(model: Any) -> int:
        with CaptureQueriesContext(connection) as seen:
            read(client, list_of(model))
        return len(seen)

    one_of_each()
    for model in DESKS:
        read(client, list_of(model))  # what a first page of a process fetches besides
    before = {model: queries(model) for model in DESKS}
    for _ in range(4):
        one_of_each()
    for model in DESKS:
        assert queries(model) == before[model] <= MOST_QUERIES, model


# --- subscriptions ---------------------------------------------------------------------------------------------------


def test_subscriptions_are_found_by_state_by_what_waits_and_by_the_providers_name() -> None:
    fine, unpaid = subscription(), subscription("past_due")
    ending, looked = subscription(cancel_at_period_end=True), subscription(review_reason="has another price")
    client, path = desk("support"), list_of(Subscription)

    def shown(**sent: object) -> set[Any]:
        told = read(client, path, **sent)
        return {row.pk for row in (fine, unpaid, ending, looked) if page_of(row) in told}

    assert shown() == {fine.pk, unpaid.pk, ending.pk, looked.pk}
    assert shown(status__exact="past_due") == {unpaid.pk}
    assert shown(waiting="unpaid") == {unpaid.pk}
    assert shown(waiting="ending") == {ending.pk}
    assert shown(waiting="review") == {looked.pk}
    assert shown(q=fine.provider_id) == {fine.pk}
    assert shown(q=str(unpaid.account_id)) == {unpaid.pk}


def test_a_subscriptions_page_shows_its_invoices_its_changes_and_leads_to_them() -> None:
    row = subscription()
    paid, wish = paid_invoice(row), change(row, due_minor=4000, kind="upgrade", status="done")
    told = read(desk("finance"), page_of(row))
    for expected in (page_of(paid), page_of(wish), "20.00 USD", "40.00 USD", row.provider_id):
        assert expected in told, expected


def test_the_customers_page_lists_the_subscriptions() -> None:
    row = subscription()
    assert page_of(row) in read(desk("support"), page_of(row.account))


# --- check by hand ---------------------------------------------------------------------------------------------------


@with_provider
@pytest.mark.parametrize("role", MAY_CHECK)
def test_asking_by_hand_applies_the_providers_word_with_a_reason_in_the_audit(club: Club, role: str) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "cancel")  # and the event is not delivered
    assert club.row().in_force
    who = person(role)
    answer = act(at_desk(who), action_of(row, "ask-now"), reason="the customer wrote")
    assert (answer.status_code, answer["Location"]) == (302, page_of(row))
    assert club.row().status == Subscription.Status.ENDED
    [kept] = AuditRecord.objects.filter(action="subscription_checked")
    assert (kept.actor, kept.reason, kept.account_id) == (who, "the customer wrote", club.account.pk)
    assert "the customer wrote" in read(at_desk(who), page_of(row))


@with_provider
def test_asking_again_changes_nothing_and_is_audited_each_time(club: Club) -> None:
    row, client = club.subscribe(), desk("finance")
    before = (club.invoices(), club.booked(), club.row().status)
    for _ in range(2):
        assert act(client, action_of(row, "ask-now")).status_code == 302
    assert (club.invoices(), club.booked(), club.row().status) == before
    assert AuditRecord.objects.filter(action="subscription_checked").count() == 2


@with_provider
def test_without_a_reason_nobody_is_asked(club: Club) -> None:
    row, client = club.subscribe(), desk("finance")
    answer = act(client, action_of(row, "ask-now"), reason=" ")
    assert answer.status_code == 422
    with pytest.raises(InvalidRequest):
        dunning.check_by_hand(row.pk, actor=club.owner, reason=" ", processor=get_processor(), now=clock.now())
    assert not AuditRecord.objects.filter(action="subscription_checked").exists()


@with_provider
def test_a_silent_provider_is_said_on_the_form(club: Club, settings: Any) -> None:
    row, client = club.subscribe(), desk("finance")
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    answer = act(client, action_of(row, "ask-now"))
    assert answer.status_code == 422
    assert club.row().in_force


@pytest.mark.parametrize("role", sorted(set(MAY) - set(MAY_CHECK)))
def test_a_wrong_role_is_not_offered_the_question_and_is_refused(role: str) -> None:
    row, client = subscription(), desk(role)
    assert "ask-now" not in read(client, page_of(row))
    assert client.get(action_of(row, "ask-now")).status_code == 403
    assert client.post(action_of(row, "ask-now"), {"reason": "r", "token": uuid4().hex}).status_code == 403
    assert not AuditRecord.objects.filter(action="subscription_checked").exists()


def test_some_roles_may_ask_and_some_may_not() -> None:
    assert MAY_CHECK
    assert set(MAY) - set(MAY_CHECK)


# --- invoices --------------------------------------------------------------------------------------------------------


def test_an_invoices_page_shows_the_money_its_entry_and_its_receipt() -> None:
    paid = paid_invoice(subscription(), number="8F2A91C3-0001")
    client = desk("support")
    told = read(client, page_of(paid))
    for expected in ("8F2A91C3-0001", paid.provider_id, "20.00 USD", "$20.00", "Subscription paid"):
        assert expected in told, expected
    pdf = reverse("admin:subscriptions_invoice_receipt", args=[paid.pk])
    assert f"{pdf}?lang=zh-hans" in told
    for language in ("en", "zh-hans"):
        assert client.get(pdf, {"lang": language}).content.startswith(b"%PDF-")
    assert client.get(reverse("admin:subscriptions_invoice_receipt", args=[uuid4()])).status_code == 404


def test_an_unpaid_invoice_offers_no_receipt_and_invoices_are_found_by_their_names() -> None:
    row = subscription()
    paid = paid_invoice(row)
    unpaid = Invoice.objects.create(
        account=row.account, subscription=row, plan_version=row.plan_version, provider_id="in_open", kind="renewal",
        status_at=NOON, at=NOON, amount_minor=2000, currency="USD", failure="insufficient_funds",
    )  # fmt: skip
    client, path = desk("finance"), list_of(Invoice)
    pdf = reverse("admin:subscriptions_invoice_receipt", args=[unpaid.pk])
    assert pdf not in read(client, page_of(unpaid))
    assert client.get(pdf).status_code == 404
    for sent in ({"q": paid.number}, {"q": paid.payment_intent_id}, {"status__exact": "paid"}):
        told = read(client, path, **sent)
        assert page_of(paid) in told, sent
        assert page_of(unpaid) not in told, sent


# --- changes of plan -------------------------------------------------------------------------------------------------


def test_changes_of_plan_are_listed_by_state() -> None:
    waiting = change(subscription())
    asked = change(subscription(), "requested", "upgrade", due_minor=8000)
    done, declined = change(subscription(), "done", "upgrade"), change(subscription(), "declined", "upgrade")
    client, path = desk("operations"), list_of(PlanChange)
    for status, row in (("scheduled", waiting), ("requested", asked), ("done", done), ("declined", declined)):
        told = read(client, path, status__exact=status)
        assert [one.pk for one in (waiting, asked, done, declined) if page_of(one) in told] == [row.pk]
    assert "80.00 USD" in read(client, path, status__exact="requested")
    found = read(client, path, q=waiting.subscription.provider_id)
    assert page_of(waiting) in found
    assert page_of(done) not in found


def test_a_changes_page_says_when_it_begins_and_names_it_at_the_provider() -> None:
    row = change(subscription(), schedule_id="sub_sched_7")
    told = read(desk("support"), page_of(row))
    for expected in ("sub_sched_7", row.idempotency_key, "pro v1", "max v1", "From the next period"):
        assert expected in told, expected
    assert "ask-now" not in told


# --- Extra Usage -----------------------------------------------------------------------------------------------------


def test_extra_usage_shows_key_cap_and_consent_and_never_the_whole_key() -> None:
    row = extra_usage(subscription())
    client = desk("support")
    assert row.api_key is not None
    told = read(client, page_of(row))
    for expected in (row.api_key.masked, "$25.00", str(row.agreed_by)):
        assert expected in told, expected
    assert page_of(row) in read(client, list_of(ExtraUsage), q=str(row.pk))
    assert page_of(row) not in read(client, list_of(ExtraUsage), q=str(uuid4()))
    assert page_of(row) not in read(client, list_of(ExtraUsage), enabled__exact="0")
