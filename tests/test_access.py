"""Every address, every caller (07-reliability 7.2): visitors, other customers, each role; found, not listed.

The addresses come from the URL configuration. A new one is covered at once when it has no parameters, or parameters
named in `World.parameters`. One that changes something fails here until somebody says who may use it: `PUBLIC`,
`PAGES`, or `needs` on its view.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, get_resolver, reverse

from accounts import access, api_keys
from accounts.models import Account, Membership, User
from billing.books.models import JournalEntry
from billing.metering import alerts
from billing.payments import topups
from billing.payments.models import TopUp
from billing.payments.models_saved import CardSetup
from config import clock
from config.api import ApiView
from refunds import lifecycle
from refunds.models import Refund
from subscriptions import conversations
from subscriptions.models import PlanVersion, Subscription
from tests import factories
from tests.api import Program, management_key
from tests.billing.payments.saving import kept_card
from tests.refunds.orders import credited
from tests.subscriptions.invoicing import paid_invoice

pytestmark = pytest.mark.django_db
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ROLES = [role.value for role in Membership.Role]
NO_SUCH_METHOD = 405

# Open to everyone, and why.
PUBLIC: dict[str, str] = {
    "healthz": "the load balancer",
    "readyz": "the load balancer",
    "landing": "the front page",
    "mailbox": "development only: not mounted with DEBUG off",
    "accounts:language": "visitors choose a language too",
    "catalog:pricing": "the price list",
    "catalog:model": "one model of the price list",
    "catalog:csv": "the price list as a table",
    "catalog:calculator": "a calculation with published prices",
    "catalog:slugs": "the models that the calculator knows",
    "plans:plans": "the subscription plans",
    "plans:api-plans": "the subscription plans",
    "payments:benefits": "what topping up earns",
    "payments:api-benefits": "what topping up earns",
    "payments:stripe-webhook": "proves itself by signature",
    "api-models": "the price list",
    "api-flow-rate": "the Flow rate is published",
    "api-quotes": "the calculator",
    "api-schema": "the documentation",
    "api-docs": "the documentation",
    "api-nothing-here": "404 for everybody",
}

# Pages that change something: the action of `accounts.access.MAY` that each method takes; None: any member.
PAGES: dict[str, dict[str, str | None]] = {
    "accounts:profile": {"POST": None},
    "accounts:switch": {"POST": None},
    "books:billing_details": {"POST": "pay"},
    "payments:top_up": {"POST": "pay"},
    "books:vouchers": {"POST": "pay"},
    "payments:pay": {"POST": "pay"},
    "payments:check": {"POST": None},
    "refunds:plan": {"GET": "pay", "POST": "pay"},
    "refunds:cancel": {"POST": "pay"},
    "refunds_top_up:ask": {"GET": "pay", "POST": "pay"},
    # And an owner or finance alone, by message: tests/refunds/test_top_up_requests.py.
    "refunds_top_up:confirm": {"POST": "pay"},
    "payments:auto_top_up_on": {"GET": "pay", "POST": "pay"},
    "payments:auto_top_up_off": {"POST": "pay"},
    "payments:auto_top_up_resume": {"POST": "pay"},
    "payments:card_add": {"POST": "pay"},
    "payments:card_default": {"POST": "pay"},
    "payments:card_remove": {"GET": "pay", "POST": "pay"},
    # An alert on a key or a group, as this world's: who may pay or who may change keys, so every role.
    "metering:alert_create": {"POST": None},
    "metering:alert_change": {"POST": None},
    "metering:alert_pause": {"POST": None},
    "metering:alert_delete": {"POST": None},
    "metering:key_create": {"GET": "keys", "POST": "keys"},
    "metering:key_rotate": {"GET": "keys", "POST": "keys"},
    "metering:key_change": {"POST": "keys"},
    "metering:key_disable": {"GET": "keys", "POST": "keys"},
    "extra:select": {"GET": "pay", "POST": "pay"},
    # And "keys": tests/subscriptions/test_extra_usage_pages.py.
    "extra:new_key": {"POST": "pay"},
    "extra:cap": {"POST": "pay"},
    "extra:off": {"POST": "pay"},
    "plan:checkout": {"GET": "pay", "POST": "pay"},
    "plan:change": {"GET": "pay", "POST": "pay"},
    "plan:withdraw": {"POST": "pay"},
    "plan:cancel": {"GET": "pay", "POST": "pay"},
    "plan:resume": {"POST": "pay"},
    "plan:provider_page": {"POST": "pay"},
    "plan:pay_invoice": {"GET": "pay"},
}

# Refused with a message on the page before, not with 403: leads back to the order instead of on to the provider.
REFUSED_BY_MESSAGE = {"payments:pay": "/billing/top-up/"}

# Their parameter is a name that the caller gives, in the caller's own account: every account has every name.
OWN_NAMES = {"extra:api-conversation-mode"}

# A gateway's token is a credential here, too; what it may do has tests of its own.
GATEWAYS_TOO = {"extra:api-conversation-mode"}

# Other people's pages, with tests of their own: signing in, and the provider's double in development.
NOT_OURS = ("allauth.", "sandbox.", "django.", "unfold.")


@dataclass(frozen=True)
class Route:
    """One address: its name, its parameters, its view."""

    name: str
    parameters: tuple[str, ...]
    view: Any

    def __str__(self) -> str:
        return self.name

    @property
    def is_api(self) -> bool:
        return self.name.rpartition(":")[2].startswith("api-")

    @property
    def is_admin(self) -> bool:
        return self.name.startswith("admin:")

    @property
    def needs(self) -> dict[str, str | None]:
        """Which action each method takes."""
        own = getattr(getattr(self.view, "cls", None), "needs", None)
        return PAGES.get(self.name) or dict(own or {})


def routes(resolver: Any = None, spaces: str = "") -> Iterator[Route]:
    """Every address of the product."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if not isinstance(pattern, URLPattern):
            yield from routes(pattern, spaces + (f"{pattern.namespace}:" if pattern.namespace else ""))
            continue
        staff = spaces == "admin:"
        if staff and not pattern.name:
            continue  # the old address of an object: Django leads from there to the named one
        if staff or not pattern.callback.__module__.startswith(NOT_OURS):
            assert pattern.name, f"give the address {pattern.pattern} a name"
            yield Route(spaces + pattern.name, tuple(pattern.pattern.regex.groupindex), pattern.callback)


