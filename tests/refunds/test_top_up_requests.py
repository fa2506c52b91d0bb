"""The customer asks for a top-up back on its page; a company's finance confirms (F019-F022, 02-domain 2.8)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Account, AuditRecord, Membership, User
from billing import notices
from billing.books.models import Wallet
from billing.errors import InvalidRequest, InvalidTransition, PermissionDenied
from billing.models_notices import Notice
from billing.payments.models import TopUp
from config import clock
from refunds import confirming, deciding, lifecycle, tools
from refunds.errors import RefundNotConfirmed
from refunds.models import Refund
from tests import factories
from tests.factories import NOON
from tests.refunds.orders import credited, paid_in_review, placed
from tests.refunds.test_lifecycle import approve, ask

pytestmark = pytest.mark.django_db
Role = Membership.Role


@pytest.fixture
def owner() -> User:
    return factories.user("li@example.com")


@pytest.fixture
def order(owner: User) -> TopUp:
    return credited("20", owner=owner)


def company(order: TopUp) -> TopUp:
    Account.objects.filter(pk=order.account_id).update(kind="company")
    return TopUp.objects.select_related("account").get(pk=order.pk)


def member(order: TopUp, role: str) -> User:
    user = factories.user()
    Membership.objects.create(user=user, account=order.account, role=role, created_at=NOON)
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(order: TopUp) -> str:
    return f"/billing/top-up/{order.number}/refund"


def filled(order: TopUp, step: str = "submit", **changes: Any) -> dict[str, str]:
    told = {
        "account": str(order.account_id),
        "token": uuid4().hex,
        "amount": "12.50",
        "category": "mistake",
        "reason": "I paid into the wrong account.",
        "step": step,
    }
    return told | changes


def send(user: User, order: TopUp, step: str = "submit", **changes: Any) -> Any:
    headers = changes.pop("headers", None)
    return browser(user).post(page_of(order), filled(order, step, **changes), headers=headers)


# --- The page
def test_the_page_says_whose_payment_it_is_where_it_goes_and_what_arrives(order: TopUp, owner: User) -> None:
    body = browser(owner).get(page_of(order)).content.decode()
    for told in (
        str(order.account_id),
        order.account.name,
        "li@example.com",
        order.number,
        "$20.00",
        "$1.00",
        "$19.00",
    ):
        assert told in body, told
    assert 'value="20.00"' in body
    assert "small top-up" in body
    assert Refund.objects.count() == 0


def test_a_preview_adds_up_line_by_line_and_asks_for_nothing(order: TopUp, owner: User) -> None:
    answer = send(owner, order, "preview")
    assert answer.status_code == 200
    told = [(label, sign, amount) for label, _note, sign, amount, _weight in answer.context["lines"]]
    assert told == [
        ("Paid", "", "$20.00"),
        ("Used", "−", "$0.00"),
        ("Unused, can be refunded", "", "$20.00"),
        ("Stays as credit", "−", "$7.50"),
        ("You ask for", "", "$12.50"),
        ("Fee of 5\N{NO-BREAK SPACE}%", "−", "$0.63"),
        ("You receive", "", "$11.87"),
    ]
    assert "You receive $11.87" in answer.content.decode()
    assert Refund.objects.count() == 0


def test_a_payment_in_yuan_is_previewed_in_yuan_at_its_own_rate(owner: User) -> None:
    order = credited("50", owner=owner, currency="CNY")
    answer = send(owner, order, "preview", amount="20")
    amounts = {label: amount for label, _note, _sign, amount, _weight in answer.context["lines"]}
    assert (amounts["Paid"], amounts["You ask for"], amounts["You receive"]) == ("¥365.00", "¥146.00", "¥138.70")
    assert amounts["Stays as credit"] == "¥219.00"
    assert "1 USD = 7.3 CNY" in answer.content.decode()


def test_what_was_used_is_not_refundable_and_is_named(order: TopUp, owner: User) -> None:
    held = factories.hold(order.account, factories.price(), "8")
    factories.capture(held.id, input_tokens=7125)
    answer = browser(owner).get(page_of(order))
    amounts = {label: amount for label, _note, _sign, amount, _weight in answer.context["lines"]}
    assert (amounts["Used"], amounts["Unused, can be refunded"]) == ("$7.13", "$12.87")
    assert answer.context["offer"].unused_usd == Decimal("12.87")


def test_the_lines_follow_what_is_typed(order: TopUp, owner: User) -> None:
    answer = send(owner, order, "", amount="10", headers={"HX-Request": "true"})
    body = answer.content.decode()
    assert "$9.50" in body
    assert "<html" not in body
    assert Refund.objects.count() == 0


def test_a_request_holds_the_credit_at_once_and_leads_to_its_page(order: TopUp, owner: User) -> None:
    answer = send(owner, order)
    refund = Refund.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/billing/refunds/{refund.pk}")
    assert (refund.status, refund.requested_usd, refund.category) == ("requested", Decimal("12.5"), "mistake")
    assert (refund.requested_by, refund.reason) == (owner, "I paid into the wrong account.")
    assert Wallet.objects.get().balance == Decimal("7.5")


def test_the_same_form_sent_twice_is_one_request_even_when_nothing_is_left(order: TopUp, owner: User) -> None:
    token = uuid4().hex
    first, again = (send(owner, order, token=token, amount="20") for _ in range(2))
    assert first["Location"] == again["Location"]
    assert Refund.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": "20.01"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "1.234"}, "amount"),
        ({"amount": "1e30"}, "amount"),
        ({"amount": "all"}, "amount"),
        ({"category": "because"}, "category"),
        ({"reason": " "}, "reason"),
        ({"token": "x"}, "token"),
    ],
)
@pytest.mark.parametrize("step", ["preview", "submit"])
def test_what_cannot_be_asked_stays_on_the_form(
    order: TopUp, owner: User, step: str, changes: dict[str, str], field: str
) -> None:
    answer = send(owner, order, step, **changes)
    assert answer.status_code in (409, 422)
    assert field in answer.context["form"].errors
    assert not answer.context["preview"]
    assert Refund.objects.count() == 0


def test_a_form_of_another_account_is_asked_again(order: TopUp, owner: User) -> None:
    answer = send(owner, order, account=str(uuid4()))
    assert answer["Location"] == page_of(order)
    assert Refund.objects.count() == 0


@pytest.mark.parametrize(("role", "status"), [("owner", 200), ("admin", 200), ("finance", 200), ("developer", 403)])
def test_members_who_may_pay_may_ask(order: TopUp, role: str, status: int) -> None:
    assert browser(member(order, role)).get(page_of(order)).status_code == status
    assert send(member(order, role), order, "preview").status_code == status


# --- Why not
def test_every_reason_against_it_is_said(owner: User) -> None:
    disputed, spent, old = (credited("20", owner=owner) for _ in range(3))
    review, waiting = paid_in_review(owner=owner), placed(owner=owner)
    TopUp.objects.filter(pk=disputed.pk).update(status="disputed", disputed_minor=2000)
    TopUp.objects.filter(pk=old.pk).update(method="alipay", paid_at=clock.now() - timedelta(days=91))
    ask(spent)
    found = {}
    for one in (disputed, spent, old, review, waiting):
        answer = browser(owner).get(page_of(one))
        assert answer.status_code == 200
        [why] = [reason["code"] for reason in answer.context["why_not"].reasons]
        found[why] = answer.content.decode()
        assert "This payment cannot be refunded" in found[why]
    assert set(found) == {"disputed", "nothing_left", "too_old", "not_credited"}
    assert f"/billing/refunds/{Refund.objects.get().pk}" in found["nothing_left"]
    assert "90 days" in found["too_old"]
    TopUp.objects.filter(pk=old.pk).update(status="disputed", disputed_minor=2000)  # and all of them at once
    both = browser(owner).get(page_of(old))
    assert [reason["code"] for reason in both.context["why_not"].reasons] == ["disputed", "too_old"]
    assert both.content.decode().count("This payment cannot be refunded") == 2


def test_the_order_offers_it_while_something_is_left(order: TopUp, owner: User) -> None:
    client = browser(owner)
    url = reverse("payments:order", args=[order.number])
    assert page_of(order) in client.get(url).content.decode()
    assert page_of(order) not in browser(member(order, "developer")).get(url).content.decode()
    ask(order)
    assert page_of(order) not in client.get(url).content.decode()


# --- F021
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("It fails in Cursor.", ("Cursor",)),
        ("用cursor不行", ("cursor",)),
        ("Cline and cline and Continue", ("Cline", "Continue")),
        ("roo-code", ("roo-code",)),
        ("I do not want to continue. The precursor failed, my account is in recline.", ()),
    ],
)
def test_tools_are_found_by_their_names(text: str, named: tuple[str, ...]) -> None:
    assert set(tools.named_in(text)) >= set(named)
    assert bool(tools.named_in(text)) is bool(named)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [({}, False), ({"category": "third_party"}, True), ({"reason": "My Cursor IDE refuses it"}, True)],
)
def test_the_hint_stands_where_it_belongs_and_forbids_nothing(
    order: TopUp, owner: User, changes: dict[str, str], shown: bool
) -> None:
    for step in ("preview", ""):
        answer = send(owner, order, step, headers={"HX-Request": "true"} if not step else None, **changes)
        assert ("You may still ask" in answer.content.decode()) is shown
    assert send(owner, order, **changes).status_code == 302


# --- Companies
def test_a_companys_request_by_an_admin_waits_for_finance_and_each_of_them_is_asked(order: TopUp, owner: User) -> None:
    order = company(order)
    money, admin = member(order, "finance"), member(order, "admin")
    send(admin, order, confirm="on")  # not theirs to tick
    refund = Refund.objects.get()
    assert (refund.confirmed_at, refund.needs_confirmation) == (None, True)
    rows = Notice.objects.filter(kind="refund_confirmation")
    assert {row.user for row in rows} == {owner, money}
    mail = notices._mail(rows[0], owner)
    assert f"/billing/refunds/{refund.pk}" in str(mail.body)
    assert "11.87 USD" in str(mail.body)
    with pytest.raises(RefundNotConfirmed) as refusal:
        approve(refund)
    assert refusal.value.code == "refund_not_confirmed"
    with pytest.raises(RefundNotConfirmed):
        deciding.approve_part(refund.pk, Decimal(5), actor=factories.user(), reason="a part", now=NOON)
    assert deciding.reject(refund.pk, actor=factories.user(), reason="no", now=NOON).status == "cancelled"


def test_an_owner_confirms_with_the_request(order: TopUp, owner: User) -> None:
    order = company(order)
    send(owner, order, confirm="on")
    refund = Refund.objects.get()
    assert (refund.confirmed_by, refund.confirmed_at is not None) == (owner, True)
    assert not Notice.objects.filter(kind="refund_confirmation").exists()
    assert AuditRecord.objects.get(action="refund_confirm").actor == owner
    assert approve(refund).status == "approved"


def test_finance_confirms_on_the_refunds_page_once(order: TopUp) -> None:
    order = company(order)
    money = member(order, "finance")
    refund = ask(order)
    url = reverse("refunds_top_up:confirm", args=[refund.pk])
    for _ in range(2):
        answer = browser(money).post(url, {"account": str(order.account_id)})
        assert answer["Location"] == f"/billing/refunds/{refund.pk}"
    refund.refresh_from_db()
    assert (refund.confirmed_by, AuditRecord.objects.filter(action="refund_confirm").count()) == (money, 1)
    assert approve(refund).status == "approved"


def test_nobody_else_confirms_and_a_personal_account_needs_nobody(order: TopUp, owner: User) -> None:
    personal = ask(order, "5")
    with pytest.raises(InvalidTransition):
        confirming.confirm(personal.pk, actor=owner, now=NOON)
    assert approve(personal).status == "approved"

    order = company(order)
    refund = ask(order, "5")
    for stranger in (member(order, "admin"), factories.user()):
        with pytest.raises(PermissionDenied):
            confirming.confirm(refund.pk, actor=stranger, now=NOON)
    url = reverse("refunds_top_up:confirm", args=[refund.pk])
    assert browser(member(order, "developer")).post(url).status_code == 403
    assert browser(factories.user()).post(url).status_code == 404
    browser(owner).post(url)  # names no account
    refund.refresh_from_db()
    assert refund.confirmed_at is None


def test_staff_note_a_confirmation_that_came_another_way_with_its_reason(order: TopUp) -> None:
    refund = ask(company(order))
    staff = factories.user(is_staff=True)
    with pytest.raises(InvalidRequest):
        confirming.note(refund.pk, actor=staff, reason=" ", now=NOON)
    confirming.note(refund.pk, actor=staff, reason="letter of Ms Chen, 20 November", now=NOON)
    record = AuditRecord.objects.get(action="refund_confirm_noted")
    assert (record.actor, record.reason) == (staff, "letter of Ms Chen, 20 November")
    assert approve(refund).status == "approved"


def test_a_kind_of_reason_that_is_none_is_refused(order: TopUp) -> None:
    with pytest.raises(InvalidRequest):
        lifecycle.request(order.pk, None, reason="x", category="because", actor=None, client_key="k", now=NOON)


def test_the_page_asks_the_database_little(order: TopUp, owner: User, django_assert_max_num_queries: Any) -> None:
    client = browser(owner)
    client.get(page_of(order))
    with django_assert_max_num_queries(12):
        client.get(page_of(order))
