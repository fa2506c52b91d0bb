"""The desks of disputes, fraud warnings and risk flags: what is shown, who decides, and with which words."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import AuditRecord
from billing.payments import disputes, flags, fraud_warnings
from billing.payments.models import TopUp
from billing.payments.models_disputes import RiskFlag
from tests.billing.payments.disputing import BACK, NOON, OUT, credited, money, spend, state, the, warning
from tests.staff import act, action_of, desk, page_of

pytestmark = pytest.mark.django_db


def disputed() -> TopUp:
    order = credited()
    spend(order, "7")
    disputes.record(order.pk, state(order, "needs_response", OUT), now=NOON)
    return order


def flag_of(order: TopUp) -> RiskFlag:
    return RiskFlag.objects.get(pk=order.account_id)


def decide(who: str, order: TopUp, decision: str) -> Any:
    return act(desk(who), action_of(flag_of(order), "decide"), decision=decision, reason="looked at")


def test_the_list_and_the_page_show_what_was_frozen_and_from_where() -> None:
    order = disputed()
    client = desk("support")
    assert "dp_1" in client.get(reverse("admin:billing_dispute_changelist")).content.decode()
    page = client.get(page_of(the())).content.decode()
    for words in ("dp_1", "fraudulent", "$13.00", "$7.00", order.number, "txn_dp_1_0"):
        assert words in page, words


def test_the_dashboard_s_number_leads_to_what_it_counts() -> None:
    order = credited()
    disputes.record(order.pk, state(order, "warning_needs_response"), now=NOON)
    disputes.record(order.pk, state(order, "needs_response", -500, amount=500, name="dp_open"), now=NOON)
    disputes.record(order.pk, state(order, "won", -500, 500, amount=500, name="dp_over"), now=NOON)
    client = desk("finance")
    listed = f"{reverse('admin:billing_dispute_changelist')}?waiting=yes"
    home = client.get(reverse("admin:index")).content.decode()
    assert listed in home
    page = client.get(listed).content.decode()
    assert "dp_1" in page
    assert "dp_open" in page
    assert "dp_over" not in page


def test_finance_releases_frozen_credit_with_a_reason_and_support_may_not() -> None:
    order = credited()
    row = fraud_warnings.record(order.pk, warning(order), now=NOON)
    assert desk("support").get(action_of(row, "release")).status_code == 403
    client = desk("finance")
    assert act(client, action_of(row, "release"), reason=" ").status_code == 422
    assert money(order)[0] == 0
    assert act(client, action_of(row, "release"), reason="They called.").status_code == 302
    assert money(order) == (20, 0, 20)
    assert AuditRecord.objects.get(action="fraud_warning_release").reason == "They called."


def test_finance_blocks_allows_and_clears_a_flag() -> None:
    order = disputed()
    assert not flags.blocked(order.account_id)
    assert decide("finance", order, "block").status_code == 302
    assert flags.blocked(order.account_id)
    assert decide("finance", order, "allow").status_code == 302
    assert not flags.blocked(order.account_id)
    assert flag_of(order).cleared_at is None
    assert decide("finance", order, "clear").status_code == 302
    assert flag_of(order).cleared_at is not None
    assert AuditRecord.objects.filter(action="risk_flag").count() == 3


@pytest.mark.parametrize("role", ["support", "operations"])
def test_others_read_and_do_not_decide(role: str) -> None:
    order = disputed()
    client = desk(role)
    assert client.get(page_of(the())).status_code == 200
    assert client.get(page_of(flag_of(order))).status_code == 200
    assert client.get(action_of(the(), "ask-now")).status_code == 403
    assert client.get(action_of(flag_of(order), "decide")).status_code == 403


def test_the_order_and_the_customer_say_that_there_is_a_dispute() -> None:
    order = disputed()
    client = desk("finance")
    assert "dp_1" in client.get(page_of(order)).content.decode()
    page = client.get(page_of(order.account)).content.decode()
    assert "dp_1" in page
    assert "Risk flag" in page


def test_a_flag_that_was_cleared_stands_again_with_the_next_dispute() -> None:
    order = disputed()
    decide("finance", order, "clear")
    disputes.record(order.pk, state(order, "won", OUT, BACK), now=NOON)
    assert flag_of(order).cleared_at is not None
    fraud_warnings.record(order.pk, warning(order), now=NOON)
    assert flag_of(order).cleared_at is None
