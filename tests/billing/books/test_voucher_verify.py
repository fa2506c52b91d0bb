"""Every check of vouchers finds the damage that it is there for. The damage is done behind the triggers' back."""

import pytest
from django.db import connection

import billing.books.voucher_verify  # noqa: F401  # registers its checks
from billing.books import verify
from billing.errors import VoucherUnknown
from tests import factories
from tests.billing.books.vouchers import campaign, codes, redeem, shared_code, wrong_code

pytestmark = pytest.mark.django_db
ONE_TO_ONE, COUNTERS, ONCE, MASKED = "every redemption", "a campaign's counters", "a code for one", "no voucher code"
DAMAGE = [
    (ONE_TO_ONE, "UPDATE billing_redemption SET amount = amount + 1 WHERE result = 'redeemed'"),
    (ONE_TO_ONE, "UPDATE billing_creditgrant SET amount = amount + 1"),
    (ONE_TO_ONE, "UPDATE billing_creditgrant SET kind = 'promotion'"),
    (ONE_TO_ONE, "DELETE FROM billing_journalentry"),
    (ONE_TO_ONE, "DELETE FROM billing_redemption"),
    (ONE_TO_ONE, "UPDATE billing_redemption SET result = 'used', grant_id = NULL, amount = NULL"),
    (COUNTERS, "UPDATE billing_vouchercampaign SET redeemed = redeemed - 1"),
    (COUNTERS, "UPDATE billing_vouchercampaign SET codes_made = codes_made + 1"),
    (COUNTERS, "UPDATE billing_redemption SET account_id = (SELECT min(account_id::text) FROM billing_wallet)::uuid"),
    (ONCE, "UPDATE billing_voucher SET used_at = NULL"),
    (ONCE, "UPDATE billing_voucher SET used_at = now() WHERE NOT shared"),
    (MASKED, "UPDATE billing_voucher SET digest = substring(digest FROM 1 FOR 16)"),
    (MASKED, "UPDATE billing_redemption SET last_four = ''"),
]


@pytest.fixture
def redeemed():
    """Two accounts that redeemed, a code that nobody has used, a wrong one that somebody tried."""
    given, one, two = campaign(total=10, per_account=1), factories.account(), factories.account()
    first, _unused = codes(given, 2)
    redeem(one, first)
    redeem(two, shared_code(given))
    with pytest.raises(VoucherUnknown):
        redeem(one, wrong_code())


def broken() -> set[str]:
    found = set()
    with connection.cursor() as cursor:
        for one in verify._checks:
            if "voucher" in one.counted or "redemption" in one.counted:
                cursor.execute(f"SELECT count(*) FROM ({one.broken}) AS b")
                if cursor.fetchone()[0]:
                    found.add(one.sentence)
    return found


def test_sound_books_break_nothing(redeemed):
    assert broken() == set()


@pytest.mark.parametrize(("sentence", "damage"), DAMAGE)
def test_damage_is_found_by_its_check(redeemed, sentence, damage):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(damage)

    assert any(found.startswith(sentence) for found in broken())
