"""Races for one wallet, each with its control: the same choreography without the lock must go wrong."""

from contextlib import nullcontext
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from billing.books.models import JournalEntry, Wallet
from billing.catalog.usage import Usage
from billing.metering import holds, usage
from billing.metering.models import Authorization, UsageRecord
from tests import factories
from tests.concurrency.helpers import at_once, in_thread, wait_until_blocked, without_lock

pytestmark = pytest.mark.django_db(transaction=True)


def two_holds_meet() -> list[str]:
    """One caller has placed a hold of all there is and not yet committed; another asks for the same dollar."""
    account, version = factories.funded("1"), factories.price()
    with transaction.atomic():
        first = factories.hold(account, version, "1").outcome
        with in_thread(lambda: factories.hold(account, version, "1").outcome) as second:
            wait_until_blocked()
            connection.connection.commit()
            return [first, second()]


@pytest.mark.parametrize(
    ("control", "outcomes"), [(False, ["created", "insufficient_balance"]), (True, ["created", "created"])]
)
def test_two_holds_for_the_same_dollar_and_only_the_lock_stops_the_second(control, outcomes):
    with without_lock("authorize") if control else nullcontext():
        assert two_holds_meet() == outcomes
    wallet = Wallet.objects.get()
    assert (wallet.available < 0) is control


def test_two_hundred_threads_against_one_dollar_never_spend_more_than_it_and_the_admitted_overshoot():
    """I3: each holds 2 cents and uses 3; fifty fit, and only their overshoot of 1 cent each becomes overdraft."""
    account, version = factories.funded("1"), factories.price()

    def call(number: int) -> Decimal | None:
        held = factories.hold(account, version, "0.02", request_id=f"r{number}")
        if held.outcome != "created":
            return None
        return factories.capture(held.id, input_tokens=30).charge

    charges = [charge for charge in at_once(200, call) if charge is not None]
    wallet = Wallet.objects.get()
    assert len(charges) <= 50
    assert sum(charges) <= Decimal("1.00") + Decimal("0.01") * len(charges)
    assert wallet.balance - wallet.overdraft == Decimal(1) - sum(charges)
    assert (wallet.held, UsageRecord.objects.count()) == (0, len(charges))
    call_command("verify_books", verbosity=0)


def two_captures_meet() -> None:
    """Two calls are captured at once: one has charged and not yet committed when the other comes."""
    account, version = factories.funded("10"), factories.price()
    first, second = (factories.hold(account, version, "1") for _ in range(2))
    with transaction.atomic():
        factories.capture(first.id, input_tokens=1000)
        with in_thread(lambda: factories.capture(second.id, input_tokens=1000)) as other:
            wait_until_blocked()
            connection.connection.commit()
            other()


def test_two_captures_of_one_account_follow_each_other():
    two_captures_meet()
    assert Wallet.objects.get().balance == Decimal(8)
    assert list(JournalEntry.objects.order_by("seq").values_list("balance_after", flat=True)) == [10, 9, 8]


def test_without_the_lock_two_captures_trip_over_each_other():
    """The control: both read the same wallet, and only the books' unique numbering stops the second."""
    with without_lock("charge"), pytest.raises(IntegrityError, match="entry_seq"):
        two_captures_meet()


def test_the_same_capture_fifty_times_at_once_charges_once():
    account, version = factories.funded("10"), factories.price()
    held = factories.hold(account, version, "1")
    answers = at_once(50, lambda _: factories.capture(held.id, input_tokens=500))
    assert len({(a.id, a.charge, a.balance) for a in answers}) == 1
    assert sum(not a.repeated for a in answers) == 1
    assert Wallet.objects.get().balance == Decimal("9.5")


def test_a_capture_and_a_void_at_once_end_the_hold_in_exactly_one_way():
    """I4, many times over, since either may win."""
    account, version = factories.funded("100"), factories.price()
    for _ in range(20):
        held = factories.hold(account, version, "1")

        def end(number: int, held=held) -> str:
            if number:
                return holds.void([(held.id, account.pk, "")], now=factories.NOON)[0].outcome
            [answer] = usage.capture(
                [usage.Capture(authorization_id=held.id, usage=Usage(input_tokens=10))], now=factories.NOON
            )
            return getattr(answer, "code", "charged")

        charged, voided = at_once(2, end)
        assert (charged, voided) in {("charged", "already_captured"), ("already_voided", "released")}
        status = Authorization.objects.get(pk=held.id).status
        assert UsageRecord.objects.filter(pk=held.id).exists() is (status == "captured")
    assert Wallet.objects.get().held == 0
    call_command("verify_books", verbosity=0)
