"""Redeeming: what happened is said, once is once, and nobody hears of another account (F010, F011, F013)."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from accounts.models import Account, AuditRecord
from billing.books import campaigns, voucher_throttle, vouchers
from billing.books.models import CreditGrant, JournalEntry, Posting, System, Wallet
from billing.books.models_vouchers import Redemption, Voucher, VoucherCampaign
from billing.errors import (
    AccountSuspended,
    IdempotencyConflict,
    InvalidRequest,
    VoucherEnded,
    VoucherExhausted,
    VoucherExpired,
    VoucherLimitReached,
    VoucherNotYetValid,
    VoucherPaused,
    VoucherThrottled,
    VoucherUnknown,
    VoucherUsed,
)
from tests import factories
from tests.billing.books.vouchers import HOUR, SAID, campaign, codes, redeem, shared_code, wrong_code
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def test_a_code_is_credited_by_one_entry_and_one_grant():
    """F011: vouchers count towards the balance."""
    account, given = factories.account(), campaign(credit_days=30, note="Welcome")
    [code] = codes(given)

    row = redeem(account, code)

    grant, entry = CreditGrant.objects.get(), JournalEntry.objects.get()
    assert (row.result, row.grant, row.amount) == ("redeemed", grant, 5)
    assert (grant.kind, grant.remaining, grant.note, grant.paid) == ("voucher", 5, "Welcome", False)
    assert grant.expires_at == NOON + timedelta(days=30)
    assert (entry.kind, entry.delta) == ("voucher", 5)
    assert Posting.objects.filter(ledger_id=System.id_of("expense:promotion"), side=1).get().amount == 5
    assert Wallet.objects.get(pk=account.pk).next_expiry_at == grant.expires_at
    given.refresh_from_db()
    assert (given.redeemed, given.left, given.value_out) == (1, 99, 5)


def test_the_overdraft_is_paid_first():
    account, version = factories.funded("1"), factories.price()
    held = factories.hold(account, version, "1")
    factories.capture(held.id, input_tokens=3000)

    row = redeem(account, codes(campaign())[0])

    wallet = Wallet.objects.get(pk=account.pk)
    assert (wallet.overdraft, wallet.balance) == (0, 3)
    assert CreditGrant.objects.get(pk=row.grant_id).remaining == 3


@pytest.mark.parametrize(
    ("kind", "entry_kind", "place"),
    [("voucher", "voucher", "expense:promotion"), ("promotion", "voucher", "expense:promotion"),
     ("compensation", "compensation", "expense:compensation")],
)  # fmt: skip
def test_a_campaigns_kind_says_who_bears_it(kind, entry_kind, place):
    row = redeem(factories.account(), codes(campaign(kind=kind))[0])

    assert row.grant.kind == kind
    assert JournalEntry.objects.get().kind == entry_kind
    assert Posting.objects.filter(ledger_id=System.id_of(place), side=1).exists()


def test_the_same_account_again_is_told_when_it_redeemed():
    account, [code] = factories.account(), codes(campaign())

    first = redeem(account, code)
    again = redeem(account, code, now=NOON + HOUR)

    assert (again.pk, again.at) == (first.pk, NOON)
    assert (JournalEntry.objects.count(), Redemption.objects.count()) == (1, 1)


def test_a_used_code_names_nobody():
    winner, other, [code] = factories.account(name="Winner GmbH"), factories.account(), codes(campaign())
    redeem(winner, code)

    with pytest.raises(VoucherUsed) as refused:
        redeem(other, code)

    told = f"{refused.value} {refused.value.members}"
    assert str(winner.pk) not in told
    assert "Winner" not in told
    row = Redemption.objects.get(account=other)
    assert (row.result, row.grant, row.amount, row.at) == ("used", None, None, NOON)


def test_every_refusal_says_what_happened_and_is_kept():
    """F013: time, account, message and status of each attempt."""
    account = factories.account()
    early, over = campaign(valid_from=NOON + HOUR), campaign(valid_until=NOON)
    paused, ended, draft = campaign(), campaign(), campaign(active=False)
    gone = campaign(credit_until=NOON)
    few = campaign(total=1, per_account=5)
    last = codes(few)
    wanted = [
        (codes(early), VoucherNotYetValid), (codes(over), VoucherExpired), (codes(paused), VoucherPaused),
        (codes(ended), VoucherEnded), (codes(draft), VoucherPaused), (codes(gone), VoucherExpired),
        ([shared_code(few)], VoucherExhausted), ([wrong_code()], VoucherUnknown),
    ]  # fmt: skip
    campaigns.pause(paused.pk, **SAID)
    campaigns.end(ended.pk, **SAID)
    redeem(factories.account(), last[0])

    for [code], error in wanted:
        with pytest.raises(error):
            redeem(account, code)

    kept = list(Redemption.objects.filter(account=account).order_by("pk").values_list("result", flat=True))
    assert kept == ["not_yet_valid", "expired", "paused", "ended", "paused", "expired", "exhausted", "unknown"]
    unknown = Redemption.objects.get(result="unknown")
    assert (unknown.last_four, unknown.voucher) == (wanted[-1][0][0][-4:], None)
    assert not JournalEntry.objects.filter(account=account).exists()
    assert all(vouchers.message(row) for row in Redemption.objects.all())


def test_the_limit_of_an_account_counts_its_codes_of_the_campaign():
    account, given = factories.account(), campaign(per_account=2)
    first, second, third = codes(given, 3)
    redeem(account, first)
    redeem(account, second)

    with pytest.raises(VoucherLimitReached):
        redeem(account, third)

    assert redeem(factories.account(), third).amount == 5


def test_a_shared_code_is_redeemed_by_each_account_once():
    given = campaign(total=3, per_account=2)
    code = shared_code(given)
    one, two, three, four = (factories.account() for _ in range(4))

    assert redeem(one, code).pk == redeem(one, code).pk
    redeem(two, code)
    redeem(three, code)
    with pytest.raises(VoucherExhausted):
        redeem(four, code)

    given.refresh_from_db()
    assert given.redeemed == 3


def test_a_withdrawn_batch_is_not_redeemed_any_more():
    given = campaign()
    [kept, lost] = codes(given)[0], codes(given)[0]
    batch = Voucher.objects.order_by("-pk").first().batch
    campaigns.withdraw(batch.pk, actor=factories.user(), reason="the file was mailed", now=NOON)

    assert redeem(factories.account(), kept).amount == 5
    with pytest.raises(VoucherEnded):
        redeem(factories.account(), lost)


def test_the_same_key_gives_the_same_answer_and_another_code_under_it_is_a_conflict():
    account, given = factories.account(), campaign()
    first, second = codes(given, 2)
    bad = wrong_code()

    assert redeem(account, first, key="k").pk == redeem(account, first, key="k").pk
    with pytest.raises(IdempotencyConflict):
        redeem(account, second, key="k")
    for _ in range(3):
        with pytest.raises(VoucherUnknown):
            redeem(account, bad, key="b")
    assert Redemption.objects.filter(result="unknown").count() == 1


def test_an_account_that_is_not_active_redeems_nothing():
    account = factories.account()
    Account.objects.filter(pk=account.pk).update(status="suspended")

    with pytest.raises(AccountSuspended):
        redeem(account, codes(campaign())[0])
    assert not Redemption.objects.exists()


def test_no_code_is_stored_in_clear():
    """I13."""
    account, [code] = factories.account(), codes(campaign())
    bad = wrong_code()
    redeem(account, code)
    with pytest.raises(VoucherUnknown):
        redeem(account, bad)

    rows = [
        *Voucher.objects.values(),
        *Redemption.objects.values(),
        *AuditRecord.objects.values(),
        *JournalEntry.objects.values(),
    ]
    told = " ".join(str(row) for row in rows)
    for text in (code, bad, code.replace("-", ""), bad.replace("-", "")):
        assert text not in told


def test_a_redemption_is_never_changed_or_deleted():
    redeem(factories.account(), codes(campaign())[0])

    for change in (lambda: Redemption.objects.update(result="used"), lambda: Redemption.objects.all().delete()):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


# --- Throttling -------------------------------------------------------------------------------------------------------
def guesses(account, ip: str, most: int = 60) -> int:
    """How many codes can be guessed before it is refused."""
    for number in range(most):
        try:
            redeem(account, wrong_code(), ip=ip)
        except VoucherUnknown:
            continue
        except VoucherThrottled as refused:
            return number if 0 < refused.evidence["retry_after"] <= 3600 else -1
    return most


@pytest.fixture(params=["redis", "postgresql"])
def counted_in(request, monkeypatch, settings):
    """Where attempts are counted; without Redis the rows are."""
    if request.param == "postgresql":
        settings.REDIS_URL = "redis://127.0.0.1:9/0"
    monkeypatch.setattr(voucher_throttle, "_away_until", 0.0)
    return request.param


def test_guessing_is_throttled_per_account_and_per_network(counted_in, settings):
    settings.VOUCHER_WRONG_PER_ACCOUNT, settings.VOUCHER_WRONG_PER_CLIENT = 4, 6
    one, two, three = (factories.account() for _ in range(3))

    assert guesses(one, "198.51.100.1") == 4
    assert guesses(one, "203.0.113.9") == 0  # another network does not help the account
    assert guesses(two, "198.51.100.1") == 2  # another account does not help the network
    assert guesses(three, "2001:db8::1") == 4
    assert guesses(factories.account(), "2001:db8::ffff") == 2  # the same household
    with pytest.raises(VoucherThrottled):
        redeem(one, codes(campaign())[0], ip="203.0.113.9")


def test_the_throttle_lets_go_after_an_hour(counted_in, settings):
    settings.VOUCHER_WRONG_PER_ACCOUNT = 2
    account, [code] = factories.account(), codes(campaign())
    assert guesses(account, "192.0.2.7") == 2

    assert redeem(account, code, now=NOON + HOUR + timedelta(seconds=1)).amount == 5


def test_codes_that_are_right_cost_nothing(counted_in, settings):
    settings.VOUCHER_WRONG_PER_ACCOUNT = settings.VOUCHER_WRONG_PER_CLIENT = 1
    account, given = factories.account(), campaign(per_account=10)

    for code in codes(given, 5):
        assert redeem(account, code).amount == 5
    assert guesses(account, "192.0.2.1") == 1


def test_a_slip_of_the_pen_costs_a_fifth_and_asks_no_database(settings, django_assert_num_queries, monkeypatch):
    from billing.errors import VoucherMistyped

    monkeypatch.setattr(voucher_throttle, "_away_until", 0.0)
    settings.VOUCHER_WRONG_PER_ACCOUNT = 2
    account, [code] = factories.account(), codes(campaign())
    slip = code[:-1] + ("0" if code[-1] != "0" else "1")

    with django_assert_num_queries(0):
        for _ in range(10):
            with pytest.raises(VoucherMistyped):
                redeem(account, slip)
        with pytest.raises(VoucherThrottled):
            redeem(account, slip)


# --- Compensation -----------------------------------------------------------------------------------------------------
def test_compensation_is_given_once_for_its_key_with_its_reason():
    """F010."""
    account = factories.account()
    terms = {"reason": "credited two hours late", "key": "late:product_1", "actor": None, "now": NOON}

    first = vouchers.compensate(account.pk, Decimal("1.50"), expires_at=NOON + HOUR, **terms)
    again = vouchers.compensate(account.pk, Decimal("1.50"), expires_at=NOON + HOUR, **terms)

    assert (first.pk, first.kind) == (again.pk, "compensation")
    assert JournalEntry.objects.get().kind == "compensation"
    assert Posting.objects.filter(ledger_id=System.id_of("expense:compensation")).get().amount == Decimal("1.5")
    assert AuditRecord.objects.get(action="compensation").reason == "credited two hours late"
    with pytest.raises(IdempotencyConflict):
        vouchers.compensate(account.pk, Decimal(2), expires_at=None, **terms)
    with pytest.raises(InvalidRequest):
        vouchers.compensate(account.pk, Decimal(2), expires_at=None, **{**terms, "reason": " ", "key": "x"})


def test_every_status_moves_only_as_the_table_says():
    from billing.errors import InvalidTransition

    for before in VoucherCampaign.Status:
        for after in VoucherCampaign.Status:
            row = VoucherCampaign(status=before)
            if after in VoucherCampaign.NEXT[before]:
                row.move_to(after, now=NOON)
                assert (row.status, row.status_at) == (after, NOON)
            else:
                with pytest.raises(InvalidTransition):
                    row.move_to(after, now=NOON)
