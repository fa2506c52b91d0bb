"""The page and the API of vouchers: what the customer sees, and what a program gets."""

from datetime import timedelta

import pytest

from billing.books.models import CreditGrant, Wallet
from billing.books.models_vouchers import Redemption
from config import clock
from tests import factories
from tests.api import problem, program
from tests.billing.books.vouchers import campaign, codes, shared_code, wrong_code
from tests.billing.pages import signed_in, stream_of, text_of

pytestmark = pytest.mark.django_db
PAGE = "/billing/vouchers"


def send(client, account, code, token="a" * 32):
    return client.post(PAGE, {"code": code, "token": token, "account": str(account.pk)})


def run_now(**terms):
    """A campaign that runs by the clock that edges read."""
    return campaign(valid_from=clock.now() - timedelta(hours=1), **terms)


# --- The page
def test_the_page_names_the_account_and_says_what_to_do_when_nothing_was_redeemed():
    """F003."""
    client, _user, account = signed_in()

    told = text_of(client.get(PAGE))

    assert f"Redeem for {account.name}" in told
    assert str(account.pk) in told
    assert "No voucher yet" in told


def test_a_code_is_redeemed_and_shown_with_what_is_left_and_until_when():
    client, user, account = signed_in()
    [code] = codes(run_now(credit_days=30, note="Welcome to us"))

    answer = send(client, account, code.lower().replace("-", " "))
    told = text_of(client.get(answer["Location"]))

    assert f"$5.00 was credited to {account.name}." in told
    assert "Welcome to us" in told
    assert code[-4:] in told
    assert code not in told
    assert Redemption.objects.get().user == user
    assert Wallet.objects.get(pk=account.pk).balance == 5


def test_sending_the_same_page_twice_or_the_code_again_credits_once():
    client, _user, account = signed_in()
    [code] = codes(run_now())

    for token in ("a" * 32, "a" * 32, "b" * 32):
        assert send(client, account, code, token).status_code == 302

    assert Wallet.objects.get(pk=account.pk).balance == 5
    assert "nothing was credited again" in text_of(client.get(PAGE))


def test_another_code_in_a_page_that_was_sent_before_is_another_intent():
    client, _user, account = signed_in()
    first, second = codes(run_now(per_account=2), 2)

    for code in (first, second):
        assert send(client, account, code).status_code == 302

    assert Wallet.objects.get(pk=account.pk).balance == 10


def test_a_refusal_stays_on_the_page_with_its_reason_and_without_the_code():
    client, _user, account = signed_in()
    bad, used = wrong_code(), codes(run_now())[0]
    other, _owner, theirs = signed_in(factories.account(name="Somebody Else"))
    send(other, theirs, used)

    unknown, taken = send(client, account, bad, "c" * 32), send(client, account, used, "d" * 32)

    assert (unknown.status_code, taken.status_code) == (404, 409)
    assert "There is no voucher with this code." in text_of(unknown)
    assert bad not in text_of(unknown)
    assert "already been redeemed" in text_of(taken)
    assert "Somebody Else" not in text_of(taken)
    assert "Refused" in text_of(client.get(PAGE, {"show": "refused"}))
    assert text_of(client.get(PAGE, {"show": "refused"})).count("key-mask") == 2
    assert "key-mask" not in text_of(client.get(PAGE, {"show": "redeemed"}))


def test_a_slip_of_the_pen_stays_in_the_field():
    client, _user, account = signed_in()
    [code] = codes(run_now())
    slip = code[:-1] + ("0" if code[-1] != "0" else "1")

    answer = send(client, account, slip)

    assert answer.status_code == 422
    assert slip in text_of(answer)
    assert "Check what you typed" in text_of(answer)
    assert not Redemption.objects.exists()
    assert send(client, account, code).status_code == 302


def test_guessing_on_the_page_ends_in_429_with_the_time_to_wait(settings):
    settings.VOUCHER_WRONG_PER_ACCOUNT = 2
    client, _user, account = signed_in()

    statuses = [send(client, account, wrong_code(), f"{number:032x}").status_code for number in range(3)]
    last = send(client, account, wrong_code(), "e" * 32)

    assert statuses == [404, 404, 429]
    assert 0 < int(last["Retry-After"]) <= 3600
    assert "Try again in" in text_of(last)