ALL = list(routes())
OURS = [route for route in ALL if not route.is_admin]
MEMBERS = [route for route in OURS if route.name not in PUBLIC]
ADMIN = [route for route in ALL if route.is_admin]


@dataclass
class World:
    """A customer with one of everything, and another customer."""

    account: Account
    owner: User
    outsider: User
    stranger: Account
    parameters: dict[str, Any]

    def path(self, route: Route) -> str:
        """The address of this customer's row."""
        if route.name == "api-nothing-here":
            return "/api/v1/no/such/thing"
        missing = [name for name in route.parameters if name not in self.parameters]
        assert not missing, f"{route}: add {missing} to World.parameters"
        wanted = {name: self.parameters[name] for name in route.parameters}
        try:
            return reverse(route.name, kwargs=wanted)
        except NoReverseMatch:
            return reverse(route.name, kwargs={name: str(value) for name, value in wanted.items()})

    def member(self, role: str) -> User:
        """Somebody with this role in the customer's account, and in no other."""
        user = somebody()
        Membership.objects.create(user=user, account=self.account, role=role, created_at=factories.NOON)
        return user


def somebody() -> User:
    """A user without a password: hashing one takes longer than all the rest."""
    return User.objects.create_user(f"{uuid4().hex}@example.com")


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside leaves no trace."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def world(settings: Any) -> World:
    """One of everything that an address may name."""
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"  # nobody answers there: no test of access moves money
    owner, outsider = somebody(), somebody()
    account, stranger = factories.account(owner), factories.account(outsider)
    version = factories.price("acme/chat", at=factories.NOON.replace(year=2020))
    factories.credit(account, "10", now=factories.NOON - timedelta(days=40))
    key, _ = factories.key(account)
    held = factories.hold(account, version, "1", api_key_id=key.pk)
    factories.capture(held.id, input_tokens=10)
    order = topups.place(
        account.pk, Decimal(20), method="card", client_key=uuid4().hex, actor=owner, locale="en", now=clock.now()
    )
    page = {"status": "awaiting_payment", "checkout_url": "http://127.0.0.1:9/pay", "checkout_id": "cs_test_1"}
    TopUp.objects.filter(pk=order.pk).update(**{k: v for k, v in page.items() if hasattr(TopUp, k)})
    card = kept_card(account, owner, clock.now())
    setup = CardSetup.objects.create(
        account=account, consent=card.consent, created_at=clock.now(), state_at=clock.now(), client_key="1",
        idempotency_key=uuid4().hex,
    )  # fmt: skip
    entry = JournalEntry.objects.filter(account=account).latest("seq")
    found = {"key_id": key.pk, "record_id": held.id, "entry_id": entry.pk, "number": order.number, "slug": "acme/chat"}
    found |= {"card_id": card.pk, "setup_id": setup.pk}
    found["alert_id"] = alert_on(account, key).pk
    found["conversation"] = "chat-1"
    found["top_up_refund_id"] = found["refund_id"] = asked_back(account).pk
    conversations.set_mode(account.pk, "chat-1", "payg", now=factories.NOON)
    bought = Subscription.objects.create(
        account=account,
        plan_version=PlanVersion.objects.get(plan="pro", number=1),
        status_at=factories.NOON,
        created_at=factories.NOON,
        client_key="1",
    )
    found["subscription_id"] = bought.pk
    found["invoice_id"] = paid_invoice(bought).pk
    found |= {"month": "2026-10", "grant_id": account.credit_grants.order_by("created_at").first().pk}
    return World(account, owner, outsider, stranger, found)


