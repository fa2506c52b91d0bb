"""`/api/v1/subscription/extra-usage` (03-http-api 3.5)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from accounts import api_keys
from accounts.models import Account, AuditRecord
from config import clock
from subscriptions.models import ExtraUsage, ExtraUsageMonth
from subscriptions.windows import month_of, next_month
from tests import factories
from tests.api import problem, program
from tests.billing.pages import signed_in

pytestmark = pytest.mark.django_db
PATH = "subscription/extra-usage"


@pytest.fixture
def account() -> Account:
    return factories.funded("10")


def terms(account: Account, **more: Any) -> dict[str, Any]:
    body = {"enabled": True, "api_key": str(factories.key(account)[0].pk), "monthly_cap": "20.00", "consent": True}
    return body | more


def test_an_account_that_never_had_it_is_off(account):
    body = program(account, "developer").call("GET", PATH).json()
    assert body == {
        "enabled": False, "can_pay": False, "api_key": None, "monthly_cap": None, "spent": "0.0000000000",
        "held": "0.0000000000", "left": None, "calls": 0, "spent_in_all": "0.0000000000",
        "resets_at": next_month(clock.now()).isoformat().replace("+00:00", "Z"), "agreed_at": None, "agreed_text": "",
    }  # fmt: skip


def test_put_turns_it_on_and_answers_the_state_and_the_same_again_changes_nothing(account):
    customer, body = program(account, "finance"), terms(account)
    first = customer.call("PUT", PATH, body)
    assert first.status_code == 200, first.content
    told = first.json()
    assert (told["enabled"], told["can_pay"], told["monthly_cap"], told["left"]) == (
        True,
        True,
        "20.00",
        "20.0000000000",
    )
    assert told["api_key"]["id"] == body["api_key"]
    assert told["api_key"]["masked"].startswith("sk-pg-v1-…")
    assert told["agreed_text"].startswith("I agree: when a quota window")
    assert customer.call("PUT", PATH, body).json() == told
    [record] = AuditRecord.objects.filter(action__startswith="extra_usage")
    assert record.actor_label.startswith("management key mk-")


def test_the_consent_is_kept_in_the_language_that_was_asked_for(account):
    program(account).call("PUT", PATH, terms(account), headers={"accept-language": "zh-hans"})
    assert ExtraUsage.objects.get().agreed_text


def test_the_state_counts_what_is_spent_and_held_this_month(account):
    customer = program(account)
    customer.call("PUT", PATH, terms(account))
    ExtraUsageMonth.objects.create(
        account=account, month=month_of(clock.now()), spent=Decimal("3.42"), held=Decimal("0.31"), calls=7
    )
    told = customer.call("GET", PATH).json()
    assert (told["spent"], told["held"], told["left"], told["calls"]) == (
        "3.4200000000", "0.3100000000", "16.2700000000", 7,
    )  # fmt: skip


def test_off_needs_no_more_than_that_and_repeats_are_harmless(account):
    customer = program(account)
    customer.call("PUT", PATH, terms(account))
    for _ in range(2):
        assert customer.call("PUT", PATH, {"enabled": False}).json()["enabled"] is False
    assert AuditRecord.objects.filter(action="extra_usage_off").count() == 1


def test_a_disabled_key_cannot_pay_and_the_answer_says_so(account):
    customer, body = program(account), terms(account)
    customer.call("PUT", PATH, body)
    api_keys.disable(body["api_key"], now=clock.now(), actor=None)
    told = customer.call("GET", PATH).json()
    assert (told["enabled"], told["can_pay"], told["api_key"]["status"]) == (True, False, "disabled")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"consent": False}, "consent"),
        ({"consent": None}, "consent"),
        ({"monthly_cap": "0"}, "monthly_cap"),
        ({"monthly_cap": "20.001"}, "monthly_cap"),
        ({"monthly_cap": 20.5}, "monthly_cap"),
        ({"monthly_cap": "1000000"}, "monthly_cap"),
        ({"api_key": "5f0c9f8e-0000-4000-8000-000000000000"}, "api_key"),
        ({"api_key": "sk-pg-v1-x"}, "api_key"),
        ({"enabled": None}, "enabled"),
        ({"cap": "20"}, "cap"),
    ],
)
def test_what_does_not_fit_is_422_naming_the_field_and_nothing_is_written(account, change, field):
    body = problem(program(account).call("PUT", PATH, terms(account, **change)), 422, "invalid_request")
    assert field in (body.get("field"), *(one["field"] for one in body.get("errors", [])))
    assert not ExtraUsage.objects.exists()


@pytest.mark.parametrize("missing", ["api_key", "monthly_cap", "consent", "enabled"])
def test_turning_on_needs_all_of_it(account, missing):
    body = terms(account)
    del body[missing]
    assert problem(program(account).call("PUT", PATH, body), 422, "invalid_request")["field"] == missing


def test_another_accounts_key_does_not_exist(account):
    theirs = factories.key(factories.funded("1"))[0]
    problem(program(account).call("PUT", PATH, terms(account, api_key=str(theirs.pk))), 422, "invalid_request")


def test_a_role_that_may_not_pay_reads_and_does_not_change(account):
    developer = program(account, "developer")
    problem(developer.call("PUT", PATH, terms(account)), 403, "permission_denied")
    assert developer.call("GET", PATH).status_code == 200


def test_a_browser_left_open_turns_nothing_on(account):
    client, _user, _account = signed_in(account, fresh=False)
    answer = client.put(f"/api/v1/{PATH}", terms(account), content_type="application/json")
    assert answer.status_code == 403
    assert client.put(f"/api/v1/{PATH}", {"enabled": False}, content_type="application/json").status_code == 200
