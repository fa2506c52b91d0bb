"""What the customer's pages say of a refund in each of its states, and how much they ask of the database."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from config import clock
from refunds import listing, plan_lifecycle
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from subscriptions import classes
from tests import factories
from tests.billing.pages import text_of
from tests.refunds.conftest import Desk, Shop, desk, inbox, shop, work
from tests.refunds.giving import Back, Club, back, club, move
from tests.subscriptions.driving import flow_rate

__all__ = ["Club", "Desk", "Shop", "back", "club", "desk", "inbox", "move", "shop", "work"]

pytestmark = pytest.mark.django_db(transaction=True)

PLAN = "/billing/refunds/plan"
COCKPIT = "/platform/subscription"
DIALOG = {"HX-Request": "true"}


@pytest.fixture
def owner(back: Back, client: Client) -> Client:
    """The owner's browser; the plan is Pro."""
    back.club.subscribe("pro")
    client.force_login(back.club.owner)
    return client


def page_of(refund: PlanRefund | Refund) -> str:
    return f"/billing/refunds/{refund.pk}"


def test_while_a_plan_is_paused_its_pages_say_so_lead_to_the_refund_and_offer_no_change(
    back: Back, owner: Client
) -> None:
    assert "Change plan" in text_of(owner.get(COCKPIT))
    refund = back.submit()

    said = text_of(owner.get(COCKPIT))
    assert "Refund in progress: calls on the plan are stopped." in said
    assert "Flows are ready" not in said
    for button in ("Change plan", "Cancel the renewal", "Renew after all"):
        assert button not in said, button
    for page in (COCKPIT, reverse("plan:history")):
        assert 'href="/billing/refunds/current"' in owner.get(page).content.decode()
    history = owner.get(reverse("plan:history"))
    assert "Refund in progress: calls on the plan are stopped" in text_of(history)
    assert f'hx-get="{PLAN}"' not in history.content.decode()
    assert owner.get("/billing/refunds/current")["Location"] == page_of(refund)


def test_the_button_pressed_again_shows_the_refund_that_is_under_way(back: Back, owner: Client) -> None:
    refund = back.submit()
    assert owner.get(PLAN)["Location"] == page_of(refund)
    dialog = owner.get(PLAN, headers=DIALOG).content.decode()
    assert 'data-refund-status="processing"' in dialog
    assert refund.number in dialog


def test_without_a_refund_under_way_the_link_of_a_paused_plan_leads_to_the_list(owner: Client) -> None:
    assert owner.get("/billing/refunds/current")["Location"] == "/billing/refunds"


def test_the_preview_says_until_when_it_may_be_asked_for_and_how_long_that_is(back: Back, owner: Client) -> None:
    back.club.sandbox.move_clock("+20h30m")
    assert "3 h 29 m left" in text_of(owner.get(PLAN))


def test_a_restricted_account_waits_for_staff_and_reads_their_answer(back: Back, owner: Client) -> None:
    flow_rate("restricted", "79.2")
    classes.set_class(back.club.account.pk, "restricted", reason="resale", actor=None, now=clock.now())
    assert "Our staff look at this refund before it is sent." in text_of(owner.get(PLAN))
    refund = back.submit()
    assert refund.status == "requested"
    page = owner.get(page_of(refund))
    said = text_of(page)
    assert "Our staff look at it. You hear from us by e-mail." in said
    assert "Cancel the refund" in said
    assert 'hx-trigger="every 60s"' in page.content.decode()

    staff = factories.user(is_staff=True)
    plan_lifecycle.reject(refund.pk, actor=staff, reason="used by a script", now=clock.now())
    said = text_of(owner.get(page_of(refund)))
    for words in ("Not accepted by our staff", "used by a script", "You would have received"):
        assert words in said, words
    assert "hx-trigger" not in owner.get(page_of(refund)).content.decode()


def test_money_that_a_bank_returns_is_told_as_failed_and_the_list_counts_it_no_more(back: Back, owner: Client) -> None:
    refund = back.go_on(back.submit())
    [made] = back.club.sandbox.refunds()
    said = text_of(owner.get(page_of(refund)))
    assert made["id"] in said
    assert "You receive" in said
    assert "In the books" in said
    assert "$19.00" in text_of(owner.get("/billing/refunds"))

    back.club.sandbox.settle(made["id"], "failed")
    back.club.tell()
    said = text_of(owner.get(page_of(refund)))
    for words in ("Failed", "Your bank returned the money to us.", "Returned by the bank", "Write to"):
        assert words in said, words
    row = text_of(owner.get("/billing/refunds?status=failed"))
    assert "$0.00" in row
    assert "of $19.00 agreed" in row
    assert "The plan goes on" not in said