def asked_back(account: Account) -> Refund:
    """A top-up of which the customer wants some back."""
    order = credited("5", account=account)
    return lifecycle.request(order.pk, Decimal(1), reason="unused", actor=None, client_key="1", now=factories.NOON)


def alert_on(account: Account, key: Any) -> Any:
    """An alert on a key, which every role may look after."""
    asked = alerts.terms(account, kind="spend", threshold="5", period="day", key_id=key.pk)
    return alerts.create(account, asked, actor=None, now=factories.NOON)


def browser(user: User) -> Client:
    """A session that has just signed in, and given its password again."""
    client = Client()
    client.force_login(user)
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time(), "reauthenticated": True}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return client


def ask(client: Client, route: Route, method: str, path: str) -> Any:
    """One request with an empty body, of the kind that the address expects."""
    body, kind = (b"{}", "application/json") if route.is_api else (b"", "application/x-www-form-urlencoded")
    return client.generic(method, path, b"" if method in ("GET", "HEAD") else body, content_type=kind)


def is_login(answer: Any) -> bool:
    """Led to the sign-in page."""
    return answer.status_code == 302 and answer["Location"].startswith("/accounts/login/")


def problem_code(answer: Any) -> str:
    """The code of a problem document."""
    assert answer["Content-Type"] == "application/problem+json", answer["Content-Type"]
    return str(json.loads(answer.content)["code"]) if answer.content else ""


# --- The lists themselves -------------------------------------------------------------------------------------------


def test_the_lists_name_only_addresses_that_exist():
    names = {route.name for route in ALL}
    listed = {*PUBLIC, *PAGES, *REFUSED_BY_MESSAGE, *OWN_NAMES, *GATEWAYS_TOO} - ({"mailbox"} - names)
    assert listed <= names, listed - names


def test_every_action_in_the_lists_is_in_the_role_table():
    actions = set().union(*access.MAY.values())
    told = {action for route in OURS for action in route.needs.values() if action}
    assert told <= actions


def test_every_endpoint_stands_on_the_common_base():
    bases = {
        route.name: getattr(route.view, "cls", None) for route in OURS if route.is_api and route.name not in PUBLIC
    }
    assert [name for name, cls in bases.items() if cls is None or not issubclass(cls, ApiView)] == []


# --- Visitors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", MEMBERS, ids=str)
def test_a_visitor_is_led_to_the_sign_in_page_or_gets_401(route, world):
    path = world.path(route)
    for method in METHODS:
        answer = ask(Client(), route, method, path)
        if route.is_api:
            assert answer.status_code == 401, (method, path, answer.status_code)
            assert answer["WWW-Authenticate"] == "Bearer"
            assert method == "HEAD" or problem_code(answer) == "invalid_credential"
        else:
            assert answer.status_code == NO_SUCH_METHOD or is_login(answer), (method, path, answer.status_code)


@pytest.mark.parametrize("route", [route for route in MEMBERS if route.is_api], ids=str)
def test_an_api_key_or_a_gateways_token_is_no_credential_here(route, world):
    _, api_key = factories.key(world.account)
    gateway = api_keys.issue_gateway_token("gw", now=factories.NOON, actor=None)[1]
    wrong = (api_key, management_key(world.account)[:-1])
    for secret in wrong if route.name in GATEWAYS_TOO else (*wrong, gateway):
        for method in METHODS:
            assert ask(Program(secret), route, method, world.path(route)).status_code == 401, (method, secret[:3])


@pytest.mark.parametrize("route", [route for route in OURS if route.name in PUBLIC], ids=str)
def test_what_is_public_needs_nobody(route, world):
    for method in METHODS:
        answer = ask(Client(), route, method, world.path(route))
        assert answer.status_code not in (401, 403), (method, answer.status_code)
        assert answer.status_code < 500 or route.name == "readyz", (method, answer.status_code)
        assert not is_login(answer)


