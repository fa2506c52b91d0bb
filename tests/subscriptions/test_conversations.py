"""The billing mode of a conversation: stored for each, told to programs, sessions and first-party apps (F084)."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from accounts import api_keys
from accounts.models import Account
from billing.errors import InvalidRequest
from subscriptions import conversations
from subscriptions.models import Conversation
from tests import factories
from tests.api import Program, problem, program
from tests.billing.pages import signed_in
from tests.factories import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def app() -> Program:
    """A first-party app with its gateway token."""
    return Program(api_keys.issue_gateway_token("studio chat", now=NOON, actor=None)[1])


def path(name: str = "chat-1") -> str:
    return f"conversations/{name}/billing-mode"


def test_until_somebody_chooses_a_conversation_spends_flows_and_no_money(account):
    body = program(account).call("GET", path()).json()
    assert body == {
        "account": str(account.pk), "conversation": "chat-1", "billing_mode": "subscription", "chosen": False,
        "updated_at": None,
    }  # fmt: skip
    assert not Conversation.objects.exists()


def test_each_conversation_has_a_mode_of_its_own_that_can_be_switched_at_any_time(account):
    customer = program(account, "developer")
    for mode in ("payg", "subscription", "payg", "payg"):
        assert customer.call("PUT", path(), {"billing_mode": mode}).json()["billing_mode"] == mode
    assert customer.call("PUT", path("chat-2"), {"billing_mode": "subscription"}).json()["chosen"] is True
    assert customer.call("GET", path()).json()["billing_mode"] == "payg"
    assert Conversation.objects.count() == 2


def test_the_same_name_in_another_account_is_another_conversation(account):
    other = factories.account()
    program(account).call("PUT", path(), {"billing_mode": "payg"})
    assert program(other).call("GET", path()).json()["chosen"] is False
    program(other).call("PUT", path(), {"billing_mode": "subscription"})
    assert program(account).call("GET", path()).json()["billing_mode"] == "payg"


def test_a_session_switches_for_the_account_in_force(account):
    client, _user, _account = signed_in(account, role="finance")
    answer = client.put(f"/api/v1/{path()}", {"billing_mode": "payg"}, content_type="application/json")
    assert answer.status_code == 200
    assert Conversation.objects.get().account == account


def test_a_first_party_app_names_the_account(account, app):
    answer = app.call("PUT", path(), {"billing_mode": "payg", "account": str(account.pk)})
    assert answer.json()["account"] == str(account.pk)
    assert app.call("GET", f"{path()}?account={account.pk}").json()["billing_mode"] == "payg"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_first_party_app_that_names_no_account_or_none_that_exists_is_told(app, method):
    body = {"billing_mode": "payg"} if method == "PUT" else None
    assert problem(app.call(method, path(), body), 422, "invalid_request")["field"] == "account"
    query = f"?account={uuid4()}" if method == "GET" else ""
    named = body and body | {"account": str(uuid4())}
    problem(app.call(method, path() + query, named), 404, "not_found")


def test_a_program_may_name_its_own_account_and_no_other(account):
    other = factories.account()
    customer = program(account)
    own = customer.call("PUT", path(), {"billing_mode": "payg", "account": str(account.pk)})
    assert own.status_code == 200
    problem(customer.call("PUT", path(), {"billing_mode": "payg", "account": str(other.pk)}), 404, "not_found")
    problem(customer.call("GET", f"{path()}?account={other.pk}"), 404, "not_found")
    assert Conversation.objects.count() == 1


def test_an_api_key_or_a_wrong_token_is_no_credential(account):
    for secret in (factories.key(account)[1], "gw-wrong", ""):
        problem(Program(secret).call("PUT", path(), {"billing_mode": "payg"}), 401, "invalid_credential")


@pytest.mark.parametrize(
    "body", [{}, {"billing_mode": "free"}, {"billing_mode": ""}, {"billing_mode": 1}, {"mode": "payg"}]
)
def test_a_mode_is_subscription_or_payg(account, body):
    problem(program(account).call("PUT", path(), body), 422, "invalid_request")
    assert not Conversation.objects.exists()


@pytest.mark.parametrize("name", ["a" * 200, "chat/7f3a:2", "聊天 一", "a.b~c"])
def test_a_name_is_the_apps_own(account, name):
    from urllib.parse import quote

    answer = program(account).call("PUT", path(quote(name, safe="")), {"billing_mode": "payg"})
    assert answer.status_code == 200, answer.content
    assert Conversation.objects.get().external_id == name


@pytest.mark.parametrize("name", ["a" * 201, "%20", "a%00b", "a%09b"])
def test_a_name_that_cannot_be_kept_is_refused(account, name):
    assert problem(program(account).call("PUT", path(name), {"billing_mode": "payg"}), 422, "invalid_request")
    assert not Conversation.objects.exists()


def test_an_operation_checks_for_itself(account):
    for name, mode in (("", "payg"), ("x", "free")):
        with pytest.raises(InvalidRequest):
            conversations.set_mode(account.pk, name, mode, now=NOON)


def test_modes_of_many_conversations_are_one_question(account, django_assert_num_queries):
    conversations.set_mode(account.pk, "a", "payg", now=NOON)
    other = factories.account()
    named: Any = [(account.pk, "a"), (account.pk, "b"), (other.pk, "a")]
    with django_assert_num_queries(1):
        found = conversations.modes_of(named)
    assert [found[one] for one in named] == ["payg", "subscription", "subscription"]


def test_the_answer_is_json_that_nobody_keeps(account):
    answer = program(account).call("GET", path())
    assert answer["Cache-Control"] == "no-store"
    assert json.loads(answer.content)
