"""The desk of refund terms: read by every role, published by finance and admins after a preview; and the pages on which
customers read the terms."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditRecord
from billing.payments.models import TopUp
from config import clock
from refunds.forms_policy import METHODS
from refunds.models_policy import RefundPolicy
from refunds.policy_words import LABELS, TERMS
from tests import factories
from tests.billing.pages import signed_in, text_of
from tests.refunds.giving import Back, Club, Shop, back, club, move, shop, work
from tests.staff import at_desk, desk, page_of, person

pytestmark = pytest.mark.django_db
__all__ = ["Club", "Shop", "back", "club", "move", "shop", "work"]
PUBLISH = "/admin/refunds/refundpolicy/publish-terms/"


def form_of(client: Client) -> dict[str, str]:
    """The form as it opens."""
    answer = client.get(PUBLISH)
    assert answer.status_code == 200
    form = answer.context["form"]
    found = {name: form[name].value() for name in form.fields}
    return {
        name: "on" if value is True else str(value) for name, value in found.items() if value not in (None, False, "")
    }


def previewed(client: Client, **fields: str) -> Any:
    return client.post(PUBLISH, form_of(client) | {"reason": "as agreed"} | fields)


def hidden_of(answer: Any) -> dict[str, str]:
    """What the preview's confirmation sends."""
    body = answer.content.decode().split("<details")[0]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', body)}


def said(answer: Any) -> str:
    return text_of(answer).replace("\xa0", " ")


def newer(**terms: Any) -> RefundPolicy:
    """Terms that hold since a minute ago."""
    at: datetime = terms.pop("at", clock.now() - timedelta(minutes=1))
    return RefundPolicy.objects.create(effective_from=at, created_at=at, **terms)


def test_terms_go_from_the_form_over_the_preview_into_force() -> None:
    who = person("finance")
    client = at_desk(who)
    preview = previewed(client, window_hours="12", fee_percent="7.5", fee_base="paid", days_card="365")
    told = said(preview)
    assert preview.status_code == 200
    assert "Publish these refund terms?" in told
    for text in (
        "24 hours from the payment",
        "12 hours from the payment",
        "7.5 %",
        "All that was paid",
        "Card: no end · Alipay: 90 days · WeChat Pay: 180 days",
        "Card: 365 days · Alipay: 90 days · WeChat Pay: 180 days",
        "The window becomes shorter: 12 hours to ask in instead of 24 hours.",
        "The fee goes up from 5 % to 7.5 %",
        "J16: Pro, $20.00 paid, 100 Flows used",
        "$16.60, fee $0.87",
        "$15.97, fee $1.50",
        "J17: Max, $100.00 paid, 900 Flows used, $10.00 refunded before",
        "$63.91, fee $3.36",
        "$59.77, fee $7.50",
        "A plan keeps the terms of the day on which it was first paid",
    ):
        assert text in told
    expected = {"window_shorter", "fee_up", "fee_of_paid", "limits_shorter", "at_once", "kept"}
    assert set(re.findall(r'data-finding="(\w+)"', told)) == expected
    assert told.count("data-change") == 4
    assert RefundPolicy.objects.count() == 1

    done = client.post(PUBLISH, hidden_of(preview))
    row = RefundPolicy.objects.latest("pk")
    assert (done.status_code, done["Location"]) == (302, page_of(row))
    assert (row.window_hours, row.fee_rate, row.fee_base, row.on_renewal, row.refund_tax) == (
        12, Decimal("0.075"), "paid", False, True,
    )  # fmt: skip
    assert row.days_by_method == {"alipay": 90, "card": 365, "wechat_pay": 180}
    assert (row.created_by, row.note) == (who, "as agreed")
    [kept] = AuditRecord.objects.filter(action="refund_policy_published")
    assert (kept.actor, kept.reason) == (who, "as agreed")
    assert "The terms are published" in text_of(client.get(page_of(row)))


