"""The pages about oneself and the two switches of the header."""

from html.parser import HTMLParser
from uuid import uuid4

import pytest
from django.test import Client

from accounts.access import SESSION_KEY
from config import clock
from tests import factories

pytestmark = pytest.mark.django_db
OWN_PAGES = ["/overview", "/account/", "/account/security", "/account/members", "/accounts/email/", "/accounts/2fa/"]


class Strict(HTMLParser):
    """Collects what the content security policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.script = False

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        self.refused += [f"<{tag} {name}>" for name in names if name == "style" or name.startswith("on")]
        self.script = tag == "script" and "src" not in names and names.get("type") != "application/json"
        if tag == "style":
            self.refused.append("<style>")

    def handle_data(self, data):
        if self.script and data.strip():
            self.refused.append(f"<script>{data[:40]}")

    def handle_endtag(self, tag):
        self.script = False


@pytest.fixture
def member():
    user = factories.user("lin@example.com", nickname="Lin Wei")
    factories.account(user, name="Northwind Labs")
    return user


@pytest.fixture
def portal(member):
    client = Client()
    client.force_login(member, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"])
def test_a_visitors_page_carries_nothing_that_the_policy_refuses(path):
    answer = Client().get(path)

    assert answer.status_code == 200
    page = Strict()
    page.feed(answer.content.decode())
    assert page.refused == []
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert 'lang="en"' in answer.content.decode()


@pytest.mark.parametrize("path", OWN_PAGES)
def test_a_members_page_needs_sign_in_and_carries_nothing_that_the_policy_refuses(portal, path):
    assert Client().get(path).url.startswith("/accounts/login/")

    answer = portal.get(path)
    page = Strict()
    page.feed(answer.content.decode())
    assert answer.status_code == 200
    assert page.refused == []


def test_the_header_names_the_account_in_force_with_its_id_and_money_as_of_a_time(portal, member):
    """F001, F003, F012."""
    account = member.memberships.get().account
    factories.credit(account, "42.18")
    shown = portal.get("/account/").content.decode()

    assert "Northwind Labs" in shown
    assert f'data-copy="{account.pk}"' in shown
    assert "$42.18" in shown
    assert "available" in shown


def test_another_of_ones_accounts_can_be_put_in_force_and_someone_elses_is_not_found(portal, member):
    """F003."""
    second = factories.account(member, name="Second")
    foreign = factories.account(name="Foreign")

    assert portal.post("/account/switch", {"account": second.pk, "next": "/account/"}).url == "/account/"
    assert portal.session[SESSION_KEY] == str(second.pk)
    for not_mine in (foreign.pk, uuid4(), "", "x"):
        assert portal.post("/account/switch", {"account": not_mine}).status_code == 404
    assert portal.session[SESSION_KEY] == str(second.pk)


@pytest.mark.parametrize(
    "page", ["/billing/top-up/product_01JD8Z", "/billing/details/0199f0a2-7c1e-7b6d-8f54-3f2a1c9d5e11"]
)
def test_after_a_switch_a_page_about_one_row_of_the_other_account_is_left(portal, member, page):
    second = factories.account(member, name="Second")
    assert portal.post("/account/switch", {"account": second.pk, "next": page}).url == "/overview"


def test_the_language_is_kept_on_the_user(portal, member):
    answer = portal.post("/account/language", {"language": "zh-hans", "next": "/account/"})
    member.refresh_from_db()

    assert answer.url == "/account/"
    assert member.locale == "zh-hans"
    assert (
        'lang="zh-hans"'
        in Client(headers={"cookie": answer.cookies.output(header="", sep=";")}).get("/").content.decode()
    )
    assert 'lang="zh-hans"' in portal.get("/account/").content.decode()


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_the_switches_lead_nowhere_else(portal, next_page):
    assert portal.post("/account/language", {"language": "en", "next": next_page}).url == "/"


def test_an_unknown_language_changes_nothing(portal, member):
    portal.post("/account/language", {"language": "xx"})
    member.refresh_from_db()
    assert member.locale == ""


def test_the_profile_keeps_name_language_and_time_zone(portal, member):
    wrong = portal.post("/account/", {"nickname": "Lin", "locale": "en", "time_zone": "Mars/Base"})
    right = portal.post("/account/", {"nickname": "Lin", "locale": "zh-hans", "time_zone": "Asia/Shanghai"})
    member.refresh_from_db()

    assert wrong.status_code == 200
    assert "is-invalid" in wrong.content.decode()
    assert right.status_code == 302
    assert (member.nickname, member.locale, member.time_zone) == ("Lin", "zh-hans", "Asia/Shanghai")


def test_the_chosen_theme_is_rendered_by_the_server_so_that_nothing_flashes():
    client = Client()
    client.cookies["theme"] = "dark"
    assert 'data-bs-theme="dark"' in client.get("/").content.decode()
    client.cookies["theme"] = '"><script>'
    assert 'data-bs-theme="light"' in client.get("/").content.decode()


def test_a_new_account_is_told_the_way_to_its_first_call(portal):
    shown = portal.get("/overview").content.decode()
    assert "From here to the first call" in shown
    assert "data-chart" not in shown


def test_the_overview_adds_up_what_was_charged(portal, member):
    account = member.memberships.get().account
    now = clock.now()
    factories.credit(account, "10", now=now)
    version = factories.price()
    held = factories.hold(account, version, "5", now=now)
    factories.capture(held.id, now=now, input_tokens=1000, output_tokens=1000)
    shown = portal.get("/overview").content.decode()

    assert "$3.00" in shown
    assert "$7.00" in shown
    assert 'data-chart="spend-by-day"' in shown


def test_a_user_without_an_account_reads_what_to_do():
    client = Client()
    client.force_login(factories.user(), backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get("/overview")
    assert answer.status_code == 200
    assert "You belong to no account" in answer.content.decode()
