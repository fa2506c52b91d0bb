"""The pages that buy, change and end a plan, as members meet them."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import Membership
from config import clock
from subscriptions import lifecycle
from subscriptions.models import Invoice, PlanChange, Subscription
from tests import factories
from tests.subscriptions.conftest import Club

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/platform/subscription"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def portal(club: Club, client: Client) -> Client:
    client.force_login(club.owner)
    return client


def hidden(page: str) -> dict[str, str]:
    """What the page's form sends."""
    return dict(re.findall(r'<input type="hidden" name="(account|plan|at|due_usd|token)" value="([^"]*)"', page))


def test_a_plan_is_bought_by_its_page_and_in_force_on_the_way_back(club: Club, portal: Client) -> None:
    page = portal.get(f"{PAGE}/checkout?plan=pro").content.decode()
    assert "$20.00 are charged now" in page
    answer = portal.post(f"{PAGE}/checkout", hidden(page))
    row = Subscription.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, row.checkout_url)
    assert "https://checkout.stripe.com" in answer["Content-Security-Policy"]

    assert club.sandbox.pay(row.session_id).ok
    back = portal.get(f"{PAGE}/return/{row.pk}?session_id={row.session_id}", follow=True).content.decode()
    assert "Pro is in force" in back
    assert club.plan() == "pro"


def test_a_plan_whose_time_is_over_does_not_stand_in_the_way_of_the_next_one(club: Club, portal: Client) -> None:
    row = club.subscribe("pro")
    club.renew(on=False)
    assert row.period_end is not None
    club.at(row.period_end + timedelta(seconds=2))  # nobody has told of the end
    assert portal.get(f"{PAGE}/change?plan=max")["Location"] == f"{PAGE}/checkout?plan=max"
    page = portal.get(f"{PAGE}/checkout?plan=max").content.decode()
    answer = portal.post(f"{PAGE}/checkout", hidden(page))
    fresh = Subscription.objects.get(status="incomplete")
    assert (answer.status_code, answer["Location"]) == (302, fresh.checkout_url)


def test_another_customer_does_not_come_back_from_this_page(club: Club, client: Client) -> None:
    row = club.start()
    client.force_login(factories.account(stranger := factories.user()) and stranger)
    assert client.get(f"{PAGE}/return/{row.pk}?session_id={row.session_id}").status_code == 404


def test_what_the_preview_shows_is_what_the_confirmation_charges(club: Club, portal: Client) -> None:
    club.subscribe()
    page = portal.get(f"{PAGE}/change?plan=max").content.decode()
    due = re.search(r"Pay \$([\d.]+) and upgrade", page)
    assert due is not None
    assert portal.post(f"{PAGE}/change", hidden(page)).status_code == 302
    assert club.plan() == "max"
    assert f"{club.invoices()[1][2] / 100:.2f}" == due[1]


def test_a_declined_upgrade_says_so_and_leaves_the_plan(club: Club, portal: Client) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    page = portal.get(f"{PAGE}/change?plan=max").content.decode()
    answer = portal.post(f"{PAGE}/change", hidden(page))
    assert answer.status_code == 409
    assert "Your plan has not changed" in answer.content.decode()
    assert club.plan() == "pro"


def test_a_confirmation_without_its_preview_shows_the_preview_and_changes_nothing(club: Club, portal: Client) -> None:
    club.subscribe()
    for sent in ({}, {"at": "soon"}, {"at": clock.now().isoformat(), "due_usd": "x", "token": uuid4().hex}):
        answer = portal.post(f"{PAGE}/change", {"account": str(club.account.pk), "plan": "max", **sent})
        assert answer.status_code == 409
        assert "too old" in answer.content.decode()
    assert not PlanChange.objects.exists()


def test_a_smaller_plan_is_scheduled_shown_and_taken_back(club: Club, portal: Client) -> None:
    club.subscribe("max")
    page = portal.get(f"{PAGE}/change?plan=pro").content.decode()
    assert "Nothing is charged now" in page
    portal.post(f"{PAGE}/change", hidden(page))
    assert "Pro begins" in portal.get(PAGE).content.decode()
    portal.post(f"{PAGE}/change/withdraw", {"account": str(club.account.pk)})
    assert "Pro begins" not in portal.get(PAGE).content.decode()


def test_the_renewal_is_cancelled_with_a_preview_and_taken_back(club: Club, portal: Client) -> None:
    club.subscribe()
    assert "not paid back" in portal.get(f"{PAGE}/cancel").content.decode()
    portal.post(f"{PAGE}/cancel", {"account": str(club.account.pk), "token": uuid4().hex})
    assert "Your plan ends" in portal.get(PAGE).content.decode()
    portal.post(f"{PAGE}/cancel/undo", {"account": str(club.account.pk), "token": uuid4().hex})
    assert "Your plan ends" not in portal.get(PAGE).content.decode()
    assert portal.get(f"{PAGE}/change?plan=free")["Location"] == f"{PAGE}/cancel"


