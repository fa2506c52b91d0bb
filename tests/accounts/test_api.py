"""`/api/v1/account` and `/api/v1/keys`."""

import io
import json
import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import api_keys
from accounts.models import ApiKey, AuditRecord, BenefitLevel, KeyGroup
from config import clock
from tests import factories
from tests.api import Program, management_key, problem, program

pytestmark = pytest.mark.django_db


def test_the_account_shows_itself_and_what_the_caller_is_in_it():
    account = factories.account(name="Acme")
    level, _ = BenefitLevel.objects.get_or_create(
        number=91, defaults={"name": "Gold", "threshold_usd": 91_000, "discount": "0.9", "rpm": 900}
    )
    account.benefit_level = level
    account.save()

    told = program(account, "finance").call("GET", "account").json()

    assert told["id"] == str(account.pk)
    assert (told["name"], told["kind"], told["status"], told["role"]) == ("Acme", "personal", "active", "finance")
    assert told["benefit_level"]["discount"] == "0.9000"


def test_a_key_is_made_with_its_secret_once_and_masked_ever_after():
    account = factories.account()
    made = program(account).call("POST", "keys", {"name": "production", "allowed_models": ["a/b"]})

    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    key = ApiKey.objects.get()
    secret = made.json()["secret"]
    assert secret.startswith("sk-pg-v1-")
    assert made.json()["masked"] == key.masked
    shown = program(account, "finance").call("GET", f"keys/{key.pk}")
    listed = program(account, "finance").call("GET", "keys")
    assert "secret" not in shown.json()
    assert secret not in shown.content.decode() + listed.content.decode()
    assert listed.json()["results"] == [shown.json()]


def test_the_audit_names_the_management_key_that_made_a_key():
    account = factories.account()
    program(account).call("POST", "keys", {"name": "production"})

    record = AuditRecord.objects.get(action="key_issued")

    assert record.actor is None
    assert record.actor_label.startswith("management key mk-…")


def test_a_key_is_renamed_and_its_models_are_changed_and_taken_back():
    account = factories.account()
    key, _ = factories.key(account, name="old", allowed_models=["a/b"])
    caller = program(account, "developer")

    assert caller.call("PATCH", f"keys/{key.pk}", {"name": "new"}).json()["allowed_models"] == ["a/b"]
    assert caller.call("PATCH", f"keys/{key.pk}", {"allowed_models": None}).json()["name"] == "new"

    key.refresh_from_db()
    assert (key.name, key.allowed_models) == ("new", None)


def test_a_rotated_key_leaves_a_successor_and_stops_after_the_grace():
    account = factories.account()
    key, _ = factories.key(account)
    caller = program(account)

    made = caller.call("POST", f"keys/{key.pk}/rotate", {"grace_seconds": 3600})

    assert made.status_code == 201
    assert made.json()["rotated_from"] == str(key.pk)
    key.refresh_from_db()
    assert api_keys.is_live(key, clock.now())
    assert not api_keys.is_live(key, clock.now() + timedelta(hours=2))
    assert caller.call("POST", f"keys/{made.json()['id']}/rotate").status_code == 201
    problem(caller.call("POST", f"keys/{made.json()['id']}/rotate"), 422, "invalid_request")


def test_deleting_a_key_disables_it_and_repeats_are_harmless():
    account = factories.account()
    key, _ = factories.key(account)
    caller = program(account)

    assert caller.call("DELETE", f"keys/{key.pk}").status_code == 204
    assert caller.call("DELETE", f"keys/{key.pk}").status_code == 204

    assert caller.call("GET", f"keys/{key.pk}").json()["status"] == "disabled"
    assert AuditRecord.objects.filter(action="key_disabled").count() == 1


def test_keys_are_listed_newest_first_and_filtered():
    account = factories.account()
    group = KeyGroup.objects.create(account=account, name="g", created_at=factories.NOON)
    old, _ = factories.key(account, group=group)
    new, _ = factories.key(account, kind="subscription", expires_at=clock.now() - timedelta(days=1))
    caller = program(account)

    def ids(query: str = "") -> list[str]:
        return [row["id"] for row in caller.call("GET", f"keys{query}").json()["results"]]

    assert ids() == [str(new.pk), str(old.pk)]
    assert ids(f"?group={group.pk}") == ids("?kind=payg") == ids("?status=active") == [str(old.pk)]
    assert ids("?status=expired") == [str(new.pk)]
    assert ids("?status=disabled") == []


