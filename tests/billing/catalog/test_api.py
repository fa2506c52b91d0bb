"""`/api/v1/models` and `/api/v1/quotes`."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts import api_keys
from accounts.models import BenefitLevel
from billing.catalog import book
from billing.catalog.models import CatalogState, Channel, Model
from config import clock
from tests import factories
from tests.api import Program, problem, program
from tests.factories import NOON

pytestmark = pytest.mark.django_db
LONG_AGO = NOON - timedelta(days=3650)


@pytest.fixture
def prices():
    """Two models, one without a price; a channel with a discount."""
    Channel.objects.create(code="aws", discount="0.8")
    factories.price(
        "acme/chat",
        at=LONG_AGO,
        components={"cache_read": {"multiple": "0.1"}, "reasoning": {"per_1k": "3"}},
        tiers=[{"above_input_tokens": 1000, "input_per_1k": 2, "output_per_1k": 4}],
        multipliers=[("header:x-priority", "true", "1.8")],
    )
    factories.price("acme/chat", channel="aws", at=LONG_AGO)
    Model.objects.create(slug="acme/later", name="Later", vendor="acme", kind="chat")
    book.forget()


@pytest.fixture
def member(prices):
    """An account whose level earns it 5 %."""
    account = factories.account()
    account.benefit_level, _ = BenefitLevel.objects.get_or_create(
        number=92, defaults={"name": "Silver", "threshold_usd": 92_000, "discount": "0.95"}
    )
    account.save()
    return account


def test_the_price_list_is_public_and_tells_prices_as_data(prices):
    told = Program().call("GET", "models").json()
    chat, later = told["results"]
    assert (chat["slug"], later["slug"], later["prices"], told["next"]) == ("acme/chat", "acme/later", [], None)
    plain = next(price for price in chat["prices"] if price["channel"] == "default")
    assert (plain["type"], plain["input_per_1k"], plain["output_per_1k"]) == ("per_token", "1", "2")
    assert plain["multiples"] == {"cache_read": "0.1"}
    assert plain["component_per_1k"] == {"reasoning": "3"}
    [tier] = plain["tiers"]
    assert (tier["above_input_tokens"], tier["input_per_1k"], tier["output_per_1k"]) == (1000, "2", "4")
    assert tier["component_per_1k"] == {}
    assert plain["field_multipliers"] == [{"field": "header:x-priority", "equals": "true", "multiplier": "1.8"}]
    assert plain["user_discount"] == "1"
    assert plain["yours"]["input_per_1k"] == "1"


def test_a_credential_adds_what_the_account_pays(member):
    [aws, plain] = (
        program(member, "developer").call("GET", "models?vendor=acme&priced=true").json()["results"][0]["prices"]
    )
    assert (plain["user_discount"], plain["yours"]["input_per_1k"]) == ("0.95", "0.95")
    assert (aws["channel_discount"], aws["input_per_1k"], aws["yours"]["input_per_1k"]) == ("0.8", "1", "0.76")


def test_every_item_is_told_in_full_for_each_tier_and_for_you(member):
    [aws, plain] = program(member, "developer").call("GET", "models?q=CHAT+acme").json()["results"][0]["prices"]
    assert len(plain["per_1k"]) == len(plain["yours_per_1k"]) == 11
    assert {name: plain["per_1k"][name] for name in ("input", "cache_read", "output", "reasoning")} == {
        "input": "1",
        "cache_read": "0.1",
        "output": "2",
        "reasoning": "3",
    }
    assert plain["yours_per_1k"]["cache_read"] == "0.095"
    assert aws["yours_per_1k"]["output"] == "1.52"
    [tier] = plain["tiers"]
    assert (tier["per_1k"]["cache_read"], tier["yours_per_1k"]["output"]) == ("0.2", "3.8")


def test_models_are_filtered_and_paged(prices):
    caller = Program()

    def slugs(query: str) -> list[str]:
        return [row["slug"] for row in caller.call("GET", f"models?{query}").json()["results"]]

    first = caller.call("GET", "models?page_size=1").json()
    assert [row["slug"] for row in first["results"]] == ["acme/chat"]
    assert slugs(f"page_size=1&cursor={first['next_cursor']}") == ["acme/later"]
    assert slugs("kind=image") == slugs("vendor=nobody") == []
    assert slugs("priced=true") == ["acme/chat"]
    assert slugs("priced=false") == ["acme/later"]
    assert slugs("q=later+acme") == ["acme/later"]
    assert slugs("type=per_token") == ["acme/chat"]
    assert slugs("type=per_image") == []
    channel = caller.call("GET", "models?channel=aws").json()["results"][0]
    assert [price["channel"] for price in channel["prices"]] == ["aws"]
    problem(caller.call("GET", "models?kind=toaster"), 422, "invalid_request")
    problem(caller.call("GET", "models?cursor=x"), 422, "invalid_request")


def test_a_model_that_is_no_longer_offered_is_not_listed(prices):
    Model.objects.filter(slug="acme/chat").update(active=False)
    state = CatalogState.objects.get(id=1)
    CatalogState.objects.filter(id=1).update(revision=state.revision + 1)
    book.forget()
    assert [row["slug"] for row in Program().call("GET", "models").json()["results"]] == ["acme/later"]


def test_a_quote_is_the_full_sheet_at_the_list_price_and_charges_nothing(prices):
    told = Program().call(
        "POST",
        "quotes",
        {
            "model": "acme/chat",
            "usage": {"input_tokens": 1000, "cache_read_tokens": 500, "output_tokens": 100, "reasoning_tokens": 40},
            "fields": {"Header:X-Priority": "true"},
        },
    )
    assert told.status_code == 200
    sheet = told.json()
    assert set(sheet) >= {
        "model", "channel", "price_version", "type", "lines", "billed_input_tokens", "billed_output_tokens",
        "field_multipliers", "list_price", "channel_discount", "user_discount", "charge", "flows",
    }  # fmt: skip
    assert [(line["item"], line["quantity"], line["amount"]) for line in sheet["lines"]] == [
        ("input", "500", "0.9"),
        ("cache_read", "500", "0.09"),
        ("output", "60", "0.216"),
        ("reasoning", "40", "0.216"),
    ]
    assert sheet["list_price"] == sheet["charge"] == "1.4220000000"
    assert sheet["billed_input_tokens"] == "550"
    assert (sheet["user_discount"], sheet["channel_discount"]) == ("1", "1")


def test_a_providers_own_object_is_priced_too(prices):
    body = {
        "model": "acme/chat",
        "channel": "aws",
        "format": "openai.chat",
        "provider_usage": {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
    sheet = Program().call("POST", "quotes", body).json()
    assert (sheet["channel"], sheet["list_price"], sheet["charge"]) == ("aws", "0.1200000000", "0.0960000000")


def test_the_users_discount_counts_only_where_the_account_is_named(member):
    body = {"model": "acme/chat", "usage": {"input_tokens": 100}}
    own = program(member, "finance")
    assert own.call("POST", "quotes", body).json()["user_discount"] == "1"
    assert own.call("POST", "quotes", body | {"account": str(member.pk)}).json()["charge"] == "0.0950000000"


def test_a_gateway_may_quote_for_any_account_and_others_only_for_their_own(member):
    body = {"model": "acme/chat", "usage": {"input_tokens": 100}, "account": str(member.pk)}
    gateway = Program(api_keys.issue_gateway_token("gw", now=NOON, actor=None)[1])
    assert gateway.call("POST", "quotes", body).json()["user_discount"] == "0.95"
    problem(gateway.call("POST", "quotes", body | {"account": str(uuid4())}), 404, "not_found")
    problem(program(factories.account()).call("POST", "quotes", body), 404, "not_found")
    problem(Program().call("POST", "quotes", body), 404, "not_found")


def test_a_credential_that_is_sent_must_be_right_even_where_none_is_needed(prices):
    body = {"model": "acme/chat", "usage": {}}
    _, api_key = factories.key(factories.account())
    token, secret = api_keys.issue_gateway_token("gw", now=NOON, actor=None)
    for wrong in ("nonsense", api_key, secret[:-1], "mk-x", "gw-x"):
        problem(Program(wrong).call("POST", "quotes", body), 401, "invalid_credential")
        problem(Program(wrong).call("GET", "models"), 401, "invalid_credential")
    token.disabled_at = clock.now()
    token.save()
    problem(Program(secret).call("POST", "quotes", body), 401, "invalid_credential")


def test_a_gateways_address_list_holds_here_too(prices):
    secret = api_keys.issue_gateway_token("gw", now=NOON, actor=None, allowed_ips=["192.0.2.0/24"])[1]
    body = {"model": "acme/chat", "usage": {}}
    problem(Program(secret).call("POST", "quotes", body), 403, "permission_denied")
    assert Program(secret).call("POST", "quotes", body, REMOTE_ADDR="192.0.2.7").status_code == 200


def test_staff_without_an_account_read_prices_as_visitors(prices):
    browser = Client()
    browser.force_login(factories.user(is_staff=True))
    assert browser.get("/api/v1/models").status_code == 200
    problem(browser.get("/api/v1/balance"), 401, "invalid_credential")


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"model": "no/such"}, 422, "unknown_model", None),
        ({"model": None}, 422, "invalid_request", "model"),
        ({"model": 7.5}, 422, "unknown_model", None),
        ({"model": ["acme/chat"]}, 422, "invalid_request", "model"),
        ({"model": "x" * 121}, 422, "invalid_request", "model"),
        ({"model": "acme/later"}, 403, "model_unpriced", None),
        ({"channel": "mars"}, 422, "unknown_channel", None),
        ({"usage": None}, 422, "invalid_usage", "usage"),
        ({"usage": [1]}, 422, "invalid_usage", "usage"),
        ({"usage": {"input_tokens": -1}}, 422, "invalid_usage", "input_tokens"),
        ({"usage": {"input_tokens": 1.5}}, 422, "invalid_usage", "input_tokens"),
        ({"usage": {"input_tokens": 10**40}}, 422, "invalid_usage", "input_tokens"),
        ({"usage": {"input_tokens": True}}, 422, "invalid_usage", "input_tokens"),
        ({"usage": {"tokens": 1}}, 422, "invalid_usage", "tokens"),
        ({"usage": {"output_tokens": 1, "reasoning_tokens": 2}}, 422, "invalid_usage", "output_tokens"),
        ({"provider_usage": {}}, 422, "invalid_usage", "usage"),
        ({"usage": None, "provider_usage": {}, "format": "acme"}, 422, "invalid_usage", "format"),
        ({"usage": None, "provider_usage": "x", "format": "openai.chat"}, 422, "invalid_usage", "provider_usage"),
        ({"fields": []}, 422, "invalid_request", "fields"),
        ({"fields": {"a b": 1}}, 422, "invalid_request", "fields"),
        ({"fields": {"a": {}}}, 422, "invalid_request", "fields.a"),
        ({"account": "x"}, 422, "invalid_request", "account"),
        ({"acount": "x"}, 422, "invalid_request", "acount"),
    ],
)
def test_a_quote_that_cannot_be_given_says_why(prices, change, status, code, field):
    body = {"model": "acme/chat", "usage": {"input_tokens": 1}} | change
    told = problem(Program().call("POST", "quotes", body), status, code)
    if field is not None:
        assert told["field"] == field


def test_a_quote_equals_the_charge_of_the_call(prices):
    account = factories.funded()
    version = factories.price("acme/other", at=LONG_AGO, components={"cache_read": {"multiple": "0.123456789"}})
    usage: dict[str, Any] = {"input_tokens": 777, "cache_read_tokens": 333, "output_tokens": 11}
    held = factories.hold(account, version, "1")
    charged = factories.capture(held.id, **usage)
    sheet = Program().call("POST", "quotes", {"model": "acme/other", "usage": usage}).json()
    assert Decimal(sheet["charge"]) == charged.charge
