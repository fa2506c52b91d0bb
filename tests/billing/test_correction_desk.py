"""The desk of price corrections: from the form to money given back, by two people; and who may do what."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from billing.books.models import Wallet
from billing.metering import rerating_work
from billing.metering.models_rerating import Correction
from config import clock
from tests import factories
from tests.billing.metering.samples import call
from tests.staff import act, action_of, at_desk, desk, page_of, person

pytestmark = pytest.mark.django_db
NEW = reverse("admin:billing_correction_changelist") + "write/"


def fields(**more: str) -> dict[str, Any]:
    now = clock.now()
    return {
        "title": "GPT too dear",
        "model": "test/model",
        "channel": "default",
        "type": "per_token",
        "input_per_1k": "0.5",
        "output_per_1k": "2",
        "since": (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M"),
        "until": now.strftime("%Y-%m-%dT%H:%M"),
        "favour": "customer",
        "note": "We charged the wrong price.",
    } | more


def worked(row: Correction) -> None:
    while rerating_work.work(row.pk, now=clock.now()):
        pass


def test_from_a_form_to_money_given_back_by_two_people() -> None:
    now = clock.now()
    account, version = factories.funded("10", now=now), factories.price(at=now - timedelta(days=30))
    call(account, version, at=now - timedelta(hours=2), input_tokens=1000)
    writer, second = at_desk(person("operations")), at_desk(person("finance"))

    done = act(writer, NEW, **fields())
    assert done.status_code == 302, done.context["form"].errors
    row = Correction.objects.get()
    assert act(writer, action_of(row, "preview")).status_code == 302
    assert "Refresh" in writer.get(page_of(row)).headers or Correction.objects.get().state == "previewed"
    worked(row)
    page = writer.get(page_of(row)).content.decode()
    assert "What the preview found" in page
    assert act(writer, action_of(row, "propose")).status_code == 302
    assert writer.post(action_of(row, "approve"), {"reason": "me"}).status_code == 403
    assert act(second, action_of(row, "approve")).status_code == 302
    worked(row)

    assert Wallet.objects.get(pk=account.pk).balance == Decimal("9.5")
    assert Correction.objects.get().state == "applied"
    assert second.get(page_of(row)).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [{"model": "no/such"}, {"until": "2020-01-01T00:00"}, {"since": "x"}, {"input_per_1k": "-1"}, {"reason": ""}],
)
def test_a_bad_form_is_said_and_nothing_is_kept(wrong: dict[str, str]) -> None:
    factories.price()
    answer = act(desk("operations"), NEW, **fields(**wrong))
    assert answer.status_code == 422
    assert not Correction.objects.exists()


@pytest.mark.parametrize(("role", "status"), [("support", 403), ("operations", 200), ("finance", 200), ("admin", 200)])
def test_who_may_write_one(role: str, status: int) -> None:
    factories.price()
    assert desk(role).get(NEW).status_code == status


def corrected() -> tuple[Any, Correction, Any, Any]:
    """An account that got 50 cents back by a correction, and the two people who made it."""
    now = clock.now()
    account, version = factories.funded("10", now=now), factories.price(at=now - timedelta(days=30))
    call(account, version, at=now - timedelta(hours=2), input_tokens=1000)
    writer, second = at_desk(person("finance")), at_desk(person("finance"))
    act(writer, NEW, **fields())
    row = Correction.objects.get()
    act(writer, action_of(row, "preview"))
    worked(row)
    act(writer, action_of(row, "propose"))
    act(second, action_of(row, "approve"))
    worked(row)
    return account, row, writer, second


def test_a_correction_is_reversed_by_two_people_too() -> None:
    account, row, writer, second = corrected()

    assert act(writer, action_of(row, "ask-reversal")).status_code == 302
    own = act(writer, action_of(row, "reverse"))
    assert own.status_code == 422
    assert "A second person decides" in own.content.decode()
    assert act(second, action_of(row, "reverse")).status_code == 302
    worked(row)

    assert Correction.objects.get().state == "reversed"
    assert Wallet.objects.get(pk=account.pk).balance == Decimal(9)


def test_a_reversal_that_is_not_made_leaves_the_correction_applied() -> None:
    account, row, writer, second = corrected()
    act(writer, action_of(row, "ask-reversal"))

    assert act(second, action_of(row, "keep")).status_code == 302

    assert Correction.objects.get().state == "applied"
    assert Wallet.objects.get(pk=account.pk).balance == Decimal("9.5")


def test_operations_write_corrections_and_decide_none() -> None:
    _account, row, _writer, _second = corrected()
    client = desk("operations")

    assert client.get(action_of(row, "ask-reversal")).status_code == 403
    assert client.get(action_of(row, "reverse")).status_code == 403