def test_the_form_opens_with_the_terms_in_force() -> None:
    newer(window_hours=48, fee_rate=Decimal("0.0325"), on_renewal=True, days_by_method={"alipay": 60})
    told = form_of(desk("finance"))
    wanted = {"window_hours": "48", "fee_percent": "3.25", "on_renewal": "on", "refund_tax": "on", "days_alipay": "60"}
    assert {name: told.get(name) for name in wanted} == wanted
    assert "days_wechat_pay" not in told


def test_the_form_has_every_method_and_the_desk_every_term() -> None:
    assert sorted(METHODS) == sorted(TopUp.Method.values)
    columns = {field.name for field in RefundPolicy._meta.concrete_fields}
    about = {"id", "effective_from", "created_at", "created_by", "note", "client_key"}
    assert set(TERMS) == columns - about == set(LABELS)


def test_what_is_switched_off_survives_the_preview() -> None:
    client = desk("admin")
    fields = form_of(client) | {"reason": "r"}
    fields.pop("refund_tax")
    assert client.post(PUBLISH, hidden_of(client.post(PUBLISH, fields))).status_code == 302
    row = RefundPolicy.objects.latest("pk")
    assert (row.refund_tax, row.on_renewal) == (False, False)


def test_a_start_is_a_time_of_utc_whatever_the_readers_zone() -> None:
    client = at_desk(person("finance", time_zone="Asia/Shanghai"))
    start = (clock.now() + timedelta(days=3)).replace(hour=9, minute=30, second=0, microsecond=0)
    preview = previewed(client, window_hours="48", effective_from=start.strftime("%Y-%m-%dT%H:%M"))
    assert f"{start:%Y-%m-%d} 09:30 UTC" in text_of(preview)
    assert client.post(PUBLISH, hidden_of(preview)).status_code == 302
    assert RefundPolicy.objects.latest("pk").effective_from == start


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Nothing changes"),
        ({"window_hours": "48", "effective_from": "2020-01-01T00:00"}, "must not lie in the past"),
        ({"window_hours": "0"}, "greater than or equal to 1"),
        ({"window_hours": "1.5"}, "Enter a whole number"),
        ({"fee_percent": "100"}, "Ensure that there are no more than 2 digits"),
        ({"fee_percent": "-1"}, "greater than or equal to 0"),
        ({"fee_base": "turnover"}, "Select a valid choice"),
        ({"window_hours": "48", "reason": ""}, "This field is required"),
    ],
    ids=str,
)
def test_what_cannot_be_published_is_said_on_the_form(fields: dict[str, str], says: str) -> None:
    answer = previewed(desk("finance"), **fields)
    assert answer.status_code == 422
    assert says in text_of(answer)
    assert RefundPolicy.objects.count() == 1


def test_the_moment_of_other_terms_is_refused_on_the_form() -> None:
    start = (clock.now() + timedelta(days=3)).replace(second=0, microsecond=0)
    newer(at=start, window_hours=48)
    answer = previewed(desk("finance"), window_hours="12", effective_from=start.strftime("%Y-%m-%dT%H:%M"))
    assert answer.status_code == 422
    assert "Other terms begin at that moment already" in text_of(answer)


def test_a_confirmation_for_something_else_publishes_nothing_and_a_second_click_nothing_more() -> None:
    client = desk("finance")
    sent = hidden_of(previewed(client, window_hours="48"))
    for wrong in (sent | {"window_hours": "49"}, sent | {"seen": "0" * 64}):
        answer = client.post(PUBLISH, wrong)
        assert answer.status_code == 422
        assert "since the preview" in text_of(answer)
        assert 'value=""' in str(answer.context["form"]["seen"])  # the next step is a preview again
    assert RefundPolicy.objects.count() == 1
    twice = [client.post(PUBLISH, sent) for _ in range(2)]
    assert [one.status_code for one in twice] == [302, 302]
    assert twice[0]["Location"] == twice[1]["Location"]
    assert RefundPolicy.objects.count() == 2