def test_a_cancelled_refund_promises_no_money_and_no_renewal_that_was_off_before(back: Back, owner: Client) -> None:
    kept = back.cancel(back.submit())
    said = text_of(owner.get(page_of(kept)))
    assert "Nothing was sent. The plan goes on, and so does its renewal." in said
    assert "You would have received" in said
    assert "You receive" not in said
    back.go_on(kept)

    back.club.renew(on=False)
    ending = back.cancel(back.submit())
    said = text_of(owner.get(page_of(ending)))
    assert "Nothing was sent. The plan goes on." in said
    assert "so does its renewal" not in said
    table = b"".join(owner.get("/billing/refunds/export.csv")).decode()  # type: ignore[call-overload]
    assert table.count(",19.0000000000,0.0000000000,") == 2


def test_a_top_up_asked_back_is_taken_back_on_its_page_and_only_by_who_may_see_it(desk: Desk, client: Client) -> None:
    refund = desk.ask(desk.paid("20"), "5")
    client.force_login(factories.user())
    assert client.post(f"{page_of(refund)}/cancel").status_code == 404
    client.force_login(desk.shop.owner)
    assert "Cancel the refund" in text_of(client.get(page_of(refund)))

    answer = client.post(f"{page_of(refund)}/cancel", {"account": desk.shop.account.pk})
    said = text_of(client.get(answer["Location"]))
    assert "Nothing was sent. The credit is back in the account." in said
    assert "Our answer" not in said
    assert "You would have received" in said
    assert desk.net() == Decimal(20)
    again = client.post(f"{page_of(refund)}/cancel", {"account": desk.shop.account.pk})
    assert again["Location"] == page_of(refund)
    assert Refund.objects.get().status == "cancelled"


def test_who_acts_for_another_account_now_changes_nothing(desk: Desk, client: Client) -> None:
    refund = desk.ask(desk.paid("20"), "5")
    other = factories.account(owner=desk.shop.owner)
    client.force_login(desk.shop.owner)
    client.post(f"{page_of(refund)}/cancel", {"account": other.pk})
    assert Refund.objects.get().status == "requested"


def test_the_pages_of_another_account_list_nothing_of_this_one(back: Back, owner: Client, client: Client) -> None:
    refund = back.submit()
    stranger = factories.user()
    factories.account(owner=stranger)
    client.force_login(stranger)
    for page in ("/billing/refunds", "/billing/refunds?status=processing"):
        assert refund.number not in text_of(client.get(page))
    assert refund.number not in b"".join(client.get("/billing/refunds/export.csv")).decode()  # type: ignore[call-overload]
    assert client.get("/billing/refunds/current")["Location"] == "/billing/refunds"
    assert client.get(f"{page_of(refund)}/status").status_code == 404


def test_both_kinds_are_paged_as_one_list_in_both_directions(back: Back, desk: Desk) -> None:
    order = desk.paid("20")
    made: list[PlanRefund | Refund] = [desk.ask(order, "1"), desk.ask(order, "2")]
    back.club.subscribe("pro")
    made.append(back.cancel(back.submit()))
    back.go_on(back.row())
    made += [desk.ask(order, "3"), back.submit()]
    newest_first = [one.pk for one in reversed(made)]

    def shown(**params: str) -> listing.Page:
        return listing.page(listing.of(back.club.account.pk), params, size=2)

    first = shown()
    second = shown(before=first.older)
    third = shown(before=second.older)
    assert [one.pk for found in (first, second, third) for one in found.rows] == newest_first
    assert (first.newer, third.older) == ("", "")
    assert [one.pk for one in shown(after=third.newer).rows] == newest_first[2:4]
    assert [one.pk for one in shown(after=second.newer).rows] == newest_first[:2]
    assert [one.pk for one in shown(before="nonsense").rows] == newest_first[:2]
    batches = list(listing.batches(listing.of(back.club.account.pk), size=2))
    assert [one.pk for rows in batches for one in rows] == newest_first


def asked(client: Client, page: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as found:
        answer = client.get(page, headers=DIALOG if "dialog" in page else {})
        assert answer.status_code == 200, page
    return [one["sql"] for one in found.captured_queries]


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_no_page_asks_more_than_twelve_questions_or_more_for_more_refunds(
    back: Back, desk: Desk, client: Client, language: str
) -> None:
    order = desk.paid("20")
    back.club.subscribe("pro")
    client.force_login(back.club.owner)
    User.objects.update(locale=language)
    client.get(PLAN)
    for page in (PLAN, f"{PLAN}?dialog"):
        assert len(asked(client, page)) <= 12, "\n".join(asked(client, page))

    desk.ask(order, "1")
    refund = back.submit()
    few = len(asked(client, "/billing/refunds"))
    for page in ("/billing/refunds", page_of(refund), f"{page_of(refund)}/status?in=dialog"):
        assert len(asked(client, page)) <= 12, "\n".join(asked(client, page))
    refund = back.go_on(refund)
    single = desk.ask(order, "2")
    desk.ask(order, "3")
    for page in ("/billing/refunds", page_of(refund), page_of(single)):
        assert len(asked(client, page)) <= 12, "\n".join(asked(client, page))
    assert len(asked(client, "/billing/refunds")) <= few
