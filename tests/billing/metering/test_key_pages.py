"""Keys in the portal: the secret once, roles, re-authentication, rotation, and nobody else's."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest

from accounts import api_keys
from accounts.models import ApiKey, AuditRecord
from config import clock
from tests import factories
from tests.billing.metering.samples import call
from tests.billing.pages import signed_in, text_of

pytestmark = pytest.mark.django_db
SECRET = re.compile(r"sk-pg-v1-[0-9A-Za-z_-]{20,}")


def new(client, **fields):
    return client.post("/keys/new", {"token": str(uuid4()), "name": "backend", "which": "all", "lasts": ""} | fields)


def test_the_secret_is_shown_once_with_snippets_and_never_stored():
    factories.price("test/model")
    client, user, account = signed_in()
    answer = new(client)
    page = answer.content.decode()
    [secret] = set(SECRET.findall(page))
    assert page.count(secret) == 3  # to copy, and in both snippets
    assert "no-store" in answer["Cache-Control"]
    key = ApiKey.objects.get(account=account)
    assert (key.name, key.created_by, key.allowed_models, key.expires_at) == ("backend", user, None, None)
    assert secret.encode() not in bytes(key.hash)
    for path in ("/keys", f"/keys/{key.pk}"):
        shown = client.get(path).content.decode()
        assert secret not in shown
        assert key.masked in shown
    assert AuditRecord.objects.get(action="key_issued").actor == user


def test_sending_the_form_again_makes_no_second_key():
    client, _user, account = signed_in()
    token = str(uuid4())
    assert SECRET.search(new(client, token=token).content.decode())
    again = new(client, token=token)
    assert again.status_code == 302
    assert ApiKey.objects.filter(account=account).count() == 1


def test_a_key_may_be_for_some_models_and_may_end():
    factories.price("test/one")
    factories.price("test/two")
    client, _user, account = signed_in()
    assert new(client, which="some").status_code == 422
    assert "Tick at least one model" in text_of(new(client, which="some"))
    assert new(client, which="some", models=["no/such"]).status_code == 422
    assert new(client, lasts="date", until="2001-01-01").status_code == 422
    assert new(client, lasts="date").status_code == 422
    assert new(client, name="").status_code == 422
    assert not ApiKey.objects.filter(account=account).exists()
    new(client, which="some", models=["test/two"], lasts="30")
    key = ApiKey.objects.get(account=account)
    assert key.allowed_models == ["test/two"]
    assert key.expires_at - key.created_at == timedelta(days=30)


def test_making_and_rotating_need_a_recent_sign_in():
    owner = factories.user()
    owner.set_password("correct horse battery")
    owner.save()
    account = factories.account(owner)
    key, _ = factories.key(account)
    client, *_ = signed_in(account, fresh=False)
    for path in ("/keys/new", f"/keys/{key.pk}/rotate"):
        answer = client.get(path)
        assert answer.status_code == 302
        assert "reauthenticate" in answer.url
    assert client.get("/keys").status_code == 200


@pytest.mark.parametrize("grace", ["0", "24"])
def test_rotation_gives_a_new_secret_and_stops_the_old_one_now_or_in_a_day(grace):
    client, _user, account = signed_in()
    old, old_secret = factories.key(account, name="backend", allowed_models=["test/model"], now=clock.now())
    answer = client.post(f"/keys/{old.pk}/rotate", {"grace": grace, "token": str(uuid4())})
    [secret] = set(SECRET.findall(answer.content.decode()))
    assert secret != old_secret
    old.refresh_from_db()
    successor = ApiKey.objects.get(rotated_from=old)
    assert (successor.name, successor.allowed_models) == ("backend", ["test/model"])
    now = clock.now()
    assert api_keys.is_live(old, now) == (grace == "24")
    assert not api_keys.is_live(old, now + timedelta(hours=25))
    assert successor.masked in text_of(client.get(f"/keys/{old.pk}"))


def test_disabling_asks_first_and_is_final():
    client, _user, account = signed_in()
    key, _ = factories.key(account, name="crawler", now=clock.now())
    asked = text_of(client.get(f"/keys/{key.pk}/disable"))
    assert "cannot be undone" in asked
    assert ApiKey.objects.get(pk=key.pk).disabled_at is None
    assert "is disabled" in text_of(client.post(f"/keys/{key.pk}/disable", follow=True))
    key.refresh_from_db()
    assert key.disabled_at is not None
    assert client.get(f"/keys/{key.pk}/rotate", follow=True).redirect_chain
    assert not ApiKey.objects.filter(rotated_from=key).exists()


def test_name_and_models_can_be_changed():
    factories.price("test/one")
    client, _user, account = signed_in()
    key, _ = factories.key(account, allowed_models=["gone/model"])
    assert "gone/model" in client.get(f"/keys/{key.pk}").content.decode()
    assert client.post(f"/keys/{key.pk}/change", {"name": "new name", "which": "some"}).status_code == 422
    client.post(f"/keys/{key.pk}/change", {"name": "new name", "which": "some", "models": ["test/one", "gone/model"]})
    key.refresh_from_db()
    assert (key.name, key.allowed_models) == ("new name", ["gone/model", "test/one"])
    client.post(f"/keys/{key.pk}/change", {"name": "new name", "which": "all", "models": ["test/one"]})
    key.refresh_from_db()
    assert key.allowed_models is None


def test_a_role_without_the_right_may_look_and_not_touch():
    account = factories.account()
    key, _ = factories.key(account)
    client, *_ = signed_in(account, role="finance")
    assert key.masked in text_of(client.get("/keys"))
    assert "/keys/new" not in client.get("/keys").content.decode()
    assert client.get(f"/keys/{key.pk}").status_code == 200
    for path in ("/keys/new", f"/keys/{key.pk}/rotate", f"/keys/{key.pk}/disable", f"/keys/{key.pk}/change"):
        assert client.post(path, {"name": "x", "which": "all", "grace": "0", "token": str(uuid4())}).status_code == 403
    key.refresh_from_db()
    assert key.disabled_at is None
    assert ApiKey.objects.count() == 1


def test_a_key_of_another_account_is_not_there():
    theirs, _ = factories.key(factories.account())
    client, *_ = signed_in()
    for path in ("", "/rotate", "/disable"):
        assert client.get(f"/keys/{theirs.pk}{path}").status_code == 404
    assert client.post(f"/keys/{theirs.pk}/change", {"name": "mine", "which": "all"}).status_code == 404


def test_the_list_says_what_each_key_spent():
    now = clock.now()
    account, version = factories.funded("10"), factories.price()
    key, _ = factories.key(account, name="backend")
    call(account, version, at=now, key=key, input_tokens=1_230)
    client, *_ = signed_in(account)
    assert "$1.23" in text_of(client.get("/keys"))
    assert "$1.23" in text_of(client.get(f"/keys/{key.pk}"))
