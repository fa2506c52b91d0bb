"""Corrections of a wrong price: money stories with numbers, and what must never happen."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from accounts.models import Account, User
from billing.books import credits
from billing.books.models import CreditGrant, JournalEntry, Wallet
from billing.catalog.models import PriceVersion
from billing.catalog.plans import PriceSpec
from billing.errors import BillingError, Conflict, InvalidRequest, InvalidTransition, SecondPersonNeeded
from billing.metering import rerating, rerating_preview, rerating_work
from billing.metering.models import UsageRecord
from billing.metering.models_rerating import ChargeAdjustment, CorrectedAccount, Correction
from tests import factories
from tests.billing.metering.samples import call
from tests.concurrency.helpers import at_once
from tests.factories import NOON

pytestmark = pytest.mark.django_db(transaction=True)
State = Correction.State
D = Decimal
EARLIER = NOON - timedelta(hours=2)


@pytest.fixture
def staff() -> User:
    return factories.user()


@pytest.fixture
def second() -> User:
    return factories.user()


def used(of: Account, version: PriceVersion, tokens: int, minute: int = 0, **terms: Any) -> Any:
    """One call at $1 per 1K input tokens."""
    return call(of, version, at=EARLIER + timedelta(minutes=minute), input_tokens=tokens, **terms)


def written(version: PriceVersion, staff: User, usd: str, **terms: Any) -> Correction:
    """A correction: input should have cost this per 1K."""
    spec = PriceSpec(model=version.model.slug, input_per_1k=D(usd), output_per_1k=D(2))
    told: dict[str, Any] = {
        "since": NOON - timedelta(days=1),
        "until": NOON,
        "favour": "customer",
        "title": "Too dear",
        "reason": "a typing error",
        "actor": staff,
        "now": NOON,
    }
    return rerating.create(version.model_id, version.channel_id, spec, **(told | terms))


def worked(row: Correction, now: Any = NOON) -> Correction:
    while rerating_work.work(row.pk, now=now):
        pass
    row.refresh_from_db()
    return row


def previewed(row: Correction, staff: User) -> Correction:
    return worked(rerating.preview(row.pk, actor=staff, reason="look", now=NOON))


def approved(row: Correction, staff: User, second: User) -> Correction:
    previewed(row, staff)
    rerating.propose(row.pk, actor=staff, reason="please", now=NOON)
    return rerating.approve(row.pk, actor=second, reason="yes", now=NOON)


def applied(row: Correction, staff: User, second: User, now: Any = NOON) -> Correction:
    return worked(approved(row, staff, second), now)


def reversed_(row: Correction, staff: User, second: User) -> Correction:
    rerating.ask_reversal(row.pk, actor=staff, reason="it was right", now=NOON)
    rerating.reverse(row.pk, actor=second, reason="yes", now=NOON)
    return worked(row)


def sound() -> None:
    call_command("verify_books", verbosity=0)
    call_command("verify_charges", verbosity=0)


def net(of: Account) -> Decimal:
    return Wallet.objects.get(pk=of.pk).net


def test_a_preview_says_what_would_happen_and_touches_no_books(staff: User) -> None:
    one, version = factories.funded("10"), factories.price()
    used(one, version, 1000)
    used(one, version, 2000, 1)
    entries = JournalEntry.objects.count()

    row = previewed(written(version, staff, "0.25"), staff)

    assert (row.state, row.records, row.adjusted, row.accounts) == (State.PREVIEWED, 2, 2, 1)
    assert (row.before, row.after, row.given, row.charged) == (3, D("0.75"), D("2.25"), 0)
    assert JournalEntry.objects.count() == entries
    assert net(one) == 7


def test_what_was_too_dear_comes_back_to_the_credit_it_came_from(staff: User, second: User) -> None:
    """Two grants: $1 burns first, then $5. Calls of $0.6 and $1.4 took 1.0 and 1.0; half of each is given back."""
    one, version = factories.account(), factories.price()
    first = factories.credit(one, "1", expires_at=NOON + timedelta(days=1))
    then = factories.credit(one, "5")
    used(one, version, 600)
    used(one, version, 1400, 1)

    row = applied(written(version, staff, "0.5"), staff, second)

    assert (row.state, row.applied_records, row.applied_given) == (State.APPLIED, 2, 1)
    left = dict(CreditGrant.objects.values_list("pk", "remaining"))
    # The first call's last 0.3 came from the first grant; the second call's last 0.7 from the second.
    assert left == {first.pk: D("0.3"), then.pk: D("4.7")}
    entry = JournalEntry.objects.get(kind="usage_adjustment")
    assert (entry.delta, entry.balance_after, entry.key) == (1, 5, f"correction:{row.pk}:{one.pk}")
    assert entry.meta["calls"] == 2
    assert sorted(ChargeAdjustment.objects.values_list("charge_before", "charge_after")) == [
        (D("0.6"), D("0.3")),
        (D("1.4"), D("0.7")),
    ]
    assert UsageRecord.objects.filter(charge=D("1.4")).exists()  # the record stays as it was
    sound()


def test_only_giving_back_leaves_what_was_too_cheap(staff: User, second: User) -> None:
    one, version = factories.funded("10"), factories.price()
    used(one, version, 1000)
    row = previewed(written(version, staff, "3"), staff)
    assert (row.adjusted, row.given, row.charged, row.after) == (0, 0, 0, 1)
    with pytest.raises(Conflict):
        rerating.propose(row.pk, actor=staff, reason="please", now=NOON)


def test_charging_more_burns_credit_and_then_becomes_overdraft(staff: User, second: User) -> None:
    one, version = factories.funded("2"), factories.price()
    used(one, version, 1000)

    row = applied(written(version, staff, "4", favour="both"), staff, second)

    wallet = Wallet.objects.get(pk=one.pk)
    assert (row.applied_charged, wallet.balance, wallet.overdraft) == (3, 0, 2)
    sound()
    reversed_(row, staff, second)
    wallet.refresh_from_db()
    assert (wallet.balance, wallet.overdraft) == (1, 0)
    sound()


def test_the_overdraft_part_lowers_the_overdraft(staff: User, second: User) -> None:
    one, version = factories.funded("1"), factories.price()
    used(one, version, 3000)  # 1 from credit, 2 overdraft

    applied(written(version, staff, "0.5"), staff, second)  # costs 1.5

    wallet = Wallet.objects.get(pk=one.pk)
    assert (wallet.balance, wallet.overdraft) == (0, D("0.5"))
    sound()


def test_an_overdraft_that_was_paid_meanwhile_comes_back_to_the_credit_that_paid_it(staff: User, second: User) -> None:
    one, version = factories.funded("1"), factories.price()
    used(one, version, 3000)
    paid = factories.credit(one, "5", paid=True, kind="cash")

    applied(written(version, staff, "0.5"), staff, second)

    paid.refresh_from_db()
    assert (paid.remaining, net(one)) == (D("4.5"), D("4.5"))
    sound()


def test_a_grant_that_expired_meanwhile_lives_a_day_longer_and_expires_again(staff: User, second: User) -> None:
    one, version = factories.account(now=EARLIER), factories.price()
    grant = factories.credit(one, "2", now=EARLIER, expires_at=NOON - timedelta(minutes=30))
    used(one, version, 1000)
    credits.expire_due([one.pk], now=NOON)

    applied(written(version, staff, "0.5"), staff, second)

    grant.refresh_from_db()
    assert (grant.remaining, grant.expires_at) == (D("0.5"), NOON + timedelta(hours=24))
    credits.expire_due([one.pk], now=NOON + timedelta(hours=25))
    grant.refresh_from_db()
    assert grant.remaining == 0
    sound()


def test_reversing_restores_and_what_was_spent_meanwhile_is_drawn_elsewhere(staff: User, second: User) -> None:
    one, version = factories.funded("1"), factories.price()
    used(one, version, 1000)
    row = applied(written(version, staff, "0.25"), staff, second)  # 0.75 back
    call(one, version, at=NOON, input_tokens=700)  # leaves 0.05
    other = factories.credit(one, "0.2")

    reversed_(row, staff, second)

    other.refresh_from_db()
    wallet = Wallet.objects.get(pk=one.pk)
    assert (row.state, other.remaining, wallet.balance, wallet.overdraft) == (State.REVERSED, 0, 0, D("0.5"))
    assert ChargeAdjustment.objects.filter(reversal=True).get().delta == D("0.75")
    sound()


def test_a_second_correction_starts_from_the_corrected_charge_and_they_unwind_last_first(
    staff: User, second: User
) -> None:
    one, version = factories.funded("10"), factories.price()
    used(one, version, 1000)
    first = applied(written(version, staff, "3", favour="both"), staff, second)
    assert net(one) == 7
    later = applied(written(version, staff, "0.5"), staff, second)
    assert (later.applied_given, net(one)) == (D("2.5"), D("9.5"))
    with pytest.raises(Conflict, match="later"):
        rerating.ask_reversal(first.pk, actor=staff, reason="x", now=NOON)
    reversed_(later, staff, second)
    assert net(one) == 7
    reversed_(first, staff, second)
    assert net(one) == 9
    sound()


def test_discounts_of_the_call_and_a_chunked_account(
    staff: User, second: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerating_work, "ENTRY_CALLS", 2)
    monkeypatch.setattr(rerating_preview, "PREVIEW_CALLS", 2)
    one, version = factories.funded("10"), factories.price()
    for minute in range(5):
        used(one, version, 1000, minute // 2, user_discount="0.5")

    row = applied(written(version, staff, "0.5"), staff, second)

    assert (row.adjusted, row.applied_records, row.applied_given) == (5, 5, D("1.25"))
    assert JournalEntry.objects.filter(kind="usage_adjustment").count() == 3
    sound()
    reversed_(row, staff, second)
    assert net(one) == D("7.5")
    sound()


def test_a_worker_killed_between_accounts_and_in_the_middle_of_one_leaves_nothing_double(
    staff: User, second: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = factories.price()
    accounts = [factories.funded("10") for _ in range(3)]
    for one in accounts:
        used(one, version, 1000)
    row = approved(written(version, staff, "0.5"), staff, second)
    real, calls = ChargeAdjustment.objects.bulk_create, []

    def dies(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(ChargeAdjustment.objects, "bulk_create", dies)
    with pytest.raises(KeyboardInterrupt):
        rerating_work.work(row.pk, now=NOON)
    assert JournalEntry.objects.filter(kind="usage_adjustment").count() == 1

    assert rerating.claim_due(now=NOON + timedelta(hours=1)) == [row.pk]
    worked(row)

    assert (row.state, row.applied_given) == (State.APPLIED, D("1.5"))
    assert {net(one) for one in accounts} == {D("9.5")}
    sound()


def test_applied_by_many_workers_at_once_it_happens_once(staff: User, second: User) -> None:
    version = factories.price()
    accounts = [factories.funded("10") for _ in range(6)]
    for one in accounts:
        used(one, version, 1000)
    row = approved(written(version, staff, "0.5"), staff, second)

    at_once(4, lambda _: rerating_work.work(row.pk, now=NOON))
    worked(row)

    assert (row.applied_records, row.applied_given) == (6, 3)
    assert {net(one) for one in accounts} == {D("9.5")}
    sound()


def test_applied_while_calls_are_charged_the_books_stay_whole(staff: User, second: User) -> None:
    one, version = factories.funded("10"), factories.price()
    for minute in range(10):
        used(one, version, 100, minute)
    row = approved(written(version, staff, "0.5"), staff, second)

    def act(number: int) -> None:
        if number:
            call(one, version, at=NOON, input_tokens=100)
        else:
            rerating_work.work(row.pk, now=NOON)

    at_once(8, act)
    worked(row)

    assert net(one) == D("10") - D("0.5") - D("0.7")
    sound()


def test_a_second_person_decides_both_ways(staff: User, second: User) -> None:
    one, version = factories.funded("10"), factories.price()
    used(one, version, 1000)
    row = previewed(written(version, staff, "0.5"), staff)
    rerating.propose(row.pk, actor=staff, reason="please", now=NOON)
    with pytest.raises(SecondPersonNeeded):
        rerating.approve(row.pk, actor=staff, reason="me", now=NOON)
    rerating.approve(row.pk, actor=second, reason="yes", now=NOON)
    assert rerating.approve(row.pk, actor=second, reason="yes", now=NOON).state == State.APPROVED
    worked(row)
    rerating.ask_reversal(row.pk, actor=second, reason="no", now=NOON)
    with pytest.raises(SecondPersonNeeded):
        rerating.reverse(row.pk, actor=second, reason="me", now=NOON)
    with pytest.raises(IntegrityError), transaction.atomic():
        Correction.objects.filter(pk=row.pk).update(decided_by=staff)


def test_a_preview_that_is_out_of_date_is_not_approved(staff: User, second: User) -> None:
    one, version = factories.funded("10"), factories.price()
    used(one, version, 1000)
    older = previewed(written(version, staff, "0.25"), staff)
    rerating.propose(older.pk, actor=staff, reason="please", now=NOON)
    applied(written(version, staff, "0.5"), staff, second, NOON + timedelta(seconds=1))
    with pytest.raises(Conflict, match="preview"):
        rerating.approve(older.pk, actor=second, reason="yes", now=NOON)


@pytest.mark.parametrize(
    "terms",
    [
        {"until": NOON + timedelta(days=1)},
        {"since": NOON},
        {"since": NOON - timedelta(days=800)},
        {"favour": "us"},
        {"reason": " "},
        {"title": ""},
    ],
)
def test_bad_input_is_refused(staff: User, terms: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        written(factories.price(), staff, "0.5", **terms)


def test_a_price_that_cannot_be_compiled_is_refused(staff: User) -> None:
    version = factories.price()
    with pytest.raises(BillingError):
        rerating.create(
            version.model_id, version.channel_id, PriceSpec(model="test/model"), since=EARLIER, until=NOON,
            favour="both", title="x", actor=staff, reason="x", now=NOON,
        )  # fmt: skip
    assert not Correction.objects.exists()


def test_calls_that_the_right_price_cannot_rate_are_left_out_with_the_reason(staff: User) -> None:
    one, version = factories.funded("10"), factories.price()
    used(one, version, 1000)
    spec = PriceSpec(model="test/model", type="per_second", price=D(1))
    row = rerating.create(
        version.model_id, version.channel_id, spec, since=EARLIER, until=NOON, favour="both", title="x", actor=staff,
        reason="x", now=NOON,
    )  # fmt: skip
    row = previewed(row, staff)
    assert (row.records, sum(row.left_out.values())) == (0, 1)


def test_adjustments_are_append_only(staff: User, second: User) -> None:
    one, version = factories.funded("10"), factories.price()
    used(one, version, 1000)
    applied(written(version, staff, "0.5"), staff, second)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE billing_chargeadjustment SET delta = 0")


def test_every_pair_of_states() -> None:
    for state in State:
        for wanted in State:
            row = Correction(state=state)
            if wanted in Correction.NEXT[state]:
                row.move_to(wanted)
                assert row.state == wanted
            else:
                with pytest.raises(InvalidTransition):
                    row.move_to(wanted)
    assert CorrectedAccount.objects.count() == 0