def test_the_billing_history_lists_each_payment_with_its_card(club: Club, portal: Client) -> None:
    club.subscribe()
    for answer in (portal.get(f"{PAGE}/history"), portal.get(f"{PAGE}/cards/history", headers=HTMX)):
        page = answer.content.decode()
        assert "•••• 4242" in page
        assert "$20.00" in page
    assert portal.get(f"{PAGE}/cards/history")["Location"] == f"{PAGE}/history"


def test_each_payment_has_a_page_a_receipt_and_a_line_in_the_table(club: Club, portal: Client) -> None:
    club.subscribe()
    [paid] = Invoice.objects.all()
    page = portal.get(f"{PAGE}/history/{paid.pk}").content.decode()
    assert all(text in page for text in ("$20.00", paid.number, "•••• 4242", "Subscription paid"))
    assert f"{PAGE}/history/{paid.pk}/receipt.pdf" in page
    assert f"{PAGE}/history/{paid.pk}/pay" not in page
    lines = b"".join(portal.get(f"{PAGE}/history.csv").streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert [paid.number in line for line in lines] == [False, True]
    assert f"{PAGE}/history/{paid.pk}" in portal.get("/billing/transactions").content.decode()


def test_an_upgrade_is_in_the_history_as_the_plan_that_was_bought_even_if_told_before_it_was_in_force(
    club: Club, portal: Client
) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    with pytest.raises(lifecycle.PaymentDeclined):
        club.change("max")
    club.tell()
    assert club.plan() == "pro"
    assert Invoice.objects.get(kind="change").plan_version.plan_id == "max"
    assert "Change of plan · Max" in portal.get(f"{PAGE}/history").content.decode()


def test_who_is_behind_is_told_once_and_can_pay_where_it_says_so(club: Club, portal: Client) -> None:
    row = club.subscribe()
    club.sandbox.in_dashboard(row.provider_id, "fail_next_payment")
    club.at(row.period_end + timedelta(hours=1))
    club.settle(row)
    unpaid = Invoice.objects.get(status="open")
    page = portal.get(PAGE).content.decode()
    assert page.count("The renewal could not be paid") == 1
    assert "Pay $20.00 now" in page
    assert f"{PAGE}/history/{unpaid.pk}/pay" in page
    assert "renews" not in portal.get(f"{PAGE}/history").content.decode()
    assert portal.get(f"{PAGE}/history/{unpaid.pk}/pay")["Location"].endswith(unpaid.provider_id)


def test_the_lines_of_a_preview_speak_the_readers_language(club: Club, portal: Client) -> None:
    club.owner.locale = "zh-hans"
    club.owner.save()
    club.subscribe()
    page = portal.get(f"{PAGE}/change?plan=max").content.decode()
    assert "Unused time" not in page
    assert "Remaining time" not in page


def test_a_page_of_another_account_than_the_one_in_force_changes_nothing(club: Club, portal: Client) -> None:
    club.subscribe()
    page = portal.get(f"{PAGE}/change?plan=max").content.decode()
    sent = hidden(page) | {"account": str(uuid4())}
    for path in ("change", "checkout", "cancel", "change/withdraw", "cancel/undo", "card"):
        answer = portal.post(f"{PAGE}/{path}", sent)
        assert (answer.status_code, answer["Location"]) == (302, PAGE)
    assert "account in force has changed" in portal.get(PAGE).content.decode()
    assert (club.plan(), club.row().cancel_at_period_end, PlanChange.objects.count()) == ("pro", False, 0)


def test_who_may_not_pay_reads_and_changes_nothing(club: Club, client: Client) -> None:
    club.subscribe()
    developer = factories.user()
    Membership.objects.create(
        user=developer, account=club.account, role=Membership.Role.DEVELOPER, created_at=clock.now()
    )
    client.force_login(developer)
    page = client.get(PAGE).content.decode()
    assert "Cancel the renewal" not in page
    for path in ("change?plan=max", "checkout?plan=max", "cancel"):
        assert client.get(f"{PAGE}/{path}").status_code == 403
    assert client.post(f"{PAGE}/cancel").status_code == 403


def test_the_providers_own_page_for_the_card_is_one_click_away(club: Club, portal: Client) -> None:
    club.subscribe()
    answer = portal.post(f"{PAGE}/card", {"account": str(club.account.pk)})
    assert answer.status_code == 302
    assert "/sandbox/" in answer["Location"]


def test_every_page_speaks_chinese(club: Club, portal: Client) -> None:
    club.owner.locale = "zh-hans"
    club.owner.save()
    assert "订阅 Pro" in portal.get(f"{PAGE}/checkout?plan=pro").content.decode()
    club.subscribe()
    assert "立即生效" in portal.get(f"{PAGE}/change?plan=max").content.decode()
    assert "取消续订" in portal.get(f"{PAGE}/cancel").content.decode()
    assert "付款记录" in portal.get(f"{PAGE}/history").content.decode()
