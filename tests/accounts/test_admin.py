"""Who may open and do what in the staff console, and what its actions on customers and keys do."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from accounts import api_keys, roles
from accounts.models import AuditRecord, BenefitLevel, GatewayToken
from tests import factories
from tests.staff import act, action_of, at_desk, desk, lists, page_of, person

pytestmark = pytest.mark.django_db
ROLES = ("support", "operations", "finance", "admin")


@pytest.fixture
def account():
    return factories.funded("10")


@pytest.fixture
def rows(account):
    """One row for each action: permission -> the action's address."""
    key, _ = factories.key(account)
    token, _ = api_keys.issue_gateway_token("proxy", now=factories.NOON, actor=None)
    level = BenefitLevel.objects.first()
    channel = factories.price().channel
    return {
        "accounts.suspend_account": action_of(account, "suspend"),
        "accounts.disable_apikey": action_of(key, "disable"),
        "accounts.issue_gatewaytoken": reverse("admin:accounts_gatewaytoken_changelist") + "issue/",
        "accounts.revoke_gatewaytoken": action_of(token, "revoke"),
        "accounts.change_terms_benefitlevel": action_of(level, "change-terms"),
        "billing.change_terms_channel": action_of(channel, "change-terms"),
        "billing.give_credit": action_of(account, "give-credit"),
        "billing.set_benefitlevel": action_of(account, "set-level"),
    }


# --- Roles --------------------------------------------------------------------------------------------------------
def test_support_reads_every_desk():
    client = desk("support")

    answered = {name: client.get(reverse(f"admin:{name}_changelist")).status_code for name in lists()}

    assert answered == dict.fromkeys(lists(), 200)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_read_what_support_reads(role):
    assert person(role).has_perms(sorted(person("support").get_all_permissions()))


def test_staff_without_a_role_read_nothing():
    client = desk()

    assert client.get("/admin/").status_code == 200
    assert b"You have no role yet" in client.get("/admin/").content
    assert {client.get(reverse(f"admin:{name}_changelist")).status_code for name in lists()} == {403}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_the_actions_of_the_table_and_no_others(role, rows):
    client = desk(role)

    answered = {permission: client.get(path).status_code for permission, path in rows.items()}

    assert answered == {permission: 200 if permission in roles.MAY[role] else 403 for permission in rows}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_cannot_post_an_action_that_it_may_not_open(role, rows, account):
    client = desk(role)

    for permission in rows.keys() - roles.MAY[role]:
        assert client.post(rows[permission], {"reason": "because"}).status_code == 403
    account.refresh_from_db()
    assert account.status == "active"


def test_the_table_is_applied_exactly_and_again():
    group = Group.objects.get(name="support")
    group.permissions.add(*Group.objects.get(name="admin").permissions.all())

    roles.plant()

    names = {f"{one.content_type.app_label}.{one.codename}" for one in group.permissions.select_related("content_type")}
    assert names == {f"{label.partition('.')[0]}.view_{label.partition('.')[2]}" for label in roles.READ}


def test_nothing_is_added_changed_or_deleted_by_form():
    for client in (desk("admin"), at_desk(person("admin", is_superuser=True))):
        for name in lists():
            listed = reverse(f"admin:{name}_changelist")
            assert client.get(f"{listed}add/").status_code == 403, name
            assert client.post(f"{listed}add/", {}).status_code == 403, name


def test_a_rows_page_takes_no_post_and_has_no_delete(account):
    client = at_desk(person("admin", is_superuser=True))

    assert client.post(page_of(account), {"name": "Mine"}).status_code == 405
    assert client.post(action_of(account, "delete"), {"post": "yes"}).status_code == 403
    account.refresh_from_db()
    assert account.name != "Mine"


# --- Actions ------------------------------------------------------------------------------------------------------
def test_suspending_asks_for_a_reason_and_keeps_it(account):
    who = person("operations")
    client = at_desk(who)
    path = action_of(account, "suspend")

    refused = act(client, path, reason="   ")
    done = act(client, path, reason="chargebacks on three cards")

    account.refresh_from_db()
    record = AuditRecord.objects.get(action="account_suspended")
    assert refused.status_code == 422
    assert done.status_code == 302
    assert account.status == "suspended"
    assert (record.actor, record.reason, record.account) == (who, "chargebacks on three cards", account)
    assert (record.before, record.after) == ({"status": "active"}, {"status": "suspended"})


def test_a_suspended_account_is_reactivated_and_neither_is_done_twice(account):
    client = desk("operations")
    act(client, action_of(account, "suspend"))

    again = client.get(action_of(account, "suspend"))
    act(client, action_of(account, "reactivate"))

    account.refresh_from_db()
    assert again.status_code == 302
    assert account.status == "active"
    assert AuditRecord.objects.filter(subject_id=str(account.pk), subject_type="account").count() == 2


