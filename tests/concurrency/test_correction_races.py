"""Two workers at one account of a correction, with the control: without the wallet's lock the second books it again."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from billing.books import ledger
from billing.books.models import JournalEntry, Wallet
from billing.metering import rerating_work
from billing.metering.models_rerating import CorrectedAccount, Correction
from tests import factories
from tests.billing.metering.test_rerating import approved, used, written
from tests.concurrency.helpers import in_thread, wait_until_blocked
from tests.factories import NOON

pytestmark = pytest.mark.django_db(transaction=True)


def two_workers_meet() -> tuple[int, int]:
    """One has corrected the account and not yet committed when another begins with what it read before."""
    account, version = factories.funded("10"), factories.price()
    used(account, version, 1000)
    row = approved(written(version, factories.user(), "0.5"), factories.user(), factories.user())
    Correction.objects.filter(pk=row.pk).update(state=Correction.State.APPLYING)
    row.refresh_from_db()
    stale = CorrectedAccount.objects.get(correction=row)
    plan = rerating_work.plan_of(row)
    with transaction.atomic():
        first = rerating_work.apply_next(row, stale, plan, now=NOON)
        with in_thread(lambda: rerating_work.apply_next(row, stale, plan, now=NOON)) as other:
            wait_until_blocked()
            connection.connection.commit()
            return first, other()


def test_the_second_worker_waits_for_the_wallet_and_finds_the_account_done() -> None:
    assert two_workers_meet() == (1, 0)

    assert Wallet.objects.get().net == Decimal("9.5")
    assert JournalEntry.objects.filter(kind="usage_adjustment").count() == 1


@pytest.mark.damages_books
def test_without_the_lock_only_the_entrys_key_stops_the_second_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: it reads the account before the first has committed, and books the same entry."""
    monkeypatch.setattr(ledger, "lock_wallet", lambda account_id: Wallet.objects.get(pk=account_id))

    with pytest.raises(IntegrityError, match="entry_"):
        two_workers_meet()
