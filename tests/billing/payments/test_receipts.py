"""Receipts: once an order, numbered without a gap, never changed, the same bytes for ever, in both languages."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.test import Client

from accounts.models import Account, Membership, User
from billing.books import details
from billing.errors import NotFound
from billing.payments import receipt_issuing, receipt_pdf, settling, topups
from billing.payments.models import FxQuote, PaymentAttempt, TopUp
from billing.payments.models_documents import Receipt, ReceiptSeries
from tests import factories
from tests.api import problem, program
from tests.concurrency.helpers import at_once

NOON = factories.NOON
pytestmark = pytest.mark.django_db


def paid_order(
    account: Account | None = None, *, usd: str = "20", currency: str = "USD", now: datetime = NOON
) -> TopUp:
    """An order credited through the one door, with a card that has a brand."""
    account = account or factories.account()
    actor = account.memberships.get().user
    order = topups.place(
        account.pk, Decimal(usd), method="card", client_key=str(factories.uuid7()), actor=actor, locale="en", now=now
    )
    if currency == "CNY":
        TopUp.objects.filter(pk=order.pk).update(currency="CNY", amount_minor=14600, method="alipay")
        FxQuote.objects.filter(pk=order.fx_quote_id).update(rate=Decimal("7.3"))
    with transaction.atomic():
        order = topups.locked(order.pk)
        order.move_to(TopUp.Status.AWAITING_PAYMENT, now=now)
        PaymentAttempt.objects.create(
            top_up=order, reference="ch_1", at=now, outcome="succeeded", brand="visa", last_four="4242"
        )
        order.move_to(TopUp.Status.PAID, now=now)
        settling._credit(order, now=now)
        order.save()
    return order


def text_of(pdf: bytes) -> str:
    """The words of a PDF."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    done = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True)
    return done.stdout.decode()


def test_an_order_that_was_not_credited_has_no_receipt():
    account = factories.account()
    actor = account.memberships.get().user
    order = topups.place(account.pk, Decimal(20), method="card", client_key="k", actor=actor, locale="en", now=NOON)
    with pytest.raises(NotFound):
        receipt_issuing.issue(order.pk, now=NOON)
    assert not ReceiptSeries.objects.exists()


def test_numbers_count_up_without_a_gap_and_begin_again_each_year():
    orders = [paid_order() for _ in range(3)]
    last, first = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    issued = [receipt_issuing.issue(order.pk, now=at) for order, at in zip(orders, (NOON, last, first), strict=True)]
    assert [one.number for one in issued] == ["R-2026-000001", "R-2026-000002", "R-2027-000001"]
    assert receipt_issuing.issue(orders[0].pk, now=first) == issued[0]


def test_a_number_of_a_failed_issue_is_given_again(monkeypatch):
    order = paid_order()

    def broken(*_args):
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(receipt_issuing, "_write", broken)
        with pytest.raises(RuntimeError):
            receipt_issuing.issue(order.pk, now=NOON)
    assert receipt_issuing.issue(order.pk, now=NOON).number == "R-2026-000001"