def test_a_group_of_another_account_is_no_group():
    foreign = KeyGroup.objects.create(account=factories.account(), name="g", created_at=factories.NOON)
    told = problem(
        program(factories.account()).call("POST", "keys", {"name": "x", "group": str(foreign.pk)}),
        422,
        "invalid_request",
    )
    assert told["field"] == "group"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "x", "kind": "gold"}, "kind"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "soon"}, "expires_at"),
        ({"name": "x", "allowed_models": "a/b"}, "allowed_models"),
        ({"name": "x", "allowed_modles": []}, "allowed_modles"),
        ({"name": "x", "group": "g"}, "group"),
    ],
)
def test_what_is_not_right_in_a_new_key_is_named(body, field):
    account = factories.account()
    assert problem(program(account).call("POST", "keys", body), 422, "invalid_request")["field"] == field
    assert not ApiKey.objects.exists()


def test_a_browser_session_makes_keys_only_shortly_after_signing_in():
    user = factories.user()
    factories.account(user)
    browser = Client()
    browser.force_login(user)  # a session that never gave its password

    refused = browser.post("/api/v1/keys", {"name": "x"}, content_type="application/json")
    assert problem(refused, 403, "permission_denied")["detail"] == "Sign in again before you make a secret."

    signed_in = Client()
    signed_in.force_login(user)
    session = signed_in.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]  # as allauth keeps them
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    made = signed_in.post("/api/v1/keys", {"name": "x"}, content_type="application/json")
    assert made.status_code == 201, made.content
    assert AuditRecord.objects.get(action="key_issued").actor == user


def test_a_session_writes_only_with_its_csrf_token():
    user = factories.user()
    account = factories.account(user)
    key, _ = factories.key(account)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    assert browser.get("/api/v1/keys").status_code == 200
    problem(browser.delete(f"/api/v1/keys/{key.pk}"), 403, "permission_denied")
    key.refresh_from_db()
    assert key.disabled_at is None


def test_a_session_acts_for_the_account_in_force():
    user = factories.user()
    first = factories.account(user, name="One")
    second = factories.account(user, name="Two", now=factories.NOON + timedelta(days=1))
    browser = Client()
    browser.force_login(user)
    assert browser.get("/api/v1/account").json()["id"] == str(first.pk)
    browser.post("/account/switch", {"account": str(second.pk)})
    assert browser.get("/api/v1/account").json()["id"] == str(second.pk)


def test_no_other_credential_opens_the_customers_endpoints():
    account = factories.account()
    secret = management_key(account)
    _, api_key = factories.key(account)
    gateway = api_keys.issue_gateway_token("gw", now=factories.NOON, actor=None)[1]
    for wrong in (
        api_key,
        gateway,
        secret[:-1],
        secret.swapcase(),
        "mk-",
        "",
        "mk-" + "0" * 49,
        "ключ".encode().decode("latin-1"),
        "\x00",
    ):
        caller = Program()
        answer = caller.generic("GET", "/api/v1/account", HTTP_AUTHORIZATION=f"Bearer {wrong}")
        told = problem(answer, 401, "invalid_credential")
        assert answer["WWW-Authenticate"] == "Bearer"
        assert told["detail"] == told["title"]  # no hint which part was wrong


def test_a_disabled_or_expired_management_key_opens_nothing():
    account = factories.account()
    caller = program(account)
    assert caller.call("GET", "account").status_code == 200
    key = account.management_keys.get()
    key.expires_at = clock.now()
    key.save()
    problem(caller.call("GET", "account"), 401, "invalid_credential")
    key.expires_at, key.disabled_at = None, clock.now()
    key.save()
    problem(caller.call("GET", "account"), 401, "invalid_credential")


def test_the_command_makes_a_management_key_with_a_role():
    account = factories.account()
    out = io.StringIO()
    call_command("create_management_key", "--account", str(account.pk), "--role", "finance", stdout=out)
    secret = json.loads(out.getvalue())["secret"]
    assert Program(secret).call("GET", "account").json()["role"] == "finance"
    with pytest.raises(CommandError, match="There is no account"):
        call_command("create_management_key", "--account", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d")
