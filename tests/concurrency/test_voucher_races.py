"""Many accounts want one code; each race has its control, which goes wrong without the lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection

from billing.books import campaigns, ledger, vouchers
from billing.books.models import CreditGrant, JournalEntry, Wallet
from billing.books.models_vouchers import Redemption, Voucher, VoucherQuerySet
from billing.errors import BillingError, SecondPersonNeeded
from tests import factories
from tests.billing.books.vouchers import SAID, TERMS, campaign, codes, redeem, shared_code, wrong_code
from tests.concurrency.helpers import at_once
from tests.factories import NOON

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def without(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, instead: Any) -> Iterator[None]:
    """The control: the same code with one lock taken away."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, instead)
        yield


def outcome(account: Any, code: str) -> str:
    """What the attempt came to, in one word. Who finds no free connection asks again with the same key, as a client
    does after 503."""
    key = f"race:{uuid4().hex}"
    for _attempt in range(20):
        try:
            return redeem(account, code, ip=f"2001:db8:{account.pk.int % 60000:x}::1", key=key).result
        except BillingError as refusal:
            return refusal.code if str(account.pk) not in f"{refusal} {refusal.members}" else "told a name"
        except IntegrityError:
            return "broken"
        except OperationalError as away:
            if "couldn't get a connection" not in str(away):
                raise
    raise AssertionError("no connection came free")


def test_fifty_accounts_want_one_code_and_one_gets_it():
    """The others hear that it was used, and by nobody's name."""
    accounts = [factories.account(name=f"Customer {number}") for number in range(50)]
    [code] = codes(campaign())

    told = at_once(50, lambda number: outcome(accounts[number], code))

    assert Counter(told) == {"redeemed": 1, "voucher_used": 49}
    assert JournalEntry.objects.count() == CreditGrant.objects.count() == 1
    assert Redemption.objects.filter(result="used").count() == 49
    assert sum(Wallet.objects.values_list("balance", flat=True)) == 5
    call_command("verify_books", verbosity=0)


def test_without_the_codes_lock_others_run_into_the_databases_constraint(monkeypatch):
    """The control: they all saw an unused code, and only the unique index keeps the money from being given again."""
    accounts = [factories.account() for _ in range(50)]
    [code] = codes(campaign())

    with without(monkeypatch, VoucherQuerySet, "locked", lambda rows: rows.order_by("pk")):
        told = Counter(at_once(50, lambda number: outcome(accounts[number], code)))

    assert told["redeemed"] == 1
    assert told["broken"] > 0


@pytest.mark.damages_books
def test_without_lock_and_constraint_one_code_is_credited_many_times(monkeypatch):
    """The other control: what both of them are for."""
    accounts = [factories.account() for _ in range(20)]
    [code] = codes(campaign())
    index = (
        "CREATE UNIQUE INDEX redemption_single_use ON billing_redemption (voucher_id) "
        "WHERE result = 'redeemed' AND NOT shared"
    )
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX redemption_single_use")
    try:
        with without(monkeypatch, VoucherQuerySet, "locked", lambda rows: rows.order_by("pk")):
            told = Counter(at_once(20, lambda number: outcome(accounts[number], code)))
        assert told["redeemed"] > 1
        assert sum(Wallet.objects.values_list("balance", flat=True)) == 5 * told["redeemed"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE billing_redemption DISABLE TRIGGER redemption_append_only")
            cursor.execute("DELETE FROM billing_redemption")
            cursor.execute("ALTER TABLE billing_redemption ENABLE TRIGGER redemption_append_only")
            cursor.execute(index)


def test_one_account_clicks_twenty_times_and_is_credited_once():
    account, [code] = factories.account(), codes(campaign())

    told = at_once(20, lambda _number: redeem(account, code).pk)

    assert len(set(told)) == 1
    assert Wallet.objects.get(pk=account.pk).balance == 5


def test_a_shared_code_gives_no_more_than_its_total():
    accounts = [factories.account() for _ in range(40)]
    given = campaign(total=15)
    code = shared_code(given)

    told = Counter(at_once(40, lambda number: outcome(accounts[number], code)))

    assert told == {"redeemed": 15, "voucher_exhausted": 25}
    given.refresh_from_db()
    assert given.redeemed == 15
    call_command("verify_books", verbosity=0)


@pytest.mark.parametrize("control", [False, pytest.param(True, marks=pytest.mark.damages_books)])
def test_one_account_redeems_no_more_codes_of_a_campaign_than_it_may(control, monkeypatch):
    account, given = factories.account(), campaign(per_account=2)
    many = codes(given, 12)
    unlocked = (ledger, "lock_wallet", lambda account_id: Wallet.objects.get(pk=account_id))

    def attempt(number: int) -> str:
        return outcome(account, many[number])

    if not control:
        told = Counter(at_once(12, attempt))
        assert told == {"redeemed": 2, "voucher_limit_reached": 10}
        assert Wallet.objects.get(pk=account.pk).balance == 10
        return
    with without(monkeypatch, *unlocked):
        told = Counter(at_once(12, attempt))
    assert told != {"redeemed": 2, "voucher_limit_reached": 10}


def test_guesses_at_once_do_not_slip_through_together(settings):
    settings.VOUCHER_WRONG_PER_ACCOUNT = 5
    account = factories.account()

    told = Counter(at_once(30, lambda _number: outcome(account, wrong_code())))

    assert told == {"voucher_unknown": 5, "voucher_throttled": 25}


def test_one_person_does_not_start_a_large_campaign_in_small_ones_at_once():
    person = factories.user()
    made = [campaigns.create(TERMS, **{**SAID, "actor": person}) for _ in range(4)]  # 500 USD each: the limit

    def start(number: int) -> str:
        try:
            return str(campaigns.activate(made[number].pk, actor=person, reason="mine", now=NOON).status)
        except SecondPersonNeeded:
            return "refused"

    assert Counter(at_once(4, start)) == {"active": 1, "refused": 3}


def test_a_pause_that_meets_redemptions_is_clear_cut():
    accounts = [factories.account() for _ in range(20)]
    given = campaign()
    many = codes(given, 20)

    def work(number: int) -> str:
        if number == 0:
            campaigns.pause(given.pk, actor=None, reason="stop", now=NOON)
            return "stopped"
        return outcome(accounts[number], many[number])

    told = Counter(at_once(20, work))
    given.refresh_from_db()

    assert given.redeemed == told["redeemed"] == CreditGrant.objects.count()
    assert told["redeemed"] + told["voucher_paused"] == 19
    assert sum(Wallet.objects.values_list("balance", flat=True)) == Decimal(5) * told["redeemed"]


def test_codes_made_at_once_stay_within_the_total():
    given = campaign(total=10)

    def make(number: int) -> int:
        try:
            return len(
                campaigns.make_codes(given.pk, 4, shared=False, actor=None, reason="x", key=f"k{number}", now=NOON)
            )
        except BillingError:
            return 0

    assert sum(at_once(6, make)) == 8 == Voucher.objects.count()
    assert given.status == vouchers.Status.ACTIVE