def test_a_receipt_keeps_what_stood_there_on_its_day_and_cannot_be_changed():
    account = factories.account()
    owner = account.memberships.get().user
    details.save(account.pk, {"company_name": "Old Ltd.", "tax_id": "T-1"}, actor=owner, now=NOON)
    receipt = receipt_issuing.issue(paid_order(account).pk, now=NOON)
    before = receipt_pdf.render(receipt, "en")
    details.save(account.pk, {"company_name": "New Ltd.", "tax_id": "T-2"}, actor=owner, now=NOON)
    receipt = Receipt.objects.get()
    assert (receipt.buyer["name"], receipt.buyer["tax_id"]) == ("Old Ltd.", "T-1")
    assert receipt_pdf.render(receipt, "en") == before
    for change in (lambda: Receipt.objects.update(number="R-1"), lambda: Receipt.objects.all()._raw_delete("default")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_a_receipt_shows_company_tax_id_card_and_rate_in_latin_and_chinese():
    account = factories.account()
    owner = account.memberships.get().user
    told = {
        "company_name": "上海示例网络科技有限公司",
        "tax_id": "91310000MA1K00000X",
        "address": "上海市浦东新区\n1 号楼",
    }
    details.save(account.pk, told, actor=owner, now=NOON)
    card = text_of(receipt_pdf.render(receipt_issuing.issue(paid_order(account).pk, now=NOON), "en"))
    for expected in ("R-2026-000001", "上海示例网络科技有限公司", "91310000MA1K00000X", "Visa", "4242", "$20.00 USD"):
        assert expected in card, card
    yuan = receipt_issuing.issue(paid_order(account, currency="CNY").pk, now=NOON)
    assert (yuan.fx_rate, yuan.paid_amount) == (Decimal("7.3"), Decimal(146))
    for language in ("en", "zh-hans"):
        page = text_of(receipt_pdf.render(yuan, language))
        assert "¥146.00 CNY" in page
        assert "7.3" in page


def test_a_rare_character_is_drawn_from_the_whole_font():
    account = factories.account()
    details.save(account.pk, {"company_name": "喆犇龘堃 Co."}, actor=account.memberships.get().user, now=NOON)
    receipt = receipt_issuing.issue(paid_order(account).pk, now=NOON)
    content = receipt_pdf.render(receipt, "en")
    assert content == receipt_pdf.render(receipt, "en")
    assert "喆犇龘堃" in text_of(content)


def test_only_members_open_a_receipt_in_the_portal_and_through_the_api(client: Client):
    order = paid_order()
    owner = order.account.memberships.get().user
    url = f"/billing/top-up/{order.number}/receipt.pdf"
    client.force_login(owner)
    answer = client.get(url, {"lang": "zh-hans"})
    assert (answer.status_code, answer["Content-Type"], answer["Cache-Control"]) == (200, "application/pdf", "no-store")
    assert answer.content.startswith(b"%PDF-")
    again = program(order.account).call(
        "GET", f"top-ups/{order.number}/receipt?lang=zh-hans", HTTP_ACCEPT="application/pdf"
    )
    assert again.content == answer.content
    client.force_login(factories.user())
    assert client.get(url).status_code == 404
    problem(program(factories.account()).call("GET", f"top-ups/{order.number}/receipt"), 404, "not_found")
    assert Receipt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_requests_at_once_make_one_receipt_an_order_and_no_gap():
    orders = [paid_order() for _ in range(6)]
    issued = at_once(18, lambda number: receipt_issuing.issue(orders[number % 6].pk, now=NOON).number)
    assert sorted(set(issued)) == [f"R-2026-{number:06d}" for number in range(1, 7)]
    assert Receipt.objects.count() == ReceiptSeries.objects.get().last == 6


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_two_orders_get_the_same_number_and_only_the_constraint_stops_it(monkeypatch):
    """The control."""
    orders = [paid_order() for _ in range(6)]
    ReceiptSeries.objects.create(year=2026)

    def unlocked(year: int) -> ReceiptSeries:
        return ReceiptSeries.objects.get(pk=year)

    monkeypatch.setattr(receipt_issuing, "_locked_series", unlocked)
    gate = __import__("threading").Barrier(6)
    written = receipt_issuing._write

    def slowly(*args):
        gate.wait(30)
        return written(*args)

    monkeypatch.setattr(receipt_issuing, "_write", slowly)
    monkeypatch.setattr(ReceiptSeries, "save", lambda self, **_: None)

    def issue(number: int) -> str:
        try:
            return receipt_issuing.issue(orders[number].pk, now=NOON).number
        except IntegrityError:
            return "refused"

    assert sorted(at_once(6, issue)) == ["R-2026-000001", *["refused"] * 5]


def test_only_who_may_pay_changes_billing_details_and_the_audit_says_who(client: Client):
    account = factories.account()
    owner = account.memberships.get().user
    form = {"account": str(account.pk), "company_name": "Example Ltd.", "language": "zh-hans", "tax_id": " T-9 "}
    developer = factories.user()
    Membership.objects.create(user=developer, account=account, role="developer", created_at=NOON)
    client.force_login(developer)
    assert client.post("/account/billing-details", form).status_code == 403
    client.force_login(owner)
    assert client.post("/account/billing-details", form).status_code == 302
    row = details.of(account)
    assert (row.company_name, row.tax_id, row.language) == ("Example Ltd.", "T-9", "zh-hans")
    from accounts.models import AuditRecord

    [record] = AuditRecord.objects.filter(action="billing_details")
    assert (record.actor, record.account) == (User.objects.get(pk=owner.pk), account)
    assert record.after["tax_id"] == "T-9"
    client.post("/account/billing-details", form)
    assert AuditRecord.objects.filter(action="billing_details").count() == 1
