"""Whatever the grants, the calls and the right price: a correction moves exactly the differences, and unwinds whole."""

from decimal import Decimal

import pytest
from django.db.models import F, Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from billing.books.models import CreditGrant, Wallet
from billing.metering.models import UsageRecord
from billing.metering.models_rerating import ChargeAdjustment
from tests import factories
from tests.billing.metering.test_rerating import applied, reversed_, used, written
from tests.flush import broken_books

pytestmark = pytest.mark.django_db(transaction=True)
CENTS = some.integers(min_value=1, max_value=400)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    grants=some.lists(CENTS, max_size=3),
    tokens=some.lists(some.integers(min_value=0, max_value=3000), min_size=1, max_size=5),
    prices=some.lists(CENTS, min_size=1, max_size=2),
    favour=some.sampled_from(["customer", "both"]),
    later=some.one_of(some.none(), CENTS),
)
def test_after_applying_each_call_costs_what_it_should_and_after_reversing_what_it_did(
    grants: list[int], tokens: list[int], prices: list[int], favour: str, later: int | None
) -> None:
    staff, second, account = factories.user(), factories.user(), factories.account()
    version = factories.price(f"test/model-{staff.pk}")
    for cents in grants:
        factories.credit(account, str(Decimal(cents) / 100))
    for minute, count in enumerate(tokens):
        used(account, version, count, minute)
    if later:
        factories.credit(account, str(Decimal(later) / 100))
    before = Wallet.objects.get(pk=account.pk).net
    expected = [Decimal(count) / 1000 for count in tokens]
    done = []
    for cents in prices:
        price = Decimal(cents) / 100
        owed = [Decimal(count) / 1000 * price for count in tokens]
        wanted = [new if favour == "both" else min(new, old) for new, old in zip(owed, expected, strict=True)]
        if wanted == expected:
            continue
        expected = wanted
        done.append(applied(written(version, staff, str(price), favour=favour), staff, second))

    mine = UsageRecord.objects.filter(account=account).aggregate(total=Sum("charge"))["total"] or Decimal(0)
    moved = ChargeAdjustment.objects.filter(account_id=account.pk).aggregate(total=Sum("delta"))["total"] or Decimal(0)
    assert mine + moved == sum(expected)
    assert Wallet.objects.get(pk=account.pk).net == before - moved
    assert not CreditGrant.objects.filter(account=account, remaining__gt=F("amount")).exists()
    assert broken_books() == []
    for row in reversed(done):
        reversed_(row, staff, second)
    assert Wallet.objects.get(pk=account.pk).net == before
    assert broken_books() == []
