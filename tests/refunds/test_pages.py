"""The customer's pages: the button's dialog, the list, one refund (F093-F096)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership
from config import clock
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions.models import Invoice
from tests import factories
from tests.billing.pages import text_of
from tests.refunds.conftest import Desk, Shop, desk, inbox, shop, work
from tests.refunds.test_plan_refunds import Back, back
from tests.subscriptions.conftest import Club, club, move

__all__ = ["Club", "Desk", "Shop", "back", "club", "desk", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)

PLAN = "/billing/refunds/plan"


def signed_in(back: Back, client: Client) -> Client:
    client.force_login(back.club.owner)
    return client


def sent(back: Back, client: Client, *, dialog: bool = False, quote: str = "", token: str = "") -> tuple[int, str]:
    """Submit what the preview shows."""
    headers = {"HX-Request": "true"} if dialog else {}
    answer = client.post(
        PLAN,
        {"account": back.club.account.pk, "token": token or uuid4().hex, "quote": quote or back.quote().token},
        headers=headers,
    )
    return answer.status_code, answer.content.decode()


def test_the_button_opens_a_preview_in_which_every_line_sums(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    card = reverse("subscriptions:card_history")  # the page loads it after itself
    for page in (card, reverse("plan:history")):
        assert f'hx-get="{PLAN}"' in client.get(page, headers={"HX-Request": "true"}).content.decode()

    said = text_of(client.get(PLAN, headers={"HX-Request": "true"}))
    for words in ("Refund of Pro", "Total paid", "$20.00", "Refundable difference", "Fee of 5 %", "− $1.00"):
        assert words in said, words
    assert "Submit refund · $19.00" in said
    assert "•••• 4242" in said
    assert not PlanRefund.objects.exists()


def test_submitting_shows_the_status_and_stops_the_plan(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    code, page = sent(back, client, dialog=True)
    assert code == 200
    assert 'data-refund-status="processing"' in page
    assert "hx-trigger" in page
    assert "Cancel the refund" in page
    cockpit = text_of(client.get("/platform/subscription"))
    assert "Refund in progress" in cockpit
    assert "Cancel the renewal" not in cockpit

    work()
    refund = PlanRefund.objects.get()
    page = client.get(f"/billing/refunds/{refund.pk}/status?in=dialog").content.decode()
    assert 'data-refund-status="succeeded"' in page
    assert "hx-trigger" not in page
    said = text_of(client.get(f"/billing/refunds/{refund.pk}"))
    for words in ("Refund of Pro", "$19.00", "Succeeded", Refund.objects.get().provider_refund_id, "1 to 3 business"):
        assert words in said, words
    assert "Pro was refunded" in text_of(client.get("/platform/subscription"))
    assert "Partly paid back" not in text_of(client.get(reverse("plan:history")))


def test_without_javascript_it_is_a_page_and_leads_to_the_refund(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    answer = client.post(
        PLAN,
        {"account": back.club.account.pk, "token": uuid4().hex, "quote": back.quote().token, "reason": "not for me"},
    )
    refund = PlanRefund.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/billing/refunds/{refund.pk}")
    assert refund.reason == "not for me"


def test_sent_twice_it_is_one_refund(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    token, quote = uuid4().hex, back.quote().token
    assert [sent(back, client, dialog=True, token=token, quote=quote)[0] for _ in range(2)] == [200, 200]
    assert PlanRefund.objects.count() == 1


def test_who_cannot_have_one_reads_every_reason_and_where_to_write(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    back.club.sandbox.move_clock("+25h")
    page = client.get(PLAN)
    assert 'data-reason="window_closed"' in page.content.decode()
    said = text_of(page)
    assert "That time ended 60 minutes ago" in said or "1 hour ago" in said
    assert "mailto:" in page.content.decode()
    assert "Submit refund" not in said


def test_an_old_preview_is_not_submitted_and_the_new_one_is_shown(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    quote = back.quote().token
    back.club.sandbox.move_clock("+16m")
    code, page = sent(back, client, quote=quote)
    assert code == 409
    assert "The preview was too old" in page
    assert "Submit refund" in page
    assert not PlanRefund.objects.exists()


def test_the_payments_page_offers_it_while_the_plan_can_go_back(back: Back, client: Client) -> None:
    back.upgraded()
    signed_in(back, client)
    first, newest = back.club.row().invoices.order_by("at", "pk")

    def offered(invoice: Invoice) -> bool:
        return f'href="{PLAN}"' in client.get(reverse("plan:invoice", args=[invoice.pk])).content.decode()

    assert (offered(first), offered(newest)) == (False, True)
    sent(back, client)
    assert not offered(newest)


def test_taking_it_back_keeps_the_plan(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    sent(back, client)
    refund = PlanRefund.objects.get()
    answer = client.post(f"/billing/refunds/{refund.pk}/cancel", {"account": back.club.account.pk})
    assert answer["Location"] == f"/billing/refunds/{refund.pk}"
    said = text_of(client.get(answer["Location"]))
    assert "Cancelled" in said
    assert "The plan goes on" in said
    assert back.club.row().paused_at is None
    work()
    assert back.club.row().cancel_at_period_end is False


def test_a_failed_one_says_that_the_plan_goes_on_and_to_write_to_support(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    signed_in(back, client)
    back.club.sandbox.switch(refunds="fail")
    sent(back, client)
    work()
    refund = PlanRefund.objects.get()
    assert refund.status == "failed"
    said = text_of(client.get(f"/billing/refunds/{refund.pk}"))
    assert "Failed" in said
    assert "The plan goes on, and so does its renewal" in said
    assert "Write to" in said


def test_other_people_see_nothing_and_members_who_may_not_pay_only_look(back: Back, client: Client) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    client.force_login(factories.user())
    assert client.get(f"/billing/refunds/{refund.pk}").status_code == 404
    assert client.post(f"/billing/refunds/{refund.pk}/cancel").status_code == 404

    developer = factories.user()
    Membership.objects.create(
        user=developer, account=back.club.account, role=Membership.Role.DEVELOPER, created_at=clock.now()
    )
    client.force_login(developer)
    assert "Cancel the refund" not in text_of(client.get(f"/billing/refunds/{refund.pk}"))
    assert client.post(f"/billing/refunds/{refund.pk}/cancel").status_code == 403
    assert client.get(PLAN).status_code == 403


def test_the_list_has_both_kinds_newest_first_with_filters_pages_and_a_table(
    back: Back, desk: Desk, client: Client
) -> None:
    order = desk.paid("20")
    desk.ask(order, "5")
    back.club.subscribe("pro")
    back.submit()
    desk.ask(order, "3")
    signed_in(back, client)
    said = text_of(client.get("/billing/refunds"))
    assert said.index("$2.85") < said.index("$19.00") < said.index("$4.75")
    only = text_of(client.get("/billing/refunds?kind=subscription"))
    assert "$19.00" in only
    assert "$4.75" not in only
    assert "No refund of this kind" in text_of(client.get("/billing/refunds?status=failed"))
    table = b"".join(client.get("/billing/refunds/export.csv?kind=top_up")).decode()
    assert table.count("refund_") == 2


def test_an_account_without_any_is_told_where_they_come_from(back: Back, client: Client) -> None:
    signed_in(back, client)
    assert "No refunds yet" in text_of(client.get("/billing/refunds"))
    assert "There is no plan to give back" in text_of(client.get(PLAN))


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_pages_ask_few_questions(
    back: Back, client: Client, language: str, django_assert_max_num_queries: Any
) -> None:
    back.club.subscribe("pro")
    refund = back.submit()
    signed_in(back, client)
    back.club.owner.locale = language
    back.club.owner.save()
    for page in ("/billing/refunds", f"/billing/refunds/{refund.pk}", f"/billing/refunds/{refund.pk}/status"):
        client.get(page)
        with django_assert_max_num_queries(14):
            assert client.get(page).status_code == 200
