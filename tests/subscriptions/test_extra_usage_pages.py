"""`/platform/subscription/extra-usage`, the "Select a Key" dialog, subscription keys (F078, F080-F083, C22)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts import api_keys
from accounts.models import Account, ApiKey
from config import clock
from subscriptions import extra
from subscriptions.models import ExtraUsage, ExtraUsageMonth
from subscriptions.windows import month_of
from tests import factories
from tests.billing.pages import signed_in, text_of

pytestmark = pytest.mark.django_db
PAGE = "/platform/subscription/extra-usage"
SECRET = re.compile(r"sk-pg-v1-[A-Za-z0-9]{20,}")
HTMX = {"HX-Request": "true"}


@pytest.fixture
def account() -> Account:
    return factories.funded("10")


def on(account: Account, cap: str = "20.00", key: ApiKey | None = None) -> ApiKey:
    key = key or factories.key(account, name="production")[0]
    owner = account.memberships.get(role="owner").user
    extra.turn_on(
        account.pk, key_id=key.pk, monthly_cap=Decimal(cap), agreed_text="yes", actor=owner, label=owner.email,
        now=clock.now(),
    )  # fmt: skip
    return key


def spent(account: Account, usd: str, held: str = "0") -> None:
    ExtraUsageMonth.objects.create(
        account=account, month=month_of(clock.now()), spent=Decimal(usd), held=Decimal(held), calls=3
    )


def form(account: Account, **more: Any) -> dict[str, Any]:
    return {"account": str(account.pk), "monthly_cap": "20", "agree": "1"} | more


# --- The page -------------------------------------------------------------------------------------------------------


def test_an_account_that_never_had_it_reads_what_it_does_and_may_turn_it_on(account):
    client, *_ = signed_in(account)
    text = text_of(client.get(PAGE))
    for part in ("Off: when a quota window is full", "for the billing period, too", "Watch the balance", "Turn on"):
        assert part in text


def test_the_card_shows_key_spend_held_part_cap_and_what_it_spent_in_all(account):
    key = on(account)
    spent(account, "3.42", held="0.31")
    client, *_ = signed_in(account)
    text = text_of(client.get(PAGE))
    for part in (
        "production", key.masked, "never used", "$3.42", "of $20.00", "$0.31 held by running calls, $16.27 left",
        "So far in all", "Reselect", "Turn off", 'class="meter meter-primary"', "$3.42 spent and $0.31 held, of $20.00",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("break_it", "title"),
    [
        (lambda account, key: api_keys.disable(key.pk, now=clock.now(), actor=None), "The key cannot pay"),
        (lambda account, key: ApiKey.objects.filter(pk=key.pk).update(expires_at=clock.now()), "The key cannot pay"),
        (lambda account, key: spent(account, "20"), "The monthly cap is reached"),
    ],
)
def test_the_card_says_why_it_cannot_pay(account, break_it, title):
    break_it(account, on(account))
    client, *_ = signed_in(account)
    assert title in text_of(client.get(PAGE))


def test_with_an_empty_balance_the_card_leads_to_the_top_up():
    account = factories.funded("0")
    on(account)
    client, *_ = signed_in(account)
    text = text_of(client.get(PAGE))
    assert "The balance is empty" in text
    assert 'class="btn btn-primary" href="/billing/top-up"' in text


@pytest.mark.parametrize("role", ["developer", "finance", "admin"])
def test_who_may_not_pay_reads_and_changes_nothing(account, role):
    key = on(account)
    client, *_ = signed_in(account, role=role)
    text = text_of(client.get(PAGE))
    assert ("Turn off" in text) == (role != "developer")
    for path in ("key", "new-key", "cap", "off"):
        answer = client.post(f"{PAGE}/{path}", form(account, monthly_cap="30", api_key=str(key.pk)))
        assert (answer.status_code == 403) == (role == "developer" or (role, path) == ("finance", "new-key")), path
    row = ExtraUsage.objects.get(pk=account.pk)
    assert row.enabled == (role == "developer")


def test_the_page_and_the_dialog_ask_few_questions(account, django_assert_max_num_queries):
    on(account)
    spent(account, "3.42")
    for _ in range(20):
        factories.key(account)
        factories.key(account, kind="subscription")
    client, *_ = signed_in(account)
    for path in (PAGE, f"{PAGE}/key"):
        client.get(path)
        with django_assert_max_num_queries(16):  # 4 of them for the session, the user and the accounts in the header
            assert client.get(path).status_code == 200


# --- Select a Key ---------------------------------------------------------------------------------------------------


def test_the_dialog_is_a_part_for_htmx_and_a_page_without(account):
    key, _ = factories.key(account, name="web app")
    client, *_ = signed_in(account)
    part, whole = client.get(f"{PAGE}/key", headers=HTMX), client.get(f"{PAGE}/key")
    assert part.content.strip().startswith(b"<form")
    for answer in (part, whole):
        text = text_of(answer)
        for shown in (
            "Select a Key",
            "web app",
            key.masked,
            "never used",
            "Create new key",
            "Monthly cap",
            "I agree",
        ):
            assert shown in text, shown
    assert "<h1" in text_of(whole)


def test_only_live_pay_as_you_go_keys_of_the_account_can_be_chosen(account):
    names = {"payg": factories.key(account, name="mine")[0]}
    names["subscription"] = factories.key(account, name="flows", kind="subscription")[0]
    names["theirs"] = factories.key(factories.funded("1"), name="theirs")[0]
    names["dead"] = api_keys.disable(factories.key(account, name="dead")[0].pk, now=clock.now(), actor=None)
    client, *_ = signed_in(account)
    text = text_of(client.get(f"{PAGE}/key"))
    assert [name for name, key in names.items() if str(key.pk) in text] == ["payg"]
    for name in ("subscription", "theirs", "dead"):
        answer = client.post(f"{PAGE}/key", form(account, api_key=str(names[name].pk)))
        assert answer.status_code == 422
        assert "Choose another key." in text_of(answer)
    assert not ExtraUsage.objects.exists()


def test_select_turns_it_on_with_key_cap_and_the_text_that_was_shown(account):
    key, _ = factories.key(account)
    client, user, _ = signed_in(account)
    answer = client.post(f"{PAGE}/key", form(account, api_key=str(key.pk), monthly_cap="$1,234.50"))
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    row = ExtraUsage.objects.get(pk=account.pk)
    assert (row.enabled, row.api_key, row.monthly_cap, row.agreed_by) == (True, key, Decimal("1234.50"), user)
    shown = text_of(client.get(PAGE))
    assert "Extra Usage is on." in shown
    assert row.agreed_text.startswith("I agree: when a quota window of the plan is full")


def test_in_the_dialog_success_lets_the_page_load_again(account):
    key, _ = factories.key(account)
    client, *_ = signed_in(account)
    answer = client.post(f"{PAGE}/key", form(account, api_key=str(key.pk)), headers=HTMX)
    assert (answer.status_code, answer["HX-Refresh"]) == (200, "true")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"agree": ""}, "Tick the box: without your consent"),
        ({"monthly_cap": "0"}, "between $0.01 and $100000"),
        ({"monthly_cap": "1.234"}, "more than two decimal places"),
        ({"monthly_cap": ""}, "Write the amount as a number of US dollars"),
        ({"api_key": ""}, "Choose a key, or create one."),
    ],
)
def test_what_is_missing_is_said_beside_its_field_and_nothing_is_turned_on(account, more, said):
    key, _ = factories.key(account)
    client, *_ = signed_in(account)
    answer = client.post(f"{PAGE}/key", form(account, api_key=str(key.pk)) | more, headers=HTMX)
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert not ExtraUsage.objects.exists()


def test_reselect_asks_for_the_key_alone(account):
    on(account)
    second, _ = factories.key(account, name="second")
    client, *_ = signed_in(account)
    text = text_of(client.get(f"{PAGE}/key", headers=HTMX))
    assert "Monthly cap" not in text
    assert "I agree" not in text
    client.post(f"{PAGE}/key", {"account": str(account.pk), "api_key": str(second.pk)})
    row = ExtraUsage.objects.get(pk=account.pk)
    assert (row.api_key, row.monthly_cap) == (second, Decimal("20.00"))


def test_a_key_created_in_the_dialog_shows_its_secret_once_and_is_selected(account):
    client, *_ = signed_in(account)
    told = form(account, monthly_cap="77", **{"new-name": "extra", "token": uuid4().hex})
    answer = client.post(f"{PAGE}/new-key", told, headers=HTMX)
    key = ApiKey.objects.get(account=account, name="extra")
    text = text_of(answer)
    assert key.kind == "payg"
    assert len(SECRET.findall(text)) == 1
    assert f'value="{key.pk}" checked' in text
    assert 'value="77"' in text  # what was typed stays
    assert 'id="id_agree" checked' in text
    assert not ExtraUsage.objects.exists()

    again = client.post(f"{PAGE}/new-key", told, headers=HTMX)
    assert ApiKey.objects.filter(account=account, name="extra").count() == 1
    assert not SECRET.findall(text_of(again))
    for path in (PAGE, f"{PAGE}/key"):
        assert not SECRET.findall(text_of(client.get(path)))


def test_a_key_needs_a_name(account):
    client, *_ = signed_in(account)
    answer = client.post(f"{PAGE}/new-key", form(account, **{"new-name": " ", "token": uuid4().hex}), headers=HTMX)
    assert answer.status_code == 422
    assert "Give the key a name." in text_of(answer)
    assert not ApiKey.objects.filter(account=account).exists()


def test_who_may_pay_and_not_make_keys_chooses_among_those_there_are(account):
    client, *_ = signed_in(account, role="finance")
    assert "Create new key" not in text_of(client.get(f"{PAGE}/key"))
    told = form(account, **{"new-name": "extra", "token": uuid4().hex})
    assert client.post(f"{PAGE}/new-key", told).status_code == 403
    assert not ApiKey.objects.filter(account=account).exists()


def test_a_browser_left_open_is_asked_who_it_is_and_a_dialog_becomes_a_page_for_that(account):
    owner = account.memberships.get(role="owner").user
    owner.set_password(factories.PASSWORD)
    owner.save()
    client, *_ = signed_in(account, fresh=False)
    assert "/accounts/reauthenticate/" in client.get(f"{PAGE}/key")["Location"]
    assert client.get(f"{PAGE}/key", headers=HTMX)["HX-Redirect"] == f"{PAGE}/key"
    key, _ = factories.key(account)
    client.post(f"{PAGE}/key", form(account, api_key=str(key.pk)))
    assert not ExtraUsage.objects.exists()


@pytest.mark.parametrize("path", ["key", "new-key", "cap", "off"])
def test_a_form_that_names_another_account_than_the_one_in_force_does_nothing(account, path):
    key = on(account)
    client, *_ = signed_in(account)
    other = form(factories.account(), api_key=str(key.pk), monthly_cap="99", **{"new-name": "x", "token": uuid4().hex})
    assert client.post(f"{PAGE}/{path}", other).status_code == 302
    row = ExtraUsage.objects.get(pk=account.pk)
    assert (row.enabled, row.monthly_cap) == (True, Decimal("20.00"))
    assert ApiKey.objects.filter(account=account).count() == 1


# --- The cap, and off -----------------------------------------------------------------------------------------------


def test_the_cap_is_changed_on_the_card(account):
    on(account)
    client, *_ = signed_in(account)
    assert client.post(f"{PAGE}/cap", form(account, monthly_cap="35.50"))["Location"] == PAGE
    assert ExtraUsage.objects.get().monthly_cap == Decimal("35.50")
    refused = client.post(f"{PAGE}/cap", form(account, monthly_cap="lots"))
    assert refused.status_code == 422
    assert "Write the amount as a number of US dollars" in text_of(refused)


def test_off_stops_it_and_a_form_of_the_cockpit_leads_back_there_and_nowhere_else(account):
    on(account)
    client, *_ = signed_in(account)
    assert (
        client.post(f"{PAGE}/off", form(account, back="/platform/subscription"))["Location"] == "/platform/subscription"
    )
    assert client.post(f"{PAGE}/off", form(account, back="https://evil.example/"))["Location"] == PAGE
    assert not ExtraUsage.objects.get().enabled


# --- Subscription keys ----------------------------------------------------------------------------------------------


def test_the_keys_card_lists_the_subscriptions_live_keys_with_their_actions(account):
    live, _ = factories.key(account, name="claude-code", kind="subscription")
    dead = api_keys.disable(
        factories.key(account, name="old one", kind="subscription")[0].pk, now=clock.now(), actor=None
    )
    factories.key(account, name="payg one")
    client, *_ = signed_in(account, role="developer")
    text = text_of(client.get(PAGE))
    for part in (live.masked, f"/keys/{live.pk}/rotate", f"/keys/{live.pk}/disable", "/keys/new?kind=subscription"):
        assert part in text
    assert dead.masked not in text
    assert "payg one" not in text
    reader, *_ = signed_in(account, role="finance")
    assert f"/keys/{live.pk}/rotate" not in text_of(reader.get(PAGE))


def test_a_subscription_key_is_made_on_the_keys_page_and_its_secret_shown_once(account):
    client, *_ = signed_in(account)
    asked = text_of(client.get("/keys/new?kind=subscription"))
    assert re.search(r'value="subscription"[^>]*checked', asked)
    made = client.post(
        "/keys/new", {"name": "claude-code", "kind": "subscription", "which": "all", "lasts": "", "token": uuid4().hex}
    )
    assert re.search(r"sk-ss-v1-[A-Za-z0-9]{20,}", text_of(made))
    assert ApiKey.objects.get(account=account).kind == "subscription"


def test_a_kind_that_does_not_exist_is_refused_and_none_means_the_balance(account):
    client, *_ = signed_in(account)
    told = {"name": "x", "which": "all", "lasts": "", "token": uuid4().hex}
    assert client.post("/keys/new", told | {"kind": "free"}).status_code == 422
    assert client.post("/keys/new", told).status_code == 200
    assert ApiKey.objects.get(account=account).kind == "payg"


def test_the_keys_page_shows_the_kind_and_filters_by_it(account):
    factories.key(account, name="flows one", kind="subscription")
    factories.key(account, name="money one")
    client, *_ = signed_in(account)
    everything = text_of(client.get("/keys"))
    assert "flows one" in everything
    assert "money one" in everything
    assert 'data-status="subscription"' in everything
    assert "money one" not in text_of(client.get("/keys?kind=subscription"))
    assert "flows one" not in text_of(client.get("/keys?kind=payg"))
    assert "money one" in text_of(client.get("/keys?kind=nonsense"))


def test_whoever_looks_at_or_stops_the_key_that_pays_reads_that_it_does(account):
    key = on(account)
    other, _ = factories.key(account)
    client, *_ = signed_in(account)
    said = "Extra Usage is paid with this key."
    for path in ("", "/disable"):
        assert said in text_of(client.get(f"/keys/{key.pk}{path}"))
        assert said not in text_of(client.get(f"/keys/{other.pk}{path}"))