def test_disabling_a_key_stops_it_with_the_reason(account):
    key, _ = factories.key(account)

    act(desk("operations"), action_of(key, "disable"), reason="leaked on a forum")

    key.refresh_from_db()
    assert key.disabled_at is not None
    assert AuditRecord.objects.get(action="key_disabled").reason == "leaked on a forum"


def test_a_token_needs_the_password_again_is_shown_once_and_kept_as_a_hash():
    who = person("operations", password=factories.PASSWORD)
    client = at_desk(who)
    path = reverse("admin:accounts_gatewaytoken_changelist") + "issue/"
    asked = client.get(path)
    client.post(reverse("account_reauthenticate"), {"password": factories.PASSWORD})

    shown = act(client, path, name="litellm", allowed_ips="10.0.0.0/8, 192.0.2.7", reason="new proxy")
    token = GatewayToken.objects.get(name="litellm")
    page = client.get(page_of(token)).content.decode()
    secret = shown.context["secret"]

    assert asked.status_code == 302
    assert "reauthenticate" in asked["Location"]
    assert secret.startswith("gw-")
    assert "no-store" in shown["Cache-Control"]
    assert token.allowed_ips == ["10.0.0.0/8", "192.0.2.7"]
    assert secret not in page
    assert secret[8:-4] not in page
    assert AuditRecord.objects.get(action="gateway_token_issued").reason == "new proxy"
    assert secret not in str(AuditRecord.objects.values_list("after", flat=True))


def test_sending_the_form_of_a_token_twice_issues_one():
    who = person("operations")
    client = at_desk(who)
    path = reverse("admin:accounts_gatewaytoken_changelist") + "issue/"

    first = act(client, path, name="litellm")
    second = act(client, path, name="litellm")

    assert (first.status_code, second.status_code) == (200, 422)
    assert GatewayToken.objects.count() == 1


def test_a_wrong_address_is_named_and_nothing_is_issued():
    who = person("operations")
    client = at_desk(who)

    answer = act(client, reverse("admin:accounts_gatewaytoken_changelist") + "issue/", name="x", allowed_ips="home")

    assert answer.status_code == 422
    assert "home is no address" in answer.content.decode()
    assert not GatewayToken.objects.exists()


def test_revoking_a_token_stops_it():
    token, _ = api_keys.issue_gateway_token("proxy", now=factories.NOON, actor=None)

    act(desk("operations"), action_of(token, "revoke"), reason="replaced")

    token.refresh_from_db()
    assert token.disabled_at is not None
    assert AuditRecord.objects.get(action="gateway_token_revoked").reason == "replaced"


def test_a_levels_terms_change_with_before_and_after():
    level = BenefitLevel.objects.get(number=2)

    refused = act(desk("operations"), action_of(level, "change-terms"), discount="0", rpm="10", tpm="10")
    act(desk("operations"), action_of(level, "change-terms"), discount="0.97", rpm="1500", tpm="5000000")

    level.refresh_from_db()
    record = AuditRecord.objects.get(action="benefit_level_changed")
    assert refused.status_code == 422
    assert (level.discount, level.rpm, level.tpm) == (Decimal("0.97"), 1500, 5_000_000)
    assert record.before["discount"] == "0.9800"
    assert record.after["discount"] == "0.9700"


# --- What is found and shown --------------------------------------------------------------------------------------
def test_accounts_are_found_by_uuid_and_by_a_members_address_only_in_full(account):
    client = desk("support")
    other = factories.account()
    address = account.memberships.get().user.email
    listed = reverse("admin:accounts_account_changelist")
    terms = (str(account.pk), address, address[:-4], "nobody@example.com")
    lists_found = {term: client.get(listed, {"q": term}).context["cl"].result_list for term in terms}
    found = {term: [row.pk for row in rows] for term, rows in lists_found.items()}

    assert found == {str(account.pk): [account.pk], address: [account.pk], address[:-4]: [], "nobody@example.com": []}
    assert other.pk != account.pk


def test_no_page_shows_a_secret_or_its_hash(account):
    key, secret = factories.key(account)
    client = at_desk(person("admin", is_superuser=True))

    pages = [client.get(page_of(row)).content.decode() for row in (account, key, account.memberships.get().user)]

    for page in pages:
        assert secret not in page
        assert secret[9:-4] not in page
        assert key.hash.hex() not in page
        assert "argon2" not in page
    assert key.masked in pages[0]
