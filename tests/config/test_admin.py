"""The staff console's door, its content policy, and how many queries its pages take."""

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import api_keys
from accounts.models import Account
from billing.metering.models import Authorization, UsageRecord
from config import clock
from config.admin_finding import COUNT_LIMIT, Capped, CappedPaginator, first_id
from config.ids import uuid7
from tests import factories
from tests.staff import at_desk, desk, lists, page_of, person

pytestmark = pytest.mark.django_db
MOST_QUERIES = 12


# --- The door -----------------------------------------------------------------------------------------------------
def test_the_console_sends_visitors_to_the_ordinary_sign_in_and_back():
    first = Client().get("/admin/billing/topup/")
    second = Client().get(first["Location"])

    assert first["Location"] == "/admin/login/?next=/admin/billing/topup/"
    assert second["Location"] == "/accounts/login/?next=%2Fadmin%2Fbilling%2Ftopup%2F"


def test_the_admin_login_itself_takes_no_password():
    staff = person("admin", password=factories.PASSWORD)

    answer = Client().post("/admin/login/", {"username": staff.email, "password": factories.PASSWORD})

    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")


def test_a_customer_is_refused():
    client = at_desk(factories.user())

    assert client.get("/admin/", follow=True).status_code == 403


def test_staff_without_a_second_factor_are_sent_to_set_one_up_when_it_is_required(settings):
    settings.STAFF_MFA_REQUIRED = True
    who = person("admin", is_superuser=True)
    client = at_desk(who)

    before = client.get("/admin/login/")
    refused = client.get("/admin/")
    Authenticator.objects.create(user=who, type=Authenticator.Type.TOTP, data={"secret": "x"})

    assert before["Location"] == reverse("mfa_activate_totp")
    assert refused.status_code == 302
    assert client.get("/admin/").status_code == 200


def test_signing_out_ends_the_session():
    client = desk("support")

    assert client.get("/admin/logout/").status_code == 302
    assert client.get("/admin/").status_code == 200
    client.post("/admin/logout/")

    assert client.get("/admin/").status_code == 302


# --- Content policy -----------------------------------------------------------------------------------------------
def test_only_the_console_may_evaluate_and_style_inline():
    client = desk("admin")

    console = client.get("/admin/")["Content-Security-Policy"]
    portal = client.get("/overview")["Content-Security-Policy"]

    # The directives come in no fixed order; the last one has no semicolon.
    assert "script-src 'self' 'unsafe-eval'" in console.split("; ")
    assert "style-src 'self' 'unsafe-inline'" in console
    assert "unsafe" not in portal
    assert "script-src 'self' 'unsafe-inline'" not in console


# --- Queries ------------------------------------------------------------------------------------------------------
@pytest.fixture
def rows():
    """An account with one of everything that a gateway leaves behind."""
    account = factories.funded("10")
    factories.key(account)
    version = factories.price()
    for _ in range(3):
        held = factories.hold(account, version, "0.5")
        factories.capture(held.id, input_tokens=100, output_tokens=10)
    factories.hold(account, version, "0.5")
    api_keys.issue_gateway_token("proxy", now=factories.NOON, actor=None)
    return account


# What a process asks once a second, whoever looks: has the catalogue changed, have the plans?
RECHECKS = ("FROM billing_catalogstate", 'MAX("subscriptions_planversion"')


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as taken:
        assert client.get(path).status_code == 200
    return len([one for one in taken if not any(told in one["sql"] for told in ("SAVEPOINT", *RECHECKS))])


def test_a_list_takes_few_queries_whatever_it_holds(rows):
    client = desk("admin")
    taken = {name: queries(client, reverse(f"admin:{name}_changelist")) for name in lists()}

    assert {name: number for name, number in taken.items() if number > MOST_QUERIES} == {}


def test_a_rows_page_takes_few_queries(rows):
    from django.contrib import admin

    client = desk("admin")
    client.get(page_of(UsageRecord.objects.first()))  # reads the price book
    client.get(page_of(rows))  # reads the plans
    taken = {}
    for model in admin.site._registry:
        row = model._default_manager.order_by("pk").last()
        if row is not None:
            taken[model._meta.label] = queries(client, page_of(row))

    assert taken["accounts.Account"]
    assert taken["billing.UsageRecord"]
    panels = {
        model._meta.label: len(getattr(its_desk, "panel_makers", ()))
        for model, its_desk in admin.site._registry.items()
    }
    # A panel that others hang on a page may ask once.
    assert {label: number for label, number in taken.items() if number > MOST_QUERIES + panels[label]} == {}


def test_the_dashboard_takes_few_queries_and_fewer_again(rows):
    client = desk("admin")

    assert queries(client, "/admin/") <= MOST_QUERIES
    assert queries(client, "/admin/") <= 5


# --- Finding ------------------------------------------------------------------------------------------------------
def test_a_count_stops_at_its_limit():
    factories.account()

    assert CappedPaginator(Account.objects.order_by("pk"), 50).count == 1
    assert f"{Capped(COUNT_LIMIT)}" == "5,000+"


def test_an_id_made_now_is_not_below_the_first_id_of_now():
    assert first_id(clock.now()) < uuid7()
    assert first_id(clock.now() - timedelta(days=1)) < first_id(clock.now())


def test_calls_are_found_by_request_id_and_narrowed_by_account(rows):
    client = desk("support")
    other = factories.funded("10")
    record = UsageRecord.objects.first()
    listed = reverse("admin:billing_usagerecord_changelist")

    def found(**asked: str) -> set[str]:
        return {row.request_id for row in client.get(listed, asked).context["cl"].result_list}

    assert found(q=record.request_id) == {record.request_id}
    assert found(q="nothing") == set()
    assert len(found(account__id__exact=str(rows.pk))) == 3
    assert found(account__id__exact=str(other.pk)) == set()


# --- The dashboard ------------------------------------------------------------------------------------------------
def test_the_dashboard_adds_up_what_happened(rows):
    client = desk("support")

    board = client.get("/admin/").context["board"]

    assert board.holds["number"] == "1"
    assert Authorization.objects.filter(status="open").count() == 1
    assert {stat.label for stat in board.stats} >= {"Money in, today", "Orders waiting", "Events waiting"}
    assert b"holds" in client.get("/admin/").content.lower()


def test_the_chart_counts_each_call_once_before_and_after_the_rollup(rows):
    from billing.metering import rollups
    from config import dashboard

    now = factories.NOON + timedelta(hours=1)
    before = dashboard.measure(now)["charges"]
    rollups.roll(now=now)
    after = dashboard.measure(now)["charges"]

    assert sum(calls for _day, _charge, calls in before) == 3
    assert before == after
    assert len(before) == 30


def test_a_role_that_may_not_see_money_sees_none_on_the_dashboard():
    cache.clear()
    from config import dashboard

    numbers = dashboard.measure(factories.NOON)
    board = dashboard.board(numbers, lambda permission: permission == "billing.view_authorization")

    assert board.stats == []
    assert board.charges is None
    assert board.holds is not None


def test_the_console_speaks_chinese():
    who = person("support")
    who.locale = "zh-hans"
    who.save()

    page = at_desk(who).get("/admin/").content.decode()

    assert 'lang="zh-hans"' in page
    assert settings.SITE_NAME in page