def test_a_page_that_names_another_account_redeems_nothing():
    """F003."""
    client, user, _account = signed_in()
    other = factories.account(user, now=factories.NOON + timedelta(days=1))

    answer = send(client, other, codes(run_now())[0])

    assert answer.status_code == 302
    assert "The account in force has changed" in text_of(client.get(PAGE))
    assert not CreditGrant.objects.exists()


@pytest.mark.parametrize("role", ["developer"])
def test_a_role_that_may_not_pay_reads_and_does_not_redeem(role):
    account = factories.account()
    client, _user, _account = signed_in(account, role=role)

    assert "Your role may not redeem" in text_of(client.get(PAGE))
    assert send(client, account, codes(run_now())[0]).status_code == 403
    assert not CreditGrant.objects.exists()


def test_the_list_is_a_table_too_and_pages_without_counting():
    client, _user, account = signed_in()
    given = run_now(per_account=60, total=100)
    keyed = program(account)
    for number, code in enumerate(codes(given, 52)):
        assert (
            keyed.call("POST", "vouchers/redeem", {"code": code}, headers={"Idempotency-Key": f"k{number}"}).status_code
            == 201
        )

    first = client.get(PAGE)
    rows = stream_of(client.get(f"{PAGE}.csv")).splitlines()

    assert "Older" in text_of(first)
    assert len(rows) == 53
    assert "…-" in rows[1]


# --- The API
def ask(account, code, key="k1", role="admin"):
    headers = {"Idempotency-Key": key} if key else {}
    return program(account, role).call("POST", "vouchers/redeem", {"code": code}, headers=headers)


def test_a_program_redeems_once_whatever_it_repeats():
    account, [code] = factories.account(), codes(run_now(credit_days=7))

    first, again, other_key = ask(account, code), ask(account, code), ask(account, code, "k2")

    assert (first.status_code, again.status_code, other_key.status_code) == (201, 200, 200)
    told = first.json()
    assert told == again.json() == other_key.json()
    assert (told["result"], told["amount"], told["account"]) == ("redeemed", "5.0000000000", str(account.pk))
    assert told["code"].endswith(code[-4:])
    assert told["expires_at"].endswith("Z")
    assert Wallet.objects.get(pk=account.pk).balance == 5


def test_refusals_are_problems_with_codes_of_their_own():
    account, given = factories.account(), run_now(total=1)
    code = shared_code(given)
    ask(factories.account(), code)

    problem(ask(account, code, "a"), 409, "voucher_exhausted")
    problem(ask(account, wrong_code(), "b"), 404, "voucher_unknown")
    problem(ask(account, "ABCD", "c"), 422, "voucher_mistyped")
    problem(ask(account, code, ""), 400, "idempotency_key_required")
    problem(ask(account, wrong_code(), "a"), 409, "idempotency_conflict")
    problem(ask(account, code, "d", "developer"), 403, "permission_denied")
    told = problem(
        ask(account, codes(campaign(valid_from=clock.now() + timedelta(days=1)))[0], "e"), 409, "voucher_not_yet_valid"
    )
    assert told["valid_from"].endswith("Z")


@pytest.mark.parametrize("code", [None, 5, 1e300, True, [], {}, "", " ", "\0", "x" * 201])
def test_what_is_no_text_is_refused_and_nothing_is_written(code):
    account = factories.account()

    assert ask(account, code).status_code == 422
    assert not Redemption.objects.exists()


def test_guessing_by_api_ends_in_429_with_retry_after(settings):
    settings.VOUCHER_WRONG_PER_ACCOUNT = 2
    account = factories.account()
    for number in range(2):
        ask(account, wrong_code(), f"k{number}")

    answer = ask(account, wrong_code(), "k9")

    problem(answer, 429, "voucher_throttled")
    assert 0 < int(answer["Retry-After"]) <= 3600


def test_a_program_lists_what_was_redeemed_and_refused():
    account = factories.account()
    [code] = codes(run_now())
    ask(account, wrong_code(), "a")
    ask(account, code, "b")

    everything = program(account).call("GET", "vouchers").json()
    redeemed = program(account, "developer").call("GET", "vouchers?result=redeemed").json()
    table = program(account).call("GET", "vouchers?format=csv")

    assert [row["result"] for row in everything["results"]] == ["redeemed", "unknown"]
    assert [row["remaining"] for row in redeemed["results"]] == ["5.0000000000"]
    assert everything["results"][1]["message"] == "There is no voucher with this code."
    assert len(b"".join(table.streaming_content).decode().splitlines()) == 3
    assert program(factories.account()).call("GET", "vouchers").json()["results"] == []
