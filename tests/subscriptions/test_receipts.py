"""Receipts of payments for plans: what they say, in both languages, who opens them, and what never changes them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from accounts.models import Membership
from billing.books import details
from billing.books.models import JournalEntry
from billing.errors import NotFound
from billing.payments.processor_subscriptions import InvoiceProgress
from subscriptions import receipts
from subscriptions.models import Invoice, Plan, PlanVersion, Subscription
from tests import factories
from tests.api import problem, program
from tests.billing.pages import text_of as words
from tests.billing.payments.test_receipts import text_of
from tests.subscriptions.conftest import Club
from tests.subscriptions.invoicing import NOON, keep, line, paid_invoice, told

pytestmark = pytest.mark.django_db
HISTORY = "/platform/subscription/history"


def version(code: str) -> PlanVersion:
    return PlanVersion.objects.select_related("plan").get(plan_id=code, number=1)


def subscription(code: str = "pro", account: Any = None) -> Subscription:
    """Of an account with one owner."""
    return Subscription.objects.create(
        account=account or factories.account(),
        plan_version=version(code),
        status_at=NOON,
        created_at=NOON,
        client_key=str(factories.uuid7()),
    )


def page(invoice: Invoice, language: str = "en") -> str:
    """The words of the receipt, each run of spaces one."""
    return " ".join(text_of(receipts.render(invoice, language)).split())


def owner_of(invoice: Invoice) -> Any:
    return invoice.account.memberships.get().user


def path(invoice: Invoice) -> str:
    return f"{HISTORY}/{invoice.pk}/receipt.pdf"


# --- what it says ----------------------------------------------------------------------------------------------------


def test_a_receipt_names_plan_period_amount_card_and_the_providers_references():
    invoice = paid_invoice(subscription(), number="8F2A91C3-0001", provider_id="in_1", payment_intent_id="pi_1")
    Invoice.objects.update(card_brand="visa", card_last_four="4242", charge_id="ch_1")
    invoice.refresh_from_db()
    said = page(invoice)
    for expected in (
        "R-8F2A91C3-0001", "Pro · Subscription", "Pro subscription", "2026-11-", "$20.00 USD", "Total paid",
        "Visa ending in 4242", "in_1", "ch_1", str(invoice.account_id), "Paid in full.",
    ):  # fmt: skip
        assert expected in said, (expected, said)
    assert "Paid back" not in said


def test_a_change_of_plan_shows_credit_charge_and_what_was_paid():
    row = subscription("max")
    half = NOON + timedelta(days=15)
    state = told(
        line(version("pro"), -1000, proration=True, starts_at=half),
        line(version("max"), 5000, proration=True, starts_at=half),
        reason="subscription_update",
    )
    said = page(keep(row, state))
    for expected in (
        "Credit for unused time on Pro", "−$10.00 USD", "Max for the rest of the period", "$50.00 USD", "$40.00 USD",
        "Max · Change of plan",
    ):  # fmt: skip
        assert expected in said, (expected, said)


def test_tax_and_credit_at_the_provider_stand_between_the_lines_and_the_total():
    state = told(line(version("pro"), 2000), amount_minor=2200, tax_minor=200, paid_minor=1500)
    said = page(keep(subscription(), state))
    for expected in ("Tax 1 $2.00 USD", "Settled with credit at the payment provider 1 −$7.00 USD", "$15.00 USD"):
        assert expected in said, (expected, said)
    assert "contains 2.00 USD of tax" in said


def test_a_price_that_is_none_of_ours_is_told_in_the_providers_words():
    state = told(line(version("pro"), 1234, price_id="price_unknown", text="Something else · 別的"))
    assert "Something else · 別的" in page(keep(subscription(), state))


def test_both_languages_say_the_same_numbers_and_the_same_bytes_for_ever():
    invoice = paid_invoice(subscription())
    for language, title in (("en", "Receipt"), ("zh-hans", "收据")):
        said = page(invoice, language)
        assert title in said
        assert "$20.00 USD" in said
        assert receipts.render(invoice, language) == receipts.render(invoice, language)


def test_a_receipt_keeps_the_billing_details_and_the_name_of_its_day():
    row = subscription()
    owner = row.account.memberships.get().user
    details.save(row.account_id, {"company_name": "Old Ltd.", "tax_id": "T-1"}, actor=owner, now=NOON)
    invoice = paid_invoice(Subscription.objects.get(pk=row.pk))
    before = receipts.render(invoice, "en")
    details.save(row.account_id, {"company_name": "New Ltd.", "tax_id": "T-2"}, actor=owner, now=NOON)
    Plan.objects.filter(pk="pro").update(name="Professional")
    again = Invoice.objects.get(pk=invoice.pk)
    assert receipts.render(again, "en") == before
    assert "Old Ltd." in page(again)


def test_long_names_and_rare_characters_fit_on_the_paper():
    row = subscription()
    owner = row.account.memberships.get().user
    long = {
        "company_name": "Långtbolagsnamn " * 12,
        "address": "上海市浦东新区喆犇龘堃路一号\n" * 8,
        "tax_id": "9" * 40,
    }
    details.save(row.account_id, long, actor=owner, now=NOON)
    invoice = paid_invoice(Subscription.objects.get(pk=row.pk), number="N" * 60)
    for language in ("en", "zh-hans"):
        said = page(invoice, language)
        assert said.count("Långtbolagsnamn") == 12
        assert "喆犇龘堃" in said
        assert "$20.00 USD" in said


def test_an_entry_without_a_kept_document_still_makes_a_receipt():
    row = subscription()
    ledger_entry = paid_invoice(row)
    document = receipts.kept(ledger_entry, ())
    assert document["lines"] == []
    said_of = receipts._told(ledger_entry, document, NOON)
    assert said_of.lines[0][1] == said_of.paid == Decimal(20)


def test_a_payment_that_went_back_says_so_on_paper_in_the_history_and_in_the_api(client: Client):
    invoice = paid_invoice(subscription())
    Subscription.objects.filter(pk=invoice.subscription_id).update(status="duplicate")
    Invoice.objects.filter(pk=invoice.pk).update(
        refunded_minor=2000, paid_back_minor=2000, paid_back_at=NOON + timedelta(hours=1)
    )
    invoice = Invoice.objects.get(pk=invoice.pk)
    said = page(invoice)
    assert "Paid back on 2026-" in said
    assert "−$20.00 USD" in said
    assert "paid back in full" in said
    client.force_login(owner_of(invoice))
    assert "Paid back" in words(client.get(HISTORY))
    [shown] = program(invoice.account).call("GET", "subscription/invoices").json()["results"]
    assert (shown["paid_back"], shown["paid_back_at"] is not None) == ("20.00", True)


def test_a_payment_of_which_a_part_went_back_says_how_much(client: Client):
    invoice = paid_invoice(subscription())
    Invoice.objects.filter(pk=invoice.pk).update(
        refunded_minor=1747, paid_back_minor=1660, paid_back_at=NOON + timedelta(hours=1)
    )
    said = page(Invoice.objects.get(pk=invoice.pk))
    assert "−$16.60 USD" in said
    assert "paid back in full" not in said
    client.force_login(owner_of(invoice))
    assert "Partly paid back" in words(client.get(HISTORY))


# --- who opens it ----------------------------------------------------------------------------------------------------


def test_members_open_it_from_the_history_and_the_api_gives_the_same_document(client: Client):
    invoice = paid_invoice(subscription())
    client.force_login(owner_of(invoice))
    assert f'href="{path(invoice)}?lang=zh-hans"' in client.get(HISTORY).content.decode()
    answer = client.get(path(invoice), {"lang": "zh-hans"})
    assert (answer.status_code, answer["Content-Type"], answer["Cache-Control"]) == (200, "application/pdf", "no-store")
    assert answer.content.startswith(b"%PDF-")
    asks = program(invoice.account)
    [shown] = asks.call("GET", "subscription/invoices").json()["results"]
    assert (shown["id"], shown["amount"], shown["paid"], shown["status"]) == (
        str(invoice.pk), "20.00", "20.00", "paid",
    )  # fmt: skip
    assert shown["receipt"] == f"/api/v1/subscription/invoices/{invoice.pk}/receipt"
    again = asks.call("GET", f"subscription/invoices/{invoice.pk}/receipt?lang=zh-hans", HTTP_ACCEPT="application/pdf")
    assert again.content == answer.content
    reader = factories.user()
    Membership.objects.create(user=reader, account=invoice.account, role="developer", created_at=NOON)
    client.force_login(reader)
    assert client.get(path(invoice)).status_code == 200


def test_another_accounts_receipt_does_not_exist(client: Client):
    invoice = paid_invoice(subscription())
    stranger = factories.user()
    factories.account(stranger)
    client.force_login(stranger)
    assert client.get(path(invoice)).status_code == 404
    asks = program(factories.account())
    problem(asks.call("GET", f"subscription/invoices/{invoice.pk}/receipt"), 404, "not_found")
    assert asks.call("GET", "subscription/invoices").json()["results"] == []


@pytest.mark.parametrize("progress", [InvoiceProgress.OPEN, InvoiceProgress.FAILED, InvoiceProgress.VOID])
def test_what_was_not_paid_has_no_receipt(client: Client, progress: InvoiceProgress):
    invoice = paid_invoice(subscription(), progress=progress, paid_minor=0, paid_at=None)
    with pytest.raises(NotFound):
        receipts.render(invoice, "en")
    client.force_login(owner_of(invoice))
    assert client.get(path(invoice)).status_code == 404
    assert "receipt.pdf" not in client.get(HISTORY).content.decode()
    asks = program(invoice.account)
    problem(asks.call("GET", f"subscription/invoices/{invoice.pk}/receipt"), 404, "not_found")
    assert asks.call("GET", "subscription/invoices").json()["results"][0]["receipt"] is None


def test_an_invoice_of_nothing_has_no_receipt():
    invoice = keep(subscription(), told(line(version("pro"), 0)))
    with pytest.raises(NotFound):
        receipts.render(invoice, "en")


def test_a_language_that_there_is_not_is_refused_by_the_api_and_passed_over_by_the_page(client: Client):
    invoice = paid_invoice(subscription())
    asks = program(invoice.account)
    assert asks.call("GET", f"subscription/invoices/{invoice.pk}/receipt?lang=fr").status_code == 422
    client.force_login(owner_of(invoice))
    assert client.get(path(invoice), {"lang": "fr"}).status_code == 200


def test_the_history_is_paged_in_the_api_newest_first():
    row = subscription()
    made = [paid_invoice(row, at=NOON + timedelta(days=30 * month)) for month in range(3)]
    asks = program(row.account)
    first = asks.call("GET", "subscription/invoices?page_size=2").json()
    rest = asks.call("GET", f"subscription/invoices?page_size=2&cursor={first['next_cursor']}").json()
    assert [one["id"] for one in first["results"] + rest["results"]] == [str(one.pk) for one in reversed(made)]
    assert rest["next_cursor"] is None


# --- from the provider itself ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_sandboxs_lines_of_an_upgrade_are_on_its_receipt(club: Club):
    club.subscribe()
    club.change("max")
    bought, changed = Invoice.objects.filter(account=club.account).order_by("at", "pk")
    assert "Pro subscription" in page(bought)
    said = page(changed)
    for expected in ("Credit for unused time on Pro", "Max for the rest of the period", "4242", changed.number):
        assert expected in said, (expected, said)
    kept = JournalEntry.objects.get(key=receipts.paid_key(changed)).meta["receipt"]["lines"]
    assert sum(one["amount_minor"] for one in kept) == changed.paid_minor