# --- Other customers ------------------------------------------------------------------------------------------------

ROWS = [route for route in MEMBERS if route.parameters and route.name not in OWN_NAMES]


@pytest.mark.parametrize("route", ROWS, ids=str)
def test_another_customers_row_does_not_exist(route, world):
    path = world.path(route)
    callers = [browser(world.outsider)]
    if route.is_api:
        callers.append(Program(management_key(world.stranger, "owner")))
    for caller in callers:
        for method in METHODS:
            answer = ask(caller, route, method, path)
            assert answer.status_code in (404, NO_SUCH_METHOD), (method, path, answer.status_code)


@pytest.mark.parametrize("route", [route for route in MEMBERS if not route.parameters], ids=str)
def test_another_customers_ids_appear_in_no_list(route, world):
    told = {
        str(world.account.pk),
        *(str(value) for name, value in world.parameters.items() if name not in ("slug", "month")),
    }
    callers = [browser(world.outsider)]
    if route.is_api:
        callers.append(Program(management_key(world.stranger, "owner")))
    for caller in callers:
        answer = ask(caller, route, "GET", world.path(route))
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert answer.status_code in (200, NO_SUCH_METHOD, 302), answer.status_code
        assert not [text for text in told if text in body.decode()]


@pytest.mark.parametrize("route", [route for route in OURS if route.name in OWN_NAMES], ids=str)
def test_a_name_of_the_callers_own_says_nothing_of_another_accounts(route, world):
    for caller in (browser(world.outsider), Program(management_key(world.stranger, "owner"))):
        told = json.loads(ask(caller, route, "GET", world.path(route)).content)
        assert (told["account"], told["chosen"]) == (str(world.stranger.pk), False)


# --- Roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", MEMBERS, ids=str)
def test_a_role_may_do_what_the_role_table_says(route, world):
    for role in ROLES:
        with undone():
            _in_the_role(route, role, world)


def _in_the_role(route: Route, role: str, world: World) -> None:
    path = world.path(route)
    callers = [browser(world.member(role))]
    if route.is_api:
        callers.append(Program(management_key(world.account, role)))
    for caller in callers:
        for method in METHODS:
            answer = ask(caller, route, method, path)
            if answer.status_code == NO_SUCH_METHOD:
                assert method not in route.needs, (method, "is listed, but the address does not know it")
                continue
            changes = method not in ("GET", "HEAD")
            assert not changes or method in route.needs, f"say who may {method} {route}: `needs`, or PAGES in this file"
            action = route.needs.get("GET" if method == "HEAD" else method)
            allowed = action is None or access.may(role, action)
            assert answer.status_code < 500, (method, answer.status_code)
            if route.name in REFUSED_BY_MESSAGE and changes:
                back = answer["Location"].startswith(REFUSED_BY_MESSAGE[route.name])
                assert answer.status_code == 302
                assert back is not allowed, (role, method, answer["Location"])
            else:
                assert (answer.status_code == 403) is not allowed, (role, method, answer.status_code)
                assert answer.status_code != 401
            if route.is_api and not allowed:
                assert problem_code(answer) == "permission_denied"


def test_a_member_who_has_left_sees_nothing_any_more(world):
    member = world.member("owner")
    client = browser(member)
    assert client.get("/api/v1/balance").status_code == 200
    Membership.objects.filter(user=member).delete()
    assert client.get("/api/v1/balance").status_code == 401
    assert client.get(f"/keys/{world.parameters['key_id']}").status_code == 404


# --- Staff ----------------------------------------------------------------------------------------------------------


def test_the_staff_console_is_closed_to_visitors_and_customers(world):
    paths = {f"/{settings.ADMIN_PATH}", f"/{settings.ADMIN_PATH}no/such/page"}
    for route in ADMIN:
        if route.name not in ("admin:login", "admin:logout", "admin:jsi18n"):
            named = {"app_label": "accounts", "receipt_id": uuid4(), "invoice_id": uuid4()}
            told = {name: named.get(name, "1") for name in route.parameters}
            paths.add(reverse(route.name, kwargs=told))
    assert len(paths) > 20
    for caller in (Client(), browser(world.owner)):
        for path in sorted(paths):
            for method in ("GET", "POST"):
                answer = caller.generic(method, path)
                assert answer.status_code in (302, 403, 404, NO_SUCH_METHOD), (method, path, answer.status_code)
                if answer.status_code == 302:
                    assert "/login/" in answer["Location"], (path, answer["Location"])
