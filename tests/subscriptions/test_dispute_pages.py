"""Disputes of plans on the desks and on the customer's pages: what is shown, where it leads, and in which words."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditRecord, Membership
from billing.payments import fraud_warnings
from billing.payments.models_disputes import RiskFlag
from subscriptions.disputes import OF
from subscriptions.models import Invoice, Subscription
from tests import factories
from tests.api import program
from tests.staff import act, action_of, desk, page_of
from tests.subscriptions.disputing import BACK, NOON, OUT, paid, say, state, the, warning

pytestmark = pytest.mark.django_db


def disputed() -> Invoice:
    invoice = paid()
    say(invoice, state(invoice, "needs_response", OUT))
    return invoice


def customer(invoice: Invoice) -> Client:
    owner = factories.user()
    Membership.objects.create(account=invoice.account, user=owner, role="owner", created_at=NOON)
    client = Client()
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def read(client: Client, address: str) -> str:
    return " ".join(client.get(address).content.decode().split())


def test_the_desk_of_disputes_names_the_invoice_and_leads_to_it() -> None:
    invoice = disputed()
    client = desk("support")
    listed = reverse("admin:billing_dispute_changelist")
    assert page_of(invoice) in read(client, listed)
    assert "dp_1" in read(client, f"{listed}?q={invoice.number}")
    page = read(client, page_of(the()))
    for words in (invoice.number, page_of(invoice), "from the revenue of plans", "$20.00", "txn_dp_1_0"):
        assert words.lower() in page.lower(), words


def test_the_invoice_and_the_customer_say_that_there_is_a_dispute() -> None:
    invoice = disputed()
    client = desk("finance")
    page = read(client, page_of(invoice))
    assert "Disputes and fraud warnings" in page
    assert page_of(the()) in page
    assert page_of(the()) in read(client, page_of(invoice.account))
    assert RiskFlag.objects.get(pk=invoice.account_id).reason == f"dispute dp_1 of invoice {invoice.number}"


def test_the_desk_of_warnings_shows_one_of_a_plan_and_has_nothing_to_release() -> None:
    invoice = paid()
    row = fraud_warnings.record_other(OF, invoice.pk, warning(invoice), now=NOON)
    client = desk("finance")
    assert page_of(invoice) in read(client, reverse("admin:billing_earlyfraudwarning_changelist"))
    page = read(client, page_of(row))
    assert invoice.number in page
    assert "Nothing to freeze" in page
    assert "Release the credit" not in page
    assert page_of(row) in read(client, page_of(invoice))


def test_staff_take_the_mark_of_a_lost_dispute_away_with_a_reason_and_it_stays_away() -> None:
    invoice = disputed()
    lost = state(invoice, "lost", OUT)
    say(invoice, lost)
    row = Subscription.objects.get(pk=invoice.subscription_id)
    assert row.review_reason in read(desk("support"), page_of(row))
    client = desk("finance")
    assert act(client, action_of(row, "looked"), reason=" ").status_code == 422
    assert act(client, action_of(row, "looked"), reason="They keep it.").status_code == 302
    say(invoice, lost)  # told again
    row.refresh_from_db()
    assert (row.review_reason, row.status) == ("", "active")
    kept = AuditRecord.objects.get(action="subscription_looked")
    assert (kept.reason, "is lost" in str(kept.before)) == ("They keep it.", True)


@pytest.mark.parametrize(
    ("status", "lines", "words", "shown"),
    [
        ("warning_needs_response", (), "Nothing changes for you. We answer the bank.", False),
        ("needs_response", (OUT,), "The plan stays in force, and your balance is not touched.", True),
        ("won", (OUT, BACK), "The bank decided that the payment stands.", False),
        ("lost", (OUT,), "Our staff look at the plan and write to you", True),
    ],
)
def test_the_customer_reads_what_happens(status: str, lines: tuple[int, ...], words: str, shown: bool) -> None:
    invoice = paid()
    if status == "won":
        say(invoice, state(invoice, "needs_response", OUT))
    say(invoice, state(invoice, status, *lines))
    client = customer(invoice)
    page = read(client, reverse("plan:invoice", args=[invoice.pk]))
    assert words in page
    assert "frozen" not in page
    assert ("<dt>Disputed</dt>" in page) is shown
    assert ("Disputed" in read(client, reverse("plan:history"))) is shown
    [told] = program(invoice.account).get("/api/v1/subscription/invoices").json()["results"]
    assert told["disputed"] == ("20.00" if shown else "0.00")