@pytest.mark.parametrize("role", ["support", "operations"])
def test_other_roles_read_and_do_not_publish(role: str) -> None:
    client = desk(role)
    page = said(client.get(reverse("admin:refunds_refundpolicy_changelist")))
    assert "24 hours" in page
    assert "publish-terms" not in page
    assert client.get(PUBLISH).status_code == 403
    assert client.post(PUBLISH, {"reason": "r"}).status_code == 403
    assert client.get(page_of(RefundPolicy.objects.get())).status_code == 200


def test_the_list_says_what_was_what_holds_and_what_comes() -> None:
    newer(window_hours=48)
    newer(at=clock.now() + timedelta(days=2), window_hours=12, on_renewal=True)
    told = said(desk("finance").get(reverse("admin:refunds_refundpolicy_changelist")))
    rows = re.findall(r">(to come|in force|past)<|(12 hours|48 hours|24 hours)", told)
    assert [state or hours for state, hours in rows] == [
        "to come", "12 hours", "in force", "48 hours", "past", "24 hours",
    ]  # fmt: skip
    assert "publish-terms" in told


def test_a_row_tells_its_terms_in_words_and_what_changed() -> None:
    row = newer(window_hours=48, fee_rate=Decimal("0.1"), note="asked by the board")
    client = desk("support")
    told = said(client.get(page_of(row)))
    for text in (
        "48 hours from the payment, the last moment included",
        "10 %",
        "What is left after usage and earlier refunds",
        "a renewal cannot be given back",
        "goes back in proportion to the price",
        "15 minutes, then a call counts with what it holds",
        "Card: no end · Alipay: 90 days · WeChat Pay: 180 days",
        "24 hours from the payment",
        "J16: Pro, $20.00 paid, 100 Flows used",
        "$15.72, fee $1.75",
        "Usage counts as what a Flow was worth when its call was admitted",
        "A top-up keeps the fee of the day on which it was paid.",
        "asked by the board",
    ):
        assert text in told
    first = said(client.get(page_of(RefundPolicy.objects.earliest("effective_from"))))
    assert "The first terms." in first


# --- What customers read ----------------------------------------------------------------------------------------------


def test_the_pages_before_a_payment_tell_the_terms_in_force() -> None:
    newer(window_hours=72, fee_rate=Decimal("0.03"), on_renewal=True)
    client, _user, _account = signed_in(factories.account(factories.user()))
    for_plan = "within 3 days of the payment, less what was used and a fee of 3 % of the rest"
    for reader in (client, Client()):
        told = said(reader.get("/pricing/subscription"))
        assert for_plan in told
        assert "unused credit, case by case, less a fee of 3 %" in told
    told = said(client.get("/platform/subscription/checkout?plan=pro"))
    assert f"You can give the plan back {for_plan}. The same holds after each renewal." in told
    assert "A paid plan can be given back within 3 days of its payment" in said(client.get("/billing/refunds"))


@pytest.mark.django_db(transaction=True)
def test_a_refund_is_told_in_the_figures_of_the_terms_it_was_paid_under(back: Back) -> None:
    newer(window_hours=72, fee_rate=Decimal("0.03"), settle_minutes=7, quote_minutes=4)
    back.club.subscribe("pro")
    newer(at=clock.now(), window_hours=1, fee_rate=Decimal("0.5"), settle_minutes=1, quote_minutes=1)
    client = Client()
    client.force_login(back.club.owner)
    told = said(client.get(reverse("refunds:plan")))
    assert "Fee of 3 %" in told
    assert "settled, for at most 7 minutes" in told
    quote = back.quote()
    assert quote.expires_at - quote.facts.now == timedelta(minutes=4)
    refund = back.submit(quote)
    assert refund.policy.settle_minutes == 7
    from billing.models_notices import Notice

    [notice] = Notice.objects.filter(kind="plan_refund_submitted")
    assert notice.context["settle_minutes"] == "7"
