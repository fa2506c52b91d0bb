"""What a customer sees of a price correction: the transaction, its calls, the call's own page, the API's rows."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from billing.books.models import JournalEntry
from billing.metering.adjusted import adjustments_of
from billing.metering.models import UsageRecord
from tests import factories
from tests.billing.metering.test_rerating import applied, used, written

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_entry_names_the_note_and_lists_its_calls_and_the_call_says_what_it_became() -> None:
    owner, staff, second = factories.user(), factories.user(), factories.user()
    account, version = factories.account(owner), factories.price()
    factories.credit(account, "10")
    used(account, version, 1000)
    applied(written(version, staff, "0.5", note="We charged the wrong price."), staff, second)
    client = Client()
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    entry, record = JournalEntry.objects.get(kind="usage_adjustment"), UsageRecord.objects.get()

    page = client.get(reverse("books:transactions")).content.decode()
    assert "Price correction: 1 call of test/model" in page
    page = client.get(reverse("metering:entry", args=[entry.pk])).content.decode()
    assert "We charged the wrong price." in page
    assert reverse("metering:call", args=[record.pk]) in page
    page = client.get(reverse("metering:call", args=[record.pk])).content.decode()
    assert "Corrections" in page
    assert [one.charge_after for one in adjustments_of(record)] == [Decimal("0.5")]
